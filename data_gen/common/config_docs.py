"""Describe the keys of a config: their types and ranges, their values, and the docstrings of their dataclasses."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from data_gen.common.docstrings import attribute_texts, first_sentence
from data_gen.common.ranges import Range, stated_range


class Key(NamedTuple):
    """Describe one key of a config.

    Attributes:
        name: Dotted name, as an override writes it.
        kind: Type of its values.
        value: Value that the composed config gives it.
        text: First sentence of its documentation; empty if there is none.
        allowed: Range of its values; None for one that states none.
    """

    name: str
    kind: str
    value: Any
    text: str
    allowed: Range | None = None


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
            text = first_sentence(texts.get(field.name, ""))
            yield Key(prefix + field.name, kind, _plain(config, field.name), text, stated_range(field))


def _plain(config: DictConfig, name: str) -> Any:
    value = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    assert isinstance(value, dict)
    return value[name]
