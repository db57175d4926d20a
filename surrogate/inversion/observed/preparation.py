"""Prepare observed data once, after they are read: a coarser time axis, and line sources in place of point sources.

Predicted data need neither: the solver computes them on that axis, from line sources.
"""

from math import floor

import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import TimeAxis
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.wavelet import SourceWavelet
from surrogate.inversion.processing.line_source import line_source
from surrogate.inversion.processing.mutes import offsets
from surrogate.inversion.processing.resampling import resample

PASSED = 0.8  # of the Nyquist frequency: what resampling leaves as it is, see processing/resampling.py
SLACK = 1e-6  # of a sample, for rounding


def resample_observed(observed: Observed, dt: float | None) -> Observed:
    """Put observed data on a coarser time axis, band-limited, so that nothing folds back.

    Args:
        observed: Observed data.
        dt: Time from one sample to the next [s]; None keeps that of the records.

    Returns:
        The data, with the time of the first sample that they had. The wavelet of simulated data is resampled alike.

    Raises:
        InputError: If the step is finer than that of the records, or leaves fewer than two samples.
    """
    if dt is None or abs(dt / observed.dt - 1) < SLACK:
        return observed
    if dt < observed.dt:
        raise InputError(
            f"setup.dt = {dt:g} s is finer than the records, whose samples are {observed.dt:g} s apart: it would add "
            "no information. Leave it out; the solver chooses its own time steps."
        )
    if (observed.gathers.shape[1] - 1) * observed.dt < dt:
        length = observed.duration - observed.delay
        raise InputError(
            f"setup.dt = {dt:g} s leaves one sample of the records, which are {length:g} s long. Lower it."
        )

    def coarser(traces: np.ndarray) -> np.ndarray:
        time = TimeAxis(floor((traces.shape[1] - 1) * observed.dt / dt + SLACK) + 1, dt)
        return np.asarray(resample(jnp.asarray(traces), observed.dt, time))

    known = observed.known
    if known is not None and known.wavelet is not None:
        known = known._replace(wavelet=coarser(known.wavelet[None, :, None])[0, :, 0])
    note = f"samples of {observed.dt:g} s are resampled to {dt:g} s"
    return observed._replace(gathers=coarser(observed.gathers), dt=dt, known=known, notes=(*observed.notes, note))


def check_resampled(wavelet: SourceWavelet, dt: float | None) -> None:
    """Check that resampled data still hold the band of the wavelet.

    Args:
        wavelet: The wavelet.
        dt: Time from one sample to the next that was asked for [s]; None for none.

    Raises:
        InputError: If they do not.
    """
    if dt is not None and wavelet.highest > (1 + SLACK) * PASSED * 0.5 / dt:
        raise InputError(
            f"setup.dt = {dt:g} s is too coarse: resampled records hold what is below {PASSED * 0.5 / dt:.3g} Hz, but "
            f"the wavelet ({wavelet.described}) reaches {wavelet.highest:.3g} Hz. Give at most "
            f"{PASSED * 0.5 / wavelet.highest:.3g} s, or leave it out."
        )


def make_line_sources(
    observed: Observed, wavelet: SourceWavelet, law: str | None, velocity: float | None = None
) -> Observed:
    """Turn records of point sources in three dimensions into those of line sources, which the solver predicts.

    Args:
        observed: Observed data.
        wavelet: The wavelet. Times of a law count from the center of its energy.
        law: Law of amplitudes, see `surrogate.inversion.processing.line_source`; None leaves the data as they are.
        velocity: Velocity of the law [m/s].

    Returns:
        The data. A receiver at its source, whose amplitude a law of the offset does not know, has no weight.

    Raises:
        InputError: If the data are those of the solver, or each receiver has several offsets.
    """
    if law is None:
        return observed
    if observed.known is not None:
        raise InputError(
            f"setup.line_source = {law} turns point sources into line sources, but the data of a data set are those of "
            "line sources. Leave it out."
        )
    of_offset = law != "path"
    if of_offset and observed.sources.shape[1] > 1:
        raise InputError(
            f"setup.line_source = {law} needs one offset for each trace, but shots have {observed.sources.shape[1]} "
            "sources. Take path, which needs none, or leave it out."
        )
    time, near = TimeAxis(observed.gathers.shape[1], observed.dt), observed.positions.min(axis=0)
    # From the nearest position on: float32 would round coordinates of the world.
    survey = make_survey(observed.sources - near, observed.receivers - near, np.zeros(time.nt))
    onset = center(wavelet, time) - observed.delay
    gathers = line_source(jnp.asarray(observed.gathers), survey, time, law=law, velocity=velocity, onset=onset)
    at_source = np.asarray(offsets(survey) == 0)[:, None] & of_offset
    weights = np.where(at_source, 0, observed.weights)
    notes = observed.notes
    if count := int((at_source & (observed.weights > 0)).sum()):
        notes += (f"{count} traces at their sources are left out, as a law of the offset does not know them",)
    if not weights.any():
        raise InputError(f"setup.line_source = {law} leaves no trace: every receiver is at its source.")
    return observed._replace(gathers=np.asarray(gathers), weights=weights.astype(np.float32), notes=notes)


def center(wavelet: SourceWavelet, time: TimeAxis) -> float:
    """Compute the time at which the energy of a wavelet has its center.

    Args:
        wavelet: The wavelet.
        time: Time axis of the records, which is as long as the wavelet or longer.

    Returns:
        The time on the clock of the records [s]: that of the peak of a Ricker wavelet.
    """
    energy = np.asarray(wavelet.sample(time, wavelet.begins), float) ** 2
    return float(wavelet.begins + (energy @ time.times) / energy.sum())
