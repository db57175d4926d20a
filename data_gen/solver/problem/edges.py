"""Continue fields beyond the ends of the grid: walls, absorbing layers, the free surface, or a neighbor's slab."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from data_gen.solver.numerics.cpml import Profile, Strip, profile
from data_gen.solver.problem.simulation import Simulation


def strip_profile(strip: Strip, simulation: Simulation, **placement) -> Profile:
    """Compute the recursion coefficients of one strip in one simulation.

    Args:
        strip: The strip.
        simulation: The simulation.
        **placement: Where the points lie; see `cpml.profile`.

    Returns:
        The coefficients.
    """
    return profile(
        strip,
        simulation.grid.spacing,
        simulation.step_length,
        simulation.max_velocity,
        simulation.peak_frequency,
        **placement,
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class Edges:
    """Define the ends of the grid: here the model's own walls and layers. In many_devices.py a grid has neighbors."""

    def join(self, padded: jax.Array, axis: int, cells: int, simulation: Simulation) -> jax.Array:
        """Put the neighbors' cells into their places in a padded field.

        Args:
            padded: A field that has been continued beyond both ends of an axis.
            axis: The axis.
            cells: By how many cells it has been continued.
            simulation: The simulation on this grid.

        Returns:
            The field; here as it is, since there are no neighbors.
        """
        return padded

    def profile(self, strip: Strip, simulation: Simulation, **placement) -> Profile:
        """Compute the recursion coefficients of one strip.

        Args:
            strip: The strip.
            simulation: The simulation on this grid.
            **placement: Where the points lie; see `cpml.profile`.

        Returns:
            The coefficients.
        """
        return strip_profile(strip, simulation, **placement)


OWN = Edges()


def continued(field: jax.Array, axis: int, cells: int, simulation: Simulation, rigid, sign: int = -1) -> jax.Array:
    """Continue a field on both sides along an axis: by its mirror image beyond a wall, by zero beyond a layer.

    Args:
        field: A field `(mz, mx)`.
        axis: The axis.
        cells: Number of cells on each side.
        simulation: The simulation.
        rigid: Whether there is a wall at the low and at the high end; the image is about the wall, half a cell away.
        sign: Sign of the image in a free surface, which is about the first row.

    Returns:
        The continued field.
    """
    size = field.shape[axis]

    def image(start: int, stop: int) -> jax.Array:
        return lax.rev(lax.slice_in_dim(field, start, stop, axis=axis), (axis,))

    def nothing() -> jax.Array:
        shape = list(field.shape)
        shape[axis] = cells
        return jnp.zeros(shape, field.dtype)

    if simulation.free_surface and axis == 0:
        low = sign * image(1, cells + 1)
    else:
        low = image(0, cells) if rigid[0] else nothing()
    high = image(size - cells, size) if rigid[1] else nothing()
    return jnp.concatenate([low, field, high], axis)


def halo(field: jax.Array, axis: int, cells: int, simulation: Simulation, edges: Edges = OWN) -> jax.Array:
    """Continue the pressure beyond both ends of an axis.

    Args:
        field: Pressure `(mz, mx)`.
        axis: The axis.
        cells: Number of cells on each side.
        simulation: The simulation.
        edges: The ends of the grid.

    Returns:
        The padded field.
    """
    low, high = simulation.widths[2 * axis : 2 * axis + 2]
    padded = continued(field, axis, cells, simulation, (low == 0, high == 0))
    return edges.join(padded, axis, cells, simulation)
