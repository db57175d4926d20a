"""Read small YAML files of numbers, without any objects in them."""

from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import InputError


def read_yaml(path: Path, kind: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Read the keys of a YAML file.

    Args:
        path: Path of the file.
        kind: Content of the file in a word, for errors.
        known: Keys that it may have.

    Returns:
        Its values by key.

    Raises:
        InputError: If the file is missing, no plain YAML, or has other keys.
    """
    import yaml

    if not path.is_file():
        raise InputError(f"There is no {kind} file at {path}. Give the path of a YAML file of {', '.join(known)}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no plain YAML: {' '.join(str(error).split())}. Correct it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values, {', '.join(known)}, but holds a {type(content).__name__}.")
    if unknown := [str(key) for key in content if key not in known]:
        raise InputError(f"{path} has the unknown keys {', '.join(unknown)}. A {kind} file has {', '.join(known)}.")
    return content


def yaml_number(value: Any, name: str) -> float:
    """Read a number of a YAML file.

    YAML 1.1 takes `1e-3` for a text, since it lacks a point; it is read as the number that it looks like.

    Args:
        value: The value.
        name: Its name in errors.

    Returns:
        The number.

    Raises:
        InputError: If it is no finite number.
    """
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise InputError(f"{name} must be a finite number, but is {value!r}.")
    return number
