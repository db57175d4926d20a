"""Draw a smooth background whose velocity grows with depth, and a few elliptical inclusions in it.

    v(z, x) = v_top + (v_bottom - v_top) z / depth,

with both ends drawn at random. Each inclusion adds a contrast inside an ellipse whose edge is smooth over about one
cell (a logistic function of the ellipse's equation).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import reproducible


@dataclass(frozen=True)
class Inclusions:
    """Draw elliptical inclusions in a smooth background.

    Attributes:
        min_velocity: Smallest velocity [m/s].
        max_velocity: Largest velocity [m/s].
        inclusions: Largest number of inclusions; the smallest is 1.
        contrast: Largest change of velocity inside an inclusion, as a fraction of the velocity range.
        size: Largest half-axis of an inclusion, as a fraction of the model's shorter side.
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    inclusions: int = 4
    contrast: float = 0.35
    size: float = 0.22

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        nz, nx = grid.shape
        keys = jax.random.split(key, 7)
        span, side = self.max_velocity - self.min_velocity, min(nz, nx)
        z = jnp.arange(nz)[:, None, None]
        x = jnp.arange(nx)[None, :, None]

        top = self.min_velocity + span * jax.random.uniform(keys[0], maxval=0.4)
        bottom = top + span * jax.random.uniform(keys[1], maxval=0.6)
        background = top + (bottom - top) * (z[..., 0] + 0.5) / nz

        shape = (self.inclusions,)
        center_z = jax.random.uniform(keys[2], shape, minval=0.15, maxval=0.9) * nz
        center_x = jax.random.uniform(keys[3], shape, minval=0.05, maxval=0.95) * nx
        half_axes = jax.random.uniform(keys[4], (2, *shape), minval=0.25, maxval=1.0) * self.size * side
        angle = jax.random.uniform(keys[5], shape, maxval=jnp.pi)
        count_key, contrast_key = jax.random.split(keys[6])
        count = jax.random.randint(count_key, (), 1, self.inclusions + 1)
        contrast = self.contrast * span * jax.random.uniform(contrast_key, shape, minval=-1.0)

        dz, dx = z - center_z, x - center_x
        along = (dz * jnp.sin(angle) + dx * jnp.cos(angle)) / half_axes[0]
        across = (dz * jnp.cos(angle) - dx * jnp.sin(angle)) / half_axes[1]
        radius = jnp.sqrt(along**2 + across**2 + 1e-12)
        inside = jax.nn.sigmoid(4 * (1 - radius) * jnp.min(half_axes, axis=0))
        added = jnp.sum(jnp.where(jnp.arange(self.inclusions) < count, contrast * inside, 0.0), axis=-1)
        return jnp.clip(background + added, self.min_velocity, self.max_velocity)
