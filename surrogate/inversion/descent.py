"""Invert waveforms: minimize the misfit over the velocity model, through whichever forward model is given.

    J(v) = misfit(forward(v), observed),    v within bounds

Every iteration records the misfit and, where the true model is known, its error. A surrogate's own misfit can fall
while the data that it approximates fit no better, so the solver simulates the true misfit as the inversion proceeds.
The result is the model of the smallest true misfit, which need not be the last one.
"""

import time
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
from data_gen.common.plain import whole
from data_gen.common.smoothing import gaussian_smooth
from data_gen.solver.problem.simulation import SLOWEST_MEANT
from surrogate.inversion.bounds import make_bounds
from surrogate.inversion.checks import check_fastest, check_observed, check_start, check_truth, check_weights
from surrogate.inversion.forward import KINDS, ForwardModel
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers import OPTIMIZERS
from surrogate.inversion.optimizers.precondition import make_preconditioner
from surrogate.inversion.optimizers.protocol import COUNTS
from surrogate.inversion.progress import Progress, read_progress, store_progress

STORE_EVERY = 10.0  # [s] between two times at which progress is stored: L-BFGS keeps forty models
STARTS = ("smooth", "constant", "gradient")
MODEL_FILES = (".npy", ".npz", ".segy", ".sgy")


@dataclass
class InversionConfig:
    """Describe an inversion: the data, the start, and how the misfit is minimized.

    Attributes:
        kind: Kind of the data, gather (at the receivers) or wavefield (at every cell).
        misfit: Misfit between predicted and observed data: l2, trace_normalized_l2, global_correlation, huber,
            student_t, envelope, cross_correlation_delay, wasserstein, adaptive_waveform or frequency_phase. The last
            five compare traces along time, and need times dense enough for the waves.
        index: Index of the true model in the test stream, used unless a file gives the model.
        shots: Number of sources, spread evenly along a line at one depth.
        source_depth: Depth of the sources [m], a multiple of the cell size.
        record_every: Steps between two samples of the data. By default gathers are sampled at every step, and
            wavefields at the snapshot times of the data set. A surrogate knows only the times of its training.
        start: Model to start from: smooth (the true model, smoothed), constant, gradient (in depth), or the path of a
            velocity model, .npy, .npz or SEG-Y.
        smoothing: Standard deviation of the Gaussian that makes the smooth start [cells].
        start_velocity: Velocity of the constant start [m/s], by default the mean of the true model, or of the bounds
            where that is unknown; or of the gradient's start at z = 0, by default the lowest one.
        start_gradient: Growth of the gradient's start with depth [1/s], by default up to the highest velocity at the
            bottom.
        start_spacing: Cell size of the start's file [m]; null takes the one that the file gives.
        start_origin: Position `[z, x]` of its first cell [m]; null takes the one that the file gives.
        optimizer: Optimizer, adam, lbfgs, gauss_newton or newton_cg.
        iterations: Largest number of iterations.
        cg_iterations: Largest number of Hessian products in an iteration of gauss_newton and newton_cg.
        learning_rate: Step of Adam in every cell, or largest change by the first trial step of the others [m/s].
        gradient_smoothing: Standard deviation of the Gaussian that smooths gradients [cells], 0 for none.
        depth_power: Power of depth by which updates are weighted; 0 weighs all cells alike. With sources and
            receivers at the surface, 0.5 to 1 lets L-BFGS change deep cells more readily.
        hold_layers: Whether the solver's gradient holds the absorbing layers, which continue the model's edge values.
            False adds the whole layer's gradient to the outermost cells.
        bounds: Lowest and highest velocity of an estimate [m/s], except in fixed rows.
        fixed_rows: Number of rows at the top whose velocity is known and held fixed, such as those of water [cells].
            The start has the true model's velocities there.
        check_every: Iterations between two simulations of the true misfit of a surrogate's estimate.
    """

    kind: str = "gather"
    misfit: str = "l2"
    index: int = 0
    shots: int = 5
    source_depth: float = 20.0
    record_every: int | None = None
    start: str = "smooth"
    smoothing: float = 6.0
    start_velocity: float | None = None
    start_gradient: float | None = None
    start_spacing: float | None = None
    start_origin: list[float] | None = None
    optimizer: str = "adam"
    iterations: int = 100
    cg_iterations: int = 10
    learning_rate: float = 20.0
    gradient_smoothing: float = 0.0
    depth_power: float = 0.0
    hold_layers: bool = True
    bounds: list[float] = field(default_factory=lambda: [1500.0, 4500.0])
    fixed_rows: int = 0
    check_every: int = 10

    def check(self) -> None:
        """Refuse values that no inversion can use.

        Raises:
            InputError: For such a value.
        """
        for name, choices in (
            ("kind", KINDS),
            ("misfit", tuple(MISFITS)),
            ("optimizer", tuple(OPTIMIZERS)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"inversion.{name} must be one of {choices}, but is {getattr(self, name)!r}.")
        if self.start not in STARTS and Path(self.start).suffix.lower() not in MODEL_FILES:
            raise InputError(
                f"inversion.start must be one of {STARTS} or the path of a model file ({', '.join(MODEL_FILES)}), but "
                f"is {self.start!r}."
            )
        if self.start_spacing is not None and not 0 < self.start_spacing < float("inf"):
            raise InputError(f"inversion.start_spacing must be a positive length in m, but is {self.start_spacing}.")
        if self.start_origin is not None and len(self.start_origin) != 2:
            raise InputError(f"inversion.start_origin must be [z, x] in m, but is {self.start_origin}.")
        if self.record_every is not None and self.record_every < 1:
            raise InputError(f"inversion.record_every must be at least 1, but is {self.record_every}.")
        if len(self.bounds) != 2 or not 0 < self.bounds[0] < self.bounds[1] < float("inf"):
            raise InputError(f"inversion.bounds must be [lowest, highest] in m/s, but is {self.bounds}.")
        if self.bounds[1] < SLOWEST_MEANT:
            raise InputError(
                f"inversion.bounds = {self.bounds} looks like km/s. Meters per second are meant: multiply by 1000."
            )
        if self.start_velocity is not None and not self.bounds[0] <= self.start_velocity <= self.bounds[1]:
            meant = " If it is in km/s, multiply by 1000." if self.start_velocity < SLOWEST_MEANT else ""
            raise InputError(
                f"inversion.start_velocity = {self.start_velocity} m/s lies outside inversion.bounds = "
                f"{self.bounds} m/s. Change one of them.{meant}"
            )
        for name in ("index", "fixed_rows", "shots", "iterations", "cg_iterations", "check_every"):
            whole(getattr(self, name), f"inversion.{name}")
        for name in ("shots", "iterations", "cg_iterations", "check_every"):
            if getattr(self, name) < 1:
                raise InputError(f"inversion.{name} must be at least 1, but is {getattr(self, name)}.")
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"inversion.learning_rate must be positive, but is {self.learning_rate}.")
        for name in ("smoothing", "gradient_smoothing", "depth_power", "index", "fixed_rows"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"inversion.{name} must not be negative, but is {getattr(self, name)}.")


class Result(NamedTuple):
    """Hold the estimate and the history of an inversion; the first entry of a history is the start's.

    Attributes:
        velocity: Model of the smallest true misfit `(nz, nx)` [m/s], that of iteration `best`.
        gradient: Gradient of the misfit at the start, smoothed and weighted as in the first update `(nz, nx)`.
        misfit: Misfit of the forward model's data, `(iterations + 1,)`; all optimizers but Adam end early where no step
            lowers it.
        true_misfit: Misfit of data simulated by the solver, NaN where it was not simulated.
        model_error: `||v - v_true|| / ||v_true||`, NaN where the true model is unknown.
        best: Iteration of `velocity`.
        simulations: Simulations of a shot by the forward model: forwards, gradients and Hessian products `(3,)`.
        checks: Simulations of a shot by the solver for the true misfit of another forward model.
    """

    velocity: np.ndarray
    gradient: np.ndarray
    misfit: np.ndarray
    true_misfit: np.ndarray
    model_error: np.ndarray
    best: int
    simulations: np.ndarray
    checks: int


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
    solver: ForwardModel | None = None,
    resume: Path | None = None,
    identity: str = "",
    on_progress: Callable[[int, dict[str, float]], None] = lambda iteration, values: None,
) -> Result:
    """Fit observed data from a starting model.

    Warns with `SilentDataWarning` of traces and shots whose observed data are zero throughout. Models and data of half
    precision are converted to float32.

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
        solver: Forward model of the true misfit, where `forward` is a surrogate.
        resume: File that keeps the progress, written after an iteration if the last time is `STORE_EVERY` seconds ago.
            Where it exists the inversion resumes from it, and ends with the bits of one that was never interrupted.
        identity: A text that tells what else decides the result, such as the digest of a surrogate's weights.
        on_progress: Called with the iteration and its values, in every iteration.

    Returns:
        The estimate and its history.

    Raises:
        InputError: For a config, data or models that no inversion can use, or the progress of another inversion.
        NumericalError: If the misfit or its gradient is no longer finite; it names the iteration.
    """
    if not isinstance(config, InversionConfig):
        raise InputError(f"The settings of an inversion are an InversionConfig(...), but got {type(config)}.")
    config.check()
    held = fixed_cells(config, np.shape(start), fixed)
    start = check_start(start, config.bounds, held)
    truth = None if truth is None else check_truth(truth, config.bounds, held)
    for model in (forward, solver):
        check_fastest(model, start, config.bounds, held)
    predicted = jax.eval_shape(forward, start)
    weights = check_weights(weights, predicted)
    observed = check_observed(observed, predicted, weights)
    misfit, shape = MISFITS[config.misfit], start.shape
    objective = DataMisfit(forward, observed, weights, misfit, shape, start.dtype)
    check = None if solver is None else DataMisfit(solver, observed, weights, misfit, shape, start.dtype)
    bounds = make_bounds(config.bounds[0], config.bounds[1], np.ravel(start), held.ravel())
    preconditioner = make_preconditioner(shape, config.gradient_smoothing, config.depth_power)
    optimizer = OPTIMIZERS[config.optimizer](config, preconditioner)
    known = None if truth is None else np.asarray(truth, np.float64).ravel()
    given = (repr(config), type(forward).__name__, identity, *(np.asarray(x) for x in (start, held, observed)))
    optional = ("none" if x is None else np.asarray(x) for x in (weights, truth))
    identity = digest_of(*given, *optional)

    def check_solver(x):
        assert check is not None
        progress.checks += check.shots
        return check.value(x)

    def show():
        iteration = len(progress.rows) - 1
        on_progress(iteration, dict(zip(("misfit", "true_misfit", "model_error"), progress.rows[-1], strict=True)))

    def record(state):
        iteration, x, value = len(progress.rows), state["x"], float(state["value"])
        if not (np.isfinite(value) and np.isfinite(state["gradient"]).all()):
            raise NumericalError(_not_finite(iteration, "gradient" if np.isfinite(value) else "misfit"))
        checked = iteration % config.check_every == 0 or iteration == config.iterations
        true_misfit = value if check is None else check_solver(x) if checked else np.nan
        error = np.nan if known is None else np.linalg.norm(x - known) / np.linalg.norm(known)
        progress.rows.append([value, true_misfit, float(error)])
        progress.keep_best(x)
        show()

    def begin():
        state = optimizer.start(objective, np.asarray(start, np.float64).ravel(), bounds)
        return Progress(state, preconditioner(state["gradient"]), state["x"])

    found = None if resume is None else read_progress(resume, identity)
    progress = begin() if found is None else found
    if found is None:
        record(progress.state)
    else:
        show()
    stored = time.monotonic()
    while len(progress.rows) <= config.iterations:
        progress.state = optimizer.step(objective, progress.state, bounds)
        if progress.state["done"]:
            break
        record(progress.state)
        if resume is not None and time.monotonic() - stored >= STORE_EVERY:
            store_progress(resume, progress, identity)
            stored = time.monotonic()
    if check is not None and np.isnan(progress.rows[-1][1]):
        progress.rows[-1][1] = check_solver(progress.state["x"])
        progress.keep_best(progress.state["x"])
    models = (progress.best, progress.first_gradient)
    velocity, gradient = (np.asarray(vector, start.dtype).reshape(shape) for vector in models)
    counts = np.array([progress.state[name] for name in COUNTS])
    history, best = np.array(progress.rows).T, progress.best_iteration
    return Result(velocity, gradient, *history, best=best, simulations=counts, checks=progress.checks)


def _not_finite(iteration: int, what: str) -> str:
    """Say what may have made a misfit or its gradient infinite."""
    if iteration == 0:
        return (
            f"The {what} of the start is not finite, although the start and the observed data are: the forward model "
            "predicts no finite data for it. Compare the start's largest velocity with the simulation's max_velocity, "
            "which sets the CFL limit."
        )
    return (
        f"The {what} is not finite at iteration {iteration}. Lower inversion.learning_rate or tighten "
        "inversion.bounds: a velocity over the solver's CFL limit blows up."
    )
