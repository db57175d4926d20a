"""Turn settings into plain Python numbers, so that a frozen object is hashable and equals one made of other types."""

import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from jax.core import Tracer

from data_gen.common.errors import InputError

SEEDS = "[0, 4294967295]"  # JAX takes seeds modulo 2^32


def settle(frozen: Any, kinds: dict[str, Callable[[Any, str], Any]]) -> None:
    """Replace fields of a frozen object by their plain values; for its `__post_init__`.

    Args:
        frozen: The object.
        kinds: A function of this module for each field.

    Raises:
        InputError: If a field has no such value.
    """
    for name, kind in kinds.items():
        object.__setattr__(frozen, name, kind(getattr(frozen, name), name))


def whole(value: Any, name: str) -> int:
    """Read a whole number, of Python, NumPy or JAX.

    Args:
        value: The number.
        name: Its name in errors.

    Returns:
        The number.

    Raises:
        InputError: If it is none, or is traced.
    """
    if not isinstance(value, bool | np.bool_):
        with suppress(TypeError):
            return operator.index(value)
    raise InputError(f"{name} must be a whole number{_traced(value)}, but is {value!r}.")


def random_seed(value: Any, name: str) -> int:
    """Read a seed of random numbers.

    Args:
        value: The seed.
        name: Its name in errors.

    Returns:
        The seed.

    Raises:
        InputError: If it is no whole number, or the generators, which know 32 bits of it, would take it for another.
    """
    number = whole(value, name)
    if not 0 <= number < 2**32:
        raise InputError(f"{name} must be from 0 to {2**32 - 1}, but is {number}.")
    return number


def number(value: Any, name: str) -> int | float:
    """Read a number, of Python, NumPy or JAX, which may be infinite or none (nan).

    Args:
        value: The number.
        name: Its name in errors.

    Returns:
        The number; whole ones stay whole.

    Raises:
        InputError: If it is no number, or is traced.
    """
    if not isinstance(value, bool | np.bool_ | str | bytes):
        with suppress(TypeError, ValueError):
            return value if isinstance(value, int) else float(value)
    raise InputError(f"{name} must be a finite number{_traced(value)}, but is {value!r}.")


def real(value: Any, name: str) -> float:
    """Read a finite number, of Python, NumPy or JAX.

    Args:
        value: The number.
        name: Its name in errors.

    Returns:
        The number; whole ones stay whole.

    Raises:
        InputError: If it is none, not finite, or is traced.
    """
    found = number(value, name)
    if not isinstance(found, int) and not np.isfinite(found):
        raise InputError(f"{name} must be a finite number, but is {value!r}.")
    return found


def flag(value: Any, name: str) -> bool:
    """Read True or False, of Python or NumPy.

    Args:
        value: The value.
        name: Its name in errors.

    Returns:
        The value.

    Raises:
        InputError: If it is neither.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InputError(f"{name} must be True or False, but is {value!r}.")


def _traced(value: Any) -> str:
    """Say that JAX may not trace the value, if it does."""
    return " that is known before JAX traces a function" if isinstance(value, Tracer) else ""


def _sequence(values: Any, name: str, kind: Callable[[Any, str], Any]) -> tuple:
    items = None
    if not isinstance(values, str | bytes | set | dict):
        with suppress(TypeError):
            items = tuple(values)
    if items is None:
        raise InputError(f"{name} must be a sequence of numbers, but is {values!r}.")
    return tuple(kind(value, f"Each of {name}") for value in items)


def wholes(values: Any, name: str) -> tuple[int, ...]:
    """Read a sequence of whole numbers: a tuple, a list, a range or an array.

    Args:
        values: The numbers.
        name: Their name in errors.

    Returns:
        The numbers.

    Raises:
        InputError: If they are none.
    """
    return _sequence(values, name, whole)


def reals(values: Any, name: str) -> tuple[float, ...]:
    """Read a sequence of finite numbers: a tuple, a list or an array.

    Args:
        values: The numbers.
        name: Their name in errors.

    Returns:
        The numbers.

    Raises:
        InputError: If they are none.
    """
    return _sequence(values, name, real)
