"""Start a run with what another run has trained: the whole surrogate (`init.run`), or its first operator.

A trained operator keeps its meaning only with the same settings and the same encoding of the same task. Settings that
are no weights, such as the padding, cannot be seen in the shapes of the weights, so they are compared. The data may be
others if all weights are trained further. A first operator that is frozen (`model.first_run`) is the function that it
was trained to be with the same data and statistics only.
"""

import contextlib
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.files import differences
from surrogate.config import TrainConfig
from surrogate.models.surrogate import Surrogate
from surrogate.operators.base import OperatorConfig, copy_weights
from surrogate.runs.checkpoints import Checkpoints, Tree
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_step, best_validation, last_step, load_surrogate
from surrogate.training.optimizer import make_optimizer
from surrogate.training.state import TrainState


@dataclass(frozen=True)
class Start:
    """Describe what a run takes over from another, in addition to weights.

    Attributes:
        statistics: Whether the surrogate has its normalization already.
        optimizer: State of the other run's optimizer, whose moments are taken over; None for a fresh optimizer.
        text: Sentence that says what is taken over.
    """

    statistics: bool
    optimizer: Tree | None
    text: str


def initialize(config: TrainConfig, model: Surrogate) -> Start | None:
    """Give a surrogate what its config takes over from another run, in place.

    Args:
        config: Config of the run.
        model: Untrained surrogate of the config.

    Returns:
        What is taken over in addition to the weights; None if the run starts from random weights.

    Raises:
        InputError: The other run does not fit.
    """
    config.init.check()
    if config.init.run is not None:
        return _continue(config, model, config.init.run)
    if config.model.warm_start(model.operator, partial(first_stage, config, model)):
        return Start(
            statistics=True, optimizer=None, text="The first operator and the statistics are those of its run."
        )
    return None


def _continue(config: TrainConfig, model: Surrogate, run: str) -> Start:
    """Take over the best weights of a run and, if wanted, its statistics and the moments of its optimizer."""
    if Path(run).resolve() == Path(config.run).resolve():
        raise InputError(
            f"init.run = {run} is the folder of this run itself. To train a run further, raise training.steps alone; "
            "to start another run from its weights, choose another folder with run=FOLDER."
        )
    before = read_run(run)
    there, here = _identity(before, "model", before.model), _identity(config, "model", config.model)
    _refuse(f"init.run = {run}", there, here)
    theirs = load_surrogate(run)
    _refuse(f"init.run = {run}", _channels(theirs), _channels(model))
    copy_weights(theirs.operator, model.operator)
    if keep := config.init.statistics == "keep":
        model.set_statistics(theirs.statistics)
    optimizer = _optimizer_of(before, run) if config.init.optimizer == "keep" else None
    return Start(
        statistics=keep,
        optimizer=optimizer,
        text=f"The weights are those of {run} at step {best_step(run)} (validation {best_validation(run):.4g}); "
        f"init.statistics={config.init.statistics}, init.optimizer={config.init.optimizer}.",
    )


def first_stage(config: TrainConfig, model: Surrogate, run: str, settings: OperatorConfig) -> nnx.Module:
    """Load the operator that a first run has trained, and give its statistics to the model.

    Args:
        config: Config of the new run.
        model: Surrogate of that config, which takes over the statistics of the first run.
        run: Folder of the first run.
        settings: Settings that its operator must have.

    Returns:
        The trained operator.

    Raises:
        InputError: If the first run has another operator, task, encoding or data set.
    """
    before = read_run(run)
    there, here = _identity(before, "model.first", before.model), _identity(config, "model.first", settings)
    there, here = there | _flat("data", before.data.identity()), here | _flat("data", config.data.identity())
    _refuse(f"model.first_run = {run}", there, here)
    first = load_surrogate(run)
    model.set_statistics(first.statistics)
    return first.operator


def _refuse(key: str, there: dict[str, Any], here: dict[str, Any]) -> None:
    if there != here:
        raise InputError(
            f"{key} does not fit this run, which takes over its weights: the values here -> there are "
            f"{differences(there, here)}. Set these as they are there, or choose another run."
        )


def _identity(config: TrainConfig, part: str, operator: OperatorConfig) -> dict[str, Any]:
    # The name stands for the task: its settings, such as the steps that are unrolled, do not change the inputs.
    named = {"task.name": config.task.name} | _flat(part, asdict(operator))
    return named | _flat("encoding", asdict(config.encoding))


def _flat(part: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for name, value in settings.items()}


def _channels(model: Surrogate) -> dict[str, Any]:
    encoding, task = model.encoding, model.task
    return {"media": encoding.media, "input fields": encoding.channels, "outputs": task.outputs}


def _optimizer_of(config: TrainConfig, run: str) -> Tree:
    """Restore the optimizer of a run's last training state."""
    if last_step(run) is None:
        raise InputError(
            f"init.optimizer=keep needs the last training state of {run}, but {run}/checkpoints/last is gone. Set "
            "init.optimizer=fresh."
        )
    model = config.create()
    _, state = TrainState.create(model, make_optimizer(model, config.training))
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        restored, _ = checkpoints.restore_last(state.to_dict())
    return restored["optimizer"]
