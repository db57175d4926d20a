"""Put models on a grid, and take fields from it, by the cosine series that the grid can hold.

    m(x) = sum_k c_k cos(pi k x / D),    0 <= x <= D,    k / D < 1 / h

A grid of spacing h carries waves of wavenumbers below pi / h, on which the finer part of a medium has next to no
effect: so the medium is cut off there. Its series is one of even functions, as a medium continues beyond a wall (its
image), a layer (its edge value) and a free surface (its image in the first row).

    cells    m has the value m_j in the whole cell j: c_k is that of the samples times sinc(k H / 2 D), with cells of H
    samples  m is the band-limited function through the m_j, the series with as many terms as there are samples

The values on the grid are not kept within the range of the model: an interface that is cut off overshoots, and clipping
it makes waves too slow there, three times as wrong in layered media (measured).
"""

import numpy as np
from jaxtyping import Float


def cosines(points: Float[np.ndarray, " n"], terms: int, length: float) -> Float[np.ndarray, "n terms"]:
    """Evaluate the functions of a cosine series.

    Args:
        points: Points x [m].
        terms: Number of functions, from k = 0 on.
        length: Length D [m].

    Returns:
        cos(pi k x / D), `(n, terms)`.
    """
    return np.cos(np.pi * np.outer(points, np.arange(terms)) / length)


def half_sines(points: Float[np.ndarray, " n"], terms: int, length: float) -> Float[np.ndarray, "n terms"]:
    """Evaluate the functions that vanish at 0 and are even about D: those of a field below a free surface.

    Args:
        points: Points x [m].
        terms: Number of functions, from k = 0 on.
        length: Length D [m].

    Returns:
        sin(pi (k + 1 / 2) x / D), `(n, terms)`.
    """
    return np.sin(np.pi * np.outer(points, np.arange(terms) + 0.5) / length)


def coefficients_of_cells(
    centers: Float[np.ndarray, " n"], spacing: float, terms: int, length: float
) -> Float[np.ndarray, "terms n"]:
    """Compute the matrix from the values of constant cells to the coefficients of their series.

    Args:
        centers: Centers of the cells, from 0 to D [m]. A cell around 0 counts as half a cell.
        spacing: Size of a cell H [m].
        terms: Number of terms.
        length: Length D [m].

    Returns:
        Matrix `(terms, n)`.
    """
    order = np.arange(terms)[:, None]
    share = np.where(np.abs(centers) < spacing / 4, 0.5, 1.0) * spacing / length
    mean = cosines(centers, terms, length).T * np.sinc(order * spacing / (2 * length))
    return np.where(order == 0, 1.0, 2.0) * share * mean


def coefficients_of_samples(points: Float[np.ndarray, " n"], terms: int, length: float) -> Float[np.ndarray, "terms n"]:
    """Compute the matrix from samples to the coefficients of the series through them, without the last terms.

    Args:
        points: Points of the samples, equally spaced [m].
        terms: Number of terms to keep.
        length: Length D [m].

    Returns:
        Matrix `(terms, n)`, of zeros beyond the n terms that n samples have.
    """
    series = np.linalg.inv(cosines(points, len(points), length))[:terms]
    return np.pad(series, ((0, terms - len(series)), (0, 0)))
