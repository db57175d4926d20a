"""Invert waveforms: minimize the misfit over the velocity model, through whichever forward model is given.

    J(v) = misfit(forward(v), observed) + sum_k w_k R_k(v),    v within bounds

in one stage or several, each from the best model of the one before, in a band, with cells, shots and an optimizer of
its own. Every iteration records the misfit and, where the true model is known, its error. A surrogate's own misfit can
fall while the data that it approximates fit no better, so the solver simulates the true misfit as the inversion
proceeds. The result is the model of the smallest true misfit of the last stage, which need not be its last one. Where
density is inverted along, v stands for the two fields of density.py.
"""

import gc
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from data_gen.common.digest import digest_of
from data_gen.common.errors import InputError, NumericalError
from data_gen.common.freed_memory import return_freed_memory, returned_after_compiling
from data_gen.common.interruption import Interrupted
from data_gen.common.smoothing import gaussian_smooth
from surrogate.inversion.checks import check_fastest, check_observed, check_start, check_truth, check_weights
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.density import DensityForward, check_density, free_density
from surrogate.inversion.discrepancy import WEIGHT
from surrogate.inversion.forward import ForwardModel
from surrogate.inversion.noise_level import find_noise
from surrogate.inversion.optimizers.protocol import COUNTS, State, simulations
from surrogate.inversion.progress import Progress, low_counts, read_progress, store_progress
from surrogate.inversion.stage import InversionProblem, Stage, StageMaker, check_stages, make_stage
from surrogate.inversion.stage_data import StageData

# Entries of a row of the history.
ENTRIES = ("stage", "misfit", "penalty", "true_misfit", "model_error", "used", "low_used", "density_error", "weight")
TRUE_MISFIT, USED = ENTRIES.index("true_misfit"), ENTRIES.index("used")
AT_NOISE, NO_STEP, MADE, USED_UP, STOPPED = "noise", "no step", "iterations", "simulations", "stopped"
STORE_EVERY = 10.0  # [s] between two times at which progress is stored: L-BFGS keeps forty models


class DivergenceWarning(UserWarning):
    """Warn that an inversion was stopped because its misfit was no longer finite; its best model is kept."""


class StopInversion(Exception):
    """Raise it in `on_progress`, with the reason, to end an inversion with its best model so far."""


class Result(NamedTuple):
    """Hold the estimate and the history of an inversion.

    Each stage begins with an entry of the history for the model that it starts from.

    Attributes:
        velocity: Model of the smallest true misfit and penalty of the last stage `(nz, nx)` [m/s], entry `best`.
        gradient: Gradient of the misfit at the start, smoothed and weighted as in the first update, by the velocity of
            each cell `(nz, nx)`.
        stage: Stage of each entry, from 0 `(n,)`.
        misfit: Misfit of the forward model's data `(n,)`; all optimizers but Adam end a stage early where no step
            lowers it. Stages differ in their data, so only misfits of one stage can be compared; with batches or
            super-shots each entry's is that of its own draw, and only true misfits can.
        penalty: The regularizers' part of what is minimized `(n,)`.
        true_misfit: Misfit of the data of all shots, simulated by the solver where there is one, NaN where it was not
            simulated `(n,)`.
        model_error: `||v - v_true|| / ||v_true||`, NaN where the true model is unknown `(n,)`.
        used: Simulations of a shot up to each entry, where a gradient counts 3 and a Hessian product 6 `(n,)`.
        low_used: Those by the cheap model of forward=corrected `(n,)`.
        density_error: `||rho - rho_true|| / ||rho_true||`, NaN unless density is free and the true one known `(n,)`.
        weight: Weight of a regularizer after each entry, where it is chosen, NaN elsewhere `(n,)`.
        best: Entry of `velocity`.
        stage_models: Best model of each stage `(n_stages, nz, nx)` [m/s].
        simulations: Simulations of a shot by the forward model: forwards, gradients and Hessian products `(3,)`.
        checks: Simulations of a shot by the solver for the true misfit of another forward model.
        low_simulations: Simulations of a shot by the cheap model of forward=corrected, in the same order `(3,)`.
        trials: Stage of each trial of that model, and the entries TRIAL of corrected/trust_region.py `(n, 7)`.
        stopped: Why the inversion was stopped before its end; empty if it was not.
        levels: Misfit that noise alone leaves in each stage, NaN where `config.noise` is null `(n_stages,)`.
        ends: Why each stage ended `(n_stages,)`: noise (the true misfit reached its level), no step (none lowers the
            misfit), iterations, simulations or stopped.
        density: Density of `velocity` `(nz, nx)` [kg/m^3] where it is free; else None.
        density_gradient: Like `gradient`, by the relative density of density.py `(nz, nx)`; else None.
    """

    velocity: np.ndarray
    gradient: np.ndarray
    stage: np.ndarray
    misfit: np.ndarray
    penalty: np.ndarray
    true_misfit: np.ndarray
    model_error: np.ndarray
    used: np.ndarray
    low_used: np.ndarray
    density_error: np.ndarray
    weight: np.ndarray
    best: int
    stage_models: np.ndarray
    simulations: np.ndarray
    checks: int
    low_simulations: np.ndarray
    trials: np.ndarray
    stopped: str
    levels: np.ndarray
    ends: np.ndarray
    density: np.ndarray | None = None
    density_gradient: np.ndarray | None = None


def starting_model(config: InversionConfig, truth: Float[Array, "nz nx"]) -> Float[Array, "nz nx"]:
    """Make the model to start from.

    Args:
        config: Settings of the inversion.
        truth: True model `(nz, nx)` [m/s], within the bounds of the inversion below the fixed rows.

    Returns:
        The starting model `(nz, nx)` [m/s].

    Raises:
        InputError: If all rows are fixed, or the mean of the true model lies outside the bounds.
    """
    rows = config.fixed_rows
    if rows >= len(truth):
        raise InputError(f"inversion.fixed_rows = {rows} holds all {len(truth)} rows of the model. Give fewer.")
    unknown = truth[rows:]
    if config.start == "smooth":
        start = gaussian_smooth(unknown, config.smoothing)
    else:
        start = jnp.full_like(unknown, config.start_velocity or float(jnp.mean(unknown)))
    # A mean of velocities at a bound may pass it by a rounding error.
    return jnp.concatenate([truth[:rows], jnp.clip(start, *config.bounds)])


def fixed_cells(
    config: InversionConfig, shape: tuple[int, ...], fixed: ArrayLike | None = None
) -> Bool[np.ndarray, "..."]:
    """Find the cells whose velocity is held fixed.

    Args:
        config: Settings of the inversion.
        shape: Shape of the model `(nz, nx)`.
        fixed: Mask of further cells `(nz, nx)`.

    Returns:
        The mask `(nz, nx)`.

    Raises:
        InputError: If the mask has another shape, or no cell is left.
    """
    if fixed is not None and (np.shape(fixed) != shape or np.asarray(fixed).dtype != bool):
        raise InputError(
            f"`fixed` must be a mask (True or False) of the model's shape {shape}, but has the shape {np.shape(fixed)} "
            f"and the type {np.asarray(fixed).dtype}."
        )
    held = np.zeros(shape, bool) if fixed is None else np.array(fixed)
    held[: config.fixed_rows] = True
    if held.all():
        raise InputError("All cells of the model are held fixed: leave some free (`fixed`, inversion.fixed_rows).")
    return held


def invert(
    forward: ForwardModel,
    observed: ArrayLike,
    start: ArrayLike,
    config: InversionConfig,
    *,
    weights: ArrayLike | None = None,
    fixed: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    density: ArrayLike | None = None,
    true_density: ArrayLike | None = None,
    solver: ForwardModel | None = None,
    clock: float = 0.0,
    spacing: float | None = None,
    memory_budget: float | None = None,
    resume: Path | None = None,
    identity: str = "",
    make: StageMaker = make_stage,
    on_progress: Callable[[int, dict[str, float]], None] = lambda iteration, values: None,
) -> Result:
    """Fit observed data from a starting model.

    Warns with `SilentDataWarning` of traces and shots whose observed data are zero throughout, and with
    `DivergenceWarning` if the misfit is no longer finite: the best model so far is the result then. Models and data of
    half precision are converted to float32.

    Args:
        forward: Forward model, the solver or a surrogate.
        observed: Observed data `(n_sources, n_times, ...)`, of the shape that `forward` predicts; values of weight zero
            may be anything, NaN included.
        start: Starting model `(nz, nx)` [m/s].
        config: Settings of the inversion.
        weights: Factors of predicted and observed data, zero where data are left out. They have as many axes as the
            data, and an axis of length one holds for all: `(n_sources, 1, n_receivers)` weighs traces. Misfits that
            normalize traces count each by the mean square of its weights (misfits/traces.py).
        fixed: Mask `(nz, nx)` of the cells that keep the start's velocity, in addition to `config.fixed_rows`.
        truth: True model `(nz, nx)` [m/s], where it is known; only for the model error.
        density: Density to start from `(nz, nx)` [kg/m^3], for `config.density = "free"`; None takes that of the rule
            in the start.
        true_density: Its true density `(nz, nx)` [kg/m^3], where that and `truth` are known; only for its error.
        solver: Forward model of the true misfit, where `forward` is a surrogate.
        clock: Time of the simulation's step 0 on the clock of the records [s], for mutes.
        spacing: Side of a cell [m], for regularizers and parametrizations; None takes that of the solver.
        memory_budget: Memory of each device for the simulations of a stage by the solver, which takes the fastest
            strategies and the largest groups of shots that fit [bytes]; None keeps those of the forward models.
        resume: File that keeps the progress, written after an iteration if the last time is `STORE_EVERY` seconds ago.
            Where it exists the inversion resumes from it, and ends with the bits of one that was never interrupted.
        identity: A text that tells what else decides the result, such as the digest of a surrogate's weights.
        make: Function that makes a stage: its objective may be another one than `make_stage` chooses.
        on_progress: Called with the number of an entry of the history and its values. It may raise `StopInversion`:
            with `resume`, the same inversion goes on from there when it is called again.

    Returns:
        The estimate and its history.

    Raises:
        InputError: For a config, data or models that no inversion can use, a memory budget into which a stage does not
            fit, or the progress of another inversion.
        NumericalError: If the misfit of the start or its gradient is not finite.
    """
    if not isinstance(config, InversionConfig):
        raise InputError(f"The settings of an inversion are an InversionConfig(...), but got {type(config)}.")
    config.check()
    if make is make_stage and any(stage.low not in (None, "none") for stage in config.stages):
        raise InputError(
            "A stage of the inversion names a cheap forward model (`low`), which only corrected stages have: give "
            "invert(..., make=CorrectedStages()) of surrogate.inversion.corrected.stages, or leave it out."
        )
    held = fixed_cells(config, np.shape(start), fixed)
    start = check_start(start, config.bounds, held)
    truth = None if truth is None else check_truth(truth, config.bounds, held)
    for model in (forward, solver):
        check_fastest(model, start, config.bounds, held)
    predicted = jax.eval_shape(forward, start)
    weights = check_weights(weights, predicted)
    observed = check_observed(observed, predicted, weights)
    known = [] if truth is None else [np.asarray(truth, np.float64)]
    if config.density == "free":
        forward = free_density(forward, config, solver)
        bounds = config.density_bounds
        start = check_density(density, start, forward, bounds, held, "The starting density")
        if truth is not None and true_density is not None:
            truth = check_density(true_density, truth, forward, bounds, held, "The true density")
            known.append(np.asarray(true_density, np.float64))
        held = np.stack([held, held])
    elif density is not None or true_density is not None:
        raise InputError('`density` and `true_density` are for InversionConfig(density="free"). Leave them out.')
    given = (repr(config), type(forward).__name__, identity, *(np.asarray(x) for x in (start, held, observed)))
    optional = ("none" if x is None else np.asarray(x) for x in (weights, truth))
    data = StageData(forward, observed, weights)
    checked = config, forward, np.asarray(start), held, weights, clock, solver, memory_budget
    plans = check_stages(*checked, led=make is not make_stage and memory_budget is not None)
    # Groups of shots change the rounding of gradients.
    groups = [(plan.memory, plan.at_once) for of_stage in plans for plan in of_stage]
    identity = digest_of(*given, f"{clock} {spacing} {groups}", *optional)
    found = None if resume is None else read_progress(resume, identity)
    noise, simulated = find_noise(config, data, start, memory_budget)
    problem = InversionProblem(config, data, solver, start, held, clock, spacing, memory_budget, noise)
    descent = _Descent(problem, make, known, on_progress, resume, identity)
    first = Progress(np.asarray(start, np.float64).ravel(), spent=np.array([simulated, 0, 0]))
    with returned_after_compiling():
        return descent.run(found or first)


@dataclass
class _Descent:
    """Run the stages of an inversion."""

    problem: InversionProblem
    make: StageMaker
    known: list[np.ndarray]
    on_progress: Callable[[int, dict[str, float]], None]
    resume: Path | None
    identity: str
    progress: Progress = field(init=False)
    stored: float = field(init=False, default_factory=time.monotonic)

    def run(self, progress: Progress) -> Result:
        """Run from the start, or from stored progress, to the end."""
        config, self.progress = self.problem.config, progress
        try:
            self._show()
            while self.progress.stage < config.n_stages and not self.progress.stopped:
                self.progress.end_stage(self._run_stage())
                gc.collect()  # a stage and its compiled functions refer to each other: its data would stay for a while
                return_freed_memory()
                self._store(0.0)
        except StopInversion as stop:
            self._store(0.0)
            if self.progress.state:  # within a stage
                self.progress.end_stage(STOPPED)
            self.progress.stopped = str(stop)
        return self._result()

    def _run_stage(self) -> str:
        """Make a stage and run it, and say why it ended."""
        progress = self.progress
        stage = self.make(self.problem, progress.stage, self._model(progress.stage_start))
        progress.level = np.nan if stage.level is None else stage.level
        if not progress.state:
            progress.spent = progress.spent + stage.spent
            progress.state = stage.optimizer.start(stage.objective, stage.x, stage.objective.bounds)
            if not progress.rows:
                metric = stage.preconditioner(progress.state["gradient"])
                progress.first_gradient = stage.objective.by_velocity(stage.x, metric)
            self._record(stage)
        while not (end := self._end(stage)):
            progress.state = stage.optimizer.step(stage.objective, progress.state, stage.objective.bounds)
            if progress.state["done"]:
                end = NO_STEP
                break
            self._record(stage)
            if progress.stopped:
                return STOPPED
            self._store(STORE_EVERY)
        if stage.check is not None and np.isnan(progress.rows[-1][TRUE_MISFIT]):
            progress.rows[-1][TRUE_MISFIT] = self._true_misfit(stage)
            progress.rows[-1][USED] = self._used(progress.state)
            progress.keep_best(stage.objective.velocity(progress.state["x"]))
        return end

    def _end(self, stage: Stage) -> str:
        """Say why a stage makes no further iteration; empty if it makes one."""
        if (
            stage.level is not None
            and not stage.settings.chooses_weight
            and self.progress.rows[-1][TRUE_MISFIT] <= stage.level
        ):
            return AT_NOISE
        if int(self.progress.state["iteration"]) >= stage.settings.iterations:
            return MADE
        return USED_UP if self._used_up(stage) else ""

    def _record(self, stage: Stage) -> None:
        """Add an entry of the history for the state."""
        progress, state, settings = self.progress, self.progress.state, stage.settings
        x, value, iteration = state["x"], float(state["value"]), int(state["iteration"])
        if not (np.isfinite(value) and np.isfinite(state["gradient"]).all()):
            what = "gradient" if np.isfinite(value) else "misfit"
            if not progress.rows:
                raise NumericalError(_start_not_finite(what))
            progress.stopped = _not_finite(iteration, progress.stage, what)
            warnings.warn(progress.stopped, DivergenceWarning, stacklevel=5)
            return
        velocity = stage.objective.velocity(x)
        weight = float(state.get(WEIGHT, np.nan))
        penalty = stage.objective.penalty(x) * (weight if WEIGHT in state else 1)
        misfit = value - penalty
        penalty += 0.0 if stage.objective.nonsmooth is None else stage.objective.nonsmooth.value(x)
        checked = iteration % settings.check_every == 0 or iteration == settings.iterations
        true_misfit = misfit if stage.check is None else self._true_misfit(stage) if checked else np.nan
        errors = [np.nan, np.nan]
        for i, (model, known) in enumerate(zip(self._fields(velocity), self.known, strict=False)):
            errors[i] = float(np.linalg.norm(model.ravel() - known.ravel()) / np.linalg.norm(known.ravel()))
        used = self._used(progress.state)  # with the simulations of the true misfit
        low = simulations(progress.low + low_counts(state))["weighted"]
        progress.rows.append([progress.stage, misfit, penalty, true_misfit, errors[0], used, low, errors[1], weight])
        progress.keep_best(velocity)
        self._show()

    def _true_misfit(self, stage: Stage) -> float:
        assert stage.check is not None
        state, shots = self.progress.state, stage.check.shots
        if self.problem.solver is None:
            self.progress.state = state | {"forwards": np.array(state["forwards"] + shots)}
        else:
            self.progress.checks += shots
        return stage.check.value(stage.objective.velocity(state["x"]))

    def _used(self, state: State) -> int:
        counts = self.progress.spent + np.array([state[name] for name in COUNTS])
        return simulations(counts)["weighted"]

    def _used_up(self, stage: Stage) -> bool:
        """Whether the stage or the inversion has used its simulations up."""
        used, total = self._used(self.progress.state), self.problem.config.simulations
        began = self.progress.used_before
        return (total is not None and used >= total) or (stage.limit is not None and used - began >= stage.limit)

    def _show(self) -> None:
        if self.progress.rows:
            values = map(float, self.progress.rows[-1])  # counts, too
            try:
                self.on_progress(len(self.progress.rows) - 1, dict(zip(ENTRIES, values, strict=True)))
            except Interrupted:
                self._store(0.0)  # here the progress is whole; a signal that interrupts a step leaves what is stored
                raise

    def _store(self, every: float) -> None:
        if self.resume is not None and time.monotonic() - self.stored >= every:
            store_progress(self.resume, self.progress, self.identity)
            self.stored = time.monotonic()

    def _model(self, velocity: np.ndarray) -> np.ndarray:
        return np.asarray(velocity, self.problem.start.dtype).reshape(self.problem.start.shape)

    def _fields(self, model: np.ndarray) -> list[np.ndarray]:
        """Return the velocity of a model [m/s] and, where it is free, the density [kg/m^3]."""
        forward = self.problem.data.forward
        if not isinstance(forward, DensityForward):
            return [model.reshape(self.problem.start.shape)]
        with jax.enable_x64(model.dtype == np.float64):
            return [np.asarray(field) for field in forward.medium(jnp.asarray(model.reshape(self.problem.start.shape)))]

    def _result(self) -> Result:
        progress = self.progress
        velocity, *density = self._fields(self._model(progress.best))
        slopes = self._model(progress.first_gradient).reshape(-1, *velocity.shape)
        models = [self._fields(self._model(model))[0] for model in progress.stage_models]
        return Result(
            velocity,
            slopes[0],
            *np.array(progress.rows).T,
            best=progress.best_entry,
            stage_models=np.stack(models),
            simulations=progress.spent,
            checks=progress.checks,
            low_simulations=progress.low,
            trials=progress.trials,
            stopped=progress.stopped,
            levels=np.array(progress.levels),
            ends=np.array(progress.ends, str),
            density=density[0] if density else None,
            density_gradient=slopes[1] if density else None,
        )


def _start_not_finite(what: str) -> str:
    return (
        f"The {what} of the start is not finite, although the start and the observed data are: the forward model "
        "predicts no finite data for it. Compare the start's largest velocity with the simulation's max_velocity, "
        "which sets the CFL limit."
    )


def _not_finite(iteration: int, stage: int, what: str) -> str:
    """Say what may have made a misfit or its gradient infinite."""
    return (
        f"The {what} is not finite at iteration {iteration} of stage {stage}: the inversion was stopped, and its best "
        "model is kept. Lower inversion.learning_rate or tighten inversion.bounds: a velocity over the solver's CFL "
        "limit blows up."
    )
