"""Read arrays from files by their suffix. Pickled objects are refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from data_gen.common.errors import InputError

Content = TypeVar("Content")
# Names of arrays in a .npz file that say something about its main one.
COMPANIONS = ("spacing", "dt", "delay", "sources", "receivers", "gathers_scale")
SCALE = "_scale"  # ends the name of the factors of half-precision values, one for each sample
MANIFEST = "manifest"  # text in exported data sets


class NpzArrays(NamedTuple):
    """Hold an array of a .npz file and those that say something about it.

    Attributes:
        name: Name of the array that was looked for.
        main: That array.
        companions: Arrays by name, from `COMPANIONS` and those that were asked for.
        others: Names of all further arrays in the file.
    """

    name: str
    main: np.ndarray
    companions: dict[str, np.ndarray]
    others: tuple[str, ...]

    def number(self, name: str) -> float | None:
        """Return a companion that is one number.

        Args:
            name: Name of the companion.

        Returns:
            The number, or None if the file does not give it.

        Raises:
            InputError: If it is not one finite number.
        """
        if name not in self.companions:
            return None
        value = self.companions[name]
        if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
            raise InputError(f"`{name}` in a .npz file must be one finite number, but is {value}.")
        return float(value.reshape(()))


def read_by_suffix(path: Path, kind: str, readers: Mapping[str, Callable[[Path], Content]]) -> Content:
    """Read a file with the reader for its suffix.

    Args:
        path: Path of the file.
        kind: Content of the file in a word, for errors.
        readers: Function that reads a file, for each suffix in lower case.

    Returns:
        The result of the reader.

    Raises:
        InputError: If the file is missing, has another suffix, holds pickled objects, or cannot be read.
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
        if "pickle" in str(error) or "Python objects" in str(error):
            raise InputError(
                f"{path} holds Python objects, or is no {path.suffix} file: a pickle is never loaded, because loading "
                "it may run any code. Save a plain array of numbers, with `numpy.save` or `numpy.savez`."
            ) from error
        raise InputError(f"{path} could not be read as {path.suffix}: {error}. Check that it is complete.") from error


def read_npy(path: Path, *, memory_map: bool = False) -> np.ndarray:
    """Read an array from a .npy file.

    Args:
        path: Path of the file.
        memory_map: Whether to leave the values on disk until they are used.

    Returns:
        The array.
    """
    return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)


def read_npz(
    path: Path, names: tuple[str, ...], kind: str, *, any_name: bool = True, also: tuple[str, ...] = ()
) -> NpzArrays:
    """Read a named array and its companions from a .npz file.

    Args:
        path: Path of the file.
        names: Accepted names of the array, the first of which errors recommend.
        kind: Content of the array in a word, for errors.
        any_name: Whether the only array of a file may have another name.
        also: Names of further companions.

    Returns:
        The array, its companions, and the names of the arrays that were not read.

    Raises:
        InputError: If no array, or more than one, fits.
    """
    with np.load(path, allow_pickle=False) as arrays:
        # By its plain name: the members that are it, of which exported data sets have one for each split.
        members: dict[str, list[str]] = {}
        for member in arrays.files:
            if member != MANIFEST:
                members.setdefault(member.rpartition("/")[2], []).append(member)
        wanted = COMPANIONS + also
        others = [name for name in members if name not in wanted]
        found = [name for name in names if name in others] or (others if any_name else [])
        if len(found) != 1:
            raise InputError(f"{path} holds the arrays {others}: name the {kind} `{names[0]}`.")
        companions = {name: _companion(arrays, members[name]) for name in wanted if name in members}
        known = {name: value for name, value in companions.items() if value is not None}
        left_out = [name for name in members if name != found[0] and name not in known]
        return NpzArrays(found[0], _joined(arrays, members[found[0]]), known, tuple(left_out))


def _of_splits(members: list[str]) -> bool:
    return "/" in members[0]


def _joined(arrays: Mapping[str, np.ndarray], members: list[str]) -> np.ndarray:
    """Return an array, or those of all splits one after the other."""
    return np.concatenate([arrays[member] for member in members]) if _of_splits(members) else arrays[members[0]]


def _companion(arrays: Mapping[str, np.ndarray], members: list[str]) -> np.ndarray | None:
    """Return a companion; of one for each sample, their common value, or None if they differ."""
    values = _joined(arrays, members)
    if not _of_splits(members) or members[0].endswith(SCALE):
        return values
    return values[0] if (values == values[0]).all() else None
