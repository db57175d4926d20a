"""Other people's data sets, kept as ours: shards, checksums, TFDS. Their files' hashes tell what they are made of.

Models and gathers belong together by name: `model1.npy` with `data1.npy`, `vel2_1_0.npy` with `seis2_1_0.npy`, also
from sibling folders `model/` and `data/` (OpenFWI, https://openfwi-lanl.github.io), and as well in .npz and SEG-Y.
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
# Nothing that this process is or has decides the records: they are what the files say.
VERSIONS = {"importer": "1"}


@dataclass(frozen=True)
class Pair:
    """A file of models and, if there is one, that of their gathers, both below `folder`."""

    folder: Path
    model: Path
    gather: Path | None

    @cached_property
    def models(self) -> ModelsFile:
        """`(n, nz, nx)` [m/s]."""
        return read_models(self.model)

    @cached_property
    def gathers(self) -> GathersFile | None:
        """`(n, n_sources, nt, n_receivers)`, as many as there are models."""
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
        """One sample."""
        velocity = _real(self.models.velocity[row])
        check_velocity(velocity, f"Model {row} of {self.model}")
        return {"velocity": velocity} | ({"gathers": _real(self.gathers.gathers[row])} if self.gathers else {})

    def origin(self) -> list[dict[str, Any]]:
        """What the files are, wherever they are."""
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
    """In the file's own precision, up to single."""
    return np.ascontiguousarray(array, np.float16 if array.dtype == np.float16 else np.float32)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _role(stem: str, prefixes: tuple[str, ...]) -> str | None:
    """What follows one of the prefixes in a file's name; None if it begins with none of them."""
    for prefix in prefixes:
        if match := re.fullmatch(rf"{prefix}(?![a-z])[-_ ]?(.*)", stem.lower()):
            return match[1]
    return None


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts model2 before model10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def find_pairs(source: Path) -> list[Pair]:
    """The files of models below a folder, or one such file, each with its gathers, in the natural order of names.

    Raises `InputError` if there are none, if a file of gathers or of models is alone among pairs, or if a link leads
    out of the folder.
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
    """The one value that all files have."""
    for pair, value in zip(pairs, values, strict=True):
        if value != values[0]:
            raise InputError(
                f"All files of a data set have the same {what}, but {pairs[0].model} has {values[0]} and {pair.model} "
                f"has {value}. Import them apart."
            )
    return values[0]


def _step(pairs: list[Pair], what: str, values: list[float | None], given: float | None) -> float | None:
    """Spacing or sampling interval: the files' own, or the given one. It may stay unknown."""
    own = _shared(pairs, what, values)
    if given is not None and not given > 0:
        raise InputError(f"The {what} must be positive, but is {given}.")
    if own and given and not np.isclose(own, given):
        raise InputError(f"The files say that the {what} is {own:g}, but {given:g} was given. Leave it out.")
    return own or given


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
    """Make a data set at `path` of the models and gathers in `source`, or what is missing of it; returns its manifest.

    spacing [m], dt [s]: where the files do not say; may stay unknown. validation, test: the last samples; train has
    the others. Raises `InputError` for files that do not belong together or hold something else.
    """
    pairs, path = find_pairs(Path(source)), Path(path)
    counts = [len(pair.models.velocity) for pair in pairs]
    splits = {"train": sum(counts) - validation - test, "validation": validation, "test": test}
    if min(validation, test) < 0 or splits["train"] < 1 or shard_size < 1:
        raise InputError(
            f"There are {sum(counts)} samples: --validation {validation} and --test {test} must leave at least one for "
            f"training, and --shard-size {shard_size} be at least 1."
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
