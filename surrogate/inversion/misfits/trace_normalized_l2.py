"""Compare traces by their squared differences, relative to each observed trace: far offsets count like near ones.

    J = sum_r c_r |p_r - o_r|^2 / |o_r|^2 / sum_r c_r

with p_r and o_r the predicted and observed traces. Amplitudes count within a trace. Where they should not, both traces
are divided by their own norms, and half the squared difference is the global correlation (global_correlation.py).

Source: A. Tarantola, Geophysics 49 (1984), 1259-1266, with a standard deviation of the data in proportion to each
trace's norm
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.traces import Data, loudness, mean_over_traces, observed_traces, weigh


def trace_normalized_l2(
    predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None
) -> Float[Array, ""]:
    """Average the squared errors of traces over those of a silent prediction. See `Misfit.__call__`."""
    pair = weigh(predicted, observed, weights)
    scale = loudness(pair.observed)
    residual = (pair.predicted - pair.observed) / scale.amplitude / scale.rms
    return mean_over_traces(jnp.mean(residual**2, axis=1), observed_traces(pair, scale))
