"""Define the schemas of the entry points, register them with Hydra, and turn configs into typed, checked objects.

The dataclasses define what a YAML file or an override may say; a misspelled key or a wrong type is refused by Hydra. No
`DictConfig` goes below an entry point: `typed` turns it into the dataclass once. A run's folder keeps its resolved
config as JSON, and reading it back goes through the same schema.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
from flax import nnx
from omegaconf import MISSING, OmegaConf

from data_gen.common.errors import InputError
from data_gen.common.hydra_app import store
from data_gen.common.ranges import check_fields, ranged
from data_gen.dataset.config import DataConfig
from surrogate.devices import ParallelConfig
from surrogate.encodings.registry import encoding_schemas, make_encoding
from surrogate.encodings.schemas import CoarseConfig, EncodingConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.inversion.shot_sharding import ShotsConfig
from surrogate.models.modes_check import check_modes
from surrogate.models.surrogate import Surrogate
from surrogate.operators.base import OperatorConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.registry import OPERATORS
from surrogate.protocols import Task
from surrogate.schemas import check_name
from surrogate.tasks.base import TaskConfig
from surrogate.tasks.common import example
from surrogate.tasks.registry import TASKS
from surrogate.tasks.wavefield import WavefieldConfig
from surrogate.training.config import TrainingConfig
from surrogate.training.tracking import TrackingConfig

FORWARDS = ("physics", "surrogate", "corrected")


@cache
def _example(task: Task) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of a task's example, computed once a task: the draw of a model of every family is traced."""
    return jax.eval_shape(lambda: example(task))


@dataclass
class InitConfig:
    """Choose what a new run takes over from another one, which has the same task, encoding and operator.

    Attributes:
        run: Folder of a trained run, from whose best weights this run starts, on the same or on other data; null starts
            from random weights. To train the same run further, raise `training.steps` alone.
        optimizer: State of AdamW at the start: fresh, or keep (the moments of the last training state of `init.run`).
            The schedule of the learning rate starts anew in both cases.
        statistics: Normalization: keep (that of `init.run`, with which its operator is the same function), or fresh
            (of this run's training split).
    """

    run: str | None = None
    optimizer: str = ranged("fresh", ("keep", "fresh"))
    statistics: str = ranged("keep", ("keep", "fresh"))

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: A value is none of its choices, or would change nothing.
        """
        check_fields(self, "init")
        if self.run is None and self != InitConfig():
            raise InputError("init.optimizer and init.statistics need init.run=RUN, the run that they are of.")


@dataclass
class TrainConfig:
    """Hold the config of a training run, as `wave train` reads it.

    Attributes:
        run: Folder of the run, which keeps its config, its training states and its evaluation.
        data: Settings of the data set.
        task: Settings of the task, which says what is predicted from what.
        model: Settings of the operator, any one in the registry.
        encoding: Settings of the encoding, which makes the operator's input.
        training: Settings of the training.
        init: Run from whose weights this one starts.
        tracking: Settings of W&B.
        parallel: Settings of the processes and devices.
    """

    run: str = "runs/default"
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=WavefieldConfig)
    model: OperatorConfig = field(default_factory=FNOConfig)
    encoding: EncodingConfig = field(default_factory=CoarseConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    init: InitConfig = field(default_factory=InitConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def create(self) -> Surrogate:
        """Create the untrained surrogate. Warns with `ModesWarning` if it keeps fewer modes than the waves have.

        Returns:
            The surrogate.

        Raises:
            InputError: If a setting is wrong, or if the settings do not go together.
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
        """Check the settings of the training. Only new runs are checked: an earlier one is loaded and resumed as it is.

        Args:
            model: Untrained surrogate that `create` has made.

        Raises:
            InputError: If the model could not be trained with a setting, or if a setting would change nothing.
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
    """Choose a velocity model from a file, and a window of it.

    Attributes:
        path: File of a velocity model, .npy, .npz or SEG-Y; null for no file.
        spacing: Cell size of the model in the file [m]; null takes the one that the file gives, or else one by which
            the shorter side spans the grid.
        origin: Position `[z, x]` of the window in the file's model [m]; null centers the window.
    """

    path: str | None = None
    spacing: float | None = ranged(None, "(0, inf)")
    origin: list[float] | None = ranged(None, "(-inf, inf)", length=2)


@dataclass
class DataPlaceConfig:
    """Say where a data set is.

    Attributes:
        path: Folder of the data set; null looks where the run found it.
    """

    path: str | None = None


@dataclass
class EvaluateConfig:
    """Hold the config of an evaluation, as `wave evaluate` reads it.

    Attributes:
        run: Folder of the trained run.
        batch_size: Number of samples that are predicted and timed together.
        repeats: Number of times that each method is timed.
        speedup_samples: Number of test samples on which the surrogate is compared with the solver at an equal error
            against the wave equation, or an operator that inverts with inversions to its error; 0 leaves this out.
        gradient_samples: Number of test samples on which gradients of a misfit are compared with those of the solver,
            along an inversion; 0 leaves this out.
        inversion_samples: Number of test samples that are inverted with forward=corrected, led by the surrogate and by
            the coarse solver, to count the solver's gradients that each needs; 0 leaves this out.
        other: Folder of another data set, whose test split is evaluated as well; null for none. It must have the same
            simulation or, for wavefields, the same waves on another grid.
        real: Velocity model from a file that is evaluated as well.
        data: Place of the data set of the run, if it was moved.
    """

    run: str = ""
    batch_size: int = ranged(16, "[1, inf)")
    repeats: int = ranged(5, "[1, inf)")
    speedup_samples: int = ranged(4, "[0, inf)")
    gradient_samples: int = ranged(2, "[0, inf)")
    inversion_samples: int = ranged(1, "[0, inf)")
    other: str | None = None
    real: RealModelConfig = field(default_factory=RealModelConfig)
    data: DataPlaceConfig = field(default_factory=DataPlaceConfig)


@dataclass
class InvertConfig:
    """Hold the config of an inversion, as `wave invert` reads it.

    Attributes:
        out: Folder of the result.
        forward: Forward model: physics (the solver), surrogate (which needs `run`), or corrected (the solver, to whose
            misfit a cheap model is corrected around one model after the other: `inversion.corrected`).
        run: Folder of the trained run, for forward=surrogate and inversion.corrected.low=surrogate. `data` is then that
            of the run, except for keys that choose the true model (data.seed, data.water_depth) and are set on the
            command line. For inversion.start=operator: a run of task=inverse, for the survey of the observed data.
        data: Settings of the simulation and of the true model; observed data need none.
        observed: Observed data to invert: a SEG-Y, .npz or .npy file of gathers, or the folder of a data set; null
            simulates them in a true model.
        geometry: YAML file of the sources, receivers and times of `observed`; null takes the one of its name beside it,
            if there is one.
        wavelet: Wavelet of observed data: ricker (of setup.peak_frequency), estimated (in the starting model), or a
            file of it, .npy, .npz, .yaml or .txt; null takes ricker where its frequency is given, else estimated.
        setup: Settings of the simulation of observed data.
        inversion: Settings of the inversion.
        memory_budget: Memory of each device for the derivatives of the solver, which in each stage takes the fastest
            strategy that fits, and shots in groups where they do not fit at once [bytes]; null recomputes fields.
        parallel: Settings of the processes and devices, which share the shots.
        real: Velocity model from a file that is the true model.
        real_density: Density of that model from a file of the same cells [kg/m^3], for data.density=gardner; null takes
            that of Gardner's rule.
    """

    out: str = "runs/inversion"
    forward: str = ranged("physics", FORWARDS)
    run: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    observed: str | None = None
    geometry: str | None = None
    wavelet: str | None = None
    setup: SetupConfig = field(default_factory=SetupConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)
    memory_budget: float | None = ranged(None, "(0, inf)")
    parallel: ShotsConfig = field(default_factory=ShotsConfig)
    real: RealModelConfig = field(default_factory=RealModelConfig)
    real_density: str | None = None

    def check(self) -> None:
        """Check the values, those of `data` apart, which are checked where models are drawn by them.

        Raises:
            InputError: A value is outside its range, or no inversion can use it.
        """
        check_fields(self, "")
        check_fields(self.real, "real")
        for part in (self.inversion, self.setup, self.parallel):
            part.check()


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
