"""The schemas of the entry points, registered with Hydra, and their way into typed, checked objects.

The dataclasses are what a YAML file or an override may say; a misspelt key or a wrong type is refused by Hydra. No
`DictConfig` goes below an entry point: `typed` turns it into the dataclass once. A run's folder keeps its resolved
config as JSON, and reading it back goes through the same schema.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from omegaconf import MISSING, OmegaConf

from data_gen.common.errors import InputError
from data_gen.common.hydra_app import store
from data_gen.dataset.config import DataConfig
from surrogate.devices import ParallelConfig
from surrogate.encodings.registry import encoding_schemas, make_encoding
from surrogate.encodings.schemas import CoarseConfig, EncodingConfig
from surrogate.inversion.descent import InversionConfig
from surrogate.models.modes_check import check_modes
from surrogate.models.surrogate import Surrogate
from surrogate.operators.base import OperatorConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.registry import OPERATORS
from surrogate.protocols import Task
from surrogate.schemas import check_name
from surrogate.tasks.base import TaskConfig
from surrogate.tasks.registry import TASKS
from surrogate.tasks.wavefield import WavefieldConfig
from surrogate.training.config import TrainingConfig
from surrogate.training.tracking import TrackingConfig


@cache
def _example(task: Task) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of a task's example. Once a task: it takes tracing the draw of a model of every family."""
    return jax.eval_shape(lambda key: task.make(key, jnp.zeros((), int)), jax.random.key(0))


@dataclass
class TrainConfig:
    """`train.py`: run is the folder the run is kept in; model the settings of any operator in the registry."""

    run: str = "runs/default"
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=WavefieldConfig)
    model: OperatorConfig = field(default_factory=FNOConfig)
    encoding: EncodingConfig = field(default_factory=CoarseConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def create(self) -> Surrogate:
        """The untrained surrogate. Raises `InputError` for anything it could not be made of.

        Warns with `ModesWarning` if the operator keeps fewer modes than the waves have.
        """
        for group in schemas():
            check_name(group, getattr(self, group))
        self.model.check()
        task = self.task.create(self.data.create())
        encoding = make_encoding(self.encoding, task)
        check_modes(self.model, task)
        rngs = nnx.Rngs(self.training.seed)
        operator = self.model.create(encoding.media + encoding.channels, task.outputs, rngs=rngs)
        model = task.model(encoding, operator, rngs=rngs)
        # Shapes only: a grid that cannot carry the modes is refused here, before a run's folder exists.
        example = _example(task)
        nnx.eval_shape(model, *(jax.ShapeDtypeStruct((1, *example[n].shape), example[n].dtype) for n in task.inputs))
        return model

    def check_training(self, model: Surrogate) -> None:
        """Raise `InputError` for settings that the untrained `model` could not be trained with, or that would change
        nothing. Asked of new runs alone: one of an earlier version is loaded, and goes on, as it was begun.
        """
        self.training.check()
        self.encoding.check()
        if self.training.workers and self.data.source == "online":
            raise InputError(
                f"training.workers = {self.training.workers} processes have no data set to read with "
                "data.source=online, where batches are made on the device. Set training.workers=0, or data.source=disk."
            )
        self.training.mode_schedule.check_operator(model.operator)
        self.training.loss.create(model.task)


def schemas() -> dict[str, dict[str, Any]]:
    """Return the settings that a name chooses: for each such field of `TrainConfig`, their classes by name."""
    return {"task": TASKS, "encoding": encoding_schemas(), "model": OPERATORS}


@dataclass
class RealModelConfig:
    """A velocity model from a file. path: .npy, .npz or SEG-Y (none: no file). spacing [m]: of its cells (none: the
    file's own, or such that the shorter side spans the grid). origin: `[z, x]` [m] of the window (none: centred).
    """

    path: str | None = None
    spacing: float | None = None
    origin: list[float] | None = None


@dataclass
class EvaluateConfig:
    """`evaluate.py`. run: a trained run's folder. batch_size: of predictions and timings. other: the folder of another
    data set, of the same simulation or (wavefields) of the same waves on another grid, whose test split is evaluated as
    well. real: also this model.
    """

    run: str = ""
    batch_size: int = 16
    repeats: int = 5
    other: str | None = None
    real: RealModelConfig = field(default_factory=RealModelConfig)


@dataclass
class InvertConfig:
    """`invert.py`. forward: physics or surrogate (which needs `run`). out: the folder of the result. memory_budget
    [bytes]: of the solver's gradient, which then takes the fastest strategy that fits; none: recomputation.
    """

    out: str = "runs/inversion"
    forward: str = "physics"
    run: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)
    memory_budget: float | None = None
    real: RealModelConfig = field(default_factory=RealModelConfig)


def register() -> None:
    """Make the schemas known to Hydra; each root YAML lists its own first."""
    train = OmegaConf.structured(TrainConfig)
    for group, known in schemas().items():
        train[group] = MISSING  # the group's YAML says which schema stands there
        for name, schema in known.items():  # configs/GROUP/NAME.yaml lists `NAME_schema` first
            store(f"{name}_schema", schema, group)
    for name, schema in (
        ("train_schema", train),
        ("evaluate_schema", EvaluateConfig),
        ("invert_schema", InvertConfig),
    ):
        store(name, schema)
