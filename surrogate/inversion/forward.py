"""Define forward models behind one protocol: velocity -> predicted data, differentiable.

Data are wavefields `(n_sources, n_times, nz, nx)` or gathers `(n_sources, n_times, n_receivers)`, sampled at the
forward model's `steps` of the simulation's time axis. A surrogate knows only the times that it was trained on: a
wavefield surrogate those of its snapshots, at which its gathers are the field at the receivers; a gather surrogate the
stored times of the receivers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.plain import wholes
from data_gen.solver.many_shots import check_split, shots_per_device, simulate_shots
from data_gen.solver.memory_plan import MemoryPlan, peak_bytes, plan_memory
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.checks import check_survey
from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.simulation import Simulation
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import ForwardTask

KINDS = ("wavefield", "gather")
Density = Callable[[Float[Array, "nz nx"]], Float[Array, "nz nx"] | None]


@runtime_checkable
class ForwardModel(Protocol):
    """Predict the data of every shot of one survey from a velocity model.

    Attributes:
        steps: Steps of the simulation's time axis at which the data are sampled.
    """

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the simulation's time axis at which the data are sampled."""
        ...

    def __call__(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "n_sources n_times ..."]:
        """Predict the data.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].

        Returns:
            Wavefields `(n_sources, n_times, nz, nx)` or gathers `(n_sources, n_times, n_receivers)`.
        """
        ...


@runtime_checkable
class SelectableForward(ForwardModel, Protocol):
    """Predict the data of some of the shots, too.

    Attributes:
        steps: Steps of the simulation's time axis at which the data are sampled.
    """

    def select(self, shots: ArrayLike) -> ForwardModel:
        """Select some of the shots.

        Args:
            shots: Numbers `(n,)` of the shots; they may be traced.

        Returns:
            The forward model of these shots.
        """
        ...


@dataclass(frozen=True, eq=False)
class PhysicsForward:
    """Predict data with the solver.

    Attributes:
        simulation: Simulation.
        survey: Sources, receivers and wavelets. Wavefields need no receivers.
        kind: `gather` or `wavefield`.
        steps: Steps of the time axis at which the data are sampled. By default, or if empty, gathers are sampled at
            every step, and wavefields at the snapshot steps of the simulation.
        density: Density [kg/m^3] that goes with a velocity model, as a function of the model `(nz, nx)`; None where the
            density is constant.
        mesh: Mesh of `shot_mesh` over whose devices the shots are split; None for one device.
        at_once: Shots that a device simulates at once; None for all of its shots.

    Raises:
        InputError: If there is no such kind of data, or no time at which to sample it, or the solver cannot use the
            survey, or the shots cannot be split in that way.
    """

    simulation: Simulation
    survey: Survey
    kind: str = "gather"
    steps: tuple[int, ...] = ()
    density: Density | None = None
    mesh: Mesh | None = None
    at_once: int | None = None

    def __post_init__(self):
        check_survey(self.survey, self.simulation)
        check_split(self.survey.n_shots, self.mesh, self.at_once)
        if self.kind not in KINDS:
            raise InputError(f"The kind of data must be one of {', '.join(KINDS)}, but is {self.kind!r}.")
        default = tuple(range(self.simulation.time.nt)) if self.kind == "gather" else self.simulation.snapshot_steps
        steps, last = wholes(self.steps, "steps"), self.simulation.time.nt - 1
        if steps and not 0 <= min(steps) <= max(steps) <= last:
            raise InputError(f"The steps of the data must lie on the time axis, 0 to {last}, but are {steps}.")
        object.__setattr__(self, "steps", steps or default)
        if not self.steps:
            raise InputError(
                "There are no times at which wavefields are sampled: give the simulation snapshot_steps, or choose "
                'kind="gather".'
            )

    def __call__(self, velocity: Float[Array, "*fields nz nx"]) -> Float[Array, "n_sources n_times ..."]:
        """See `ForwardModel.__call__`."""
        gathers = self.kind == "gather"
        survey = self.survey if gathers else self.survey._replace(receivers=jnp.zeros((0, 2)))
        velocity, density = self.medium(velocity)
        split = {"mesh": self.mesh, "at_once": self.at_once}
        records = simulate_shots(velocity, survey, self._recording, density=density, **split)
        return records.gathers[:, np.array(self.steps)] if gathers else records.snapshots

    def medium(self, model: Float[Array, "nz nx"]) -> tuple[Float[Array, "nz nx"], Float[Array, "nz nx"] | None]:
        """Return the velocity and the density of a model.

        Args:
            model: Velocity model `(nz, nx)` [m/s].

        Returns:
            The velocity `(nz, nx)` [m/s], and the density `(nz, nx)` [kg/m^3], None where it is constant.
        """
        return model, None if self.density is None else self.density(model)

    def select(self, shots: ArrayLike) -> "PhysicsForward":
        """See `SelectableForward.select`."""
        return replace(self, survey=self.survey.select(shots))

    def superpose(self, shots: ArrayLike, factors: ArrayLike) -> "PhysicsForward":
        """Fire several shots at once. See `Survey.superpose`."""
        return replace(self, survey=self.survey.superpose(shots, factors))

    @property
    def _recording(self) -> Simulation:
        steps = () if self.kind == "gather" else self.steps
        return replace(self.simulation, snapshot_steps=steps, frequencies=())

    def peak(self, derivative: str | None = "gradient") -> int:
        """Predict the peak memory of a derivative on each device.

        Args:
            derivative: One of `data_gen.solver.memory_plan.DERIVATIVES`; None for the data alone.

        Returns:
            The peak [bytes], as `data_gen.solver.memory_plan` counts it.
        """
        strategy, options = self.simulation.memory.strategy, {"derivative": derivative, "at_once": self.at_once}
        return peak_bytes(self._recording, strategy=strategy, **self._counts, **options)

    @property
    def _counts(self) -> dict[str, Any]:
        receivers = self.survey.n_receivers if self.kind == "gather" else 0
        shots = shots_per_device(self.survey.n_shots, self.mesh)
        counts = {"n_shots": shots, "n_receivers": receivers, "n_sources": self.survey.n_sources}
        return counts | {"constant_density": self.density is None}

    def within(self, budget: float | None, derivative: str | None = "gradient") -> tuple["PhysicsForward", MemoryPlan]:
        """Choose the fastest way to compute a derivative that fits into an amount of memory, in groups if need be.

        Args:
            budget: Memory of each device [bytes]; None keeps this strategy and these groups.
            derivative: One of `data_gen.solver.memory_plan.DERIVATIVES`; None for the data alone.

        Returns:
            The same forward model with that strategy and these groups, and its plan.

        Raises:
            InputError: If no strategy fits.
        """
        if budget is None:
            return self, MemoryPlan(self.simulation.memory, self.peak(derivative), self.at_once)
        chosen = plan_memory(self._recording, budget=budget, derivative=derivative, groups=True, **self._counts)
        simulation = replace(self.simulation, memory=chosen.memory)
        return replace(self, simulation=simulation, at_once=chosen.at_once), chosen


@dataclass(frozen=True, eq=False)
class SurrogateForward:
    """Predict data with a trained surrogate.

    Attributes:
        model: Surrogate, which knows the simulation, the wavelet and the receivers of its training data.
        sources: Positions `(n_sources, 2)` [m].
        kind: `gather` or `wavefield`.

    Raises:
        InputError: If the surrogate was not trained for data of that kind.
    """

    model: Surrogate
    sources: np.ndarray | Array
    kind: str = "gather"

    def __post_init__(self):
        task = self.model.task
        kinds = task.data_kinds if isinstance(task, ForwardTask) else ()
        if self.kind not in kinds:
            known = f"predicts {' and '.join(kinds)} data" if kinds else f"predicts {task.target}"
            raise InputError(
                f"The surrogate was trained for task={task.name}, which cannot predict {self.kind} data: it {known}. "
                "Choose another inversion.kind, or a run of another task."
            )

    @property
    def task(self) -> ForwardTask:
        """Task of the surrogate."""
        assert isinstance(self.model.task, ForwardTask)
        return self.model.task

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that the surrogate was trained on."""
        return self.task.data_steps

    def __call__(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "n_sources n_times ..."]:
        """See `ForwardModel.__call__`."""
        return self.task.data(self.model.shots(velocity, jnp.asarray(self.sources, velocity.dtype)), self.kind)

    def select(self, shots: ArrayLike) -> "SurrogateForward":
        """See `SelectableForward.select`."""
        return replace(self, sources=jnp.asarray(self.sources)[jnp.asarray(shots)])


def coarser(forward: ForwardModel, ratio: float) -> PhysicsForward:
    """Put the solver on coarser cells of its own; the model keeps its cells, and the data their times.

    Args:
        forward: Solver.
        ratio: Side of the coarser cells, in the solver's.

    Returns:
        The solver on these cells.

    Raises:
        InputError: If the forward model is no solver, or no such cells fit between two walls.
    """
    if not isinstance(forward, PhysicsForward):
        raise InputError("corrected.low=coarse is the solver on coarser cells: the forward model must be the solver.")
    spacing = ratio * forward.simulation.solved_spacing
    return replace(forward, simulation=replace(forward.simulation, internal_spacing=spacing))


def spread_sources(grid: Grid, count: int, depth: float) -> np.ndarray:
    """Spread sources evenly along the surface, on cell centers.

    Args:
        grid: Grid of the model.
        count: Number of sources.
        depth: Depth of all of them [m].

    Returns:
        Positions `(count, 2)` [m].

    Raises:
        InputError: If the depth lies between cell centers, or there are more sources than columns.
    """
    if count > grid.shape[1]:
        raise InputError(
            f"{count} sources do not fit into {grid.shape[1]} columns of cells: give at most {grid.shape[1]} shots."
        )
    row = depth / grid.spacing
    if not np.isfinite(row) or abs(row - round(row)) > 1e-3:
        raise InputError(
            f"Sources lie on cell centers: their depth must be a multiple of {grid.spacing:g} m, but is {depth:g} m."
        )
    columns = np.round((np.arange(count) + 0.5) / count * (grid.shape[1] - 1))
    return np.stack([np.full(count, round(row)), columns], axis=1) * grid.spacing
