"""Style-like fields: what natural images look like once they are drawn in the manner of a geological section.

OpenFWI (Deng et al., NeurIPS 2022) took natural images as content and the Marmousi model as style, and smoothed the
result to two degrees, A the smoother. No image is used here; both ingredients are drawn:

    content   a random field driven towards two levels by tanh, which gives objects with outlines;
    style     a random profile along depth, bent by a smooth field: strata that fold and pinch out;

their sum is smoothed by a Gaussian, and stretched so that each model spans the whole range of velocities.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.random_fields import gaussian_field, smoothed
from data_gen.velocity.base.reproducible import isolated
from data_gen.velocity.families.layered import unit_coordinates


@dataclass(frozen=True)
class Style:
    """min_velocity, max_velocity [m/s], both reached in each model; smoothness: deviation of the Gaussian, as a

    fraction of the model's shorter side; strata: how many wavelengths of layering fit into the depth, at most; content:
    weight of the objects against the strata, 0 to 1.
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

    @isolated
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """One model `(nz, nx)` [m/s]."""
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
        field = smoothed(mixed, self.smoothness * min(grid.shape))
        low, high = jnp.min(field), jnp.max(field)
        unit = (field - low) / (high - low)
        velocity = self.min_velocity + (self.max_velocity - self.min_velocity) * unit
        return jnp.clip(velocity, self.min_velocity, self.max_velocity)


def _profile(key: Key[Array, ""], depth: Float[Array, "nz nx"], strata: float) -> Float[Array, "nz nx"]:
    """A function of depth alone, about -1 to 1: a trend and six waves, the higher the weaker."""
    rate_key, phase_key, height_key = jax.random.split(key, 3)
    rates = jax.random.uniform(rate_key, (6,), minval=0.5, maxval=strata)
    phases = jax.random.uniform(phase_key, (6,), maxval=2 * jnp.pi)
    heights = jax.random.uniform(height_key, (6,)) / jnp.sqrt(rates)
    waves = heights * jnp.sin(2 * jnp.pi * rates * depth[..., None] + phases)
    return depth - 0.5 + 0.6 * jnp.sum(waves, axis=-1)
