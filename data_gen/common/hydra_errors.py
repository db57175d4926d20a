"""Answer an override that Hydra refuses with what was expected and the nearest names, in one paragraph."""

from collections.abc import Sequence
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from data_gen.common.config_docs import keys_of
from data_gen.common.hydra_help import Command


def nearest(name: str, known: Sequence[str]) -> str:
    """Name what a misspelled name may have meant.

    Args:
        name: Name that is not known; dotted for a key.
        known: All names that are.

    Returns:
        A sentence with the three nearest names, with a space before it; empty if none is near.
    """
    known = list(known)
    parent, dot, last = name.rpartition(".")
    near = {key: get_close_matches(last, [key.rpartition(".")[2]], cutoff=0.7) for key in known}
    siblings = [key for key in known if dot and near[key] and key.rpartition(".")[0] == parent]
    found = siblings or get_close_matches(name, known, 3, 0.8) or [key for key in known if near[key]]
    found = get_close_matches(name, found, 3, 0)
    return f" Did you mean {' or '.join(found)}?" if found else ""


def explain(error: Exception, command: Command, overrides: Sequence[str]) -> str:
    """Explain why the config of a command cannot be composed.

    Args:
        error: Error that Hydra or OmegaConf raised.
        command: Command that was called.
        overrides: Overrides that it was called with.

    Returns:
        One paragraph: which override is wrong, what was expected, and what to do.
    """
    groups = {group: command.choices(group) for group in command.defaults}
    if isinstance(error, OverrideParseException):
        return f"Cannot read {error.override!r}: an override is KEY=VALUE; quote values with spaces or braces."
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = [o for o in parsed if o.key_or_group in groups and o.value() in groups[o.key_or_group]]
    config = command.compose([str(override.input_line) for override in chosen])
    keys = [key.name for key in keys_of(config)]
    for override in parsed:
        if not override.key_or_group.startswith("hydra") and override not in chosen:
            answer = _about_override(override, groups, config, keys)
            if answer:
                return answer
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name}: there is no such preset.{nearest(name, error.options)}"
    cause = error.__cause__
    detail = next(iter(str(cause).splitlines()), "") if cause else ""
    return " ".join(line.strip() for line in [*str(error).splitlines()[:2], detail] if line.strip())


def _about_override(
    override: Override, groups: dict[str, list[str]], config: DictConfig, keys: Sequence[str]
) -> str | None:
    """Say what is wrong with one override; None if its name is known."""
    name, value = override.key_or_group, override.value()
    if name in groups and isinstance(value, str):
        presets = ", ".join(groups[name])
        return f"{name}={value}: there is no such preset.{nearest(value, groups[name])} Presets: {presets}."
    if name in groups or name in keys or OmegaConf.select(config, name) is not None:
        return None
    for group, choices in groups.items():
        if value in choices:
            return f"{name}={value}: this command has no group of presets {name!r}. Use {group}={value}."
    if parent := _open_parent(config, name):
        return None if override.is_add() else f"{name!r} is new in {parent}: add it with +{override.input_line}."
    return f"Unknown key {name!r}.{nearest(name, [*keys, *groups])} `--help` explains every key."


def _open_parent(config: DictConfig, name: str) -> str | None:
    """Find the innermost parent of a key that may hold any keys, such as `data.families`; None if there is none."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        parent = OmegaConf.select(config, ".".join(parts[:end]))
        if isinstance(parent, DictConfig):
            return ".".join(parts[:end]) if OmegaConf.get_type(parent) is dict else None
    return None
