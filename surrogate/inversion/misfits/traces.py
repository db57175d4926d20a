"""Prepare data for a misfit: the rules for weights, units and silent traces, which all misfits share.

**Weights.** Data of both sides are multiplied by the weights w, so that a mute acts in time. Misfits that normalize
traces would undo that, so there each trace counts as much as the mean square of its weights,

    J = sum_r c_r m(p_r, o_r) / sum_r c_r,    c_r = mean over time of w_r^2

with p the predicted and o the observed traces, divided by their own root mean squares (rms). A trace of weight zero
counts nothing, and one of weight 1/2 a quarter. Misfits that do not normalize traces are sums over the weighted data.

**Units.** Data are divided by an amplitude before anything is squared, so that no unit leaves the range of float32.

**Silence.** A trace is silent if its rms is less than `SILENCE` times the mean rms of its shot's traces. Misfits that
normalize traces leave out those whose observed data are silent, since nothing but rounding errors can be in them. The
norm of a predicted trace ends at that level, and the trace counts

    h m(p_r, o_r) + 1 - h,    h = min(1, mean square of the predicted trace / square of the level)

that is one where it is zero, with a finite gradient. The other misfits fit silent observed traces like any data.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError

SILENCE = 1e-4  # of the mean rms of a shot's traces; rounding errors of float32 are near 1e-7 of the loudest

Data = Float[Array, "n_shots nt *rest"]
Traces = Float[Array, "n_shots nt n_traces"]
PerTrace = Float[Array, "n_shots n_traces"]


class Pair(NamedTuple):
    """Hold the data of both sides, multiplied by the weights.

    Attributes:
        predicted: Predicted traces `(n_shots, nt, n_traces)`.
        observed: Observed traces, likewise.
        weight: Mean square of each trace's weights `(n_shots, n_traces)`.
    """

    predicted: Traces
    observed: Traces
    weight: PerTrace


class Loudness(NamedTuple):
    """Hold what traces are divided by.

    Attributes:
        amplitude: Largest amplitude of each shot `(n_shots, 1, 1)`, one for a silent shot; it has no derivative.
        rms: Root mean square of each trace over time, in units of `amplitude`, at least the level of silence
            `(n_shots, 1, n_traces)`.
        heard: One for traces above the level of silence; below it, their mean square over the level's
            `(n_shots, n_traces)`.
    """

    amplitude: Float[Array, "n_shots 1 1"]
    rms: Float[Array, "n_shots 1 n_traces"]
    heard: PerTrace


def weigh(predicted: Data, observed: Data, weights: Float[Array, "..."] | None) -> Pair:
    """Check the shapes, and multiply the data of both sides by the weights.

    Args:
        predicted: Predicted data `(n_shots, nt, ...)`.
        observed: Observed data of the same shape.
        weights: Weights that broadcast against them; None for ones.

    Returns:
        The weighted traces; all axes after time are made one.

    Raises:
        InputError: If the shapes differ, or the weights do not fit them.
    """
    shape = predicted.shape
    if shape != observed.shape:
        raise InputError(
            f"Predicted data of the shape {shape} cannot be compared with observed data of the shape "
            f"{observed.shape}. Give the same shots, times and receivers to both, and map a batch by jax.vmap."
        )
    predicted, observed = (data.reshape(*shape[:2], -1) for data in (predicted, observed))
    if weights is None:
        return Pair(predicted, observed, jnp.ones(predicted[:, 0].shape, predicted.dtype))
    if weights.ndim != len(shape) or any(n not in (1, m) for n, m in zip(weights.shape, shape, strict=True)):
        raise InputError(
            f"Weights of the shape {weights.shape} do not fit data of the shape {shape}: each axis needs the data's "
            "length, or 1, which holds for all. Traces of gathers are weighed by (n_shots, 1, n_traces)."
        )
    factors = jnp.broadcast_to(weights, (*weights.shape[:2], *shape[2:])).reshape(*weights.shape[:2], -1)
    count = jnp.broadcast_to(jnp.mean(factors**2, axis=1), predicted[:, 0].shape)
    # Observed data of weight zero may be NaN, which a factor of zero does not remove.
    return Pair(factors * predicted, factors * jnp.where(factors > 0, observed, 0), count)


def amplitude(data: Traces, axis: int | tuple[int, ...] | None = None) -> Float[Array, "..."]:
    """Find the largest amplitude, which is one unit of the data; it has no derivative.

    Args:
        data: Traces `(n_shots, nt, n_traces)`.
        axis: Axes over which to search, all by default.

    Returns:
        The largest magnitude, with the same number of axes, or one where the data are zero throughout.
    """
    largest = jnp.max(jnp.abs(data), axis=axis, keepdims=True)
    return jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))


def loudness(data: Traces) -> Loudness:
    """Measure how loud each trace is, from the level of silence on.

    Args:
        data: Traces `(n_shots, nt, n_traces)`.

    Returns:
        Amplitudes, root mean squares, and which traces are heard.
    """
    unit = amplitude(data, axis=(1, 2))
    power = jnp.mean((data / unit) ** 2, axis=1, keepdims=True)
    rms = jnp.sqrt(jax.lax.stop_gradient(power))
    level = (SILENCE * jnp.mean(rms, axis=2, keepdims=True)) ** 2
    level = jnp.where(level == 0, 1, level)
    loud = power >= level
    heard = jnp.where(loud, 1, power / level)
    # The square root is taken of what is not zero, as its derivative would be infinite there.
    return Loudness(unit, jnp.sqrt(jnp.where(loud, power, level)), heard[:, 0])


def observed_traces(pair: Pair, observed: Loudness) -> PerTrace:
    """Count the traces: by the mean squares of their weights, and zero for those that were not observed.

    Args:
        pair: Data of both sides.
        observed: Loudness of the observed traces.

    Returns:
        The weight of each trace in a mean `(n_shots, n_traces)`.
    """
    return jnp.where(observed.heard == 1, pair.weight, 0)


def mean_over_traces(values: PerTrace, counts: PerTrace) -> Float[Array, ""]:
    """Average over the traces.

    Args:
        values: Contribution of each trace `(n_shots, n_traces)`, finite.
        counts: Weight of each trace in the mean, likewise.

    Returns:
        The mean, zero if no trace counts.
    """
    total = jnp.sum(counts)
    return jnp.sum(counts * values) / jnp.where(total == 0, 1, total)


def compare_normalized(pair: Pair, compare: Callable[[Traces, Traces], PerTrace]) -> Float[Array, ""]:
    """Average a comparison of traces that are divided by their root mean squares; see the module.

    Args:
        pair: Data of both sides.
        compare: Function of predicted and observed traces `(n_shots, nt, n_traces)`, whose mean squares are one, or
            less where a predicted trace is silent, to the contribution of each `(n_shots, n_traces)`.

    Returns:
        The misfit.
    """
    of_predicted, of_observed = loudness(pair.predicted), loudness(pair.observed)
    counts = observed_traces(pair, of_observed)
    predicted = pair.predicted / of_predicted.amplitude / of_predicted.rms
    observed = pair.observed / of_observed.amplitude / of_observed.rms
    # A trace that was not observed gets some values from which no comparison is NaN: that times zero would be NaN.
    observed = jnp.where(counts[:, None] > 0, observed, 1)
    values = of_predicted.heard * compare(predicted, observed) + 1 - of_predicted.heard
    return mean_over_traces(values, counts)


def typical_rms(pair: Pair) -> Float[Array, ""]:
    """Find the median of the observed traces' root mean squares, where a noisy or a dead trace changes little.

    Args:
        pair: Data of both sides, of which the observed ones count, in units of about one.

    Returns:
        The median over all traces that were observed, each relative to the mean square of its weights.
    """
    power = jnp.mean(pair.observed**2, axis=1)
    counts = observed_traces(pair, loudness(pair.observed))
    rms = jnp.sqrt(power / jnp.where(counts > 0, pair.weight, 1))
    return jax.lax.stop_gradient(jnp.nanmedian(jnp.where(counts > 0, rms, jnp.nan)))


def compare_scaled(pair: Pair, loss: Callable[[Traces], Traces]) -> Float[Array, ""]:
    """Divide the loss of the errors by that of the observed data, both in typical root mean squares of a trace.

    Args:
        pair: Data of both sides.
        loss: Function of each value `(n_shots, nt, n_traces)`, zero at zero.

    Returns:
        The misfit.
    """
    unit = amplitude(pair.observed)
    pair = pair._replace(predicted=pair.predicted / unit, observed=pair.observed / unit)
    scale = typical_rms(pair)
    return jnp.sum(loss((pair.predicted - pair.observed) / scale)) / jnp.sum(loss(pair.observed / scale))
