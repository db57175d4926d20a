"""Compute the field of a point source in a homogeneous medium, in closed form.

    lap G + (2 pi f / v)^2 G = -delta,    G(r, f) = -(i / 4) H_0^(2)(2 pi f r / v)

is the outgoing solution for a time dependence exp(2 pi i f t), and W G the spectrum of the field of a wavelet with the
spectrum W (see engines/field_sums.py). At the source G has no limit; on a grid it has the value that the second-order
Laplacian's own Green's function takes there, which is that of the logarithm at `CORE` cells (0.1985 = exp(-gamma) /
sqrt(8); P. G. Martinsson and G. J. Rodin, Proc. R. Soc. A 458 (2002), 2609-2622).
"""

import numpy as np
from jaxtyping import Complex, Float
from scipy.special import hankel2

CORE = 0.1985  # cells
NEGLIGIBLE = 1e-6  # of the wavelet's largest spectral value


def green(
    frequency: Float[np.ndarray, "*shape"], distance: Float[np.ndarray, "*other"], velocity: float, spacing: float
) -> Complex[np.ndarray, "..."]:
    """Evaluate G in a homogeneous medium.

    Args:
        frequency: Frequencies [Hz].
        distance: Distances from the source [m], which broadcast with the frequencies.
        velocity: Velocity of the medium [m/s].
        spacing: Cell size of the grid [m], which sets the value at the source.

    Returns:
        G, in the shape of both.
    """
    reach = np.maximum(distance, CORE * spacing)
    return np.asarray(-0.25j * hankel2(0, 2 * np.pi * frequency * reach / velocity), np.complex128)


def traces(
    wavelet: Float[np.ndarray, " nt"], dt: float, distances: Float[np.ndarray, " n"], velocity: float, spacing: float
) -> Float[np.ndarray, "n nt"]:
    """Compute the pressure at distances from a source.

    Args:
        wavelet: Wavelet of the source `(nt,)`.
        dt: Time step of the wavelet [s].
        distances: Distances `(n,)` from the source [m].
        velocity: Velocity of the medium [m/s].
        spacing: Cell size of the grid [m], which sets the value at the source.

    Returns:
        Traces `(n, nt)`.
    """
    nt = len(wavelet)
    size = 4 * nt  # the wake of a wave in two dimensions falls as 1 / t^2 or slower: none of it may come round again
    spectrum, frequencies = np.fft.rfft(wavelet, size), np.fft.rfftfreq(size, dt)
    heard = (np.abs(spectrum) > NEGLIGIBLE * np.abs(spectrum).max()) & (frequencies > 0)
    fields = np.zeros((len(distances), len(frequencies)), complex)
    fields[:, heard] = spectrum[heard] * green(frequencies[heard], distances[:, None], velocity, spacing)
    return np.fft.irfft(fields, size)[:, :nt]
