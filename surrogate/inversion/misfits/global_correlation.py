"""Compare the shapes of traces by their zero-lag correlation: blind to the amplitude of each trace.

    J = sum_r c_r (1 - <p_r, o_r> / (|p_r| |o_r|)) / sum_r c_r

with p_r and o_r the predicted and observed traces: zero where they are proportional, two where the polarity is wrong.
It is computed as half the squared difference of the normalized traces, which float32 resolves near zero.

Source: Y. Choi and T. Alkhalifah, Geophysical Prospecting 60 (2012), 748-758
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.traces import Data, PerTrace, Traces, compare_normalized, weigh


def global_correlation(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Average one minus the normalized correlation over the traces. See `Misfit.__call__`."""
    return compare_normalized(weigh(predicted, observed, weights), half_distance)


def half_distance(predicted: Traces, observed: Traces) -> PerTrace:
    """Compute half the mean square of the difference.

    Args:
        predicted: Predicted traces `(n_shots, nt, n_traces)` of mean square one.
        observed: Observed traces, likewise.

    Returns:
        One minus the correlation of each trace `(n_shots, n_traces)`.
    """
    return jnp.mean((predicted - observed) ** 2, axis=1) / 2
