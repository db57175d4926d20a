"""Diagnose observed gathers by those that are predicted in the start: all that needs no further simulation.

Noise is estimated first, since everything else is judged with it: picks of both sides have its floor, and amplitudes
are those of the signal. Traces that are found dead count no more from then on.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data_gen.solver.diagnosis import Finding
from surrogate.inversion.diagnosis.amplitudes import (
    Spectra,
    judge_band,
    judge_scale,
    judge_spreading,
    mean_spectra,
)
from surrogate.inversion.diagnosis.arrivals import (
    Arrivals,
    CommonPhase,
    common_phase,
    compare_arrivals,
    find_reversed,
    judge_phase,
)
from surrogate.inversion.diagnosis.delays import judge_cycles, judge_times
from surrogate.inversion.diagnosis.mutes import find_mutes, judge_mute
from surrogate.inversion.diagnosis.noise import (
    judge_noise,
    noise_before,
    noise_beyond,
    noise_level,
    signal_to_noise,
    total_ratio,
)
from surrogate.inversion.diagnosis.trace_faults import TraceFaults, find_faults, judge_traces, usual_ratio
from surrogate.inversion.first_breaks import FirstBreaks, pick_first_breaks

Gathers = Float[np.ndarray, "n_shots nt n_receivers"]
PerTrace = Float[np.ndarray, "n_shots n_receivers"]
Mask = Bool[np.ndarray, "n_shots n_receivers"]

DEAD = (
    "Traces that are zero throughout are left out already; give the others `weights` of zero, or repair them if they "
    "were recorded."
)
NOISY = "Give them `weights` of zero, or take inversion.misfit=huber or student_t."
REVERSED = "Multiply them by -1 in the file: no key does it."
INTERFERENCE = 1e-3  # of the traces: where waves of two paths meet, single first waves may look reversed by chance


class Record(NamedTuple):
    """Hold both sides of the data, and what is known of them.

    Attributes:
        observed: Observed gathers `(n_shots, nt, n_receivers)`, finite.
        predicted: Gathers predicted in the start `(n_shots, nt, n_receivers)`.
        used: Mask of the traces whose weight is not zero `(n_shots, n_receivers)`.
        offsets: Distances from the sources `(n_shots, n_receivers)` [m].
        dt: Time from one sample to the next [s].
        fired: First break of the wavelet after the first sample [s].
        peak: Peak frequency of the waves [Hz].
        highest: Highest frequency of the wavelet [Hz].
        fitted: Frequency that is fitted first [Hz].
        bounds: Lowest and highest velocity of any model [m/s].
    """

    observed: Gathers
    predicted: Gathers
    used: Mask
    offsets: PerTrace
    dt: float
    fired: float
    peak: float
    highest: float
    fitted: float
    bounds: tuple[float, float]


class GathersDiagnosis(NamedTuple):
    """Hold the findings on gathers, and what they are drawn from.

    Attributes:
        findings: The findings.
        breaks: First breaks of the observed and of the predicted first waves.
        arrivals: Comparison of the first waves.
        common: Phase of the wavelet.
        faults: Dead and noisy traces.
        reversed: Reversed traces `(n_shots, n_receivers)`.
        ratio: Signal-to-noise ratio of each trace `(n_shots, n_receivers)` [dB].
        total: Signal-to-noise ratio of all traces that are neither dead nor noisy [dB].
        spectra: Mean amplitude spectra.
    """

    findings: tuple[Finding, ...]
    breaks: tuple[FirstBreaks, FirstBreaks]
    arrivals: Arrivals
    common: CommonPhase
    faults: TraceFaults
    reversed: Mask
    ratio: PerTrace
    total: float
    spectra: Spectra


def diagnose_gathers(record: Record) -> GathersDiagnosis:
    """Diagnose gathers.

    Args:
        record: Both sides of the data.

    Returns:
        The diagnosis.
    """
    observed, predicted, used, dt, period = record.observed, record.predicted, record.used, record.dt, 1 / record.peak
    rms, of_predicted = (np.sqrt(np.mean(data**2, axis=1)) for data in (observed, predicted))
    beyond = noise_beyond(observed, dt, record.highest)
    unit = usual_ratio(rms, of_predicted, used)
    before = noise_before(observed, earliest_waves(record), dt, period)
    noise = noise_level(before, beyond)
    faults = find_faults(rms, noise, of_predicted, used)
    live = ~faults.dead
    usual = live & ~faults.noisy
    breaks = _both(record, noise, unit)
    arrivals = compare_arrivals(observed, predicted, breaks, live, dt, period)
    common = common_phase(arrivals, record.offsets, period)
    opposite = find_reversed(arrivals, common, period)
    signal = np.sqrt(np.maximum(rms**2 - noise**2, 0))
    spectra = mean_spectra(observed, predicted, noise, live, dt)
    top, bottom = find_mutes(observed, predicted, live)
    picked, expected = (np.where(live, each.known, np.nan) for each in breaks)
    findings = (
        judge_noise(rms, before, beyond, usual),
        judge_traces("dead", faults.dead, DEAD),
        judge_traces("noisy", faults.noisy, NOISY),
        judge_traces("reversed", opposite, REVERSED, few=INTERFERENCE),
        judge_mute("top", top, live, dt),
        judge_mute("bottom", bottom, live, dt),
        judge_times(picked, expected, record.offsets, record.bounds, record.fired, period),
        judge_cycles(arrivals, record.fitted),
        judge_phase(common),
        judge_band(spectra),
        *judge_scale(signal, of_predicted, live),
        judge_spreading(signal, of_predicted, record.offsets, live),
    )
    total = total_ratio(rms[usual], noise[usual])
    ratio = signal_to_noise(rms, noise)
    return GathersDiagnosis(findings, breaks, arrivals, common, faults, opposite, ratio, total, spectra)


def earliest_waves(record: Record) -> PerTrace:
    """Find from when on a trace may hold more than noise: the earlier one of both sides' first breaks.

    Args:
        record: Both sides of the data.

    Returns:
        The time after the first sample `(n_shots, n_receivers)` [s]; NaN where both sides are silent.
    """
    rms, of_predicted = (np.sqrt(np.mean(data**2, axis=1)) for data in (record.observed, record.predicted))
    floor = np.nan_to_num(noise_beyond(record.observed, record.dt, record.highest))
    return np.fmin(*(each.times for each in _both(record, floor, usual_ratio(rms, of_predicted, record.used))))


def _both(record: Record, floor: PerTrace, unit: float) -> tuple[FirstBreaks, FirstBreaks]:
    """Pick the first breaks of both sides with one floor, in the unit of the observed ones."""
    dt, period = record.dt, 1 / record.peak
    return (
        pick_first_breaks(record.observed, dt, period, floor),
        pick_first_breaks(record.predicted, dt, period, floor / unit),
    )
