"""Read arrays from files by their suffix. Pickled objects are refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from data_gen.common.errors import InputError

Content = TypeVar("Content")
# Names of an array's sampling step in a .npz file.
STEPS = ("spacing", "dt")


def read_by_suffix(path: Path, kind: str, readers: Mapping[str, Callable[[Path], Content]]) -> Content:
    """Read a file with the reader for its suffix.

    Args:
        path: Path of the file.
        kind: Content of the file in a word, for errors.
        readers: Function that reads a file, for each suffix in lower case.

    Returns:
        The result of the reader.

    Raises:
        InputError: If the file is missing, has another suffix, or cannot be read.
    """
    known = ", ".join(readers)
    if not path.is_file():
        raise InputError(f"There is no {kind} file at {path}. Give the path of one of these kinds: {known}.")
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is not a {kind} file that can be read: expected {known}, got {path.suffix!r}.")
    try:
        return readers[path.suffix.lower()](path)
    except InputError:
        raise
    except Exception as error:  # each reader has its own errors for a damaged file; the remedy is the same
        raise InputError(f"{path} could not be read as {path.suffix}: {error}. Check that it is complete.") from error


def read_npy(path: Path, *, memory_map: bool = False) -> tuple[np.ndarray, None]:
    """Read an array from a .npy file.

    Args:
        path: Path of the file.
        memory_map: Whether to leave the values on disk until they are used.

    Returns:
        The array, and None for its sampling step, which such a file does not give.
    """
    return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False), None


def read_npz(
    path: Path, names: tuple[str, ...], step: str, kind: str, *, any_name: bool = True
) -> tuple[np.ndarray, float | None]:
    """Read a named array and its sampling step from a .npz file.

    Args:
        path: Path of the file.
        names: Accepted names of the array, the first of which errors recommend.
        step: Name of the sampling step.
        kind: Content of the array in a word, for errors.
        any_name: Whether the only array of a file may have another name.

    Returns:
        The array, and its sampling step or None if the file does not give it.

    Raises:
        InputError: If no array, or more than one, fits.
    """
    with np.load(path, allow_pickle=False) as arrays:
        others = [name for name in arrays.files if name not in STEPS]
        found = [name for name in names if name in others] or (others if any_name else [])
        if len(found) != 1:
            raise InputError(f"{path} holds the arrays {others}: name the {kind} `{names[0]}`.")
        return arrays[found[0]], float(arrays[step]) if step in arrays.files else None
