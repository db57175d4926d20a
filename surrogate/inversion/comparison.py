"""Compare observed data with those predicted in the start and in the estimate, in numbers that a page can show.

All of them are of the data times their weights w, as in a misfit, with p the predicted and o the observed data:

    misfit        sum (w (p - o))^2 / sum (w o)^2     over the traces of a shot, or of a range of offsets
    first break   first_breaks.py, with the period of the strongest frequency of o
    spectrum      sqrt(mean over traces of |dt sum_t w d exp(-2 pi i f t)|^2)

so that the misfit of all traces is the misfit `l2`, whichever one was inverted. Predictions are asked for one after the
other, and only what is computed from them is kept. Pictures of many values keep every n-th sample, receiver or shot.
"""

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.solver.problem.acquisition import Survey
from surrogate.inversion.first_breaks import pick_first_breaks
from surrogate.inversion.misfits.traces import amplitude
from surrogate.inversion.processing.mutes import offsets

OFFSET_BINS = 20
DRAWN_SHOTS = 3
# Float32 values that a comparison keeps, 12 MB and 6 MB: of the gathers, and of the breaks with their positions.
GATHER_VALUES, BREAK_VALUES = 3_000_000, 1_500_000


class Comparison(NamedTuple):
    """Hold what tells observed data (o) from those that are predicted in the start (s) and in the estimate (e).

    Attributes:
        misfit_by_shot: Misfits of s and e `(2, n_shots)`; NaN for a shot without data.
        misfit_by_offset: Misfits of s and e by range of offsets `(2, n_bins)`; NaN for one without data.
        offset_edges: Ends of these ranges `(n_bins + 1,)` [m].
        sources: Position (z, x) of each shot, the mean over its sources `(n_shots, 2)` [m].
        first_breaks: First breaks of o, s and e in every `break_steps`-th shot and receiver `(3, n, m)` [s]; NaN where
            none is clear.
        break_receivers: Positions (z, x) of these receivers `(n, m, 2)` [m].
        break_steps: From one shot and one receiver to the next of them `(2,)`.
        gathers: Data o, s and e of the first, the middle and the last shot, every `gather_steps`-th sample and
            receiver `(3, n, nt, m)`.
        gather_shots: Numbers of these shots `(n,)`.
        gather_receivers: Positions (z, x) of the receivers `(n, m, 2)` [m].
        gather_steps: From one sample and one receiver to the next of them `(2,)`.
        gather_dt: Time from one of these samples to the next [s].
        spectra: Amplitude spectra of o, s and e `(3, n_frequencies)` [pressure s].
        frequencies: Frequencies `(n_frequencies,)` [Hz].
    """

    misfit_by_shot: np.ndarray
    misfit_by_offset: np.ndarray
    offset_edges: np.ndarray
    sources: np.ndarray
    first_breaks: np.ndarray
    break_receivers: np.ndarray
    break_steps: np.ndarray
    gathers: np.ndarray
    gather_shots: np.ndarray
    gather_receivers: np.ndarray
    gather_steps: np.ndarray
    gather_dt: np.ndarray
    spectra: np.ndarray
    frequencies: np.ndarray


class _Measures(NamedTuple):
    """Hold what is computed from the data of one side.

    Attributes:
        error: Sum of squares over time of the data less the observed ones `(n_shots, n_receivers)`, as of data whose
            largest observed amplitude is one.
        energy: Likewise, of the data.
        spectrum: Sum of squared amplitudes of the spectra over all traces `(n_frequencies,)`.
        breaks: First breaks of the thinned shots and receivers [s].
        drawn: Gathers that are drawn, thinned.
    """

    error: np.ndarray
    energy: np.ndarray
    spectrum: np.ndarray
    breaks: np.ndarray
    drawn: np.ndarray


def compare(
    observed: Float[Array | np.ndarray, "n_shots nt n_receivers"],
    predictions: Iterable[Float[Array | np.ndarray, "n_shots nt n_receivers"]],
    survey: Survey,
    dt: float,
    weights: Float[Array | np.ndarray, "..."] | None = None,
) -> Comparison:
    """Compare gathers.

    Args:
        observed: Observed gathers `(n_shots, nt, n_receivers)`; values of weight zero may be anything, NaN included.
        predictions: Gathers predicted in the start, then those predicted in the estimate, each asked for once.
        survey: Positions of sources and receivers.
        dt: Time between two samples [s].
        weights: Weights of the data, which broadcast to them; None for ones.

    Returns:
        The comparison, in float32 and of at most 20 MB for 10,000 shots of 10,000 samples.
    """
    n_shots, nt, n_receivers = observed.shape
    observed, weights = jnp.asarray(observed), jnp.ones((1, 1, 1)) if weights is None else jnp.asarray(weights)
    weights = jnp.broadcast_to(weights, (n_shots, *weights.shape[1:]))
    shots = np.unique(np.linspace(0, n_shots - 1, DRAWN_SHOTS).round().astype(int))
    gather_steps = strides((nt, n_receivers), GATHER_VALUES // (3 * len(shots)))
    break_steps = strides((n_shots, n_receivers), BREAK_VALUES // 5)
    unit = _largest(observed, weights)

    frequencies, period, both = np.fft.rfftfreq(nt, dt), None, []
    for data in map(jnp.asarray, chain([observed], predictions)):
        error, energy, spectrum = (np.asarray(values) for values in _measure(data, observed, weights, unit))
        period = period or float(1 / frequencies[1 + np.argmax(spectrum[1:])])
        breaks = _breaks(data, weights, dt, period, break_steps)
        drawn = np.asarray(_weigh(data[shots], weights[shots]))[:, :: gather_steps[0], :: gather_steps[1]]
        both.append(_Measures(error, energy, spectrum, breaks, drawn))
    of_observed, *of_predicted = both
    error = np.stack([m.error for m in of_predicted])
    live = max(1, int((of_observed.energy > 0).sum()))
    distances = np.asarray(offsets(survey))
    edges = np.linspace(0.0, max(float(distances.max()), 1.0), OFFSET_BINS + 1)
    bins = np.clip(np.digitize(distances, edges) - 1, 0, OFFSET_BINS - 1)
    by_offset = [np.bincount(bins.ravel(), x.ravel(), OFFSET_BINS) for x in (*error, of_observed.energy)]
    receivers = np.broadcast_to(np.asarray(survey.receivers).reshape(-1, n_receivers, 2), (n_shots, n_receivers, 2))
    found = Comparison(
        misfit_by_shot=_ratio(error.sum(axis=2), of_observed.energy.sum(axis=1)),
        misfit_by_offset=_ratio(np.stack(by_offset[:-1]), by_offset[-1]),
        offset_edges=edges,
        sources=np.asarray(survey.with_source_axis().sources).mean(axis=1),
        first_breaks=np.stack([m.breaks for m in both]),
        break_receivers=receivers[:: break_steps[0], :: break_steps[1]],
        break_steps=np.array(break_steps),
        gathers=np.stack([m.drawn for m in both]),
        gather_shots=shots,
        gather_receivers=receivers[shots, :: gather_steps[1]],
        gather_steps=np.array(gather_steps),
        gather_dt=np.array(dt * gather_steps[0]),
        spectra=dt * float(unit) * np.sqrt(np.stack([m.spectrum for m in both]) / live),
        frequencies=frequencies,
    )
    return Comparison(*(x.astype(np.float32) if x.dtype.kind == "f" else x.astype(np.int32) for x in found))


def strides(shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """Choose how many values to step along each axis of an array, so that few enough are left.

    The longest axis is thinned first.

    Args:
        shape: Shape of the array.
        limit: Largest number of values that may be left.

    Returns:
        A step for each axis, one where nothing is left out.
    """
    steps = [1] * len(shape)
    while np.prod(left := [-(-n // step) for n, step in zip(shape, steps, strict=True)]) > limit:
        steps[int(np.argmax(left))] += 1
    return tuple(steps)


@jax.jit
def _weigh(data: Array, weights: Array) -> Array:
    """Multiply data by their weights; what has none is zero."""
    return jnp.where(weights > 0, data, 0) * weights


@jax.jit
def _largest(data: Array, weights: Array) -> Array:
    """Find the largest weighted amplitude."""
    return amplitude(_weigh(data, weights)).squeeze()


@jax.jit
def _measure(data: Array, observed: Array, weights: Array, unit: Array) -> tuple[Array, Array, Array]:
    """Measure one side, one shot after the other: the transforms of one take many times its memory.

    Returns errors and energies of traces, and the energy spectrum of all traces.
    """

    def shot(arrays):
        d, o = (_weigh(x, arrays[2]) / unit for x in arrays[:2])
        spectrum = jnp.sum(jnp.abs(jnp.fft.rfft(d, axis=0)) ** 2, axis=1)
        return jnp.sum((d - o) ** 2, axis=0), jnp.sum(d**2, axis=0), spectrum

    error, energy, spectrum = jax.lax.map(shot, (data, observed, weights))
    return error, energy, jnp.sum(spectrum, axis=0)


def _breaks(data: Array, weights: Array, dt: float, period: float, steps: tuple[int, ...]) -> np.ndarray:
    """Pick the clear first breaks of every so many shots and receivers, one shot after the other, as above."""
    picked = []
    for shot in range(0, len(data), steps[0]):
        gather = np.asarray(_weigh(data[shot], weights[shot]), np.float64)[None, :, :: steps[1]]
        picked.append(pick_first_breaks(gather, dt, period).known[0])
    return np.stack(picked)


def _ratio(errors: Float[np.ndarray, "2 n"], energy: Float[np.ndarray, " n"]) -> Float[np.ndarray, "2 n"]:
    """Divide errors by energies; NaN where there is none."""
    return np.where(energy > 0, errors / np.where(energy > 0, energy, 1), np.nan)
