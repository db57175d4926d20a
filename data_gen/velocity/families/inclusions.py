"""A smooth background that quickens with depth, holding a few elliptical inclusions.

v(z, x) = v_top + (v_bottom - v_top) z / depth, with the ends drawn at random; each inclusion adds a contrast
inside an ellipse whose edge is smooth over about one cell (a logistic function of the ellipse's equation).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import isolated


@dataclass(frozen=True)
class Inclusions:
    """min_velocity, max_velocity [m/s]; inclusions: how many at most (at least one);

    contrast: largest change inside one, as a fraction of the velocity range; size: largest half-axis, as a
    fraction of the model's shorter side.
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    inclusions: int = 4
    contrast: float = 0.35
    size: float = 0.22

    @isolated
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """One model `(nz, nx)` [m/s]."""
        nz, nx = grid.shape
        keys = jax.random.split(key, 7)
        span, side = self.max_velocity - self.min_velocity, min(nz, nx)
        z = jnp.arange(nz)[:, None, None]
        x = jnp.arange(nx)[None, :, None]

        top = self.min_velocity + span * jax.random.uniform(keys[0], maxval=0.4)
        bottom = top + span * jax.random.uniform(keys[1], maxval=0.6)
        background = top + (bottom - top) * (z[..., 0] + 0.5) / nz

        many = (self.inclusions,)
        centre_z = jax.random.uniform(keys[2], many, minval=0.15, maxval=0.9) * nz
        centre_x = jax.random.uniform(keys[3], many, minval=0.05, maxval=0.95) * nx
        half_axes = jax.random.uniform(keys[4], (2, *many), minval=0.25, maxval=1.0) * self.size * side
        angle = jax.random.uniform(keys[5], many, maxval=jnp.pi)
        count_key, contrast_key = jax.random.split(keys[6])
        count = jax.random.randint(count_key, (), 1, self.inclusions + 1)
        contrast = self.contrast * span * jax.random.uniform(contrast_key, many, minval=-1.0)

        dz, dx = z - centre_z, x - centre_x
        along = (dz * jnp.sin(angle) + dx * jnp.cos(angle)) / half_axes[0]
        across = (dz * jnp.cos(angle) - dx * jnp.sin(angle)) / half_axes[1]
        radius = jnp.sqrt(along**2 + across**2 + 1e-12)
        inside = jax.nn.sigmoid(4 * (1 - radius) * jnp.min(half_axes, axis=0))
        added = jnp.sum(jnp.where(jnp.arange(self.inclusions) < count, contrast * inside, 0.0), axis=-1)
        return jnp.clip(background + added, self.min_velocity, self.max_velocity)
