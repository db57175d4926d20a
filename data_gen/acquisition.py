"""Sources, receivers and wavelets, on and off the grid.

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

from data_gen.grid import Grid, TimeAxis


class Survey(NamedTuple):
    """What is fired and where it is recorded: a pytree, so `vmap` and `grad` reach every leaf.

    sources: positions `(z, x)` [m]. receivers: positions `(z, x)` [m], shared by all shots (none: no gathers).
    wavelets: one time function a source, sampled on the simulation's time axis.
    """

    sources: Float[Array, "n_sources 2"]
    receivers: Float[Array, "n_receivers 2"]
    wavelets: Float[Array, "n_sources nt"]


class PointWeights(NamedTuple):
    """Where one point touches the grid: `rows x columns` cells and the weight of each."""

    rows: Int[Array, " k"]
    columns: Int[Array, " k"]
    row_weights: Float[Array, " k"]
    column_weights: Float[Array, " k"]


def ricker(time: TimeAxis, peak_frequency: float, delay: float | None = None) -> np.ndarray:
    """Ricker wavelet `(1 - 2 a t^2) exp(-a t^2)`, `a = (pi f)^2`, of unit peak, shape `(nt,)`.

    peak_frequency [Hz]; delay of the peak [s], by default 1.2 / peak_frequency.
    Source: N. Ricker, Geophysics 18 (1953), 10-40.
    """
    shifted = time.times - (1.2 / peak_frequency if delay is None else delay)
    exponent = (np.pi * peak_frequency * shifted) ** 2
    return (1 - 2 * exponent) * np.exp(-exponent)


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
    coordinate: Float[Array, ""], size: int, before: int, half_width: int
) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Cells and weights along one axis; `coordinate` in cells from the first unpadded one, `before` cells padded."""
    if half_width == 0:
        return jnp.round(coordinate)[None].astype(int) + before, jnp.ones(1, coordinate.dtype)
    cells = jnp.floor(coordinate) + jnp.arange(1 - half_width, half_width + 1)
    distance = cells - coordinate
    beta = np.pi * half_width / 2
    inside = jnp.maximum(1 - (distance / half_width) ** 2, 0.0)
    # The square root's slope is infinite at the window's edge, where the weight itself is sinc(integer) = 0.
    root = jnp.sqrt(jnp.where(inside > 0, inside, 1.0))
    window = jnp.where(inside > 0, jax.scipy.special.i0(beta * root) / np.i0(beta), 0.0)
    index = cells.astype(int) + before
    # Beyond a wall the field continues as its mirror image (and beyond an absorbing layer it is nothing).
    index = jnp.where(index < 0, -1 - index, index)
    index = jnp.where(index >= size, 2 * size - 1 - index, index)
    return index, jnp.sinc(distance) * window


def point_weights(
    position: Float[Array, "2"], grid: Grid, widths: tuple[int, int, int, int], half_width: int
) -> PointWeights:
    """Cells of the padded grid that a point at `position` [m] touches.

    widths: cells padded at (top, bottom, left, right). half_width: of the sinc, in cells; 0 takes the nearest cell.
    """
    top, bottom, left, right = widths
    nz, nx = grid.shape
    cells = position / grid.spacing
    rows, row_weights = _axis_weights(cells[0], nz + top + bottom, top, half_width)
    columns, column_weights = _axis_weights(cells[1], nx + left + right, left, half_width)
    return PointWeights(rows, columns, row_weights, column_weights)
