"""Draw style-like fields: natural images in the style of a geological section.

OpenFWI (Deng et al., NeurIPS 2022) took natural images as content and the Marmousi model as style, and smoothed the
result to two degrees, of which A is the smoother. No image is used here; both ingredients are drawn:

    content   a random field driven toward two levels by tanh, which gives objects with outlines;
    style     a random profile along depth, bent by a smooth field: strata that fold and pinch out.

Their sum is smoothed by a Gaussian, and stretched so that each model spans the full range of velocities.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.common.smoothing import gaussian_smooth
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.random_fields import gaussian_field
from data_gen.velocity.base.reproducible import reproducible
from data_gen.velocity.families.layered import unit_coordinates


@dataclass(frozen=True)
class Style:
    """Draw a mixture of objects and bent strata.

    Attributes:
        min_velocity: Smallest velocity [m/s], reached in each model.
        max_velocity: Largest velocity [m/s], reached in each model.
        smoothness: Standard deviation of the Gaussian that smooths the field, as a fraction of the model's shorter
            side.
        strata: Largest number of wavelengths of layering in the model's depth, at least 1.
        content: Weight of the objects against the strata, from 0 (strata only) to 1 (objects only).
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    smoothness: float = 0.05
    strata: float = 4.0
    content: float = 0.5

    def __post_init__(self):
        if not (self.smoothness > 0 and self.strata >= 1 and 0 <= self.content <= 1):
            raise InputError(
                "A style-like field needs a positive smoothness, at least one of strata and content within 0 to 1, but "
                f"got {self.smoothness:g}, {self.strata:g} and {self.content:g}."
            )

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        content_key, bend_key, profile_key = jax.random.split(key, 3)
        side = min(grid.shape) * grid.spacing

        def lumpy(kz, kx):
            return (1 + (kz**2 + kx**2) * (0.1 * side) ** 2) ** -1.25

        def broad(kz, kx):
            return jnp.exp(-(kz**2 + kx**2) * (0.2 * side) ** 2 / 2)

        objects = jnp.tanh(4 * gaussian_field(content_key, grid, lumpy))
        depth = unit_coordinates(grid)[0] + 0.25 * gaussian_field(bend_key, grid, broad)
        strata = _profile(profile_key, depth, self.strata)
        mixed = self.content * objects + (1 - self.content) * strata
        field = gaussian_smooth(mixed, self.smoothness * min(grid.shape), edges="reflect", truncate=4.0)
        low, high = jnp.min(field), jnp.max(field)
        unit = (field - low) / (high - low)
        velocity = self.min_velocity + (self.max_velocity - self.min_velocity) * unit
        return jnp.clip(velocity, self.min_velocity, self.max_velocity)


def _profile(key: Key[Array, ""], depth: Float[Array, "nz nx"], strata: float) -> Float[Array, "nz nx"]:
    """Draw a function of depth alone, about -1 to 1: a trend and six waves whose heights fall with their rates."""
    rate_key, phase_key, height_key = jax.random.split(key, 3)
    rates = jax.random.uniform(rate_key, (6,), minval=0.5, maxval=strata)
    phases = jax.random.uniform(phase_key, (6,), maxval=2 * jnp.pi)
    heights = jax.random.uniform(height_key, (6,)) / jnp.sqrt(rates)
    waves = heights * jnp.sin(2 * jnp.pi * rates * depth[..., None] + phases)
    return depth - 0.5 + 0.6 * jnp.sum(waves, axis=-1)
