"""Make a stage of an inversion: its data, objective, preconditioner and optimizer, from the settings and a model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from data_gen.common.errors import InputError
from data_gen.solver.memory_plan import MemoryPlan
from data_gen.solver.problem.medium import copies_of_cells
from surrogate.inversion.batches import Batches, Draws, Encodings
from surrogate.inversion.config import DISCREPANCY, ESTIMATED, InversionConfig, MuteConfig
from surrogate.inversion.density import limits, velocity_of
from surrogate.inversion.discrepancy import Discrepancy
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SelectableForward, coarser
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.noise_level import DEVIATIONS, Noise, check_estimated, noise_misfit
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers import OPTIMIZERS, PROXIMAL
from surrogate.inversion.optimizers.precondition import Preconditioner, make_preconditioner
from surrogate.inversion.optimizers.protocol import Optimizer, Vector
from surrogate.inversion.parametrizations.base import ModelSpace, Parametrization
from surrogate.inversion.parametrizations.registry import PARAMETRIZATIONS
from surrogate.inversion.preconditioners.diagonal import damped_inverse, gauss_newton_diagonal
from surrogate.inversion.preconditioners.illumination import source_illumination
from surrogate.inversion.processing.both_sides import BothSides
from surrogate.inversion.processing.mutes import early_mute, late_mute, offset_mute
from surrogate.inversion.regularizers.base import Regularizer
from surrogate.inversion.regularizers.proximal import ProximalTotalVariation
from surrogate.inversion.regularizers.registry import REGULARIZERS
from surrogate.inversion.regularizers.total_variation import TotalVariation
from surrogate.inversion.shot_sharding import place_shots
from surrogate.inversion.stage_data import Narrowing, StageData, narrow
from surrogate.inversion.stage_memory import plan_cheap, plan_stage
from surrogate.inversion.stochastic import Stochastic

PROBES = 8  # of the diagonal of the Hessian: each estimate is then wrong by a half of itself (one standard deviation)


@dataclass(frozen=True, eq=False)
class InversionProblem:
    """Hold what an inversion is given, checked.

    Attributes:
        config: Settings.
        data: Forward model, observed data and weights.
        solver: Forward model of the true misfit, where another one is a surrogate.
        start: Starting model `(nz, nx)` [m/s], or `(2, nz, nx)` where density is free (density.py).
        held: Mask of the cells that keep its velocity, of its shape.
        clock: Time of the simulation's step 0 on the clock of the records [s].
        spacing: Side of a cell [m]; None takes that of the solver.
        memory_budget: Memory of each device for the solver [bytes]; None keeps its strategy and groups of shots.
        noise: Knowledge of the noise, where stages stop at its misfit.
    """

    config: InversionConfig
    data: StageData
    solver: ForwardModel | None
    start: Float[Array, "... nz nx"]
    held: Bool[np.ndarray, "... nz nx"]
    clock: float = 0.0
    spacing: float | None = None
    memory_budget: float | None = None
    noise: Noise | None = None


class Stage(NamedTuple):
    """Hold a stage that is ready to run.

    Attributes:
        settings: Settings of the stage.
        objective: Objective, which is minimized.
        check: True misfit, where it is not that of an iteration: by the solver, where the forward model is a surrogate,
            and of all shots.
        preconditioner: Preconditioner of the unknowns.
        optimizer: Optimizer.
        x: Unknowns to start from `(n,)`.
        spent: Simulations that making it took, in the order of COUNTS.
        limit: Largest number of simulations, or None.
        level: Misfit of noise alone, or None: the stage stops there, unless it chooses the weight of a regularizer.
    """

    settings: InversionConfig
    objective: ModelObjective
    check: DataMisfit | None
    preconditioner: Preconditioner
    optimizer: Optimizer
    x: Vector
    spent: np.ndarray
    limit: int | None
    level: float | None = None


# Makes one stage of an inversion, of its number, from 0, and the model to start from `(nz, nx)` [m/s].
StageMaker = Callable[[InversionProblem, int, np.ndarray], Stage]


def make_stage(problem: InversionProblem, number: int, velocity: np.ndarray) -> Stage:
    """Make a stage as its settings say.

    Args:
        problem: The inversion.
        number: Number of the stage, from 0.
        velocity: Model to start from `(nz, nx)` [m/s].

    Returns:
        The stage.

    Raises:
        InputError: If settings do not fit the forward model or one another.
    """
    config, settings = problem.config, problem.config.of_stage(number)
    data = data_of_stage(problem, number)
    level = None
    if problem.noise is not None:
        narrowing, nt = _narrowing(problem, number), problem.data.observed.shape[1]
        level = noise_misfit(problem.noise, narrowing, nt, data, 0.0 if settings.chooses_weight else DEVIATIONS)
    draws = make_draws(settings, number, data.forward, velocity, data.weights)
    forwards = plan_stage(settings, number, data.forward, draws, problem.solver, problem.memory_budget)
    data = data._replace(forward=forwards.fitted)
    objective = make_objective(problem, settings, data)
    x = objective.unknowns(velocity)
    preconditioner, spent = _preconditioner(settings, data._replace(forward=forwards.probed), objective, velocity)
    check = None
    if forwards.checked is not None:
        check = _data_misfit(problem, settings, data._replace(forward=forwards.checked))
    optimizer = OPTIMIZERS[settings.optimizer](settings, preconditioner)
    if draws is not None:
        optimizer = Stochastic(optimizer, draws)
    if settings.chooses_weight:
        assert level is not None
        optimizer = Discrepancy(optimizer, level)
    return Stage(
        settings, objective, check, preconditioner, optimizer, x, spent, config.stage(number).simulations, level
    )


def data_of_stage(problem: InversionProblem, number: int) -> StageData:
    """Narrow and mute the data to those that a stage fits.

    Args:
        problem: The inversion.
        number: Number of the stage, from 0.

    Returns:
        Its forward model, data and weights.

    Raises:
        InputError: If settings do not fit the forward model.
    """
    data = _narrowing(problem, number).data(problem.data.observed, problem.data.weights)
    mute = problem.config.of_stage(number).mute
    return data._replace(weights=_muted(data.forward, data.weights, mute, problem.clock))


def _narrowing(problem: InversionProblem, number: int) -> Narrowing:
    lowest = slowest(problem.config, np.asarray(problem.start), problem.held)
    return narrow(problem.data.forward, problem.config.stage(number), lowest, number)


def check_stages(
    config: InversionConfig,
    forward: ForwardModel,
    start: np.ndarray,
    held: np.ndarray,
    weights: ArrayLike | None,
    clock: float = 0.0,
    solver: ForwardModel | None = None,
    memory_budget: float | None = None,
    *,
    led: bool = False,
) -> list[tuple[MemoryPlan, ...]]:
    """Check that every stage can be made, before the first one runs.

    Args:
        config: Settings of the inversion.
        forward: Its forward model.
        start: Starting model `(nz, nx)` [m/s].
        held: Mask of the cells that keep its velocity `(nz, nx)`.
        weights: Weights of the data, or None.
        clock: Time of the simulation's step 0 on the clock of the records [s].
        solver: Forward model of the true misfit, where another one is a surrogate.
        memory_budget: Memory of each device for the solver [bytes], or None.
        led: Whether the cheap forward models of the settings lead the stages (corrected/stages.py).

    Returns:
        Plans of each stage's simulations by the solver, that of the derivative first and that of the cheap one last.

    Raises:
        InputError: See `make_stage`.
    """
    plans = []
    if config.noise == ESTIMATED:
        check_estimated(forward)
    if config.chooses_weight and solver is not None:
        raise InputError(
            f"A regularizer's weight={DISCREPANCY} keeps the misfit at that of noise, but a surrogate's own misfit is "
            "not the true one. Give a number, or invert with forward=physics."
        )
    for number in range(config.n_stages):
        settings = config.of_stage(number)
        narrowing = narrow(forward, config.stage(number), slowest(config, start, held), number)
        narrowed, given = narrowing.forward, narrowing.weights(None if weights is None else jnp.asarray(weights))
        draws = make_draws(settings, number, narrowed, start, _muted(narrowed, given, settings.mute, clock))
        _check_preconditioner(settings, narrowed)
        _unknowns(settings, jnp.asarray(start), spacing_of(narrowed, None))
        found = plan_stage(settings, number, narrowed, draws, solver, memory_budget).plans
        if led and settings.corrected.low == "coarse":
            cheap = coarser(narrowed, settings.corrected.coarser)
            found += plan_cheap(settings, number, cheap, draws, memory_budget).plans
        plans.append(found)
    return plans


def slowest(config: InversionConfig, start: np.ndarray, held: np.ndarray) -> float:
    """Find the lowest velocity of any model.

    Args:
        config: Settings of the inversion.
        start: Starting model `(nz, nx)` [m/s].
        held: Mask of the cells that keep its velocity `(nz, nx)`.

    Returns:
        The velocity [m/s].
    """
    velocity, known = velocity_of(np.asarray(start)), velocity_of(held)
    return min(config.bounds[0], float(np.min(velocity[known], initial=inf)))


def spacing_of(forward: ForwardModel, spacing: float | None) -> float:
    """Return the side of a cell of the model.

    Args:
        forward: Forward model.
        spacing: The side [m], if it is known.

    Returns:
        That, or the solver's [m]; 1 where neither is known.
    """
    if spacing is not None:
        return spacing
    return forward.simulation.grid.spacing if isinstance(forward, PhysicsForward) else 1.0


def make_draws(
    settings: InversionConfig, number: int, forward: ForwardModel, velocity: np.ndarray, weights: Array | None
) -> Draws | None:
    """Choose the draws of a stage.

    Args:
        settings: Settings of the stage.
        number: Number of the stage, from 0.
        forward: Forward model of the stage.
        velocity: Any model `(nz, nx)` [m/s].
        weights: Weights of its data, or None.

    Returns:
        The draws, or None if every iteration sees all shots.

    Raises:
        InputError: If the forward model cannot choose or sum shots, there are too few, or they cannot be summed.
    """
    name = "batch" if settings.encoding is None else "encoding"
    count = getattr(settings, name)
    if count is None:
        return None
    n_shots = len(jax.eval_shape(forward, velocity))
    if count > n_shots:
        raise InputError(f"inversion.{name} = {count}, but stage {number} has {n_shots} shots. Give fewer.")
    optimizer = OPTIMIZERS[settings.optimizer](settings, make_preconditioner((1, 1)))
    seed = settings.seed, number
    if name == "batch":
        if not isinstance(forward, SelectableForward):
            raise InputError(
                f"inversion.batch chooses shots, which a {type(forward).__name__} cannot: it has no select(shots). "
                "Leave it out, or give the forward model that method."
            )
        return Batches(seed, n_shots, count, shared=optimizer.compares)
    if not isinstance(forward, PhysicsForward):
        raise InputError("inversion.encoding sums shots, which a surrogate has not learned: invert with the solver.")
    if forward.survey.receivers.ndim == 3:
        raise InputError(
            "inversion.encoding sums shots, which needs the same receivers in every shot, but each shot has receivers "
            "of its own. Give inversion.batch in place of encoding."
        )
    if weights is not None and bool(jnp.any(weights != weights[:1])):
        raise InputError(
            "inversion.encoding sums shots, which needs the same weights in every shot, but they differ: dead traces "
            "of single shots and mutes make them differ. Leave these out, or give inversion.batch in place of encoding."
        )
    return Encodings(seed, n_shots, count)


def make_objective(problem: InversionProblem, settings: InversionConfig, data: StageData) -> ModelObjective:
    """Make the objective of a stage.

    Args:
        problem: The inversion.
        settings: Settings of the stage.
        data: Data of the stage.

    Returns:
        The objective.

    Raises:
        InputError: If a parametrization or a regularizer cannot be made of its settings, or needs the side of a cell.
    """
    low, high = limits(data.forward, settings)
    spacing = spacing_of(data.forward, problem.spacing)
    parametrization, regularizers = _unknowns(settings, problem.start, spacing)
    start = np.asarray(problem.start, np.float64)
    misfit = _data_misfit(problem, settings, data)
    nonsmooth = None
    if settings.optimizer in PROXIMAL and "total_variation" in settings.regularizers:
        weight = float(settings.regularizers["total_variation"]["weight"])
        nonsmooth = ProximalTotalVariation(weight, start.shape, spacing)
        regularizers = tuple(pair for pair in regularizers if not isinstance(pair[1], TotalVariation))
    return ModelObjective(misfit, parametrization, regularizers, start, problem.held, low, high, spacing, nonsmooth)


def _unknowns(
    settings: InversionConfig, start: Array, spacing: float
) -> tuple[Parametrization, tuple[tuple[float, Regularizer], ...]]:
    """Make the parametrization and the regularizers."""
    with jax.enable_x64(True):
        low, high = settings.bounds
        space = ModelSpace(jnp.asarray(start, jnp.float64), low, high, spacing)
        kind, options = PARAMETRIZATIONS[settings.parametrization], settings.parametrization_settings
        parametrization = _made("parametrization_settings", kind, options, space)
    return parametrization, tuple(
        (
            1.0 if settings.chooses_weight else float(options["weight"]),
            _made(f"regularizers.{name}", REGULARIZERS[name], _without_weight(options)),
        )
        for name, options in settings.regularizers.items()
    )


def _data_misfit(problem: InversionProblem, settings: InversionConfig, data: StageData) -> DataMisfit:
    prepare = BothSides(settings.source, settings.normalize)
    return DataMisfit(
        data.forward,
        place_shots(data.observed, data.forward),
        None if data.weights is None else place_shots(data.weights, data.forward),
        MISFITS[settings.misfit],
        problem.start.shape,
        problem.start.dtype,
        None if prepare == BothSides() else prepare,
    )


def _without_weight(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "weight"}


def _made(name: str, kind: Any, options: dict[str, Any], *first: Any) -> Any:
    """Make what a name of a registry stands for, of settings from a config."""
    try:
        return kind(*first, **options)
    except TypeError as error:
        raise InputError(f"inversion.{name} = {dict(options)} does not have the right settings: {error}.") from None


def _muted(forward: ForwardModel, weights: Array | None, mute: MuteConfig, clock: float) -> Array | None:
    """Multiply weights by those of the mutes."""
    if not mute.mutes:
        return weights
    if not isinstance(forward, PhysicsForward):
        raise InputError("inversion.mute needs the survey, which a surrogate does not know: invert with the solver.")
    survey, time = forward.survey, forward.simulation.time
    farthest = inf if mute.farthest is None else mute.farthest
    muted = offset_mute(survey, mute.nearest, farthest, taper=mute.offset_taper)
    if mute.early_velocity is not None:
        start = mute.early_start - clock
        muted = muted * early_mute(survey, time, mute.early_velocity, start=start, taper=mute.time_taper)
    if mute.late_velocity is not None:
        start = mute.late_start - clock
        muted = muted * late_mute(survey, time, mute.late_velocity, start=start, taper=mute.time_taper)
    if muted.shape[1] > 1:
        muted = muted[:, np.array(forward.steps)]
    if not bool(jnp.any(muted > 0)):
        raise InputError(f"inversion.mute = {mute} leaves nothing of the data. Widen its times or offsets.")
    return muted if weights is None else muted * weights


def _check_preconditioner(settings: InversionConfig, forward: ForwardModel) -> bool:
    """Check that the preconditioner fits the unknowns and the forward model; whether the unknowns are cells."""
    cells = settings.unknowns_are_cells
    if not cells and (settings.gradient_smoothing, settings.depth_power, settings.preconditioner) != (0, 0, "none"):
        raise InputError(
            f"inversion.gradient_smoothing, depth_power and preconditioner weigh cells, but the unknowns of "
            f"parametrization={settings.parametrization} are none: leave them out (0, 0, none)."
        )
    if settings.preconditioner == "illumination" and not isinstance(forward, PhysicsForward):
        raise InputError("preconditioner=illumination is made by the solver: with a surrogate take gauss_newton.")
    return cells


def _preconditioner(
    settings: InversionConfig, data: StageData, objective: ModelObjective, velocity: np.ndarray
) -> tuple[Preconditioner, np.ndarray]:
    """Make the preconditioner of the unknowns, and count the simulations that it took."""
    if not _check_preconditioner(settings, data.forward):
        return make_preconditioner((len(objective.bounds.low), 1)), np.zeros(3, np.int64)
    model, forward, shots = jnp.asarray(velocity), data.forward, len(data.observed)
    copies = 1.0  # the diagonal of Gauss and Newton has the layers in it
    if isinstance(forward, PhysicsForward) and settings.preconditioner != "gauss_newton":
        copies = np.broadcast_to(copies_of_cells(forward.simulation), velocity.shape).ravel()
    plain = make_preconditioner(velocity.shape, settings.gradient_smoothing, settings.depth_power, copies)
    if settings.preconditioner == "none":
        return plain, np.zeros(3, np.int64)
    if settings.preconditioner == "illumination":
        assert isinstance(forward, PhysicsForward)
        medium, density = forward.medium(model)
        diagonal = source_illumination(medium, forward.survey, forward.simulation, density=density)
        spent = np.array([shots, 0, 0])
    else:
        key = jax.random.key(0)
        estimate = jax.jit(
            lambda model: gauss_newton_diagonal(forward, model, key, weights=data.weights, probes=PROBES)
        )
        diagonal, spent = estimate(model), np.array([0, PROBES * shots, 0])
    # On both sides, as P P^T: each side takes the root.
    # The illumination is that of each field, and each has weights up to one.
    parts = jnp.broadcast_to(diagonal, model.shape).reshape(-1, *model.shape[-2:])
    weights = [damped_inverse(part, level=settings.preconditioner_level, power=0.5) for part in parts]
    return replace(plain, weights=plain.weights * np.ravel(np.asarray(weights, np.float64))), spent
