"""Compare traces by the delay at which they correlate best: blind to amplitude and to the rest of the waveform.

    J = sum_r c_r tau_r^2 / sum_r c_r,    tau_r = sum_l l exp(b C(l) / M) / sum_l exp(b C(l) / M)

with C(l) = sum_t p(t + l) o(t) the cross-correlation of a predicted and an observed trace, M its largest magnitude, and
lags l in lengths of the record. The soft maximum tau has a derivative everywhere, and it follows a shift however long
it is. The larger the `SHARPNESS` b, the less do other maxima pull at it. At equality C is even and tau = 0. The mean of
l^2 by C^2 in place of tau^2 would not be smallest at equality, but where C is narrowest; the mean of l by C^2 is the
farther off the more energy later arrivals have.

Source: Y. Luo and G. T. Schuster, Geophysics 56 (1991), 645-653; T. van Leeuwen and W. A. Mulder, Geophysical Journal
International 182 (2010), 1383-1394
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.spectra import by_lag, lags, spectra
from surrogate.inversion.misfits.traces import Data, PerTrace, Traces, compare_normalized, weigh

SHARPNESS = 30.0  # b: a maximum of 0.9 of the largest has e^-3 = 0.05 of its weight


def cross_correlation_delay(
    predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None
) -> Float[Array, ""]:
    """Average the squared delays of the traces. See `Misfit.__call__`."""
    return compare_normalized(weigh(predicted, observed, weights), lambda p, o: delays(p, o) ** 2)


def delays(predicted: Traces, observed: Traces) -> PerTrace:
    """Compute the delay of each predicted trace.

    Args:
        predicted: Predicted traces `(n_shots, nt, n_traces)`, in units of about one.
        observed: Observed traces, likewise.

    Returns:
        The delays `(n_shots, n_traces)`, in lengths of the record, positive where the prediction is late.
    """
    nt = predicted.shape[1]
    correlation = by_lag(spectra(predicted) * jnp.conj(spectra(observed)), nt)
    largest = jnp.max(jnp.abs(correlation), axis=1, keepdims=True)
    shares = jax.nn.softmax(SHARPNESS * correlation / jnp.where(largest == 0, 1, largest), axis=1)
    return jnp.sum(lags(nt).astype(shares.dtype) * shares, axis=1)
