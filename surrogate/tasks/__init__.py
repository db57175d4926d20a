"""The registry of tasks: `task=NAME` chooses what is predicted from what."""

from collections.abc import Callable
from dataclasses import dataclass

from data_gen.errors import InputError
from data_gen.sample import DataSpec
from surrogate.task import Task
from surrogate.tasks.gather import Gather
from surrogate.tasks.harmonic import Harmonic
from surrogate.tasks.wavefield import Wavefield

TASKS: dict[str, Callable[["TaskConfig", DataSpec], Task]] = {
    "wavefield": lambda config, spec: Wavefield(spec),
    "gather": lambda config, spec: Gather(spec),
    "harmonic": lambda config, spec: Harmonic(spec),
}


@dataclass
class TaskConfig:
    """name: wavefield (snapshots), gather (shots at the receivers) or harmonic (complex fields at a frequency)."""

    name: str = "wavefield"

    def create(self, spec: DataSpec) -> Task:
        """Raises `InputError` for an unknown name, or data the task cannot be learnt from."""
        if self.name not in TASKS:
            raise InputError(f"task.name must be one of {', '.join(TASKS)}, but is {self.name!r}.")
        return TASKS[self.name](self, spec)
