"""A layer of water on top of a velocity model."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.grid import Grid
from data_gen.velocity.density import WATER_VELOCITY


def add_water(velocity: Float[Array, "nz nx"], depth: float | Float[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
    """The model [m/s] with water in every cell whose centre lies above `depth` [m]."""
    z = jnp.arange(grid.shape[0], dtype=velocity.dtype) * grid.spacing
    return jnp.where(z[:, None] < depth, jnp.asarray(WATER_VELOCITY, velocity.dtype), velocity)
