"""Compute the field near a point source, and what a grid misses of it: the waves that are too short for its cells.

    lap p - p_tt / v^2 = -w(t) delta(x - x_s)

Waves so short that k v is well above the frequency hear no more than the source's present value, in any medium: they
are w(t) / k^2. Their sum over all k is -w ln(r) / 2 pi, and the grid's own, of cells of size 1, is

    G(d) = int exp(i k d) / K(k) dk / (2 pi)^2    over |k_z|, |k_x| < pi,    K the symbol of the differences,

between two cells, and sum_ij S_i R_j G(i - j) between a source and a receiver that are spread over cells with weights
S and R. So a receiver misses c(x_s, x_r) w(t) with

    c = -ln(r) / (2 pi) sum_i S_i sum_j R_j - sum_ij S_i R_j G(i - j)

which vanishes within some cells, as both tend to the same. The weights' sums, one to 4e-4, are in the first term so
that c holds no error of the amplitude of all waves. Small k need no care: G is made with the logarithm's own,

    G(d) = int (1 / K - exp(-a k^2) / k^2) exp(i k d) dk / (2 pi)^2 - ln(r) / (2 pi) - E_1(r^2 / 4 a) / (4 pi)

whose integrand is smooth. A receiver is a ring of radius LEAST_DISTANCE, over which the mean of ln(r) is the logarithm
of the larger of r and the radius: nothing changes beyond it, and a receiver at the source itself has a finite field.

Whole fields hold a peak of this form at each source. It has no end of its band, so that it would ring along the rows
and columns of the source when a field goes from one grid to another. The grid's own peak is taken off before,
and the plane's put in its place, both times w(t) and a window

    sum_i S_i G(i - j)    at the grid's cells j,    -ln(r) / (2 pi) sum_i S_i    at the other's points.

Density enters as a factor, since p / sqrt(rho) solves an equation without derivatives of first order: for slowly
varying ones, rho being the geometric mean of both points'. For the next order, -w'' / (k^4 v^2), a velocity would have
to be chosen among those of all cells around.
"""

from functools import cache, partial
from math import ceil

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float
from scipy.special import exp1

from data_gen.common.contraction import contract
from data_gen.common.one_thread import on_one_thread
from data_gen.solver.numerics.stencils import second_derivative_weights, staggered_weights
from data_gen.solver.numerics.windowed_sinc import windowed_sinc

# Cells from a source within which all of c counts, and from which on nothing does: with weights of half width 4 it is
# 7e-4 at most at 4 cells, and at 7 cells 1e-4, which falls slowly: that is the weights' own error at long waves.
WHOLE, NOTHING = 4.0, 7.0
# The window of a peak is erfc((distance - MIDDLE) / SLOPE) / 2, in cells: exp(-(pi SLOPE / 2)^2) = 5e-5 of its waves
# are shorter than two cells, and it is one at the source, and zero REACH cells from it, to 4e-7.
MIDDLE, SLOPE, REACH = 7.0, 2.0, 14
# Radius of a receiver's ring, in cells of the model: what differences of order 8 hear at the source's own cell is the
# mean over a ring of 0.30 cells.
LEAST_DISTANCE = 0.3
POINTS = 256  # along an axis, of the integral over k


@on_one_thread
def symbol(order: int, kappa: float, *, staggered: bool) -> Float[np.ndarray, " n"]:
    """Compute the symbol of the differences along an axis at the integral's points.

    Args:
        order: Order of the differences.
        kappa: End of the band of their weights; see stencils.py.
        staggered: Whether they are first differences, twice, as for variable density.

    Returns:
        K `(POINTS,)` [1 / cells^2], in the order of `numpy.fft.fftfreq`.
    """
    k = 2 * np.pi * np.fft.fftfreq(POINTS)[:, None]
    if staggered:
        weights = np.array(staggered_weights(order))
        return (np.sin(k * (np.arange(len(weights)) + 0.5)) @ (2 * weights)) ** 2
    weights = np.array(second_derivative_weights(order, kappa))
    return (1 - np.cos(k * np.arange(1, len(weights) + 1))) @ (2 * weights)


@cache
def grid_response(order: int, kappa: float, half_width: int, *, staggered: bool) -> Float[np.ndarray, "n n"]:
    """Compute G, the grid's response in a cell to a source in another one, for waves that are short.

    Args:
        order: Order of the differences.
        kappa: End of the band of their weights; see stencils.py.
        half_width: Half the width of the sinc that spreads sources and receivers [cells].
        staggered: Whether they are first differences, twice, as for variable density.

    Returns:
        G by distances in cells along both axes, as far apart as cells are that two points near each other, or a source
        and its window, touch.
    """
    along, k = symbol(order, kappa, staggered=staggered), 2 * np.pi * np.fft.fftfreq(POINTS)
    grid, squares = along[:, None] + along, k[:, None] ** 2 + k**2
    width = (POINTS / 24) ** 2  # exp(-36) is left of the logarithm's part at the period's middle
    grid[0, 0] = squares[0, 0] = 1
    difference = 1 / grid - np.exp(-width * squares) / squares
    difference[0, 0] = width
    reach = max(ceil(NOTHING) + 2 * half_width, REACH + max(1, 2 * half_width))
    distances = np.arange(reach)[:, None] ** 2.0 + np.arange(reach) ** 2
    distances[0, 0] = 1
    long_waves = -(np.log(distances) + exp1(distances / (4 * width))) / (4 * np.pi)
    long_waves[0, 0] = (np.euler_gamma - np.log(4 * width)) / (4 * np.pi)
    return np.fft.ifft2(difference).real[:reach, :reach] + long_waves


def _along(source: Float[Array, ""], receiver: Float[Array, ""], half_width: int):
    """Add up products of weights by the cells' distance along an axis; and compute the distance of the points."""
    (from_cells, from_weights), (cells, weights) = (windowed_sinc(x, half_width) for x in (source, receiver))
    count = len(weights)
    shifts = np.arange(1 - count, count)
    padded = jnp.pad(from_weights, count - 1)[count - 1 + shifts[:, None] + np.arange(count)]
    offset = from_cells[0] - cells[0]
    # Without interpolation a point is where its cell is, and does not move.
    distance = source - receiver if half_width else offset.astype(source.dtype)
    return jnp.abs(offset + shifts), jnp.sum(padded * weights, axis=1), distance


def near_field(
    source: Float[Array, "2"],
    receiver: Float[Array, "2"],
    half_width: int,
    response: Float[np.ndarray, "n n"],
    least_distance: float,
) -> Float[Array, ""]:
    """Compute what a receiver misses of a source's wavelet, far from all walls and free surfaces.

    Args:
        source: Position (z, x) of the source, in cells with centers at whole numbers.
        receiver: Position of the receiver, likewise.
        half_width: Half the width of the sinc that spreads both; 0 for points at centers.
        response: The grid's response, of `grid_response`.
        least_distance: Radius of the ring over which the receiver averages [cells].

    Returns:
        The factor c of the wavelet.
    """
    distances, (row_weights, column_weights), apart = jax.vmap(partial(_along, half_width=half_width))(source, receiver)
    weights = row_weights[:, None] * column_weights
    rows, columns = jnp.minimum(distances, len(response) - 1)
    short = jnp.asarray(response, source.dtype)[rows[:, None], columns]
    squared = jnp.maximum(jnp.sum(apart**2), least_distance**2)
    missing = -jnp.sum(weights * (jnp.log(squared) / (4 * np.pi) + short))
    fade = (jnp.sqrt(squared) - WHOLE) / (NOTHING - WHOLE)
    return missing * jnp.cos(np.pi / 2 * jnp.clip(fade, 0, 1)) ** 2


def _window(distance: Float[Array, "nz nx"]) -> Float[Array, "nz nx"]:
    return erfc((distance - MIDDLE) / SLOPE) / 2


def peak_on_cells(
    source: Float[Array, "2"], shape: tuple[int, int], half_width: int, response: Float[np.ndarray, "n n"]
) -> Float[Array, "nz nx"]:
    """Compute the peak at a source as its grid has it, far from all walls and free surfaces.

    Args:
        source: Position (z, x) of the source, in cells with centers at whole numbers.
        shape: Rows and columns of the grid.
        half_width: Half the width of the sinc that spreads the source; 0 for one at a center.
        response: The grid's response, of `grid_response`.

    Returns:
        The factor of the wavelet in each cell.
    """
    (rows, row_weights), (columns, column_weights) = (windowed_sinc(x, half_width) for x in source)
    count = len(row_weights)
    beside = np.arange(-REACH, count + REACH)  # of the first cell that the source touches
    apart = np.abs(np.arange(count)[:, None] - beside)
    table = response[apart[:, None, :, None], apart[None, :, None, :]]
    peak = contract(table, row_weights[:, None] * column_weights, "abij,ab->ij")
    z, x = (cells[0] + beside - at for cells, at in zip((rows, columns), _place(source, half_width), strict=True))
    # With a border of zeros, which all cells farther away read.
    peak = jnp.pad(peak * _window(jnp.hypot(z[:, None], x)), 1)
    z, x = (
        jnp.clip(np.arange(n) - cells[0] + REACH + 1, 0, len(peak) - 1)
        for n, cells in zip(shape, (rows, columns), strict=True)
    )
    return peak[z[:, None], x]


def peak_at_points(
    source: Float[Array, "2"],
    points: tuple[Float[np.ndarray, " nz"], Float[np.ndarray, " nx"]],
    half_width: int,
    least_distance: float,
) -> Float[Array, "nz nx"]:
    """Compute the peak at a source as a plane has it, at the points of another grid.

    Args:
        source: Position (z, x) of the source, in cells with centers at whole numbers.
        points: Rows and columns of the points, in the same cells.
        half_width: Half the width of the sinc that spreads the source; 0 for one at a center.
        least_distance: Radius of the ring over which each point averages [cells].

    Returns:
        The factor of the wavelet at each point.
    """
    z, x = (jnp.asarray(p, source.dtype) - at for p, at in zip(points, _place(source, half_width), strict=True))
    squared = jnp.maximum(z[:, None] ** 2 + x**2, least_distance**2)
    row_weights, column_weights = (windowed_sinc(at, half_width)[1] for at in source)
    logarithm = jnp.log(squared) / (4 * np.pi)
    return -jnp.sum(row_weights) * jnp.sum(column_weights) * logarithm * _window(jnp.sqrt(squared))


def _place(source: Float[Array, "2"], half_width: int) -> Float[Array, "2"]:
    """Without interpolation a point is where its cell is."""
    return source if half_width else jnp.round(source)
