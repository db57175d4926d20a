"""Compare the envelopes of traces, which vary slowly: blind to the phase, with a wider basin than the waveforms.

    J = sum (e(p) - e(o))^2 / sum (e(o)^2 - eps^2),    e(d)^2 = d^2 + H(d)^2 + eps^2

with p the predicted and o the observed data, H the Hilbert transform along time, and eps a small part of the largest
observed amplitude, where e would have a kink at zero. H multiplies spectra of padded traces by -i sign(f). At a silent
prediction J = 1 up to eps, and the gradient is zero, since any phase would do.

Source: E. Bozdag, J. Trampert and J. Tromp, Geophysical Journal International 185 (2011), 845-870; R.-S. Wu, J. Luo and
B. Wu, Geophysics 79 (2014), WA13-WA24
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.spectra import padded_length, spectra
from surrogate.inversion.misfits.traces import Data, Traces, amplitude, weigh

SMOOTHING = 1e-3  # eps, in largest amplitudes


def envelope(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Divide the sum of squared errors of the envelopes by that of the observed ones. See `Misfit.__call__`."""
    pair = weigh(predicted, observed, weights)
    unit = amplitude(pair.observed)
    p, o = (envelopes(data / unit) for data in (pair.predicted, pair.observed))
    return jnp.sum((p - o) ** 2) / jnp.sum(o**2 - SMOOTHING**2)


def envelopes(traces: Traces) -> Traces:
    """Compute the smoothed envelopes of traces in units of about one.

    Args:
        traces: Traces `(n_shots, nt, n_traces)`.

    Returns:
        Their envelopes, `SMOOTHING` where a trace is silent.
    """
    nt = traces.shape[1]
    # The inverse transform ignores the imaginary parts at frequency zero and at the highest one.
    shifted = jnp.fft.irfft(-1j * spectra(traces), n=padded_length(nt), axis=1)[:, :nt]
    return jnp.sqrt(traces**2 + shifted**2 + SMOOTHING**2)
