"""Judge the delays of the first waves: a delay of more than half a period skips a cycle, some are not possible at all.

A gradient of the waveform draws a predicted wave to the nearest cycle of the observed one, which is the wrong one from
half a period on. The frequency at which a start skips no cycle is thus 1 / (2 delay). Whatever the model, a first wave
takes no longer than a straight path at the lowest velocity, and no less than one at the highest.
"""

import numpy as np
from jaxtyping import Bool, Float

from data_gen.solver.diagnosis import Finding, judge
from surrogate.inversion.diagnosis.arrivals import ALIKE, Arrivals

SOME, MANY = 0.05, 0.2  # parts of the traces
FAR = 95  # percentile of the delays that the proposed frequency is made for
SLACK = 1.0  # periods

PerTrace = Float[np.ndarray, "n_shots n_receivers"]
Mask = Bool[np.ndarray, "n_shots n_receivers"]


def skipped_cycles(arrivals: Arrivals, frequency: float) -> PerTrace:
    """Compute delays in half periods: beyond one, the wave skips a cycle.

    Args:
        arrivals: Comparison of the first waves.
        frequency: Frequency that is fitted first [Hz].

    Returns:
        Delays `(n_shots, n_receivers)` in half periods; NaN for traces that tell none.
    """
    return 2 * frequency * np.where(arrivals.likeness >= ALIKE, arrivals.delay, np.nan)


def judge_cycles(arrivals: Arrivals, frequency: float) -> Finding:
    """Judge whether the start is near enough.

    Args:
        arrivals: Comparison of the first waves.
        frequency: Frequency that is fitted first [Hz].

    Returns:
        The finding.
    """
    delays = skipped_cycles(arrivals, frequency)
    known = delays[np.isfinite(delays)] / (2 * frequency)
    wanted = f"within {500 / frequency:.3g} ms, half a period of {frequency:.3g} Hz, for all but {SOME:.0%}"
    if not len(known):
        return Finding("cycle skips", "not told: no first waves are alike", wanted)
    part = float(np.mean(np.abs(known) > 1 / (2 * frequency)))
    far = float(np.percentile(np.abs(known), FAR))
    measured = (
        f"{part:.0%} of {len(known)} first waves are further off; delays {1e3 * known.min():+.3g} to "
        f"{1e3 * known.max():+.3g} ms, median {1e3 * np.median(known):+.3g} ms"
    )
    remedy = ""
    if part > SOME:
        slow = "slower" if np.median(known) < 0 else "faster"
        remedy = (
            f"Begin with inversion.stages up to {1 / (2 * far):.2g} Hz, give a nearer start (inversion.start; this one "
            f"is {slow} than the data), or take inversion.misfit=cross_correlation_delay or envelope first."
        )
    return judge("cycle skips", measured, wanted, remedy, "error" if part > MANY else "warning")


def judge_times(
    times: PerTrace,
    predicted: PerTrace,
    offsets: PerTrace,
    bounds: tuple[float, float],
    fired: float,
    period: float,
) -> Finding:
    """Judge whether waves through a model within the bounds can arrive when the observed ones do.

    Args:
        times: First breaks of the observed waves that are clear `(n_shots, n_receivers)`, or NaN [s].
        predicted: First breaks of the predicted waves, likewise; only traces in which these are possible count.
        offsets: Distances from the sources `(n_shots, n_receivers)` [m].
        bounds: Lowest and highest velocity of any model [m/s].
        fired: First break of the wavelet, on the same clock [s].
        period: Period of the waves [s].

    Returns:
        The finding.
    """
    late, early = (fired + offsets / bounds[0] + SLACK * period, fired + offsets / bounds[1] - SLACK * period)
    counted = np.isfinite(times) & (predicted <= late) & (predicted >= early)
    total = max(1, int(counted.sum()))
    too_late, too_early = (float((counted & mask).sum() / total) for mask in (times > late, times < early))
    measured = f"{too_late:.0%} of {counted.sum()} first waves are later, {too_early:.0%} earlier than any model's"
    wanted = f"between straight paths at {bounds[0]:g} and {bounds[1]:g} m/s, within {1e3 * SLACK * period:.3g} ms"
    remedy = ""
    if too_late > SOME:
        remedy = (
            "The direct wave is missing from the data, or the clock is wrong: leave it out on both sides by "
            "inversion.mute.early_velocity, or check setup.peak_time and `delay` of the data."
        )
    elif too_early > SOME:
        remedy = "Check setup.peak_time and `delay` of the data, the positions, and the higher one of inversion.bounds."
    return judge("arrival times", measured, wanted, remedy, "error")
