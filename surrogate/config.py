"""The schemas of the entry points, registered with Hydra, and their way into typed, checked objects.

The dataclasses are what a YAML file or an override may say; a misspelt key or a wrong type is refused by Hydra. No
`DictConfig` goes below an entry point: `typed` turns it into the dataclass once. A run's folder keeps its resolved
config as JSON, and reading it back goes through the same schema.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_gen.dataset import differences, holds_files, read_json, write_json
from data_gen.errors import InputError
from data_gen.sample import DataConfig
from surrogate.encoding import EncodingConfig
from surrogate.fno import FNOConfig
from surrogate.grid_operator import OperatorConfig
from surrogate.inversion import InversionConfig
from surrogate.model import Surrogate
from surrogate.modes_check import check_modes
from surrogate.operators import operator_schema, register_operators
from surrogate.parallel import ParallelConfig
from surrogate.tasks import TaskConfig, make_model
from surrogate.tracking import TrackingConfig
from surrogate.training_config import TrainingConfig

CONFIG = "config.json"
Schema = TypeVar("Schema")


@dataclass
class TrainConfig:
    """`train.py`: run is the folder the run is kept in; model the settings of any operator in the registry."""

    run: str = "runs/default"
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    model: OperatorConfig = field(default_factory=FNOConfig)
    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def create(self) -> Surrogate:
        """The untrained surrogate. Raises `InputError` for anything it could not be made of.

        Warns with `ModesWarning` if the operator keeps fewer modes than the waves have.
        """
        self.model.check()
        task = self.task.create(self.data.create())
        encoding = self.encoding.create(task)
        check_modes(self.model, task)
        rngs = nnx.Rngs(self.training.seed)
        operator = self.model.create(encoding.media + encoding.channels, task.outputs, rngs=rngs)
        model = make_model(task, encoding, operator, rngs=rngs)
        # Shapes only: a grid that cannot carry the modes is refused here, before a run's folder exists.
        example = jax.eval_shape(lambda key: task.make(key, jnp.zeros((), int)), jax.random.key(0))
        nnx.eval_shape(model, *(jax.ShapeDtypeStruct((1, *example[n].shape), example[n].dtype) for n in task.inputs))
        return model

    def check_training(self, model: Surrogate) -> None:
        """Raise `InputError` for settings that the untrained `model` could not be trained with, or that would change
        nothing. Asked of new runs alone: one of an earlier version is loaded, and goes on, as it was begun.
        """
        self.training.check()
        self.task.check()
        self.encoding.check()
        if self.training.workers and self.data.source == "online":
            raise InputError(
                f"training.workers = {self.training.workers} processes have no data set to read with "
                "data.source=online, where batches are made on the device. Set training.workers=0, or data.source=disk."
            )
        self.training.mode_schedule.check_operator(model.operator)
        self.training.loss.create(model.task)


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
    store = ConfigStore.instance()
    register_operators()
    train = OmegaConf.structured(TrainConfig)
    train.model = MISSING  # the group `model` says which operator's schema stands there
    for name, schema in (
        ("train_schema", train),
        ("evaluate_schema", EvaluateConfig),
        ("invert_schema", InvertConfig),
    ):
        store.store(name=name, node=schema)


def typed(config: DictConfig, schema: type[Schema]) -> Schema:
    """The dataclass that a composed config describes."""
    result = OmegaConf.to_object(config)
    assert isinstance(result, schema)
    return result


def from_plain(values: dict[str, Any], schema: type[Schema], where: str) -> Schema:
    """The dataclass that plain values describe. Raises `InputError` for unknown keys, wrong types, interpolations."""
    if "${" in json.dumps(values):
        raise InputError(f"{where} holds an interpolation; a resolved config has plain values only. Restore the file.")
    try:
        start = OmegaConf.structured(schema)
        if schema is TrainConfig:
            # Runs from before there was a choice of operators have no name in them: they are FNOs.
            model = values.get("model")
            start.model = operator_schema(model.get("name", FNOConfig.name) if isinstance(model, dict) else "fno")
        return typed(OmegaConf.merge(start, values), schema)  # pyright: ignore[reportArgumentType]
    except OmegaConfBaseException as error:
        raise InputError(f"{where} does not fit this version's schema: {error}. Restore it, or run anew.") from error


def is_claimed(folder: Path, config: TrainConfig | InvertConfig) -> bool:
    """Whether `folder` is already this config's.

    Raises `InputError` if it belongs to another config or is something else.
    """
    place = "run" if isinstance(config, TrainConfig) else "out"

    def identity(values: dict[str, Any]) -> dict[str, Any]:
        # What decides a result: not where it is kept, how it is tracked or on which devices it is made.
        return _flat({key: value for key, value in values.items() if key not in (place, "tracking", "parallel")})

    ours = json.loads(json.dumps(asdict(config)))
    file = folder / CONFIG
    if file.exists():
        # Through the schema: a key that is newer than the folder has its default there.
        theirs = json.loads(json.dumps(asdict(from_plain(read_json(file), type(config), str(file)))))
        if identity(theirs) == identity(ours):
            return True
        raise InputError(
            f"{folder} exists with another config ({differences(identity(ours), identity(theirs))}). "
            "Choose another folder, set the same values, or remove it."
        )
    if holds_files(folder):
        raise InputError(f"{folder} exists and holds something else. Choose another folder, or empty it.")
    return False


def claim_folder(folder: Path, config: TrainConfig | InvertConfig) -> bool:
    """Claim `folder` for `config`; True if it was already this config's.

    Raises `InputError`, before anything is written, if the folder belongs to another config or is something else.
    """
    if is_claimed(folder, config):
        return True
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, asdict(config))
    return False


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def read_run(run: str | Path) -> TrainConfig:
    """The config of a trained run. Raises `InputError` if `run` is not one."""
    file = Path(run) / CONFIG
    if not str(run) or not file.is_file():
        raise InputError(f"{str(run) or '(nothing)'} is not a run: {CONFIG} is missing. Give run=FOLDER of `train.py`.")
    return from_plain(read_json(file), TrainConfig, str(file))
