"""Narrow the data and the simulation of an inversion to what one of its stages needs.

    band      data and wavelets pass the same causal filter, so that predicted data are filtered to the last sample;
              its flanks are wide, since steep ones ring: 99 % of the energy of the response of a low-pass lie before
              2.5 / f, and before 4.5 / f if its gain falls from f on, which would move most of the waves in a short
              record beyond its end
    cells     h = v_min / (f_end n),    n cells in the shortest wavelength, f_end = FLANK f, where the gain is 0
    samples   every k-th, 1 / (2 k dt) >= SAMPLED f_end, so that what fires does not reach the band's first image
    shots     spread evenly over those of the survey

The cells are the solver's own (`Simulation.internal_spacing`): the model keeps its grid, whatever the ratio of both,
its series is cut off at what the solver's cells can hold, and the gradient passes the transpose of that. So no stage
interpolates a model, and a stage changes nothing that its waves cannot see.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.checks import POINTS_PER_WAVELENGTH
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.simulation import Simulation
from surrogate.inversion.config import FLANK, StageConfig
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.inversion.processing.filters import Band, filter_traces, filter_wavelets

SAMPLED = 1.9  # Nyquist frequency of the samples of a stage, in parts of the end of its band; see above
PEAKS = 2.0  # end of a stage's band in its peak frequencies, to which the correction of time is fitted
COARSER = 1.1  # coarser cells than the model's must be that much coarser, or they save nothing


class StageData(NamedTuple):
    """Hold what a stage fits.

    Attributes:
        forward: Forward model.
        observed: Observed data `(n_sources, n_times, ...)`.
        weights: Weights of the data, or None.
    """

    forward: ForwardModel
    observed: Array
    weights: Array | None


class Narrowing(NamedTuple):
    """Hold how a stage narrows the data of an inversion.

    Attributes:
        forward: Forward model of the stage.
        shots: Shots that it keeps `(n,)`, or None for all.
        band: Filter of the data, or None.
        samples: Samples that it keeps `(n,)`, or None for all.
    """

    forward: ForwardModel
    shots: np.ndarray | None = None
    band: Band | None = None
    samples: np.ndarray | None = None

    def data(self, observed: Array, weights: Array | None) -> StageData:
        """Narrow the data.

        Args:
            observed: Observed data of the inversion `(n_sources, n_times, ...)`.
            weights: Their weights, or None.

        Returns:
            What the stage fits.
        """
        if self.shots is not None:
            observed = observed[self.shots]
        if self.band is not None:
            assert isinstance(self.forward, PhysicsForward)
            observed = _filtered(observed, self.forward.simulation.time.dt / self._stride, self.band)
        if self.samples is not None:
            observed = observed[:, self.samples]
        return StageData(self.forward, observed, self.weights(weights))

    def weights(self, weights: Array | None) -> Array | None:
        """Narrow the weights of the data.

        Args:
            weights: Weights of the data of the inversion, or None.

        Returns:
            Those of the stage.
        """
        if weights is not None and self.shots is not None and len(weights) > 1:
            weights = weights[self.shots]
        if weights is not None and self.samples is not None and weights.shape[1] > 1:
            weights = weights[:, self.samples]
        return weights

    def response(self, nt: int) -> Float[np.ndarray, " nt"]:
        """Compute the response of the filter.

        Args:
            nt: Number of samples of the data of the inversion.

        Returns:
            The response `(nt,)`, an impulse where nothing is filtered.
        """
        if self.band is None:
            return np.eye(1, nt)[0]
        assert isinstance(self.forward, PhysicsForward)
        return self.band.causal_response(nt, self.forward.simulation.time.dt / self._stride)

    @property
    def _stride(self) -> int:
        return 1 if self.samples is None or len(self.samples) < 2 else int(self.samples[1] - self.samples[0])


def narrow(forward: ForwardModel, stage: StageConfig, slowest: float, number: int = 0) -> Narrowing:
    """Narrow the simulation to that of a stage, and say how its data follow.

    Args:
        forward: Forward model of the inversion.
        stage: The stage.
        slowest: Lowest velocity of any model [m/s].
        number: Number of the stage, for error texts.

    Returns:
        The narrowing.

    Raises:
        InputError: If the forward model is not the solver, or the survey has no such band, cells or shots.
    """
    if not stage.needs_solver:
        return Narrowing(forward)
    if not isinstance(forward, PhysicsForward):
        raise InputError(
            f"inversion.stages[{number}] chooses a band, cells or shots, which only the solver can change: a surrogate "
            "knows those of its training. Leave them out, or invert with forward=physics."
        )
    shots = band = samples = None
    if stage.shots is not None:
        shots = _fewer(forward.survey.n_shots, stage.shots, number)
        forward = replace(forward, survey=forward.survey.select(shots))
    if stage.filters:
        band, survey = _band(forward, stage, number)
        forward = replace(forward, survey=survey)
    forward = replace(forward, simulation=_coarser(forward.simulation, stage, slowest))
    every = _stride(forward, stage)
    if every > 1:
        samples = np.array([i for i, step in enumerate(forward.steps) if step % every == 0])
        forward = _thinned(forward, every, samples)
    return Narrowing(forward, shots, band, samples)


def _thinned(forward: PhysicsForward, every: int, samples: np.ndarray) -> PhysicsForward:
    """Keep every so many samples of the time axis."""
    time = forward.simulation.time
    axis = TimeAxis((time.nt - 1) // every + 1, time.dt * every)
    return replace(
        forward,
        # Snapshots are of the steps of the axis before.
        simulation=replace(forward.simulation, time=axis, snapshot_steps=()),
        survey=forward.survey._replace(wavelets=jnp.asarray(forward.survey.wavelets)[..., ::every]),
        steps=tuple(forward.steps[i] // every for i in samples),
    )


def stage_band(stage: StageConfig, dt: float) -> Band:
    """Return the filter of a stage.

    Args:
        stage: Stage that keeps a part of the band.
        dt: Time from one sample of the data to the next [s].

    Returns:
        A filter of minimum phase.
    """
    low, high, nyquist = stage.lowest_frequency, stage.highest_frequency, 0.5 / dt
    rise = (0.0, 0.0) if low is None else (low / 2, low)
    fall = (nyquist / FLANK**2, nyquist / FLANK) if high is None else ((rise[1] + 2 * high) / 3, FLANK * high)
    return Band((*rise, *fall), "minimum")


def _fewer(count: int, shots: int, number: int) -> np.ndarray:
    if shots > count:
        raise InputError(f"inversion.stages[{number}].shots = {shots}, but the survey has {count} shots. Give fewer.")
    return np.round((np.arange(shots) + 0.5) / shots * count - 0.5).astype(int)


def _band(forward: PhysicsForward, stage: StageConfig, number: int) -> tuple[Band, Survey]:
    """Return the filter of a stage, and the survey with filtered wavelets."""
    if any(np.diff(forward.steps) != 1):
        raise InputError(
            f"inversion.stages[{number}] keeps a band, for which the data need every sample of the time axis: leave "
            "inversion.record_every out. A stage thins the samples out by itself."
        )
    dt = forward.simulation.time.dt
    try:
        band = stage_band(stage, dt)
        return band, filter_wavelets(forward.survey, dt, band)
    except InputError as error:
        raise InputError(f"The band of inversion.stages[{number}] does not fit the data: {error}") from None


@partial(jax.jit, static_argnums=(1, 2))
def _filtered(observed: Array, dt: float, band: Band) -> Array:
    """Filter data; samples that are not finite have no weight, and must not reach others."""

    def filtered(shot):
        return filter_traces(jnp.where(jnp.isfinite(shot), shot, 0), dt, band, axis=0)

    return jax.lax.map(filtered, observed)  # shot by shot: padded spectra are several times the data


def _coarser(simulation: Simulation, stage: StageConfig, slowest: float) -> Simulation:
    """Choose the solver's cells, and the band in which its temporal dispersion is undone."""
    end = simulation.highest_frequency
    if stage.highest_frequency is not None:
        end = min(end, FLANK * stage.highest_frequency)
    simulation = replace(simulation, peak_frequency=min(simulation.peak_frequency, end / PEAKS))
    spacing = stage.spacing
    if spacing is None:
        spacing = slowest / (end * POINTS_PER_WAVELENGTH[simulation.order])
        if spacing < COARSER * simulation.solved_spacing:
            return simulation
    chosen = replace(simulation, internal_spacing=float(spacing))
    try:
        discretize(chosen)
    except InputError:
        if stage.spacing is not None:
            raise
        return simulation  # between two walls no such cells fit
    return chosen


def _stride(forward: PhysicsForward, stage: StageConfig) -> int:
    """Count the samples of the time axis from one that the stage needs to the next."""
    if stage.highest_frequency is None:
        return 1
    return max(1, int(0.5 / (SAMPLED * FLANK * stage.highest_frequency * forward.simulation.time.dt)))
