"""The registry of tasks: `task=NAME` chooses what is predicted from what."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import check_velocity
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import Encoding, Task
from surrogate.tasks.gather import Gather
from surrogate.tasks.harmonic import Harmonic
from surrogate.tasks.inverse import Inverse
from surrogate.tasks.propagator import Propagator
from surrogate.tasks.wavefield import Wavefield

TASKS: dict[str, Callable[["TaskConfig", DataSpec], Task]] = {
    "wavefield": lambda config, spec: Wavefield(spec),
    "propagator": lambda config, spec: Propagator(spec, config.unroll, config.noise, config.pushforward),
    "inverse": lambda config, spec: Inverse(spec),
    "gather": lambda config, spec: Gather(spec),
    "harmonic": lambda config, spec: Harmonic(spec),
}


@dataclass
class TaskConfig:
    """name: wavefield (snapshots), gather (shots at the receivers), harmonic (complex fields at a frequency),
    propagator (the snapshots that follow two) or inverse (gathers to velocity).

    unroll, noise, pushforward: of the propagator, see tasks/propagator.py.
    """

    name: str = "wavefield"
    unroll: int = 4
    noise: float = 0.0
    pushforward: bool = False

    def check(self) -> None:
        """Raise `InputError` for settings that would change nothing."""
        default = TaskConfig(self.name)
        unused = [n for n in ("unroll", "noise", "pushforward") if getattr(self, n) != getattr(default, n)]
        if unused and self.name != "propagator":
            raise InputError(
                f"{' and '.join(f'task.{name}' for name in unused)} would change nothing for task={self.name}: only a "
                "propagator is unrolled. Leave the default, or choose task=propagator."
            )

    def create(self, spec: DataSpec) -> Task:
        """Raises `InputError` for an unknown name, or data the task cannot be learnt from."""
        if self.name not in TASKS:
            raise InputError(f"task.name must be one of {', '.join(TASKS)}, but is {self.name!r}.")
        return TASKS[self.name](self, spec)


def make_model(task: Task, encoding: Encoding, operator: nnx.Module, *, rngs: nnx.Rngs) -> Surrogate:
    """The untrained surrogate of a task: a propagator's is rolled out."""
    if isinstance(task, Propagator):
        return task.model(encoding, operator, rngs=rngs)
    return Surrogate(task, encoding, operator)


@dataclass
class EncodingConfig:
    """name: source_map, background or coarse; none for states; none or log for what is inverted.

    radius [cells]: of the map. velocity [m/s]: of the background.
    """

    name: str = "coarse"
    radius: float = 2.0
    velocity: float = 2500.0

    def check(self) -> None:
        """Raise `InputError` for values that cannot be, or would change nothing."""
        default, belongs = EncodingConfig(self.name), {"radius": "source_map", "velocity": "background"}
        for key, name in belongs.items():
            if self.name != name and getattr(self, key) != getattr(default, key):
                raise InputError(
                    f"encoding.{key} would change nothing for encoding={self.name}: it belongs to {name}. Leave the "
                    f"default, or choose encoding={name}."
                )
        if not 0 < self.radius < np.inf:
            raise InputError(f"encoding.radius must be a positive number of cells, but is {self.radius:g}.")
        check_velocity(np.asarray(self.velocity), "encoding.velocity")

    def create(self, task: Task) -> Encoding:
        """Raises `InputError` for a name that the task does not have."""
        return task.encoding(self.name, radius=self.radius, velocity=self.velocity)
