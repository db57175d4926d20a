"""The registry of operators: a name is all a config needs to say to choose one; see docs/guides/operators.md."""

from hydra.core.config_store import ConfigStore

from data_gen.common.errors import InputError
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


def operator_schema(name: object) -> type[OperatorConfig]:
    """The schema of an operator's settings. Raises `InputError` for an unknown name."""
    if not isinstance(name, str) or name not in OPERATORS:
        raise InputError(f"Unknown operator {name!r}: model.name must be one of {', '.join(OPERATORS)}.")
    return OPERATORS[name]


def register_operators() -> None:
    """Make the schemas known to Hydra: configs/model/NAME.yaml lists `NAME_schema` first."""
    for name, schema in OPERATORS.items():
        ConfigStore.instance().store(group="model", name=f"{name}_schema", node=schema)
