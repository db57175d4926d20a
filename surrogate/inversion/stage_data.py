"""Narrow the data and the simulation of an inversion to what one of its stages needs.

    band      data and wavelets pass the same causal filter, so that predicted data are filtered to the last sample
    cells     h = v_min / (f_end n),    n cells in the shortest wavelength, f_end = FLANK f, where the gain is 0
    samples   every k-th, 1 / (2 k dt) >= SAMPLED f_end
    shots     spread evenly over those of the survey

The cells are the solver's own (`Simulation.internal_spacing`): the model keeps its grid, whatever the ratio of both,
its series is cut off at what the solver's cells can hold, and the gradient passes the transpose of that. So no stage
interpolates a model, and a stage changes nothing that its waves cannot see.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from data_gen.common.errors import InputError
from data_gen.solver.problem.checks import POINTS_PER_WAVELENGTH
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY, Simulation
from surrogate.inversion.config import FLANK, StageConfig
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.inversion.processing.filters import Band, filter_gathers, filter_wavelets

SAMPLED = 1.25  # Nyquist frequency of the samples of a stage, in parts of the end of its band
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


def narrow(data: StageData, stage: StageConfig, slowest: float, number: int = 0) -> StageData:
    """Narrow the data and the simulation to those of a stage.

    Args:
        data: Forward model, observed data and weights of the inversion.
        stage: The stage.
        slowest: Lowest velocity of any model [m/s].
        number: Number of the stage, for error texts.

    Returns:
        Those of the stage.

    Raises:
        InputError: If the forward model is not the solver, or the survey has no such band, cells or shots.
    """
    if not stage.needs_solver:
        return data
    forward, observed, weights = data
    if not isinstance(forward, PhysicsForward):
        raise InputError(
            f"inversion.stages[{number}] chooses a band, cells or shots, which only the solver can change: a surrogate "
            "knows those of its training. Leave them out, or invert with forward=physics."
        )
    if stage.shots is not None:
        forward, observed, weights = _fewer_shots(forward, observed, weights, stage.shots, number)
    if stage.filters:
        forward, observed = _filtered(forward, observed, stage, number)
    simulation = _coarser(forward.simulation, stage, slowest)
    every = _stride(forward, stage)
    if every == 1:
        return StageData(replace(forward, simulation=simulation), observed, weights)
    kept = [i for i, step in enumerate(forward.steps) if step % every == 0]
    time = TimeAxis((simulation.time.nt - 1) // every + 1, simulation.time.dt * every)
    wavelets = jnp.asarray(forward.survey.wavelets)[..., ::every]
    forward = replace(
        forward,
        simulation=replace(simulation, time=time),
        survey=forward.survey._replace(wavelets=wavelets),
        steps=tuple(forward.steps[i] // every for i in kept),
    )
    if weights is not None and weights.shape[1] > 1:
        weights = weights[:, np.array(kept)]
    return StageData(forward, observed[:, np.array(kept)], weights)


def stage_band(stage: StageConfig, dt: float) -> Band:
    """Return the filter of a stage.

    Args:
        stage: Stage that keeps a part of the band.
        dt: Time from one sample of the data to the next [s].

    Returns:
        A filter of minimum phase.
    """
    low, high, nyquist = stage.lowest_frequency, stage.highest_frequency, 0.5 / dt
    rise = (0.0, 0.0) if low is None else (low / FLANK, low)
    fall = (nyquist / FLANK**2, nyquist / FLANK) if high is None else (high, FLANK * high)
    return Band((*rise, *fall), "minimum")


def _fewer_shots(forward: PhysicsForward, observed: Array, weights: Array | None, shots: int, number: int):
    count = forward.survey.n_shots
    if shots > count:
        raise InputError(f"inversion.stages[{number}].shots = {shots}, but the survey has {count} shots. Give fewer.")
    chosen = np.round((np.arange(shots) + 0.5) / shots * count - 0.5).astype(int)
    if weights is not None and len(weights) > 1:
        weights = weights[chosen]
    return replace(forward, survey=forward.survey.select(chosen)), observed[chosen], weights


def _filtered(forward: PhysicsForward, observed: Array, stage: StageConfig, number: int):
    """Filter the wavelets and the data alike; samples that are not finite have no weight."""
    if any(np.diff(forward.steps) != 1):
        raise InputError(
            f"inversion.stages[{number}] keeps a band, for which the data need every sample of the time axis: leave "
            "inversion.record_every out. A stage thins the samples out by itself."
        )
    dt = forward.simulation.time.dt
    try:
        band = stage_band(stage, dt)
        survey = filter_wavelets(forward.survey, dt, band)
        filtered = jax.jit(lambda data: filter_gathers(jnp.where(jnp.isfinite(data), data, 0), dt, band))(observed)
    except InputError as error:
        raise InputError(f"The band of inversion.stages[{number}] does not fit the data: {error}") from None
    return replace(forward, survey=survey), filtered


def _coarser(simulation: Simulation, stage: StageConfig, slowest: float) -> Simulation:
    """Choose the solver's cells, and the band in which its temporal dispersion is undone."""
    end = np.inf if stage.highest_frequency is None else FLANK * stage.highest_frequency
    if end < HIGHEST_FREQUENCY * simulation.peak_frequency:
        simulation = replace(simulation, peak_frequency=end / HIGHEST_FREQUENCY)
    spacing = stage.spacing
    if spacing is None:
        spacing = slowest / (simulation.highest_frequency * POINTS_PER_WAVELENGTH[simulation.order])
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
