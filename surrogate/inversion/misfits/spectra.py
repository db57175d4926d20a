"""Transform traces to frequencies and back, with room for lags of either sign.

    X(f) = sum_t x(t) exp(-2 pi i f t),    x zero beyond the record

over at least twice the record's length, so that correlations of two records do not wrap around.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.fft import next_fast_len

from surrogate.inversion.misfits.traces import Traces

Spectra = Complex[Array, "n_shots n_frequencies n_traces"]


def padded_length(nt: int) -> int:
    """Choose a length that transforms fast.

    Args:
        nt: Samples of the record.

    Returns:
        The number of samples with zeros, at least `2 nt`.
    """
    length: Any = next_fast_len(2 * nt, real=True)  # SciPy's own annotation says None
    return length


def spectra(traces: Traces) -> Spectra:
    """Transform padded traces.

    Args:
        traces: Traces `(n_shots, nt, n_traces)`.

    Returns:
        Their spectra at the frequencies that are not negative `(n_shots, n_frequencies, n_traces)`.
    """
    return jnp.fft.rfft(traces, n=padded_length(traces.shape[1]), axis=1)


def by_lag(spectrum: Spectra, nt: int) -> Float[Array, "n_shots n_lags n_traces"]:
    """Transform a product of spectra to a function of the lag.

    Args:
        spectrum: Product of spectra of the traces.
        nt: Samples of the traces.

    Returns:
        Its values at `lags(nt)`.
    """
    return jnp.fft.irfft(spectrum, n=padded_length(nt), axis=1)


def lags(nt: int) -> Float[np.ndarray, "n_lags 1"]:
    """List the lags in the order of the transform.

    Args:
        nt: Samples of the traces.

    Returns:
        The lags, in lengths of the record: zero, positive ones, negative ones.
    """
    length = padded_length(nt)
    return np.fft.fftfreq(length)[:, None] * length / nt
