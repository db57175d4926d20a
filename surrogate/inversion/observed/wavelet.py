"""Describe the wavelet of an inversion on the clock of the records, whatever their sampling.

A Ricker wavelet is evaluated at any time. Recorded samples are interpolated, band-limited. An estimated wavelet begins
as a Ricker wavelet of the data's own band that fires from time zero on, as most sources do, so that records which begin
there have all of what it predicts; a filter makes the estimate of it (`surrogate.inversion.source_estimation`). Its
axis begins 1.2 periods earlier, where a wavelet of zero phase begins.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_gen.common.errors import InputError
from data_gen.dataset.imported_survey import peak_of_gathers
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY
from data_gen.solver.problem.wavelets import RICKER_DELAY, read_wavelet, resample_wavelet, ricker, wavelet_band
from surrogate.inversion.observed.record import Observed

RICKER, ESTIMATED = "ricker", "estimated"
# In peak frequencies, where a Ricker wavelet has 5 % of its spectrum's peak (`wavelet_band`): x^2 exp(1 - x^2) = 0.05.
RICKER_AT_PART = 2.396


@dataclass(frozen=True)
class SourceWavelet:
    """Describe a wavelet.

    Attributes:
        described: The wavelet in words.
        begins: Time at which it begins on the clock of the records [s].
        highest: Highest frequency of its band [Hz].
        sample: Function from a time axis and the time of its first sample on that clock [s] to the samples `(nt,)`.
        estimated: Whether it only stands for one that is estimated.
        calibrated: Whether its amplitude is known, in the unit of the data.
    """

    described: str
    begins: float
    highest: float
    sample: Callable[[TimeAxis, float], Float[np.ndarray, " nt"]]
    estimated: bool = False
    calibrated: bool = False

    @property
    def peak_frequency(self) -> float:
        """Peak frequency of the Ricker wavelet of the same band [Hz], to which a simulation is tuned."""
        return self.highest / HIGHEST_FREQUENCY


def choose_wavelet(
    observed: Observed, wavelet: str | None, peak_frequency: float | None = None, peak_time: float | None = None
) -> SourceWavelet:
    """Choose the wavelet of observed data.

    Args:
        observed: Observed data.
        wavelet: `ricker`, `estimated`, or a file of a wavelet (.npy, .npz, .yaml or .txt); None takes a Ricker wavelet
            if `peak_frequency` is given, or else the one that is known, or else an estimated one.
        peak_frequency: Peak frequency of a Ricker wavelet [Hz], or of the band of an estimated one.
        peak_time: Time of a Ricker wavelet's peak on the clock of the records [s]; None takes 1.2 / `peak_frequency`.

    Returns:
        The wavelet.

    Raises:
        InputError: If its settings do not go together, or its file cannot be used.
    """
    known = observed.known.wavelet if observed.known is not None else None
    nyquist = 0.5 / observed.dt
    if peak_frequency is not None and not 0 < peak_frequency * HIGHEST_FREQUENCY < nyquist:
        raise InputError(
            f"setup.peak_frequency must be positive and below {nyquist / HIGHEST_FREQUENCY:g} Hz, as a Ricker wavelet "
            f"reaches {HIGHEST_FREQUENCY:g} times its peak frequency and samples {observed.dt:g} s apart hold up to "
            f"{nyquist:g} Hz, but is {peak_frequency:g} Hz. Check the sampling interval, which is in seconds."
        )
    if wavelet is None:
        if peak_frequency is None and known is not None:
            return replace(_of_samples(known, observed.dt, 0.0, nyquist, "that of the data set"), calibrated=True)
        wavelet = ESTIMATED if peak_frequency is None else RICKER
    if peak_time is not None and wavelet != RICKER:
        raise InputError(f"setup.peak_time is that of wavelet=ricker, but wavelet is {wavelet}. Leave one of them out.")
    if wavelet == RICKER:
        if peak_frequency is None:
            raise InputError("wavelet=ricker needs its peak frequency: give setup.peak_frequency=HZ.")
        return _ricker(peak_frequency, peak_time)
    if wavelet == ESTIMATED:
        return _stand_in(observed, peak_frequency)
    if peak_frequency is not None:
        raise InputError("setup.peak_frequency is that of a Ricker wavelet, but wavelet is a file. Leave one out.")
    return _of_file(Path(wavelet), observed.dt)


def _ricker(peak_frequency: float, peak_time: float | None) -> SourceWavelet:
    delay = RICKER_DELAY / peak_frequency
    peak_time = delay if peak_time is None else peak_time
    return SourceWavelet(
        f"Ricker of {peak_frequency:.3g} Hz, peak at {peak_time:.3g} s",
        peak_time - delay,
        HIGHEST_FREQUENCY * peak_frequency,
        lambda time, first: ricker(time, peak_frequency, peak_time - first),
    )


def _stand_in(observed: Observed, peak_frequency: float | None) -> SourceWavelet:
    if peak_frequency is None:
        peak_frequency = peak_of_gathers(np.where(observed.weights > 0, observed.gathers, 0)) / observed.dt
        peak_frequency = min(peak_frequency, 0.9 * 0.5 / observed.dt / HIGHEST_FREQUENCY)
    stand_in = _ricker(peak_frequency, None)
    described = f"estimated in the start, up to {stand_in.highest:.3g} Hz"
    return replace(stand_in, described=described, begins=-RICKER_DELAY / peak_frequency, estimated=True)


def _of_samples(samples: np.ndarray, dt: float, delay: float, nyquist: float, described: str) -> SourceWavelet:
    fired = np.flatnonzero(samples)
    if not len(fired):
        raise InputError(f"The wavelet, {described}, is zero throughout: it would fire nothing.")
    _, at_part = wavelet_band(samples[None], dt)
    return SourceWavelet(
        described,
        float(delay + fired[0] * dt),
        min(at_part * HIGHEST_FREQUENCY / RICKER_AT_PART, 0.9 * nyquist),
        lambda time, first: resample_wavelet(samples, dt, time, delay - first),
    )


def _of_file(path: Path, dt: float) -> SourceWavelet:
    samples, step, delay = read_wavelet(path)
    step = dt if step is None else step
    if not 0 < step < np.inf:
        raise InputError(f"The samples of the wavelet in {path} must be a positive time apart, not dt = {step} s.")
    described = f"{path.name}, {len(samples)} samples of {step:g} s from {delay:g} s"
    return _of_samples(samples, step, delay, 0.5 / dt, described)
