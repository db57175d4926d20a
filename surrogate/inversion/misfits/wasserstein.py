"""Compare traces by how far their parts would have to be moved in time: the squared Wasserstein distance W2.

    W2^2(f, g) = int_0^1 (F^-1(s) - G^-1(s))^2 ds

with F and G the distribution functions of two densities in time, and times in lengths of the record. A shift alone has
W2^2 = shift^2, however long it is. Traces have either sign, and densities have not, so each trace x, of root mean
square one, has two densities, of its positive and of its negative part,

    f = (phi(x) + eta) / sum (phi(x) + eta),    phi(x) = x^2 / (x + k) for x > 0, and 0 otherwise

and the misfit of a trace is the mean of both W2^2: blind to amplitude, but not to polarity. phi is the positive part
without a kink at zero. The background eta keeps quantiles continuous where a trace is silent, and takes about the
share eta / mean(phi) off the W2^2 of a shift. Between samples densities are constant, so that quantiles are linear
between the levels of F and G, and the integral over the levels of both is exact.

Source: B. Engquist and B. D. Froese, Communications in Mathematical Sciences 12 (2014), 979-988; Y. Yang, B. Engquist,
J. Sun and B. F. Hamfeldt, Geophysics 83 (2018), R43-R62
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.traces import Data, PerTrace, Traces, compare_normalized, weigh

KINK = 0.1  # k, in root mean squares of the trace
BACKGROUND = 1e-3  # eta, likewise

Levels = Float[Array, " n_edges"]


def wasserstein(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Average the squared Wasserstein distances of the traces. See `Misfit.__call__`."""
    return compare_normalized(weigh(predicted, observed, weights), both_parts)


def both_parts(predicted: Traces, observed: Traces) -> PerTrace:
    """Average the squared distances of the positive and the negative parts.

    Args:
        predicted: Predicted traces `(n_shots, nt, n_traces)` of mean square one.
        observed: Observed traces, likewise.

    Returns:
        The mean for each trace `(n_shots, n_traces)`.
    """
    n_shots, nt, n_traces = predicted.shape
    one_by_one = (jnp.moveaxis(traces, 1, 2).reshape(-1, nt) for traces in (predicted, observed))
    both = (jax.vmap(distribution)(jnp.concatenate([traces, -traces])) for traces in one_by_one)
    return jax.vmap(squared_distance)(*both).reshape(2, n_shots, n_traces).mean(axis=0)


def distribution(trace: Float[Array, " nt"]) -> Levels:
    """Integrate the density of the positive part of a trace.

    Args:
        trace: Trace `(nt,)` of mean square one.

    Returns:
        The distribution function at the edges of the samples `(nt + 1,)`, from zero to one.
    """
    positive = jnp.maximum(trace, 0)
    sums = jnp.cumsum(positive**2 / (positive + KINK) + BACKGROUND)
    return jnp.pad(sums / sums[-1], (1, 0))


def squared_distance(first: Levels, second: Levels) -> Float[Array, ""]:
    """Integrate the squared difference of two quantile functions.

    Args:
        first: A distribution function at the edges of samples, strictly rising from zero to one.
        second: Another one.

    Returns:
        The squared Wasserstein distance, in squared lengths of the record.
    """
    edges = jnp.linspace(0, 1, len(first), dtype=first.dtype)
    at_first = edges - jnp.interp(first, second, edges)
    at_second = jnp.interp(second, first, edges) - edges
    levels, apart = jax.lax.sort((jnp.concatenate([first, second]), jnp.concatenate([at_first, at_second])), num_keys=1)
    low, high = apart[:-1], apart[1:]
    return jnp.sum(jnp.diff(levels) * (low**2 + low * high + high**2)) / 3
