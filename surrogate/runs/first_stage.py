"""Training in stages: the first run's operator, if it computes here what it computed there.

A frozen operator is the function it was trained to be only behind the same encoding of the same data, normalised by the
same statistics, and with the same settings: those that are no weights, such as the padding, leave no trace in shapes.
"""

from dataclasses import asdict
from functools import partial
from typing import Any

from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.files import differences
from surrogate.config import TrainConfig
from surrogate.models.surrogate import Surrogate
from surrogate.operators.base import OperatorConfig
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate


def first_stage(config: TrainConfig, model: Surrogate, run: str, settings: OperatorConfig) -> nnx.Module:
    """The operator of `settings` that `run` has trained; `model`, which `config` describes, takes over its statistics.

    Raises `InputError` for a run of another operator, task, encoding or data set.
    """
    before = read_run(run)
    there, here = _identity(before, before.model), _identity(config, settings)
    if there != here:
        raise InputError(
            f"model.first_run={run} cannot be the first stage of this run: both must have the same operator (`model` "
            "there, `model.first` here), task, encoding and data set, but the values here -> there are "
            f"{differences(there, here)}. Set these as they are there, or choose another first run."
        )
    first = load_surrogate(run)
    model.set_statistics(first.statistics)
    return first.operator


def warm_start(config: TrainConfig, model: Surrogate) -> bool:
    """Give a surrogate the operator and the statistics of its first stage, if its config names one.

    Args:
        config: Config of the run.
        model: Untrained surrogate of the config.

    Returns:
        Whether there is a first stage.

    Raises:
        InputError: The first stage has another operator, task, encoding or data set.
    """
    return config.model.warm_start(model.operator, partial(first_stage, config, model))


def _identity(config: TrainConfig, operator: OperatorConfig) -> dict[str, Any]:
    # Of the task only its name: how many steps a propagator is unrolled in training changes nothing of what it reads.
    parts = {"model.first": asdict(operator), "encoding": asdict(config.encoding), "data": config.data.identity()}
    values = {f"{part}.{name}": value for part, of in parts.items() for name, value in of.items()}
    return {"task.name": config.task.name} | values
