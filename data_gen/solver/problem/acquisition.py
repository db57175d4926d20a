"""Sources and receivers, on and off the grid.

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
    """What is fired and where it is recorded: a pytree, so `vmap` and `grad` reach every leaf.

    sources: positions `(z, x)` [m]. receivers: positions `(z, x)` [m], shared by all shots (none: no gathers).
    wavelets: one time function a source, sampled on the simulation's time axis.
    """

    sources: Float[Array, "n_sources 2"]
    receivers: Float[Array, "n_receivers 2"]
    wavelets: Float[Array, "n_sources nt"]


def make_survey(sources, receivers, wavelet) -> Survey:
    """A survey from anything array-like: `(n, 2)` positions [m] and one wavelet `(nt,)` or one per source."""
    sources = jnp.asarray(sources, dtype=float)
    wavelets = jnp.broadcast_to(jnp.asarray(wavelet, dtype=float), (len(sources), np.shape(wavelet)[-1]))
    return Survey(sources, jnp.asarray(receivers, dtype=float).reshape(-1, 2), wavelets)


def surface_line(grid: Grid, depth: float, every: int = 1) -> np.ndarray:
    """Positions `(n, 2)` [m] along the surface at one depth [m], on every `every`-th column."""
    x = np.arange(0, grid.shape[1], every) * grid.spacing
    return np.stack([np.full_like(x, depth), x], axis=1)


def _axis_weights(
    coordinate: Float[Array, ""], size: int, before: int, half_width: int, free_surface: bool
) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Cells and weights along one axis; `coordinate` in cells from the first unpadded one, `before` cells padded."""
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
    # Beyond a wall the field continues as its mirror image (and beyond an absorbing layer it is nothing).
    if free_surface:
        weights = weights * jnp.sign(index)
        index = jnp.abs(index)
    index = jnp.where(index < 0, -1 - index, index)
    index = jnp.where(index >= size, 2 * size - 1 - index, index)
    return index, weights


def point_cells(position: Float[Array, "2"], simulation: Simulation) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """The cells of the padded grid that a point at `position` [m] touches, numbered row by row, and their weights.

    One cell for half_width 0, `(2 half_width)^2` else. At a free surface, which is the first row, the image above it
    has the opposite sign and the row itself weight zero.
    """
    top, _, left, _ = simulation.widths
    mz, mx = simulation.padded_shape
    cells, half_width = position / simulation.grid.spacing, simulation.half_width
    rows, row_weights = _axis_weights(cells[0], mz, top, half_width, simulation.free_surface)
    columns, column_weights = _axis_weights(cells[1], mx, left, half_width, False)
    index = (rows[:, None] * mx + columns[None, :]).astype(jnp.int32)
    return index.ravel(), (row_weights[:, None] * column_weights[None, :]).ravel()
