"""Train in stages: take over the operator of a first run, if it computes the same function in the new run.

A frozen operator is the function that it was trained to be only with the same encoding of the same data, normalized by
the same statistics, and with the same settings. Settings that are no weights, such as the padding, cannot be seen in
the shapes of the weights, so they are compared.
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
    # The name stands for the task: its settings, such as the steps that are unrolled, do not change the inputs.
    parts = {"model.first": asdict(operator), "encoding": asdict(config.encoding), "data": config.data.identity()}
    values = {f"{part}.{name}": value for part, settings in parts.items() for name, value in settings.items()}
    return {"task.name": config.task.name} | values
