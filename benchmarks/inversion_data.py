"""The data of one case of `benchmarks.inversion`, made once and kept in a file, and the judge of its results.

The record of a contender ends with the time axis. Observed gathers last EXTRA longer, for solvers that need what comes
after: whoever puts temporal dispersion into the data moves waves by some milliseconds.
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inversion_metrics import (
    band_errors,
    error,
    illuminated,
    mean_error,
    relative_misfit,
    similarity,
)
from benchmarks.inversion_setups import Setup
from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, publish, temporary_name
from data_gen.solver.problem.acquisition import Survey, make_survey
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from surrogate.inversion.preconditioners.illumination import source_illumination
from surrogate.inversion.processing.filters import Band, filter_traces

EXTRA = 0.2  # [s]
TOGETHER = 4  # shots simulated at a time
FLANK = 1.3  # from the end of a band to where its gain is zero
MASK_SOURCES = 24  # receivers that stand for all in the mask, spread evenly


@dataclass(frozen=True, eq=False)
class Case:
    """Hold a true model, what is known of it, and the observed data.

    observed: gathers `(shots, times, receivers)` without noise, EXTRA longer than the time axis.
    held_out: gathers of the shots that are not inverted, as long as the time axis.
    mask: cells that the waves pass.
    """

    setup: Setup
    name: str
    truth: np.ndarray
    start: np.ndarray
    observed: np.ndarray
    held_out: np.ndarray
    mask: np.ndarray

    @cached_property
    def long_axis(self) -> TimeAxis:
        """The times of `observed`."""
        return longer(self.setup.time)

    @cached_property
    def wavelet(self) -> np.ndarray:
        """The Ricker wavelet at these times."""
        return ricker(self.long_axis, self.setup.peak_frequency)

    def noisy(self, decibels: float | None) -> np.ndarray:
        """The observed gathers with noise of the wavelet's spectrum, whose energy is so far below the data's."""
        if decibels is None:
            return self.observed
        seed = int(digest_of(self.name), 16) % 2**31 + self.setup.seed
        white = np.random.default_rng(seed).standard_normal(self.observed.shape, np.float32)
        spectrum = np.abs(np.fft.rfft(self.wavelet))[:, None]
        noise = np.fft.irfft(np.fft.rfft(white, axis=1) * spectrum, white.shape[1], axis=1)
        scale = np.linalg.norm(self.observed) / np.linalg.norm(noise) * 10 ** (-decibels / 20)
        return (self.observed + scale * noise).astype(np.float32)

    def judged(self, model: np.ndarray) -> dict[str, Any]:
        """All measures of a model; see inversion_metrics.py."""
        setup = self.setup
        wavelength = float(self.truth.mean()) / setup.peak_frequency
        predicted = gathers(model, setup.fine, setup.held_out, setup.receivers, setup.peak_frequency)
        return {
            "error": error(model, self.truth),
            "masked": error(model, self.truth, self.mask),
            "mae": mean_error(model, self.truth),
            "ssim": similarity(model, self.truth, setup.bounds),
            "bands": band_errors(model, self.truth, setup.grid.spacing, wavelength),
            "held_out": relative_misfit(*(self.in_band(x) for x in (predicted, self.held_out))),
        }

    def in_band(self, traces: np.ndarray) -> np.ndarray:
        """Gathers up to the highest frequency that is inverted."""
        return low_passed(traces, self.setup.time.dt, self.setup.stages[-1].highest_frequency)


def longer(time: TimeAxis) -> TimeAxis:
    """The time axis with EXTRA more."""
    return TimeAxis(time.nt + round(EXTRA / time.dt), time.dt)


def low_passed(traces: np.ndarray, dt: float, highest: float, axis: int = 1) -> np.ndarray:
    """Traces up to a frequency, by a causal filter: the same for wavelets and gathers."""
    band = Band((0.0, 0.0, highest, FLANK * highest), phase="minimum")
    return np.asarray(filter_traces(jnp.asarray(traces, jnp.float32), dt, band, axis))


@partial(jax.jit, static_argnames="simulation")
def _some(velocity: jax.Array, survey: Survey, simulation: Simulation) -> jax.Array:
    return simulate(velocity, survey, simulation).gathers


def gathers(
    velocity: np.ndarray, simulation: Simulation, sources: np.ndarray, receivers: np.ndarray, peak_frequency: float
) -> np.ndarray:
    """Gathers of all shots, some at a time."""
    # What was read from a model file may pass the bounds of the inversion.
    simulation = replace(simulation, max_velocity=max(simulation.max_velocity, float(velocity.max())))
    wavelet, found = ricker(simulation.time, peak_frequency), []
    for first in range(0, len(sources), TOGETHER):
        survey = make_survey(sources[first : first + TOGETHER], receivers, wavelet)
        found.append(np.asarray(_some(jnp.asarray(velocity, jnp.float32), survey, simulation)))
    return np.concatenate(found)


def lit(setup: Setup, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The energies S and R of the mask, by waves of the first stage on its cells."""
    stage = setup.stages[0]
    frequency = stage.highest_frequency
    simulation = replace(setup.simulation, peak_frequency=frequency, internal_spacing=stage.spacing)
    step = max(1, len(setup.receivers) // MASK_SOURCES)
    wavelet = ricker(setup.time, frequency)
    sources, receivers = (
        np.asarray(source_illumination(jnp.asarray(start), make_survey(points, [], wavelet), simulation))
        for points in (setup.sources, setup.receivers[::step])
    )
    return sources, receivers


def make_case(setup: Setup, name: str, truth: np.ndarray, folder: Path) -> Case:
    """Read the case from a folder, or simulate it and keep it there."""
    start = setup.start(truth)
    described = setup.described()
    described["stages"] = described["stages"][:1]  # the mask's
    described = json.dumps(described)
    path = folder / f"{name}-{digest_of(described, truth)}.npz"
    if not path.exists():
        make_folder(folder)
        data = replace(setup.fine, time=longer(setup.time))
        points = (setup.receivers, setup.peak_frequency)
        arrays: dict[str, Any] = {
            "observed": gathers(truth, data, setup.sources, *points),
            "held_out": gathers(truth, setup.fine, setup.held_out, *points),
            "mask": illuminated(*lit(setup, start)),
        }
        temporary = temporary_name(path).with_suffix(".npz")
        np.savez(temporary, **arrays)
        publish(temporary, path)
    with np.load(path, allow_pickle=False) as arrays:
        return Case(setup, name, truth, start, **{key: arrays[key] for key in ("observed", "held_out", "mask")})
