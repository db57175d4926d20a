"""Place sources and receivers on and off the grid.

A point source or receiver between grid points becomes a separable, Kaiser-windowed sinc of `half_width` cells:

    w(x) = sinc(x) I0(beta sqrt(1 - (x / r)^2)) / I0(beta),    |x| <= r,    beta = pi r / 2

Source: G. J. Hicks, "Arbitrary source and receiver positioning in finite-difference schemes using Kaiser
windowed sinc functions", Geophysics 67 (2002), 156-165. beta = pi r / 2 puts the window's first zero at half the
Nyquist wavenumber, so wavelengths of four cells and more are interpolated; on a grid point w is exactly a delta.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.simulation import Simulation


class Survey(NamedTuple):
    """Describe the sources and receivers of all shots. It is a pytree: `vmap` and `grad` reach every leaf.

    Attributes:
        sources: Positions `(n_sources, 2)` of the sources, as (z, x) [m]; each fires one shot.
        receivers: Positions `(n_receivers, 2)` of the receivers, as (z, x) [m]; every shot has the same ones.
        wavelets: Time functions `(n_sources, nt)` of the sources on the simulation's time axis. A wavelet w is the
            source term `w(t) delta(x - x_s)`, see simulator.py.
    """

    sources: Float[Array, "n_sources 2"]
    receivers: Float[Array, "n_receivers 2"]
    wavelets: Float[Array, "n_sources nt"]


def make_survey(sources, receivers, wavelet) -> Survey:
    """Make a survey from anything array-like.

    Args:
        sources: Positions `(n_sources, 2)` of the sources, as (z, x) [m].
        receivers: Positions `(n_receivers, 2)` of the receivers, as (z, x) [m]; an empty list records no gathers.
        wavelet: One wavelet `(nt,)` for all sources, or one for each source `(n_sources, nt)`.

    Returns:
        The survey, in JAX's default floating-point type.
    """
    sources = jnp.asarray(sources, dtype=float)
    wavelets = jnp.broadcast_to(jnp.asarray(wavelet, dtype=float), (len(sources), np.shape(wavelet)[-1]))
    return Survey(sources, jnp.asarray(receivers, dtype=float).reshape(-1, 2), wavelets)


def surface_line(grid: Grid, depth: float, every: int = 1) -> np.ndarray:
    """Lay points out along the surface.

    Args:
        grid: The grid.
        depth: Depth of all points [m].
        every: Distance from one point to the next, in columns.

    Returns:
        Positions `(n, 2)`, as (z, x) [m], the first in the grid's first column.
    """
    x = np.arange(0, grid.shape[1], every) * grid.spacing
    return np.stack([np.full_like(x, depth), x], axis=1)


def _axis_weights(
    coordinate: Float[Array, ""], size: int, before: int, half_width: int, free_surface: bool
) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Find cells and weights along one axis; `coordinate` counts from the first of the cells after `before` padded."""
    if half_width == 0:
        index, weights = jnp.round(coordinate)[None].astype(int) + before, jnp.ones(1, coordinate.dtype)
    else:
        cells = jnp.floor(coordinate) + jnp.arange(1 - half_width, half_width + 1)
        distance = cells - coordinate
        beta = np.pi * half_width / 2
        inside = jnp.maximum(1 - (distance / half_width) ** 2, 0.0)
        # The square root's slope is infinite at the window's edge, where the weight itself is sinc(integer) = 0.
        root = jnp.sqrt(jnp.where(inside > 0, inside, 1.0))
        window = jnp.where(inside > 0, jax.scipy.special.i0(beta * root) / float(np.i0(beta)), 0.0)
        index, weights = cells.astype(int) + before, jnp.sinc(distance) * window
    # Beyond a wall the field continues as its mirror image; beyond an absorbing layer there is no field.
    if free_surface:
        weights = weights * jnp.sign(index)
        index = jnp.abs(index)
    index = jnp.where(index < 0, -1 - index, index)
    index = jnp.where(index >= size, 2 * size - 1 - index, index)
    return index, weights


def point_cells(position: Float[Array, "2"], simulation: Simulation) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Find the cells that a point touches, and their weights.

    A point touches one cell if half_width is 0, and `(2 half_width)^2` cells otherwise. A free surface is the first
    row: the image above it has the opposite sign, and the row itself has weight zero.

    Args:
        position: Position (z, x) of the point [m].
        simulation: The simulation, for its grid, layers and half_width.

    Returns:
        Numbers `(k,)` of cells of the padded grid, counted row by row, and their weights `(k,)`.
    """
    top, _, left, _ = simulation.widths
    mz, mx = simulation.padded_shape
    cells, half_width = position / simulation.grid.spacing, simulation.half_width
    rows, row_weights = _axis_weights(cells[0], mz, top, half_width, simulation.free_surface)
    columns, column_weights = _axis_weights(cells[1], mx, left, half_width, False)
    index = (rows[:, None] * mx + columns[None, :]).astype(jnp.int32)
    return index.ravel(), (row_weights[:, None] * column_weights[None, :]).ravel()
