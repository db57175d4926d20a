"""Describe the keys of a config from the docstrings of the dataclasses that are its schema.

A config dataclass documents every field under `Attributes:` of its docstring (Google style). Those entries are what
`--help` prints, so that a key is explained in one place.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

ENTRY = re.compile(r"^    (\w+): (.*(?:\n(?: {5,}.*|[ \t]*$))*)", re.MULTILINE)
SECTION = re.compile(r"^Attributes:[ \t]*\n((?:(?: .*)?(?:\n|\Z))*)", re.MULTILINE)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^a-z\s])")


class Key(NamedTuple):
    """Describe one key of a config.

    Attributes:
        name: Dotted name, as an override writes it.
        kind: Type of its values.
        value: Value that the composed config gives it.
        text: First sentence of its documentation; empty if there is none.
    """

    name: str
    kind: str
    value: Any
    text: str


def attribute_texts(schema: type) -> dict[str, str]:
    """Read the entries under `Attributes:` of a dataclass, and of the classes that it extends.

    Args:
        schema: Dataclass.

    Returns:
        Text of each field, on one line.
    """
    texts: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        section = SECTION.search(inspect.cleandoc(base.__doc__ or ""))
        if section:
            texts |= {name: " ".join(text.split()) for name, text in ENTRY.findall(section[1])}
    return texts


def keys_of(config: DictConfig, prefix: str = "") -> Iterator[Key]:
    """List every key of a composed config, depth first, in the order of the schemas' fields.

    Args:
        config: Composed config; its type is a dataclass.
        prefix: Dotted name of the config within the whole one, with a dot at its end.

    Yields:
        Keys that are no groups of other keys.
    """
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    texts = attribute_texts(schema)
    for field in fields(schema):
        node = config._get_node(field.name)
        if isinstance(node, DictConfig) and is_dataclass(OmegaConf.get_type(node)) and not node._is_none():
            yield from keys_of(node, f"{prefix}{field.name}.")
        else:
            kind = field.type.__name__ if type(field.type) is type else str(field.type).replace("typing.", "")
            text = SENTENCE.split(texts.get(field.name, ""), maxsplit=1)[0]
            yield Key(prefix + field.name, kind, _plain(config, field.name), text)


def _plain(config: DictConfig, name: str) -> Any:
    value = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    assert isinstance(value, dict)
    return value[name]
