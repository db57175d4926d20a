"""Import data sets from files of other programs, and store them like generated ones: shards, checksums, TFDS.

The manifest identifies the source files by their hashes. Models and gathers are paired by name: `model1.npy` with
`data1.npy`, `vel2_1_0.npy` with `seis2_1_0.npy`, also from sibling folders `model/` and `data/` (OpenFWI,
https://openfwi-lanl.github.io). Files may be .npy, .npz or SEG-Y.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import InputError
from data_gen.dataset.manifest import claim, finish, new_manifest, shards_of
from data_gen.dataset.records import Fields, field_of
from data_gen.dataset.shards import write_shard
from data_gen.dataset.source_files import GathersFile, ModelsFile, read_gathers, read_models
from data_gen.solver.problem.checks import check_velocity

SUFFIXES = (".npy", ".npz", ".segy", ".sgy")
MODELS = ("models", "model", "velocity", "vel", "vp")
GATHERS = ("data", "seismic", "seis", "gathers", "gather")
# The records depend on the files only, not on the software or hardware of this process.
VERSIONS = {"importer": "1"}


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

    @cached_property
    def models(self) -> ModelsFile:
        """The velocity models `(n, nz, nx)` [m/s]."""
        return read_models(self.model)

    @cached_property
    def gathers(self) -> GathersFile | None:
        """The gathers `(n, n_sources, nt, n_receivers)` of the models, or None."""
        if self.gather is None:
            return None
        found = read_gathers(self.gather)
        if len(found.gathers) != len(self.models.velocity):
            raise InputError(
                f"{self.model} has {len(self.models.velocity)} models, but {self.gather} has the gathers of "
                f"{len(found.gathers)}. Give files that belong together."
            )
        return found

    def record(self, row: int) -> dict[str, np.ndarray]:
        """Read one sample.

        Args:
            row: Index of the model in its file.

        Returns:
            Values by field.
        """
        velocity = _real(self.models.velocity[row])
        check_velocity(velocity, f"Model {row} of {self.model}")
        return {"velocity": velocity} | ({"gathers": _real(self.gathers.gathers[row])} if self.gathers else {})

    def origin(self) -> list[dict[str, Any]]:
        """Identify the files by name, number of samples and hash."""
        files = dict.fromkeys(file for file in (self.model, self.gather) if file)
        return [
            {
                "name": file.relative_to(self.folder).as_posix(),
                "samples": len(self.models.velocity),
                "sha256": _hash(file),
            }
            for file in files
        ]


def _real(array: np.ndarray) -> np.ndarray:
    """Convert to half precision if the file has it, and to single precision otherwise."""
    return np.ascontiguousarray(array, np.float16 if array.dtype == np.float16 else np.float32)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _role(stem: str, prefixes: tuple[str, ...]) -> str | None:
    """Return the rest of a file's name after one of the prefixes, or None if it begins with none of them."""
    for prefix in prefixes:
        if match := re.fullmatch(rf"{prefix}(?![a-z])[-_ ]?(.*)", stem.lower()):
            return match[1]
    return None


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts model2 before model10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def find_pairs(source: Path) -> list[Pair]:
    """Find the files of models and their gathers.

    Args:
        source: Folder that contains the files, or one file of models.

    Returns:
        Pairs of files in the natural order of their names.

    Raises:
        InputError: If there are no models, if a file has no counterpart while others do, if two files have the same
            name, or if a link leads out of the folder.
    """
    if source.is_file():
        inside = source.suffix.lower() == ".npz" and _holds_gathers(source)
        return [Pair(source.parent, source, source if inside else None)]
    if not source.is_dir():
        raise InputError(f"There is neither a folder nor a file at {source}. Give one with velocity models.")
    found: dict[str, dict[tuple[str, str], Path]] = {"models": {}, "gathers": {}}
    for file in sorted(source.rglob("*")):
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue
        if not file.resolve().is_relative_to(source.resolve()):
            raise InputError(f"{file} is a link that leads out of {source}. Put the file itself there.")
        for kind, prefixes in (("models", MODELS), ("gathers", GATHERS)):
            if (rest := _role(file.stem, prefixes)) is not None:
                folder = file.parent if file.parent.name.lower() not in (*MODELS, *GATHERS) else file.parent.parent
                name = (folder.relative_to(source).as_posix() if folder != source.parent else "", rest)
                if name in found[kind]:
                    raise InputError(f"{found[kind][name]} and {file} have the same name. Rename one of them.")
                found[kind][name] = file
    models, gathers = found["models"], found["gathers"]
    if not models:
        raise InputError(
            f"{source} holds no velocity models: expected files named model*, vel* or velocity*, of the kinds "
            f"{', '.join(SUFFIXES)}, with gathers named data*, seis* or gathers* and the same ending."
        )
    if gathers and (alone := set(models) ^ set(gathers)):
        one = min(alone)
        raise InputError(
            f"{models.get(one) or gathers.get(one)} has no counterpart: models go with gathers whose names end alike, "
            "as model1.npy with data1.npy. Add the missing file, or move this one away."
        )
    order = sorted(models, key=lambda name: (_natural(name[0]), _natural(name[1])))
    return [Pair(source, models[name], gathers.get(name)) for name in order]


def _holds_gathers(file: Path) -> bool:
    with np.load(file, allow_pickle=False) as arrays:
        return "gathers" in arrays.files or "data" in arrays.files


def _shared(pairs: list[Pair], what: str, values: list[Any]) -> Any:
    """Return the value that all files share; raise `InputError` if they differ."""
    for pair, value in zip(pairs, values, strict=True):
        if value != values[0]:
            raise InputError(
                f"All files of a data set have the same {what}, but {pairs[0].model} has {values[0]} and {pair.model} "
                f"has {value}. Import them separately."
            )
    return values[0]


def _step(pairs: list[Pair], what: str, values: list[float | None], given: float | None) -> float | None:
    """Return the spacing or sampling interval of the files or the given one, which may both be unknown."""
    found = _shared(pairs, what, values)
    if given is not None and not given > 0:
        raise InputError(f"The {what} must be positive, but is {given}.")
    if found and given and not np.isclose(found, given):
        raise InputError(f"The {what} in the files is {found:g}, but {given:g} was given. Leave it out.")
    return found or given


def import_files(
    source: str | Path,
    path: str | Path,
    *,
    spacing: float | None = None,
    dt: float | None = None,
    validation: int = 0,
    test: int = 0,
    shard_size: int = 64,
) -> dict[str, Any]:
    """Make a data set from files of velocity models and gathers, or the missing part of it.

    Args:
        source: Folder of the files, or one file of models.
        path: Folder of the data set to make.
        spacing: Cell size of the models [m], if the files do not give it; may stay unknown.
        dt: Sampling interval of the gathers [s], if the files do not give it; may stay unknown.
        validation: Number of validation samples, which follow the training samples.
        test: Number of test samples, which are the last ones.
        shard_size: Largest number of samples in one file.

    Returns:
        The manifest of the finished data set.

    Raises:
        InputError: If the files do not fit together, hold other data, or have too few samples for the splits.
    """
    pairs, path = find_pairs(Path(source)), Path(path)
    counts = [len(pair.models.velocity) for pair in pairs]
    splits = {"train": sum(counts) - validation - test, "validation": validation, "test": test}
    if min(validation, test) < 0 or splits["train"] < 1 or shard_size < 1:
        raise InputError(
            f"There are {sum(counts)} samples: --validation {validation} and --test {test} must leave at least one for "
            f"training, and --shard-size {shard_size} must be at least 1."
        )
    fields: Fields = {"index": field_of((), "int64")} | {
        name: field_of(shape, dtype)
        for name, (shape, dtype) in _shared(pairs, "shapes and types", [_shapes(pair) for pair in pairs]).items()
    }
    recipe = {
        "files": [file for pair in pairs for file in pair.origin()],
        "spacing": _step(pairs, "spacing", [pair.models.spacing for pair in pairs], spacing),
        "dt": _step(pairs, "sampling interval", [pair.gathers.dt if pair.gathers else None for pair in pairs], dt),
        **splits,
    }
    layout = {"shard_size": shard_size, "batch_size": 1}
    manifest = claim(path, new_manifest("imported", recipe, splits, layout, fields))
    starts = [0, *accumulate(counts)]

    def records(first: int, indices: range) -> Iterator[dict[str, Any]]:
        for index in indices:
            file = int(np.searchsorted(starts, first + index, side="right")) - 1
            yield {"index": np.int64(index), **pairs[file].record(first + index - starts[file])}

    offsets = dict(zip(splits, [0, *accumulate(splits.values())], strict=False))
    for shard in shards_of(manifest):
        write_shard(path, shard, fields, VERSIONS, lambda shard=shard: records(offsets[shard.split], shard.indices))
    return finish(path, manifest)


def _shapes(pair: Pair) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (value.shape, value.dtype.name) for name, value in pair.record(0).items()}
