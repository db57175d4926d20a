"""Reading a user's file by its suffix, with one clear sentence for whatever is wrong with it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from data_gen.errors import InputError

Content = TypeVar("Content")


def read_by_suffix(path: Path, what: str, readers: Mapping[str, Callable[[Path], Content]]) -> Content:
    """What the reader for the file's suffix makes of it. Raises `InputError` if it is missing, unknown or damaged."""
    known = ", ".join(readers)
    if not path.is_file():
        raise InputError(f"There is no {what} file at {path}. Give the path of one of these kinds: {known}.")
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is not a {what} this reads: expected {known}, got {path.suffix!r}.")
    try:
        return readers[path.suffix.lower()](path)
    except InputError:
        raise
    except Exception as error:  # each reader has its own errors for a damaged file; the remedy is the same
        raise InputError(f"{path} could not be read as {path.suffix}: {error}. Check that it is complete.") from error
