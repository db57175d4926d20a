"""Registry of operators: a config chooses one by its name; see docs/guides/operators.md."""

from typing import Any

from surrogate.operators.base import OperatorConfig
from surrogate.operators.deeponet import DeepONetConfig
from surrogate.operators.ffno import FFNOConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.multiscale import MultiscaleConfig
from surrogate.operators.tfno import TFNOConfig
from surrogate.operators.ufno import UFNOConfig
from surrogate.operators.unet import UNetConfig
from surrogate.operators.uno import UNOConfig

OPERATORS: dict[str, type[OperatorConfig]] = {
    config.name: config
    for config in (
        FNOConfig,
        FFNOConfig,
        TFNOConfig,
        UFNOConfig,
        UNOConfig,
        UNetConfig,
        DeepONetConfig,
        MultiscaleConfig,
    )
}


RENAMED = {"factorisation": "factorization"}  # keys of earlier versions, as they stand in the configs of old runs


def with_current_keys(settings: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys of earlier versions in the stored settings of an operator.

    Args:
        settings: Settings as plain values, as stored with a run.

    Returns:
        The settings with today's keys.
    """
    return {RENAMED.get(key, key): value for key, value in settings.items()}
