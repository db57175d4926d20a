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

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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


@jax.custom_jvp
def squared_distance(first: Levels, second: Levels) -> Float[Array, ""]:
    """Integrate the squared difference of two quantile functions.

    Args:
        first: A distribution function at the edges of samples, strictly rising from zero to one.
        second: Another one.

    Returns:
        The squared Wasserstein distance, in squared lengths of the record.
    """
    return _distance_and_slope(first, second, jnp.zeros_like(first), jnp.zeros_like(second))[0]


@squared_distance.defjvp
def _derivative(primals, tangents):
    return _distance_and_slope(*primals, *tangents)


def _distance_and_slope(first: Levels, second: Levels, d_first: Levels, d_second: Levels):
    """Integrate over the levels of both, where all is linear between two neighbors.

    The derivative is not that of the sum, in which small differences of levels are divided by small densities, but the
    integral of 2 (G^-1(F(t)) - t) dF(t) over t, and its like for G. Here F^-1 is `t`, and G^-1 is `u`, at each level.
    """
    edges = jnp.linspace(0, 1, len(first), dtype=first.dtype)
    # Equal levels of the second one come first.
    at_first = _between(second, first, side="right")
    at_second = _between(first, second, side="left")
    place = jnp.concatenate([jnp.arange(len(first)) + at_first.below, jnp.arange(len(first)) + at_second.below])

    def at_levels(of_first, of_second):
        """Put values at the levels of each function in the order of all levels."""
        return (
            jnp.zeros(place.shape, first.dtype)
            .at[place]
            .set(jnp.concatenate([of_first, of_second]), unique_indices=True)
        )

    levels = at_levels(first, second)
    t, dt = (at_levels(edges, at_second(edges)), at_levels(d_first, at_second(d_first)))
    u, du = (at_levels(at_first(edges), edges), at_levels(at_first(d_second), d_second))
    distance = _integral(levels, t - u, t - u)
    return distance, 2 * (_integral(t, u - t, dt) + _integral(u, t - u, du))


class _Between(NamedTuple):
    """Hold places between the edges of samples: the number of edges below, the next edge, and the part of the way."""

    below: Int[Array, " n_edges"]
    upper: Int[Array, " n_edges"]
    fraction: Levels

    def __call__(self, values: Levels) -> Levels:
        """Interpolate values at the edges."""
        return (1 - self.fraction) * values[self.upper - 1] + self.fraction * values[self.upper]


def _between(function: Levels, levels: Levels, side: str) -> _Between:
    """Find where a distribution function has the given levels."""
    below = jnp.searchsorted(function, levels, side=side)
    upper = jnp.clip(below, 1, len(function) - 1)
    low, high = function[upper - 1], function[upper]
    # Rounding may leave no difference in very long records.
    return _Between(below, upper, (levels - low) / jnp.where(high > low, high - low, 1))


def _integral(over: Float[Array, " n"], first: Float[Array, " n"], second: Float[Array, " n"]) -> Float[Array, ""]:
    """Integrate a product of two functions that are linear between the given points."""
    a, b, c, d = first[:-1], first[1:], second[:-1], second[1:]
    return jnp.sum(jnp.diff(over) * (2 * a * c + a * d + b * c + 2 * b * d)) / 6
