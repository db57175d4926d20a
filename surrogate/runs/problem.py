"""Describe what an inversion needs, wherever it comes from; and make it for a known model, whose data are simulated."""

from collections.abc import Callable
from dataclasses import dataclass
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
from surrogate.inversion.checks import check_fastest, check_start, check_truth
from surrogate.inversion.config import STARTS
from surrogate.inversion.descent import fixed_cells
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward, spread_sources
from surrogate.inversion.observed.start import make_start, read_start
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.model_file import read_real


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


def within_budget(forward: PhysicsForward, budget: float | None) -> PhysicsForward:
    """Choose the fastest gradient that fits into an amount of memory, and print it.

    Args:
        forward: The solver.
        budget: Memory [bytes]; None leaves the solver as it is.

    Returns:
        The solver with that gradient.

    Raises:
        InputError: If no gradient fits.
    """
    if budget is None:
        return forward
    forward, chosen = forward.within(budget)
    print(chosen)
    return forward


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
    spec = config.data.create()
    grid = spec.simulation.grid
    sources = spread_sources(grid, config.inversion.shots, config.inversion.source_depth)
    truth, described = _true_model(config, spec)
    check_inputs(truth, spec.survey(sources), spec.simulation, spec.density(truth))
    bounds, held = config.inversion.bounds, fixed_cells(config.inversion, grid.shape)
    check_truth(truth, bounds, held)
    start, _ = make_start(config.inversion, grid, file=read_start(config.inversion), truth=truth)
    check_start(start, bounds, held)
    forward = _forward(config, spec, sources)
    solver = _physics(config, spec, sources, forward.steps)
    check_fastest(solver, start, bounds, held)
    return Problem(
        forward,
        lambda: (forward, jax.jit(solver.__call__)(jnp.asarray(truth))),
        start,
        grid.spacing,
        described,
        config.inversion.shots,
        truth=truth,
        solver=None if config.forward == "physics" else solver,
        contents=None if config.inversion.start in STARTS else digest_of(start),
    )


def _physics_steps(config: InvertConfig, spec: DataSpec) -> tuple[int, ...]:
    if config.inversion.record_every is None and config.inversion.kind == "wavefield":
        if not spec.simulation.snapshot_steps:
            raise InputError("The data config has no snapshot times to invert: set inversion.record_every, or gathers.")
        return spec.simulation.snapshot_steps
    return tuple(range(0, spec.simulation.time.nt, config.inversion.record_every or 1))


def _physics(config: InvertConfig, spec: DataSpec, sources: np.ndarray, steps: tuple[int, ...]) -> PhysicsForward:
    density = spec.density if spec.gardner else None
    kind, hold = config.inversion.kind, config.inversion.hold_layers
    return PhysicsForward(spec.simulation, spec.survey(sources), kind, steps, density, hold)


def _forward(config: InvertConfig, spec: DataSpec, sources: np.ndarray) -> ForwardModel:
    if config.forward == "physics":
        return within_budget(_physics(config, spec, sources, _physics_steps(config, spec)), config.memory_budget)
    if config.forward != "surrogate":
        raise InputError(f"forward must be physics or surrogate, but is {config.forward!r}.")
    run = read_run(config.run)
    ours, theirs = config.data.physics(), run.data.physics()
    if ours != theirs:
        raise InputError(
            f"The surrogate in {config.run} was trained for another simulation ({differences(ours, theirs)}). Give the "
            "same data=... as in training, or another run."
        )
    if config.inversion.record_every is not None:
        raise InputError("A surrogate knows the times it was trained on only: leave inversion.record_every=null.")
    return SurrogateForward(load_surrogate(config.run), sources, config.inversion.kind)


def _true_model(config: InvertConfig, spec: DataSpec) -> tuple[np.ndarray, str]:
    if config.real.path is not None:
        velocity, where = read_real(config.real, spec)
        return velocity, f"{Path(config.real.path).name}: {where}"
    index = config.inversion.index
    drawn = jax.jit(spec.draw)(spec.key(SPLITS.index("test"), index))
    name = spec.mixture.names[int(drawn.family)]
    return np.asarray(drawn.velocity), f"test sample {index} of seed {spec.seed} ({name})"
