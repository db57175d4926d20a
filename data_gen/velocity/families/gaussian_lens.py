"""A Gaussian lens: one smooth round anomaly in a uniform medium, slow in its middle, so that it focuses waves.

    v(r) = v_far - (v_far - v_centre) exp(-r^2 / (2 sigma^2)).

Source: the lens of WaveBench (Liu et al., TMLR 2024) is one such field of 1400 to 4000 m/s on 128 x 128 cells, sigma
50 cells, a little off the middle of the model. Here centre, width and both velocities are drawn.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import isolated


@dataclass(frozen=True)
class GaussianLens:
    """min_velocity, max_velocity [m/s]: the centre's velocity is drawn from the lowest third of this range, the one

    far away from the highest. min_width, max_width: sigma, as fractions of the model's shorter side; offset: largest
    distance of the centre from the middle along each axis, as a fraction of that side of the model.
    """

    min_velocity: float = 1400.0
    max_velocity: float = 4000.0
    min_width: float = 0.1
    max_width: float = 0.4
    offset: float = 0.25

    def __post_init__(self):
        if not (0 < self.min_width <= self.max_width and 0 <= self.offset <= 0.5):
            raise InputError(
                "A Gaussian lens needs 0 < min_width <= max_width and an offset of 0 to 0.5, all fractions of the "
                f"model's sides, but got {self.min_width:g}, {self.max_width:g} and {self.offset:g}."
            )

    @isolated
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """One model `(nz, nx)` [m/s]."""
        nz, nx = grid.shape
        place_key, width_key, velocity_key = jax.random.split(key, 3)
        aside = self.offset * jax.random.uniform(place_key, (2,), minval=-1.0)
        sigma = min(nz, nx) * jax.random.uniform(width_key, minval=self.min_width, maxval=self.max_width)
        z = (jnp.arange(nz)[:, None] - (nz - 1) / 2 - aside[0] * nz) / sigma
        x = (jnp.arange(nx)[None, :] - (nx - 1) / 2 - aside[1] * nx) / sigma
        third = (self.max_velocity - self.min_velocity) / 3
        centre, far = self.min_velocity + third * (jax.random.uniform(velocity_key, (2,)) + jnp.array([0.0, 2.0]))
        velocity = far - (far - centre) * jnp.exp(-(z**2 + x**2) / 2)
        return jnp.clip(velocity, self.min_velocity, self.max_velocity)
