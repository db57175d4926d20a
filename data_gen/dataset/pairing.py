"""Pair files of velocity models with the files of their gathers by name, and say which files are left out and why.

`model1.npy` goes with `data1.npy` and `vel2_1_0.npy` with `seis2_1_0.npy`, also from sibling folders `model/` and
`data/` (OpenFWI, https://openfwi-lanl.github.io). A .npz file may hold both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_gen.common.errors import InputError
from data_gen.velocity.base.model_files import other_property

SUFFIXES = (".npy", ".npz", ".segy", ".sgy")
MODELS = ("models", "model", "velocity", "velocities", "vel", "vp")
GATHERS = ("data", "seismic", "seis", "gathers", "gather", "shots", "shot")
ARRAYS_OF_GATHERS = ("gathers", "data")
MOST_NAMED = 10  # files that a note names


@dataclass(frozen=True)
class Pair:
    """Pair a file of models with the file of their gathers.

    Attributes:
        folder: Folder that contains both files.
        model: File of the velocity models.
        gather: File of the gathers, or None if there is none.
    """

    folder: Path
    model: Path
    gather: Path | None

    @property
    def files(self) -> list[Path]:
        """The files of the pair, each once."""
        return list(dict.fromkeys(file for file in (self.model, self.gather) if file))

    @property
    def family(self) -> str:
        """The folder of the models within `folder`, without a name such as `model`; empty at the top."""
        return _group(self.model, self.folder)

    def name(self, file: Path) -> str:
        """Name one of the files.

        Args:
            file: The file.

        Returns:
            Its path within `folder`.
        """
        return file.relative_to(self.folder).as_posix()


@dataclass
class Found:
    """Hold what a folder contains.

    Attributes:
        pairs: Pairs of files in the natural order of their names.
        left_out: For each reason, the files that are not read.
    """

    pairs: list[Pair]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Name the files that are left out.

        Returns:
            One sentence for each reason.
        """
        return [f"left out, {reason}: {_listed(names)}" for reason, names in self.left_out.items()]


def find_pairs(source: Path) -> Found:
    """Find the files of models and their gathers.

    Args:
        source: Folder that contains the files, or one file of models.

    Returns:
        Pairs of files, and all other files of the folder.

    Raises:
        InputError: If there are no models, if a file has no counterpart while others do, if two files have the same
            name, or if a link leads out of the folder.
    """
    if source.is_file():
        return Found([Pair(source.parent, source, source if _holds_gathers(source) else None)])
    if not source.is_dir():
        raise InputError(f"There is neither a folder nor a file at {source}. Give one with velocity models.")
    found = Found([])
    kinds: dict[str, dict[tuple[str, str], Path]] = {"models": {}, "gathers": {}}
    for file in sorted(source.rglob("*")):
        if not file.is_file():
            if file.is_symlink():  # to a folder, whose files are not looked at, or to nothing
                found.left_out.setdefault("a link", []).append(file.relative_to(source).as_posix())
            continue
        kind, rest = _kind(file, source)
        if kind not in kinds:
            found.left_out.setdefault(kind, []).append(file.relative_to(source).as_posix())
            continue
        if not file.resolve().is_relative_to(source.resolve()):
            raise InputError(f"{file} is a link that leads out of {source}. Put the file itself there.")
        name = (_group(file, source), rest)
        if name in kinds[kind]:
            raise InputError(f"{kinds[kind][name]} and {file} have the same name. Rename one of them.")
        kinds[kind][name] = file
    models, gathers = kinds["models"], _with_inner(kinds["models"], kinds["gathers"])
    if not models:
        raise InputError(
            f"{source} holds no velocity models: expected files named {', '.join(f'{name}*' for name in MODELS)}, of "
            f"the kinds {', '.join(SUFFIXES)}, with gathers named {', '.join(f'{name}*' for name in GATHERS)} and the "
            f"same ending. {_sentence(found.notes()) or 'It holds no other files.'}"
        )
    if gathers and (alone := set(models) ^ set(gathers)):
        one = min(alone)
        raise InputError(
            f"{models.get(one) or gathers.get(one)} has no counterpart: models go with gathers whose names end alike, "
            f"as model1.npy with data1.npy. Add the missing file, or move this one away. {_sentence(found.notes())}"
        )
    order = sorted(models, key=lambda name: (_natural(name[0]), _natural(name[1])))
    found.pairs = [Pair(source, models[name], gathers.get(name)) for name in order]
    return found


def _kind(file: Path, source: Path) -> tuple[str, str]:
    """Return `models` or `gathers` and the rest of a file's name, or the reason for which it is left out."""
    if file.suffix.lower() not in SUFFIXES:
        return "of another kind than " + ", ".join(SUFFIXES), ""
    for name in (file.stem, *file.relative_to(source).parts[:-1]):
        if what := other_property(name):
            return f"{what} by its name", ""
    for kind, prefixes in (("models", MODELS), ("gathers", GATHERS)):
        for prefix in prefixes:
            if match := re.fullmatch(rf"{prefix}(?![a-z])[-_ ]?(.*)", file.stem.lower()):
                return kind, match[1]
    return "neither models nor gathers by its name", ""


def _group(file: Path, source: Path) -> str:
    """Return a file's folder within `source`, of which `model/` and `data/` are one."""
    folder = file.parent
    if folder.name.lower() in (*MODELS, *GATHERS):
        folder = folder.parent
    return folder.relative_to(source).as_posix() if folder not in (source, source.parent) else ""


def _with_inner(models: dict[tuple[str, str], Path], gathers: dict[tuple[str, str], Path]) -> dict:
    """Add the .npz files of models that hold their gathers too."""
    inner = {name: file for name, file in models.items() if _holds_gathers(file)}
    if both := [name for name in inner if name in gathers]:
        raise InputError(f"{inner[both[0]]} holds gathers, and so does {gathers[both[0]]}. Leave out one of the two.")
    return gathers | inner


def _holds_gathers(file: Path) -> bool:
    if file.suffix.lower() != ".npz":
        return False
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return any(name.rpartition("/")[2] in ARRAYS_OF_GATHERS for name in arrays.files)
    except Exception:  # the reader will say what is wrong with the file
        return False


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts model2 before model10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _sentence(notes: Sequence[str]) -> str:
    return f"Files {'; '.join(notes)}." if notes else ""
