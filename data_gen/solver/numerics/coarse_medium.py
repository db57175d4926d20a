"""Find the medium on a grid twice as coarse as its model: how the finer half acts on the waves that the grid carries.

For waves that a grid of spacing h resolves, `m p_tt = laplacian p + s` with `m = 1 / v^2` becomes Galerkin's system

    M p_tt = laplacian p + s,    (M p)(k') = sum_k m(k' - k) p(k),    |k|, |k'| < pi / h

in which m counts up to twice the grid's limit. Samples of m on the grid, a diagonal M, do it wrong twice: they lose the
scattering by the finer half of m, and fold back what is scattered beyond the limit as a wave that does not exist.

M is kept here on 3 x 3 cells. Along each axis, the part of m of wavenumber q couples two cells d apart by g_d(q) times
its value half-way between them, which couples k to k + q by `g_0 + 2 g_1 cos((k + q / 2) h)`. The weights are the best
for waves of spectrum w: g minimizes

    sum_k w(k) w(k') |g_0 + 2 g_1 cos((k + q / 2) h) - (1 if |k + q| < pi / h else 0)|^2,    k' = k + q, folded back

with `w(k) = exp(-(k / k_0)^2)`. Its inverse is taken to second order from the diagonal D = 1 / v^2 of the low-passed
model: with `E = D^-1/2 M D^-1/2 - 1`, `M^-1 = D^-1/2 (1 - E + E^2 - ...) D^-1/2`, where E^2, which has 5 x 5 cells, is
replaced by a part of its diagonal. So `p_tt = (1 - C) v^2 (laplacian p + s)` with 3 x 3 cells of C.

The limit on the time step stays, to a few hundredths: Galerkin's M is at least min m, and then
`2 / D - M / D^2 <= 1 / min m`; the 3 x 3 cells keep to that nearly.
"""

from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# k_0 over the grid's limit: 5, 6 and 7 sixteenths differ little.
SPECTRUM_WIDTH = 3 / 8
# The part of E^2's diagonal that is kept. Without it waves are too slow where the model is roughest; all of it would
# change long waves as E^2 changes only the shortest. Errors in rough media (24 of `data=reference`) and in the roughest
# (noise averaged over one coarse cell, 12 Hz): none of it 0.0251, 0.0239; a third 0.0262, 0.0150; half 0.0268, 0.0144;
# all 0.0293, 0.0277; the whole of E^2, at twice the cost, 0.0273, 0.0144; no coupling 0.0333, 0.0138.
SECOND_ORDER = 1 / 3
# Bounds on E at the cell, its sides and its corners. They add up to less than 1, which keeps `(1 - C) v^2`
# positive; in layered, faulted and rough media less than one value in a hundred is beyond.
BOUNDS = np.array([[1, 4, 1], [4, 8, 4], [1, 4, 1]]) / 32


class CoarseMedium(NamedTuple):
    """Hold a medium on the coarse grid, as `simulate` takes it.

    Attributes:
        velocity: Velocity model `(mz, mx)` [m/s].
        coupling: C `(3, 3, mz, mx)`: `coupling[a, b]` is how the cell (a - 1, b - 1) away acts on a cell.
    """

    velocity: Float[Array, "mz mx"]
    coupling: Float[Array, "3 3 mz mx"]


@cache
def _weights(cells: int) -> np.ndarray:
    """Compute g_0 and g_1, `(2, cells)`, for the cosines `q h = pi j / (cells / 2)` of a side of fine cells."""
    k = (np.arange(512) + 0.5) / 256 * np.pi - np.pi  # in units of 1 / h
    weights = np.zeros((2, cells))
    for j, q in enumerate(2 * np.pi * np.arange(cells) / cells):
        folded = (k + q + np.pi) % (2 * np.pi) - np.pi
        root = np.exp(-(k**2 + folded**2) / (np.pi * SPECTRUM_WIDTH) ** 2 / 2)  # of w(k) w(k')
        couplings = np.stack([np.ones_like(k), 2 * np.cos(k + q / 2)], axis=1)
        weights[:, j] = np.linalg.lstsq(couplings * root[:, None], (np.abs(k + q) < np.pi) * root, rcond=None)[0]
    return weights


@cache
def _projections(cells: int) -> np.ndarray:
    """Project a side's cells to half-way from each coarse cell to the one below, itself and the one above.

    The result is `(4, cells / 2, cells)`; its last matrix is the exact low-pass at the coarse grid's limit. All use the
    side's cosine series, since a model continues with its edge's value beyond its sides.
    """
    order = np.arange(cells)
    series = np.cos(np.pi * np.outer(order, np.arange(cells) + 0.5) / cells)
    series /= np.sum(series**2, axis=1, keepdims=True)
    weights, low = _weights(cells), (order < cells // 2).astype(float)
    centers = 2 * np.arange(cells // 2) + 1
    filters = [(-1, weights[1]), (0, weights[0]), (1, weights[1]), (0, low)]
    return np.stack([np.cos(np.pi * np.outer(centers + d, order) / cells) * g @ series for d, g in filters])


def neighbors(field: Float[Array, "mz mx"]) -> Float[Array, "3 3 mz mx"]:
    """Stack a field at each cell's 3 x 3 neighbors.

    Args:
        field: A field `(mz, mx)`.

    Returns:
        The field at the cell (a - 1, b - 1) away, `(3, 3, mz, mx)`. Beyond a side it is the value at the side, which is
        the image in a wall half a cell away.
    """
    (mz, mx), padded = field.shape, jnp.pad(field, 1, mode="edge")
    return jnp.stack([jnp.stack([padded[a : a + mz, b : b + mx] for b in range(3)]) for a in range(3)])


def coarse_medium(velocity: Float[Array, "nz nx"]) -> CoarseMedium:
    """Compute the medium on cells twice as large; differentiable.

    The low-passed compressibility is kept within the model's own range, and C within `BOUNDS`. Where several cells have
    the model's extreme, the derivative is one of those that a kink has.

    Args:
        velocity: Velocity model `(nz, nx)` of even sides [m/s].

    Returns:
        The medium on `(nz / 2, nx / 2)` cells.
    """
    compressibility = velocity**-2
    along_z, along_x = (jnp.asarray(_projections(n), velocity.dtype) for n in velocity.shape)
    diagonal = along_z[3] @ compressibility @ along_x[3].T
    diagonal = jnp.clip(diagonal, jnp.min(compressibility), jnp.max(compressibility))
    mass = jnp.einsum("azf,fg,bxg->abzx", along_z[:3], compressibility, along_x[:3])
    root = jnp.sqrt(diagonal)
    others = neighbors(root)
    bounds = jnp.asarray(BOUNDS, velocity.dtype)[:, :, None, None]
    # The outermost cells couple to none, and so no layer's do: a coupling in a layer makes waves grow there.
    inside = jnp.pad(jnp.ones([n - 2 for n in root.shape], root.dtype), 1)
    first = jnp.clip(mass.at[1, 1].add(-diagonal) / (root * others), -bounds, bounds) * inside * neighbors(inside)
    second = first.at[1, 1].add(-SECOND_ORDER * jnp.sum(first**2, axis=(0, 1)))
    return CoarseMedium(1 / root, second * others / root)
