"""Take a config that is stored with data or with a run, and refuse values of the command line that contradict it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from data_gen.common.errors import InputError
from data_gen.common.hydra_app import Schema


def keys_set(prefix: str) -> list[str]:
    """List the keys that the overrides of the running command set; what presets and experiments set is not among them.

    Args:
        prefix: Name of a part of the config, such as `data`.

    Returns:
        Keys below the prefix, without it: `nt` of `data.nt=100`.
    """
    return [name.removeprefix(f"{prefix}.") for name in _names() if name.startswith(f"{prefix}.")]


def is_chosen(group: str) -> bool:
    """Tell whether the command line chooses a preset of a group, as `data=demo` does.

    Args:
        group: Name of the group.

    Returns:
        True if it does.
    """
    return group in _names()


def _names() -> list[str]:
    parsed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    return [override.key_or_group for override in parsed]


def adopt(given: Schema, stored: Schema, prefix: str, origin: str, own: Sequence[str] = ()) -> Schema:
    """Take a stored part of a config in place of the composed one, which may only repeat its values.

    Args:
        given: Part of the composed config.
        stored: The same part, as it was stored.
        prefix: Name of the part in the config, such as `data`.
        origin: Owner of the stored values, for errors, such as "the data set at data/x".
        own: Fields that are taken from the composed config.

    Returns:
        The stored part, with the fields `own` of the composed one.

    Raises:
        InputError: If the command line sets another value than the stored one; the message has both.
    """
    ours, theirs = OmegaConf.structured(given), OmegaConf.structured(stored)
    for key in keys_set(prefix):
        wanted, found = _value(ours, key), _value(theirs, key)
        if key.partition(".")[0] not in own and wanted != found:
            raise InputError(
                f"{prefix}.{key} is {wanted} on the command line, but {found} in {origin}, which says what it was made "
                f"with. Leave out {prefix}.{key} to take that value."
            )
    return replace(stored, **{name: getattr(given, name) for name in own})  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType, reportUnknownVariableType]


def _value(config: DictConfig, key: str) -> Any:
    value = OmegaConf.select(config, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
