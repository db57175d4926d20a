"""State beside each field of a config which values it may have; checks, help texts and the docs read it there.

    steps: int = ranged(1000, "[1, inf)")
    precision: str = ranged("float32", ("float32", "bfloat16"))

An interval is written as in mathematics: a round bracket leaves its end out. `inf` beside a square bracket is a value.
Fields without a range are checked by their type alone; numbers are then finite.
"""

import re
import typing
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from math import inf
from os import PathLike
from types import UnionType
from typing import Any, Union

import numpy as np

from data_gen.common.docstrings import attribute_texts, first_sentence
from data_gen.common.errors import InputError
from data_gen.common.plain import flag, number, whole

KEY = "range"  # in the metadata of a field
INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


@dataclass(frozen=True)
class Interval:
    """Hold the numbers between two ends.

    Attributes:
        low: Lower end.
        high: Upper end.
        with_low: Whether the lower end belongs to it.
        with_high: Whether the upper end belongs to it.
    """

    low: float
    high: float
    with_low: bool
    with_high: bool

    @classmethod
    def read(cls, text: str) -> "Interval":
        """Read an interval such as `[0, 1)`.

        Args:
            text: The interval.

        Returns:
            The interval.

        Raises:
            ValueError: If the text is none.
        """
        found = INTERVAL.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no interval such as '[0, 1)'")
        opening, low, high, closing = found.groups()
        return cls(float(low), float(high), opening == "[", closing == "]")

    def __contains__(self, value: int | float) -> bool:
        above = self.low <= value if self.with_low else self.low < value
        return above and (value <= self.high if self.with_high else value < self.high)

    def __str__(self) -> str:
        low, high = (int(end) if end.is_integer() else end for end in (self.low, self.high))
        if self.with_low and self.with_high and self.high < inf:
            return f"from {low} to {high}"
        ends = [] if self.low == -inf else [f"{'at least' if self.with_low else 'above'} {low}"]
        if self.high < inf:
            ends.append(f"{'at most' if self.with_high else 'below'} {high}")
        infinite = " (inf, too)" if self.with_high and self.high == inf else ""
        return (" and ".join(ends) or "finite") + infinite


@dataclass(frozen=True)
class Choices:
    """Hold the values to choose from.

    Attributes:
        values: The values; a registry may get more of them later.
    """

    values: Collection[Any]

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Range:
    """State which values a field may have.

    Attributes:
        allowed: Values of the field, or of each entry of a list.
        lengths: Lengths that a list may have; empty for any.
    """

    allowed: Interval | Choices
    lengths: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.lengths:
            return str(self.allowed)
        return f"{' or '.join(map(str, self.lengths))} values, each {self.allowed}"


FINITE = Range(Interval(-inf, inf, False, False))


def ranged(default: Any, allowed: str | Collection[Any], *, length: int | tuple[int, ...] = (), **more: Any) -> Any:
    """Declare a field of a config with the values that it may have.

    Args:
        default: Default of the field; each object gets a list or a dictionary of its own.
        allowed: An interval of numbers, as the module describes it, or the values to choose from.
        length: Length of a list, or the lengths that it may have; none for any.
        **more: Further arguments of `dataclasses.field`.

    Returns:
        The field.
    """
    values = Interval.read(allowed) if isinstance(allowed, str) else Choices(allowed)
    metadata = {KEY: Range(values, (length,) if isinstance(length, int) else length)}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata, **more)
    return field(default=default, metadata=metadata, **more)


def stated_range(item: Field[Any]) -> Range | None:
    """Return the values that a field states.

    Args:
        item: Field of a dataclass.

    Returns:
        The values; None for a field that states none.
    """
    return item.metadata.get(KEY)


def check_fields(config: Any, group: str) -> None:
    """Check the type and the range of every field of a config, except of those that are configs themselves.

    Args:
        config: Object of a dataclass.
        group: Name of the config in errors, such as `training`; empty for the root.

    Raises:
        InputError: For the first field whose value is of another type or outside its range, with what it means.
    """
    types = typing.get_type_hints(type(config))
    for item in fields(config):
        name = f"{group}.{item.name}" if group else item.name
        try:
            _check(getattr(config, item.name), types[item.name], stated_range(item) or FINITE, name)
        except InputError as error:
            meaning = first_sentence(attribute_texts(type(config)).get(item.name, ""))
            raise InputError(f"{error} {name}: {meaning}" if meaning else str(error)) from None


def check_all(config: Any, group: str = "") -> None:
    """Check the fields of a config, and those of every config in it.

    Args:
        config: Object of a dataclass.
        group: Name of the config in errors; empty for the root.

    Raises:
        InputError: For the first field whose value is of another type or outside its range.
    """
    check_fields(config, group)
    for item in fields(config):
        value, name = getattr(config, item.name), f"{group}.{item.name}" if group else item.name
        if is_dataclass(value):
            check_all(value, name)
        elif isinstance(value, list):
            for number, entry in enumerate(value):
                if is_dataclass(entry):
                    check_all(entry, f"{name}[{number}]")


def _check(value: Any, kind: Any, allowed: Range, name: str) -> None:
    """Check one value by the annotation of its field."""
    kinds = list(typing.get_args(kind)) if typing.get_origin(kind) in (Union, UnionType) else [kind]
    wanted = str(allowed)
    if type(None) in kinds:
        if value is None:
            return
        kinds.remove(type(None))
        wanted = f"null or {wanted}"
    if len(kinds) > 1 and isinstance(value, str):
        return  # text in place of a number: which, the config itself checks
    kind = next((one for one in reversed(kinds) if one is not str), str)
    origin = typing.get_origin(kind) or kind
    if origin is list:
        _check_list(value, (*typing.get_args(kind), Any)[0], allowed, wanted, name)
    elif origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a dictionary, but is {value!r}.")
    elif origin is bool:
        flag(value, name)
    elif origin is str:
        known = str if isinstance(allowed.allowed, Choices) else str | PathLike
        if not isinstance(value, known) or (isinstance(allowed.allowed, Choices) and value not in allowed.allowed):
            named = wanted if isinstance(allowed.allowed, Choices) else "text"
            raise InputError(f"{name} must be {named}, but is {value!r}.")
    elif origin in (int, float) and (whole if origin is int else number)(value, name) not in allowed.allowed:
        unending = value != value or value in (inf, -inf)  # nan is no number, not even itself
        if unending and allowed != FINITE and inf not in allowed.allowed:
            wanted = wanted.replace(str(allowed), f"finite and {allowed}")
        raise InputError(f"{name} must be {wanted}, but is {value!r}.")


def _check_list(values: Any, kind: Any, allowed: Range, wanted: str, name: str) -> None:
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__getitem__") or np.shape(values) == ():
        raise InputError(f"{name} must be a list, but is {values!r}.")
    if allowed.lengths and len(values) not in allowed.lengths:
        raise InputError(f"{name} must be {wanted}, but is {list(values)}.")
    for entry in values:
        _check(entry, kind, Range(allowed.allowed), f"Each of {name}")
