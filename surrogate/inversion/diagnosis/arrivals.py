"""Compare the first wave of each observed trace with the predicted one: delay, phase and likeness.

    C(s) = sum_t conj(P(t)) D(t + s),    P, D the analytic signals of the windowed waves

|C| is largest at the delay of the envelopes; there arg C is the constant phase by which the observed wave is rotated,
and |C| over the norms of both is their likeness, which is one for waves that a delay and a rotation make equal. The
rotation of a trace x by an angle a is cos(a) x - sin(a) H(x), H the Hilbert transform. The common phase of traces is
that of the sum of their unit vectors, weighted by likeness: some reversed traces make the sum shorter, but do not turn
it. The nearest traces tell it: a starting model turns first waves that have come far, by waves of other paths, however
alike both sides are.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import hilbert
from scipy.signal.windows import tukey

from data_gen.solver.diagnosis import Finding, judge
from surrogate.inversion.first_breaks import FirstBreaks

BEFORE, AFTER = 0.5, 1.5  # periods of the window around a first break
ALIKE = 0.6  # likeness from which on two waves are the same one
NEIGHBORS = 4  # receivers at either side
OPPOSITE = 135.0  # degrees from the common phase
# How a trace that is alone among its neighbors agrees with them but for its sign; else their first waves interfere.
SCATTER = 0.8  # length of the mean of the neighbors' unit vectors of twice the phase, which knows no sign; 19 degrees
ALIGNED = 20.0  # degrees from that mean, or from its opposite
TOGETHER = 0.1  # periods from the median of the neighbors' delays
ROTATED = 15.0  # degrees
FEWEST = 6  # traces
NEAREST = 0.2  # part of the compared traces that tell the common phase
ENOUGH = 1 / 3  # part of the traces: a few may agree by chance
CERTAIN = 0.5  # length of the mean of the unit vectors; 60 degrees of scatter

PerTrace = Float[np.ndarray, "n_shots n_receivers"]


class Arrivals(NamedTuple):
    """Hold the comparison of the first waves `(n_shots, n_receivers)`.

    Attributes:
        delay: Time by which the observed wave is later [s]; NaN where either has no clear first break.
        phase: Phase by which it is rotated [degrees].
        likeness: Likeness of both, 0 to 1; 0 for traces that do not count.
    """

    delay: PerTrace
    phase: PerTrace
    likeness: PerTrace


class CommonPhase(NamedTuple):
    """Hold the phase that most of the nearest traces share.

    Attributes:
        degrees: The phase [degrees], from -180 to 180.
        certainty: Length of the mean of the traces' unit vectors, 0 to 1; traces in opposition count as if they were
            not.
        traces: Number of traces that count.
        part: Their part of the nearest traces.
    """

    degrees: float
    certainty: float
    traces: int
    part: float

    @property
    def told(self) -> bool:
        """Whether enough traces agree on it."""
        return self.certainty > CERTAIN and self.part >= ENOUGH and self.traces >= FEWEST


def compare_arrivals(
    observed: Float[np.ndarray, "n_shots nt n_receivers"],
    predicted: Float[np.ndarray, "n_shots nt n_receivers"],
    breaks: tuple[FirstBreaks, FirstBreaks],
    used: Bool[np.ndarray, "n_shots n_receivers"],
    dt: float,
    period: float,
) -> Arrivals:
    """Compare the first waves of traces.

    Args:
        observed: Observed gathers `(n_shots, nt, n_receivers)`.
        predicted: Predicted gathers, likewise.
        breaks: First breaks of the observed and of the predicted waves.
        used: Mask of the traces that count.
        dt: Time from one sample to the next [s].
        period: Period of the waves [s].

    Returns:
        The comparison.
    """
    (observed_times, observed_clear), (predicted_times, predicted_clear) = breaks
    known = used & observed_clear & predicted_clear
    usual = float(np.median((observed_times - predicted_times)[known])) if known.any() else 0.0
    # A wave in as much noise has no clear first break, but where others arrive its polarity may still be told.
    observed_times = np.where(known, observed_times, predicted_times + usual)
    first = _compare(observed, predicted, observed_times, predicted_times, dt, period)
    # Twice: with a window at the same place of both waves, which the first delays tell, more of them is alike.
    second = _compare(observed, predicted, predicted_times + first.delay, predicted_times, dt, period)
    likeness = np.where(used & predicted_clear, second.likeness, 0.0)
    return Arrivals(np.where(known, second.delay, np.nan), second.phase, likeness)


def _compare(observed, predicted, observed_times, predicted_times, dt: float, period: float) -> Arrivals:
    """Compare the waves at given first breaks."""
    d, d_first = _window(observed, observed_times, dt, period)
    p, p_first = _window(predicted, predicted_times, dt, period)
    length = d.shape[1]
    size = 2 * length
    product = np.conj(np.fft.fft(p, size, axis=1)) * np.fft.fft(d, size, axis=1)
    correlation = np.fft.ifft(product, axis=1)
    lags = np.fft.fftfreq(size, 1 / size)
    correlation = np.where(np.abs(lags)[:, None] <= length / 2, correlation, 0)
    best = np.argmax(np.abs(correlation), axis=1)[:, None]
    peak = np.take_along_axis(correlation, best, axis=1)[:, 0]
    norms = np.linalg.norm(p, axis=1) * np.linalg.norm(d, axis=1)
    delay = (d_first - p_first + lags[best[:, 0]]) * dt
    return Arrivals(delay, np.degrees(np.angle(peak)), np.abs(peak) / np.where(norms == 0, 1, norms))


def _window(data: np.ndarray, breaks: np.ndarray, dt: float, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut the analytic signals of the first waves out, and return the sample at which each begins."""
    length = max(4, round((BEFORE + AFTER) * period / dt))
    first = np.round((np.nan_to_num(breaks) - BEFORE * period) / dt).astype(int)
    index = first[:, None] + np.arange(length)[:, None]
    inside = (index >= 0) & (index < data.shape[1])
    cut = np.take_along_axis(data, np.clip(index, 0, data.shape[1] - 1), axis=1) * inside
    analytic: Any = hilbert(cut * tukey(length, 0.5)[:, None], axis=1)  # SciPy's own annotation says Dispatchable
    return analytic, first


def _same_waves(arrivals: Arrivals, period: float) -> np.ndarray:
    """Mark traces whose first waves are alike and less than a period apart: others may be waves of another path."""
    return (arrivals.likeness >= ALIKE) & (np.abs(np.nan_to_num(arrivals.delay)) < period)


def common_phase(arrivals: Arrivals, offsets: PerTrace, period: float) -> CommonPhase:
    """Find the phase that the nearest traces share.

    Args:
        arrivals: Comparison of the first waves.
        offsets: Distances from the sources `(n_shots, n_receivers)` [m].
        period: Period of the waves [s].

    Returns:
        The phase.
    """
    compared = arrivals.likeness > 0
    nearest = compared & (offsets <= np.quantile(offsets[compared], NEAREST)) if compared.any() else compared
    alike = nearest & _same_waves(arrivals, period)
    weights, radians = arrivals.likeness[alike], np.radians(arrivals.phase[alike])
    if not len(weights):
        return CommonPhase(0.0, 0.0, 0, 0.0)
    shared = np.angle(np.sum(weights * np.exp(1j * radians)))
    turned = radians - shared
    with_it = np.cos(turned) > np.cos(np.radians(OPPOSITE))
    certainty = np.abs(np.sum((weights * np.exp(1j * turned))[with_it])) / np.sum(weights[with_it])
    count = int(with_it.sum())
    return CommonPhase(float(np.degrees(shared)), float(certainty), count, count / int(nearest.sum()))


def find_reversed(arrivals: Arrivals, common: CommonPhase, period: float) -> Bool[np.ndarray, "n_shots n_receivers"]:
    """Find traces of the opposite polarity.

    Args:
        arrivals: Comparison of the first waves.
        common: Phase that the nearest traces share.
        period: Period of the waves [s].

    Returns:
        Mask of the reversed traces `(n_shots, n_receivers)`; none where these share no phase.
    """
    apart = (arrivals.phase - common.degrees + 180) % 360 - 180
    alike = _same_waves(arrivals, period)
    return common.told & _of_instruments(alike & (np.abs(apart) > OPPOSITE), alike, arrivals, period)


def _of_instruments(opposite: np.ndarray, alike: np.ndarray, arrivals: Arrivals, period: float) -> np.ndarray:
    """Keep opposite traces that are so by their shot, their receiver, or alone among neighbors that agree.

    First waves also change their polarity beyond some offset, where a wave of another path overtakes: then neighbors do
    so together, at other receivers in every shot. Where both waves interfere, single traces may have any phase, but
    neighbors have others, too.
    """

    def mostly(axis: int) -> np.ndarray:
        return 2 * opposite.sum(axis=axis, keepdims=True) > alike.sum(axis=axis, keepdims=True)

    def neighbors(values: np.ndarray, outside: Any) -> np.ndarray:
        padded = np.pad(values, ((0, 0), (NEIGHBORS, NEIGHBORS)), constant_values=outside)
        return np.delete(sliding_window_view(padded, 2 * NEIGHBORS + 1, axis=1), NEIGHBORS, axis=-1)

    count = neighbors(alike, False).sum(axis=-1)
    twice = np.where(alike, np.exp(2j * np.radians(arrivals.phase)), 0)
    shared = neighbors(twice, 0).sum(axis=-1)
    turned = np.abs(np.degrees(np.angle(twice * np.conj(shared)))) / 2
    around = np.ma.masked_invalid(neighbors(np.where(alike, arrivals.delay, np.nan), np.nan))
    later = np.abs(arrivals.delay - np.ma.median(around, axis=-1).filled(np.nan))
    agrees = (np.abs(shared) > SCATTER * count) & (turned < ALIGNED) & (later < TOGETHER * period)
    # Against the neighbors, not the common phase: where all turn slowly, one is the first beyond the threshold.
    like_it = np.cos(np.radians(neighbors(arrivals.phase, 0) - arrivals.phase[..., None])) > 0
    alone = agrees & (2 * (like_it & neighbors(alike, False)).sum(axis=-1) < count)
    return opposite & (mostly(0) | mostly(1) | alone)


def judge_phase(common: CommonPhase) -> Finding:
    """Judge the phase of the wavelet.

    Args:
        common: Phase that the nearest traces share.

    Returns:
        The finding.
    """
    wanted = f"within {ROTATED:g} degrees"
    if not common.told:
        return Finding("wavelet phase", f"not told by the {common.traces} nearest first waves that are alike", wanted)
    measured = (
        f"observed waves are rotated by {common.degrees:+.0f} degrees (mean of the {common.traces} nearest first "
        f"waves, certainty {common.certainty:.2f} of 1)"
    )
    remedy = ""
    if abs(common.degrees) > ROTATED:
        remedy = (
            "The wavelet has another phase: take wavelet=estimated, wavelet=FILE or inversion.source=one. About -45 "
            "degrees with amplitudes that fall faster are those of point sources: see spreading."
        )
    return judge("wavelet phase", measured, wanted, remedy)
