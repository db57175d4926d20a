"""Make a command of a function with Hydra: the folder of configs, and the way from a composed config to a dataclass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hydra
from omegaconf import DictConfig, OmegaConf

from data_gen.common.errors import one_paragraph

Schema = TypeVar("Schema")
# A checkout has the configs beside the packages.
CONFIGS = Path(__file__).parents[2] / "configs"


def command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[..., Any]]:
    """Decorate the main function of a command that is configured by `configs/{config_name}.yaml`."""

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[..., Any]:
        return hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)(one_paragraph(main))

    return decorate


def typed(config: DictConfig, schema: type[Schema]) -> Schema:
    """Convert a composed config to the dataclass that it describes."""
    result = OmegaConf.to_object(config)
    assert isinstance(result, schema)
    return result
