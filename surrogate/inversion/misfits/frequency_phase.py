"""Compare the phases of the traces' spectra, low frequencies first: blind to amplitudes at every frequency.

    J = sum_r c_r sum_f a_r(f) (1 - cos(phase of P_r(f) - phase of O_r(f))) / sum_f a_r(f) / sum_r c_r

with P_r and O_r the spectra of predicted and observed traces. No phase is unwrapped. Each frequency has the weight

    a(f) = |O|^2 / (|O|^2 + (b max |O|)^2) / (f^2 + (l f_o)^2)

The first factor is one in the band of the observed trace, whose spectrum is above b of its maximum. The second one,
with f_o the mean frequency of the observed energy, makes squared delays of squared phases, which a low frequency
measures farther than a high one. Phases come from P / sqrt(|P|^2 + eps^2), which has no kink where a spectrum is zero.

Source: J. Bednar, C. Shin and S. Pyun, Geophysical Prospecting 55 (2007), 465-475 (phases in waveform inversion); the
weights are this module's own
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from surrogate.inversion.misfits.spectra import Spectra, padded_length, spectra
from surrogate.inversion.misfits.traces import Data, PerTrace, Traces, compare_normalized, weigh

BAND = 0.1  # b
LOWEST = 0.25  # l: below a quarter of the mean frequency, weights grow no more
SMOOTHING = 1e-3  # eps, in root mean squares of the spectrum of white noise as loud as the trace


def frequency_phase(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Average one minus the cosine of phase differences over the traces. See `Misfit.__call__`."""
    return compare_normalized(weigh(predicted, observed, weights), phase_difference)


def phase_difference(predicted: Traces, observed: Traces) -> PerTrace:
    """Average one minus the cosine of the phase differences over the band of the observed traces.

    Args:
        predicted: Predicted traces `(n_shots, nt, n_traces)` of mean square one.
        observed: Observed traces, likewise.

    Returns:
        The mean for each trace `(n_shots, n_traces)`.
    """
    nt, (p, o) = predicted.shape[1], (spectra(predicted), spectra(observed))
    share = frequency_weights(_power(o), nt)
    apart = _power(_phase(p, nt) - _phase(o, nt)) / 2  # one minus the cosine, for phases of magnitude one
    return jnp.sum(share * apart, axis=1) / jnp.sum(share, axis=1)


def frequency_weights(
    power: Float[Array, "n_shots n_frequencies n_traces"], nt: int
) -> Float[Array, "n_shots n_frequencies n_traces"]:
    """Weigh frequencies by the spectrum of the observed traces.

    Args:
        power: Squared magnitudes of the spectra of the observed traces.
        nt: Samples of the traces.

    Returns:
        The weights a, up to a factor.
    """
    frequencies = np.fft.rfftfreq(padded_length(nt))[:, None].astype(power.dtype)
    mean = jnp.sum(frequencies * power, axis=1, keepdims=True) / jnp.sum(power, axis=1, keepdims=True)
    band = power / (power + BAND**2 * jnp.max(power, axis=1, keepdims=True))
    return band / ((frequencies / mean) ** 2 + LOWEST**2)


def _power(spectrum: Spectra) -> Float[Array, "n_shots n_frequencies n_traces"]:
    """Compute squared magnitudes, with a derivative at zero."""
    return jnp.real(spectrum) ** 2 + jnp.imag(spectrum) ** 2


def _phase(spectrum: Spectra, nt: int) -> Spectra:
    """Divide a spectrum by its magnitude; white noise of mean square one has the mean power nt."""
    return spectrum / jnp.sqrt(_power(spectrum) + SMOOTHING**2 * nt)
