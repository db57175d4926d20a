"""Describe what an inversion needs, wherever it comes from; and make it for a known model, whose data are simulated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.digest import digest_of
from data_gen.common.errors import InputError
from data_gen.common.files import differences
from data_gen.common.frame import Frame
from data_gen.dataset.sample import SPLITS, DataSpec
from data_gen.solver.problem.checks import check_inputs
from surrogate.config import InvertConfig
from surrogate.devices import fetch
from surrogate.inversion.checks import check_fastest, check_start, check_truth
from surrogate.inversion.config import OPERATOR, STARTS, InversionConfig
from surrogate.inversion.density import check_density, free_density
from surrogate.inversion.descent import fixed_cells
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward, spread_sources
from surrogate.inversion.observed.start import make_start, make_start_density, read_start
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.model_file import read_real, read_real_density

NEAR = 1e-3  # [m] between depths that are the same


@dataclass(frozen=True)
class Problem:
    """Describe an inversion that is checked and can be run; nothing is compiled yet.

    Attributes:
        forward: Forward model.
        complete: Function that computes what is still missing, and returns the forward model and the observed data.
        start: Starting model `(nz, nx)` [m/s].
        spacing: Side of a cell [m].
        described: The data in words.
        shots: Number of shots.
        truth: True model `(nz, nx)` [m/s], or None if it is unknown.
        solver: Forward model of the true misfit, where `forward` is a surrogate.
        weights: Weights of the data, or None for none.
        origin: Position (z, x) of the first cell [m].
        frame: Place of these positions in the world, or None for nowhere.
        contents: Digest of the files that decide the result in addition to the true model; None for none.
        clock: Time of the simulation's first step on the clock of the records [s].
        surrogate: Cheap forward model of forward=corrected, where it is a surrogate.
        start_density: Density that a free density starts from `(nz, nx)` [kg/m^3], or None for the rule's.
        true_density: True density `(nz, nx)` [kg/m^3], or None if it is unknown or not inverted.
    """

    forward: ForwardModel
    complete: Callable[[], tuple[ForwardModel, jax.Array | np.ndarray]]
    start: np.ndarray
    spacing: float
    described: str
    shots: int
    truth: np.ndarray | None = None
    solver: PhysicsForward | None = None
    weights: np.ndarray | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    frame: Frame | None = None
    contents: str | None = None
    clock: float = 0.0
    surrogate: SurrogateForward | None = None
    start_density: np.ndarray | None = None
    true_density: np.ndarray | None = None

    def check_density(self, config: InversionConfig) -> "Problem":
        """Check what a free density needs, before anything is compiled.

        Args:
            config: Settings of the inversion.

        Returns:
            The problem itself.

        Raises:
            InputError: If the forward model or a density cannot be used.
        """
        if config.density == "free":
            held, bounds = fixed_cells(config, self.start.shape), config.density_bounds
            free = free_density(self.forward, config, self.solver or self.surrogate)
            check_density(self.start_density, jnp.asarray(self.start), free, bounds, held, "The starting density")
            if self.truth is not None and self.true_density is not None:
                check_density(self.true_density, jnp.asarray(self.truth), free, bounds, held, "The true density")
        return self


def with_density(forward: PhysicsForward, density: np.ndarray | jax.Array | None) -> PhysicsForward:
    """Give the solver the density of one model.

    Args:
        forward: The solver.
        density: Density `(nz, nx)` [kg/m^3]; None keeps its rule.

    Returns:
        The solver, with that density whatever the velocity.
    """
    return (
        forward if density is None else replace(forward, density=lambda velocity: jnp.asarray(density, velocity.dtype))
    )


def over_devices(forward: PhysicsForward, config: InvertConfig) -> PhysicsForward:
    """Share the shots between the devices, in groups whose data can be simulated within the memory budget.

    Stages plan the memory of their derivatives by themselves (stage_memory.py).

    Args:
        forward: The solver.
        config: Config of the inversion.

    Returns:
        The solver on these devices.

    Raises:
        InputError: If the shots cannot be shared, or not even one shot's data fit.
    """
    shared = replace(forward, mesh=config.parallel.create(forward.survey.n_shots))
    return shared.within(config.memory_budget, None)[0]


def known_model_problem(config: InvertConfig) -> Problem:
    """Make the problem of data that are simulated in a true model.

    Args:
        config: Config of the inversion.

    Returns:
        The problem.

    Raises:
        InputError: If a setting, the run or a file cannot be used.
    """
    given = {"geometry": config.geometry, "wavelet": config.wavelet}
    if extra := [name for name, value in given.items() if value is not None]:
        raise InputError(f"{' and '.join(extra)} are those of observed data: give observed=PATH, or leave them out.")
    if config.inversion.start == OPERATOR:
        raise InputError(
            "inversion.start=operator is an answer to observed data: give their gathers, such as observed=DATA "
            "inversion.index=N for a test sample of the run's data set, or another inversion.start."
        )
    spec = config.data.create()
    grid = spec.simulation.grid
    sources = spread_sources(grid, config.inversion.shots, config.inversion.source_depth)
    truth, described = _true_model(config, spec)
    density = read_real_density(config.real_density, config.real, spec)
    check_inputs(truth, spec.survey(sources), spec.simulation, spec.density(truth) if density is None else density)
    bounds, held = config.inversion.bounds, fixed_cells(config.inversion, grid.shape)
    check_truth(truth, bounds, held)
    start, _ = make_start(config.inversion, grid, file=read_start(config.inversion), truth=truth)
    check_start(start, bounds, held)
    surrogate = _surrogate(config, spec, sources) if uses_surrogate(config) else None
    steps = _physics_steps(config, spec) if surrogate is None else surrogate.steps
    solver = over_devices(_physics(config, spec, sources, steps), config)
    check_fastest(solver, start, bounds, held)
    alone = surrogate is not None and config.forward == "surrogate"
    forward = surrogate if alone and surrogate is not None else solver
    start_density, true_density = make_start_density(config.inversion, grid), None
    if config.inversion.density == "free" and solver.density is not None:
        true_density = np.asarray(solver.density(jnp.asarray(truth))) if density is None else density
    files = [] if config.inversion.start in STARTS else [start]
    files += [x for x in (density, start_density) if x is not None]
    return Problem(
        forward,
        lambda: (forward, fetch(jax.jit(with_density(solver, density).__call__)(jnp.asarray(truth)))),
        start,
        grid.spacing,
        described,
        config.inversion.shots,
        truth=truth,
        solver=solver if alone else None,
        contents=digest_of(*files) if files else None,
        surrogate=surrogate,
        start_density=start_density,
        true_density=true_density,
    ).check_density(config.inversion)


def uses_surrogate(config: InvertConfig) -> bool:
    """Whether an inversion needs the surrogate of `run`.

    Args:
        config: Config of the inversion.

    Returns:
        Whether it does.

    Raises:
        InputError: If a stage has a cheap model, but the forward model is not corrected.
    """
    for number, stage in enumerate(config.inversion.stages):
        if stage.low is not None and config.forward != "corrected":
            raise InputError(
                f"inversion.stages[{number}].low is the cheap model of forward=corrected, but forward is "
                f"{config.forward}. Change one of them."
            )
    return config.forward == "surrogate" or (config.forward == "corrected" and "surrogate" in config.inversion.lows)


def _physics_steps(config: InvertConfig, spec: DataSpec) -> tuple[int, ...]:
    if config.inversion.record_every is None and config.inversion.kind == "wavefield":
        if not spec.simulation.snapshot_steps:
            raise InputError("The data config has no snapshot times to invert: set inversion.record_every, or gathers.")
        return spec.simulation.snapshot_steps
    return tuple(range(0, spec.simulation.time.nt, config.inversion.record_every or 1))


def _physics(config: InvertConfig, spec: DataSpec, sources: np.ndarray, steps: tuple[int, ...]) -> PhysicsForward:
    density = spec.density if spec.gardner else None
    return PhysicsForward(spec.simulation, spec.survey(sources), config.inversion.kind, steps, density)


def _surrogate(config: InvertConfig, spec: DataSpec, sources: np.ndarray) -> SurrogateForward:
    run = read_run(config.run)
    ours, theirs = config.data.physics(), run.data.physics()
    if ours != theirs:
        raise InputError(
            f"The surrogate in {config.run} was trained for another simulation ({differences(ours, theirs)}). Give the "
            "same data=... as in training, or another run."
        )
    _check_depth(config, spec)
    if config.inversion.record_every is not None:
        raise InputError("A surrogate knows the times it was trained on only: leave inversion.record_every=null.")
    return SurrogateForward(load_surrogate(config.run), sources, config.inversion.kind)


def _check_depth(config: InvertConfig, spec: DataSpec) -> None:
    """Check that the surrogate was trained with sources at the depth of the survey."""
    if spec.imported:
        trained = None if spec.sources is None else spec.sources[:, 0]
    else:
        trained = spec.simulation.grid.spacing * np.array(spec.shots.rows)
    depth = config.inversion.source_depth
    if trained is not None and not trained.min() - NEAR <= depth <= trained.max() + NEAR:
        raise InputError(
            f"The surrogate in {config.run} was trained for another geometry: its sources were {trained.min():g} to "
            f"{trained.max():g} m deep, but inversion.source_depth is {depth:g} m. Give a depth within that range, or "
            "invert through the solver (forward=physics)."
        )


def _true_model(config: InvertConfig, spec: DataSpec) -> tuple[np.ndarray, str]:
    if config.real.path is not None:
        velocity, where = read_real(config.real, spec)
        return velocity, f"{Path(config.real.path).name}: {where}"
    index = config.inversion.index
    drawn = jax.jit(spec.draw)(spec.key(SPLITS.index("test"), index))
    name = spec.mixture.names[int(drawn.family)]
    return np.asarray(drawn.velocity), f"test sample {index} of seed {spec.seed} ({name})"
