"""Answer an override that Hydra refuses with what was expected and the nearest names, in one paragraph."""

import re
import shlex
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from data_gen.common.config_docs import keys_of
from data_gen.common.errors import InputError
from data_gen.common.files import flatten
from data_gen.common.hydra_help import Command

# How a message names a type of the schemas.
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a word",
    "bool": "true or false",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[str]": "a list of words",
    "dict[str, Any]": "a dictionary",
}
CUTOFF = 0.6  # similarity of names, from 0 to 1, that a typing error leaves


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
    near = {key: get_close_matches(last, [key.rpartition(".")[2]], cutoff=CUTOFF) for key in known}
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
    if isinstance(error, OverrideParseException):
        return _about_unread(str(error.override), command)
    if str(error).startswith("Ambiguous value"):
        override = str(error).split("'")[1]
        key, _, values = override.partition("=")
        return f"{override}: several values are a sweep: add --multirun. One list of these values is {key}=[{values}]."
    answers = _Answers(command, OverridesParser.create().parse_overrides(list(overrides)))
    if answer := next(filter(None, map(answers.about, answers.overrides)), None):
        return answer
    for override in answers.overrides:
        refused = (f"override {override.input_line}", f"override '{override.key_or_group}'")
        if any(text in str(error) for text in refused):
            return answers.about_value(override)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name}: there is no such preset.{nearest(name, error.options)}"
    cause = error.__cause__
    detail = next(iter(str(cause).splitlines()), "") if cause else ""
    return " ".join(line.strip() for line in [*str(error).splitlines()[:2], detail] if line.strip())


def check_choices(command: Command, overrides: Sequence[str]) -> None:
    """Refuse several presets of one group, or none where one is needed. Hydra would merge them, or end in a traceback.

    Args:
        command: Command that was called.
        overrides: Overrides that it was called with.

    Raises:
        InputError: If an override chooses several presets, or removes the only one.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException:
        return  # Hydra raises it again, and `explain` answers
    for override in parsed:
        name, value = override.key_or_group, override.value()
        if name in command.defaults and not (isinstance(value, str) or override.is_sweep_override()):
            presets = ", ".join(command.choices(name))
            without = "" if command.defaults[name] else f" Leave {name} out for none."
            raise InputError(f"{override.input_line}: expected one preset, {name}=PRESET of {presets}.{without}")


def _about_unread(text: str, command: Command) -> str:
    """Answer an argument that is no override, such as a path or a preset without its key."""
    meant = [f"{group}={text}" for group in command.defaults if text in command.choices(group)]
    if not meant and re.fullmatch(r"[\w.]+", text) and OmegaConf.select(command.compose(), text) is not None:
        return f"{text!r} needs a value: {text}=VALUE."
    if not meant and "=" not in text:
        meant = [shlex.quote(f"{key}={text}") for key in command.paths]
    if meant:
        return f"Cannot read {text!r}: an argument is KEY=VALUE. Did you mean {' or '.join(meant)}?"
    return f"Cannot read {text!r}: an argument is KEY=VALUE; quote values with spaces or braces."


def _keys_of_schemas(group: str) -> list[list[str]]:
    """List the keys of each schema that the presets of a group extend; a group of one schema stores none."""
    store = ConfigStore.instance()
    if group not in store.list(""):
        return []
    names = [name for name in store.list(group) if name.endswith("_schema.yaml")]
    return [[key.name for key in keys_of(store.load(f"{group}/{name}").node)] for name in names]


class _Answers:
    """Say what is wrong with an override, by the groups and keys that its command has."""

    def __init__(self, command: Command, overrides: Sequence[Override]):
        self.command, self.overrides = command, overrides
        self.groups = {group: command.choices(group) for group in command.defaults}
        self.chosen = [o for o in overrides if o.value() in self.groups.get(o.key_or_group, ())]
        self.config = command.compose([str(override.input_line) for override in self.chosen])
        self.documented = list(keys_of(self.config))
        self.keys = [key.name for key in self.documented]

    def about(self, override: Override) -> str | None:
        """Answer one override; None if its name is known."""
        name, value = override.key_or_group, override.value()
        if override in self.chosen:
            return None
        if name in self.groups and isinstance(value, str):
            presets = ", ".join(self.groups[name])
            return f"{name}={value}: there is no such preset.{nearest(value, self.groups[name])} Presets: {presets}."
        if name.startswith("hydra"):  # its groups, `hydra/launcher`, are named by the error itself
            return self._about_hydra(name) if "." in name else None
        inner = flatten(value, f"{name}.") if isinstance(value, Mapping) else ()
        if unknown := next((key for key in inner if self._is_new(key) and not self._open_parent(key)), None):
            return self._unknown(unknown)
        if not self._is_new(name):
            return None
        if groups := self._groups_with(name, value):
            return f"{name}={value}: this command has no group of presets {name!r}. Use {groups[0]}={value}."
        if parent := self._open_parent(name):
            entry = ".".join(name.split(".")[: parent.count(".") + 2])
            near = nearest(entry, [f"{parent}.{key}" for key in OmegaConf.select(self.config, parent)])
            return None if override.is_add() else f"{entry!r} is new.{near} Add it with +{override.input_line}."
        return self._unknown(name)

    def about_value(self, override: Override) -> str:
        """Say what a key takes, whose value Hydra could not merge."""
        name = override.key_or_group
        key = next((key for key in self.documented if key.name == name), None)
        if key is None:
            below = ", ".join(key for key in self.keys if key.startswith(f"{name}."))
            return f"{override.input_line}: {name} is a group of keys, which are set one by one: {below}."
        if override.is_delete():
            return f"{override.input_line}: a key cannot be removed. Set it: {name}=VALUE. {key.text}".rstrip()
        value = "null" if key.value is None else str(key.value).replace(" ", "").replace("'", "")
        kind = KINDS.get(key.kind.removesuffix(" | None"), key.kind)
        return f"{override.input_line}: expected {kind}, such as {name}={value}. {key.text}".rstrip()

    def _is_new(self, name: str) -> bool:
        return name not in self.groups and name not in self.keys and OmegaConf.select(self.config, name) is None

    def _unknown(self, name: str) -> str:
        group, _, key = name.partition(".")
        # A schema has the keys of its presets: most wrong keys are in none, and composing every preset takes seconds.
        possible = self.groups.get(group, ()) if any(key in keys for keys in _keys_of_schemas(group)) else ()
        owners = [choice for choice in possible if self._has(group, choice, name)]
        if owners:
            return f"Unknown key {name!r}: only {', '.join(owners)} of {group} have it. Add {group}={owners[0]}."
        return f"Unknown key {name!r}.{nearest(name, [*self.keys, *self.groups])} `--help` explains every key."

    def _has(self, group: str, choice: str, name: str) -> bool:
        try:
            return OmegaConf.select(self.command.compose([f"{group}={choice}"]), name) is not None
        except HydraException:
            return False

    def _groups_with(self, name: str, value: Any) -> list[str]:
        """Find the groups that have a preset of this name, the one whose name is nearest first."""
        found = [group for group, choices in self.groups.items() if value in choices]
        return get_close_matches(name, found, cutoff=CUTOFF) + found

    def _about_hydra(self, name: str) -> str | None:
        """Answer a key of Hydra's own settings."""
        config = self.command.compose(hydra=True)
        parent, _, key = name.rpartition(".")
        siblings = OmegaConf.select(config, parent)
        if not isinstance(siblings, DictConfig) or key in siblings:
            return None
        near = nearest(name, [f"{parent}.{sibling}" for sibling in map(str, siblings)])
        return f"Unknown key {name!r}.{near} `--hydra-help` explains Hydra's own keys."

    def _open_parent(self, name: str) -> str | None:
        """Find the innermost parent of a key that may hold any keys, such as `data.families`; None without one."""
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            parent = OmegaConf.select(self.config, ".".join(parts[:end]))
            if isinstance(parent, DictConfig):
                return ".".join(parts[:end]) if OmegaConf.get_type(parent) is dict else None
        return None
