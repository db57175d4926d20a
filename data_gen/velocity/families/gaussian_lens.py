"""Draw a Gaussian lens: one smooth round anomaly in a uniform medium, slow at its center, so that it focuses waves.

    v(r) = v_far - (v_far - v_center) exp(-r^2 / (2 sigma^2)).

Source: the lens of WaveBench (Liu et al., TMLR 2024) is one such field of 1400 to 4000 m/s on 128 x 128 cells, sigma
50 cells, a little off the middle of the model. Here the center, the width and both velocities are drawn.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import reproducible


@dataclass(frozen=True)
class GaussianLens:
    """Draw a round anomaly in a uniform medium.

    Attributes:
        min_velocity: Smallest velocity [m/s]. The center's velocity is drawn from the lowest third of the range.
        max_velocity: Largest velocity [m/s]. The surrounding velocity is drawn from the highest third of the range.
        min_width: Smallest standard deviation of the lens, as a fraction of the model's shorter side.
        max_width: Largest standard deviation of the lens, as a fraction of the model's shorter side.
        offset: Largest distance of the center from the middle of the model along each axis, as a fraction of that
            side: 0 to 0.5.
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

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        nz, nx = grid.shape
        place_key, width_key, velocity_key = jax.random.split(key, 3)
        shift = self.offset * jax.random.uniform(place_key, (2,), minval=-1.0)
        sigma = min(nz, nx) * jax.random.uniform(width_key, minval=self.min_width, maxval=self.max_width)
        z = (jnp.arange(nz)[:, None] - (nz - 1) / 2 - shift[0] * nz) / sigma
        x = (jnp.arange(nx)[None, :] - (nx - 1) / 2 - shift[1] * nx) / sigma
        third = (self.max_velocity - self.min_velocity) / 3
        center, far = self.min_velocity + third * (jax.random.uniform(velocity_key, (2,)) + jnp.array([0.0, 2.0]))
        velocity = far - (far - center) * jnp.exp(-(z**2 + x**2) / 2)
        return jnp.clip(velocity, self.min_velocity, self.max_velocity)
