"""A layer of water on top of a model, which moves down by as much; what leaves the grid at its bottom is lost."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid

WATER_VELOCITY = 1500.0  # [m/s]
WATER_DENSITY = 1000.0  # [kg/m^3]


def add_water(
    key: Key[Array, ""], velocity: Float[Array, "nz nx"], grid: Grid, depths: tuple[float, float]
) -> Float[Array, "nz nx"]:
    """The model [m/s] under water of 1500 m/s, whose depth [m] is drawn between `depths`, both ends in whole cells.

    Equal depths fix it. Raises `InputError` if the depths are not in order, or leave no rock.
    """
    shallowest, deepest = (round(depth / grid.spacing) for depth in depths)
    if not 0 <= shallowest <= deepest < grid.shape[0]:
        raise InputError(
            f"The depth of the water must grow from the first to the second of its two values, and stay within 0 to "
            f"{grid.extent[0]:g} m so that there is rock below, but is {depths[0]:g} to {depths[1]:g} m."
        )
    rows = jax.random.randint(key, (), shallowest, deepest + 1)
    row = jnp.arange(grid.shape[0])
    moved = velocity[jnp.maximum(row - rows, 0)]
    return jnp.where(row[:, None] < rows, jnp.asarray(WATER_VELOCITY, velocity.dtype), moved)
