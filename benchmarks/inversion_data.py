"""The data of one case of `benchmarks.inversion`, made once and kept in files, and the judge of its results.

The record of a contender ends with the time axis. Observed gathers last EXTRA longer, for solvers that need what comes
after: whoever puts temporal dispersion into the data moves waves by some milliseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import hilbert

from benchmarks.inversion_contender import read_arrays
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
from surrogate.inversion.config import StageConfig
from surrogate.inversion.preconditioners.illumination import source_illumination
from surrogate.inversion.processing.filters import Band, filter_traces
from surrogate.inversion.stage_data import stage_band

EXTRA = 0.2  # [s]
TOGETHER = 4  # shots simulated at a time
MASK_SOURCES = 24  # receivers that stand for all in the mask, spread evenly


@dataclass(frozen=True)
class Noise:
    """Describe in what contenders' data differ from those of the fine cells.

    decibels: how far the noise's energy is below the data's; None for no noise.
    dead: part of the traces that are zero.
    turned: constant phase by which the wavelet is turned against the one that made the data [degrees].
    """

    decibels: float | None = None
    dead: float = 0.0
    turned: float = 0.0


@dataclass(frozen=True, eq=False)
class Case:
    """Hold a true model, what is known of it, and the observed data.

    observed: gathers `(shots, times, receivers)` without noise, EXTRA longer than the time axis.
    held_out: gathers of the shots that are not inverted, as long as the time axis.
    light: energies S of the sources' and R of the receivers' waves in the start; see inversion_metrics.py.
    """

    setup: Setup
    name: str
    truth: np.ndarray
    start: np.ndarray
    observed: np.ndarray
    held_out: np.ndarray
    light: tuple[np.ndarray, np.ndarray]

    @cached_property
    def mask(self) -> np.ndarray:
        """Cells that enough waves pass."""
        return illuminated(*self.light)

    @cached_property
    def long_axis(self) -> TimeAxis:
        """The times of `observed`."""
        return longer(self.setup.time)

    @cached_property
    def wavelet(self) -> np.ndarray:
        """The Ricker wavelet at these times."""
        return ricker(self.long_axis, self.setup.peak_frequency)

    def recorded(self, noise: Noise) -> tuple[np.ndarray, np.ndarray]:
        """The observed gathers and the wavelet that contenders are given."""
        observed, wavelet = self.observed, self.wavelet
        if noise.decibels is not None:
            observed = self.noisy(noise.decibels)
        if noise.dead:
            traces = np.arange(observed[:, 0].size).reshape(observed[:, :1].shape)
            chosen = self._random(1).choice(traces.size, round(noise.dead * traces.size), replace=False)
            observed = np.where(np.isin(traces, chosen), np.float32(0), observed)
        if noise.turned:
            wavelet = turned(wavelet, noise.turned)
        return observed, wavelet

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([int(digest_of(self.name), 16), self.setup.seed, number])

    def noisy(self, decibels: float) -> np.ndarray:
        """The observed gathers with noise of the wavelet's spectrum, whose energy is so far below the data's."""
        white = self._random(0).standard_normal(self.observed.shape, np.float32)
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


def turned(wavelet: np.ndarray, degrees: float) -> np.ndarray:
    """A wavelet w with its phase turned by an angle a at all frequencies: cos(a) w - sin(a) H(w), H Hilbert's."""
    analytic: Any = hilbert(wavelet, 2 * len(wavelet))  # SciPy's own annotation says Dispatchable
    return (np.exp(1j * np.radians(degrees)) * analytic).real[: len(wavelet)].astype(wavelet.dtype)


def low_passed(traces: np.ndarray, dt: float, highest: float, axis: int = 1) -> np.ndarray:
    """Traces up to a frequency, by a causal filter: the same for wavelets and gathers."""
    return np.asarray(filter_traces(jnp.asarray(traces, jnp.float32), dt, band_up_to(highest, dt), axis))


def band_up_to(highest: float, dt: float) -> Band:
    """The filter of a stage of ours, whose data all contenders get."""
    return stage_band(StageConfig(highest_frequency=highest), dt)


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


def lit(setup: Setup, start: np.ndarray) -> dict[str, np.ndarray]:
    """The energies S and R of the mask."""
    simulation, step = setup.longest_waves, max(1, len(setup.receivers) // MASK_SOURCES)
    wavelet = ricker(setup.time, simulation.peak_frequency)
    return {
        name: np.asarray(source_illumination(jnp.asarray(start), make_survey(points, [], wavelet), simulation))
        for name, points in (("sources", setup.sources), ("receivers", setup.receivers[::step]))
    }


def kept(folder: Path, name: str, make: Callable[[], dict[str, Any]], *identity: str | np.ndarray) -> str:
    """The file of arrays of this identity, made if it is missing."""
    path = folder / f"{name}-{digest_of(*identity)}.npz"
    if not path.exists():
        make_folder(folder)
        temporary = temporary_name(path).with_suffix(".npz")
        np.savez(temporary, **make())
        publish(temporary, path)
    return str(path)


def make_case(setup: Setup, name: str, truth: np.ndarray, folder: Path) -> Case:
    """Read the case from a folder, or simulate it and keep it there: data do not depend on how they are inverted."""
    start, data = setup.start(truth), replace(setup.fine, time=longer(setup.time))
    points = (setup.receivers, setup.peak_frequency)

    def simulated() -> dict[str, np.ndarray]:
        return {
            "observed": gathers(truth, data, setup.sources, *points),
            "held_out": gathers(truth, setup.fine, setup.held_out, *points),
        }

    survey = (setup.sources, setup.receivers)
    records = read_arrays(kept(folder, name, simulated, repr(data), truth, *survey, setup.held_out))
    light = kept(folder, f"{name}-light", lambda: lit(setup, start), repr(setup.longest_waves), start, *survey)
    energies = read_arrays(light)
    return Case(setup, name, truth, start, **records, light=(energies["sources"], energies["receivers"]))
