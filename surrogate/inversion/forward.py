"""Forward models behind one protocol: velocity -> predicted data, differentiable.

Data are wavefields `(n_sources, n_times, nz, nx)` or gathers `(n_sources, n_times, n_receivers)`, sampled at the
forward model's `steps` of the simulation's time axis. A wavefield surrogate knows its snapshot times only, so its
gathers are the field at the receivers at those times; a gather surrogate knows the stored times of the receivers only.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.memory_plan import MemoryPlan, plan_memory
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from surrogate.models.surrogate import Surrogate
from surrogate.tasks.gather import Gather

KINDS = ("wavefield", "gather")
SERVED = {"wavefield": KINDS, "gather": ("gather",)}  # kinds of data that a surrogate of each task can predict


@runtime_checkable
class ForwardModel(Protocol):
    """Predicts the data of every shot of one survey from a velocity model `(nz, nx)` [m/s]."""

    @property
    def steps(self) -> tuple[int, ...]: ...

    def __call__(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "n_sources n_times ..."]: ...


@dataclass(frozen=True, eq=False)
class PhysicsForward:
    """The solver. sources: positions `(n_sources, 2)` [m]. kind: wavefield or gather. steps: when it is sampled."""

    spec: DataSpec
    sources: np.ndarray
    kind: str
    steps: tuple[int, ...]

    def __call__(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "n_sources n_times ..."]:
        gathers = self.kind == "gather"
        survey = self.spec.survey(jnp.asarray(self.sources, velocity.dtype), receivers=gathers)
        records = simulate(velocity, survey, self.simulation, density=self.spec.density(velocity))
        return records.gathers[:, np.array(self.steps)] if gathers else records.snapshots

    @property
    def simulation(self) -> Simulation:
        """The simulation, with snapshots where they are the data."""
        steps = () if self.kind == "gather" else self.steps
        return replace(self.spec.simulation, snapshot_steps=steps, frequencies=())

    def within(self, budget: float) -> tuple["PhysicsForward", MemoryPlan]:
        """The same forward model with the fastest gradient that fits into `budget` [bytes], and its plan."""
        receivers = len(self.spec.receivers) if self.kind == "gather" else 0
        constant = not self.spec.gardner
        chosen = plan_memory(self.simulation, len(self.sources), receivers, int(budget), constant_density=constant)
        simulation = replace(self.spec.simulation, memory=chosen.memory)
        return replace(self, spec=replace(self.spec, simulation=simulation)), chosen


@dataclass(frozen=True, eq=False)
class SurrogateForward:
    """The operator. sources: positions `(n_sources, 2)` [m]. kind: wavefield or gather.

    Raises `InputError` if the operator was not trained for data of that kind.
    """

    model: Surrogate
    spec: DataSpec
    sources: np.ndarray
    kind: str

    def __post_init__(self):
        name = self.model.task.name
        if self.kind not in SERVED.get(name, ()):
            raise InputError(
                f"The surrogate was trained for task={name}, which cannot predict {self.kind} data. Choose another "
                "inversion.kind, or a run of another task: wavefield predicts wavefields and gathers at its snapshot "
                "times, gather predicts gathers."
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps the operator was trained on: of the snapshots, or of the stored gathers."""
        task = self.model.task
        return task.steps if isinstance(task, Gather) else task.spec.simulation.snapshot_steps

    def __call__(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "n_sources n_times ..."]:
        sources = jnp.asarray(self.sources, velocity.dtype)
        fields = self.model(jnp.broadcast_to(velocity, (len(sources), *velocity.shape)), sources)
        if isinstance(self.model.task, Gather):
            return fields[:, 0]
        if self.kind == "wavefield":
            return fields
        rows, columns = self.spec.receiver_cells
        return fields[:, :, rows, columns]


def spread_sources(spec: DataSpec, count: int, depth: float) -> np.ndarray:
    """`count` source positions `(count, 2)` [m] evenly along the surface at `depth` [m], on cell centres.

    Raises `InputError` for a depth between them.
    """
    grid = spec.simulation.grid
    row = depth / grid.spacing
    if abs(row - round(row)) > 1e-3:
        raise InputError(
            f"Sources lie on cell centres: their depth must be a multiple of {grid.spacing:g} m, but is {depth:g} m."
        )
    columns = np.round((np.arange(count) + 0.5) / count * (grid.shape[1] - 1))
    return np.stack([np.full(count, round(row)), columns], axis=1) * grid.spacing
