"""Put a layer of water on top of a model: the model moves down, and its lowest rows leave the grid."""

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
    """Move a model down and fill the space above with water of 1500 m/s.

    Args:
        key: Random key of the water's depth.
        velocity: Velocity model `(nz, nx)` [m/s].
        grid: The grid `(nz, nx)`.
        depths: Smallest and largest depth of the water [m], rounded to cells; equal values fix the depth.

    Returns:
        The model under water `(nz, nx)` [m/s].

    Raises:
        InputError: If the depths are not in ascending order or leave no rock.
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
