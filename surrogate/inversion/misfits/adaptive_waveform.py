"""Compare traces by the filter that turns one into the other: adaptive waveform inversion.

    J = sum_r c_r sum_l l^2 w_r(l)^2 / sum_l w_r(l)^2 / sum_r c_r,    w * p = o in the least-squares sense

with w the Wiener filter of a predicted trace p and an observed one o, and lags l in lengths of the record. At equality
w is an impulse at lag zero; a delay moves the impulse, however long it is. In frequencies,

    W = (conj(P) O + eps) / (|P|^2 + eps)

minimizes |w * p - o|^2 + eps |w - impulse|^2. So W is one where the data have no energy and where p = o, and J is zero
at equality exactly; with the usual filter, which eps draws to zero, it would not be smallest there.
Traces are divided by their root mean squares before, and eps is a part of the largest |O|^2. Blind to amplitude, and
nearly blind to polarity.

Source: M. Warner and L. Guasch, Geophysics 81 (2016), R429-R445
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.spectra import by_lag, lags, spectra
from surrogate.inversion.misfits.traces import Data, PerTrace, Traces, compare_normalized, weigh

STABILIZATION = 1e-2  # eps, in the largest power of the observed trace's spectrum


def adaptive_waveform(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Average the mean squared lags of the matching filters. See `Misfit.__call__`."""
    return compare_normalized(weigh(predicted, observed, weights), squared_lags)


def squared_lags(predicted: Traces, observed: Traces) -> PerTrace:
    """Average the squared lags by the squares of the matching filter.

    Args:
        predicted: Predicted traces `(n_shots, nt, n_traces)` of mean square one.
        observed: Observed traces, likewise.

    Returns:
        The mean for each trace `(n_shots, n_traces)`, in squared lengths of the record.
    """
    p, o = spectra(predicted), spectra(observed)
    eps = STABILIZATION * jnp.max(jnp.abs(o) ** 2, axis=1, keepdims=True)
    power = jnp.real(p) ** 2 + jnp.imag(p) ** 2
    squares = by_lag((jnp.conj(p) * o + eps) / (power + eps), predicted.shape[1]) ** 2
    penalty = lags(predicted.shape[1]).astype(squares.dtype) ** 2
    return jnp.sum(penalty * squares, axis=1) / jnp.sum(squares, axis=1)
