"""Import data sets from files of other programs, and store them like generated ones: shards, checksums, TFDS.

Every file is read twice: once to check all its values before anything is written, and once to store them. At most one
pair of files is in memory. The manifest identifies the source files by their hashes, and says how splits were drawn.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_gen.common.errors import InputError
from data_gen.dataset.drawing import divide
from data_gen.dataset.imported_survey import ImportedSurvey, peak_of_gathers
from data_gen.dataset.manifest import claim, config_of, finish, new_manifest, shards_of
from data_gen.dataset.pairing import Pair, find_pairs
from data_gen.dataset.records import Fields, field_of
from data_gen.dataset.shards import write_shard
from data_gen.dataset.source_files import GathersFile, ModelsFile, read_gathers, read_models
from data_gen.solver.problem.checks import check_velocity

# The records depend on the files only, not on the software or hardware of this process.
VERSIONS = {"importer": "2"}
UNKNOWN_SURVEY = ImportedSurvey()


class Content(NamedTuple):
    """Hold the content of a pair of files.

    Attributes:
        pair: The pair.
        models: Its models.
        gathers: Their gathers, or None if there are none.
    """

    pair: Pair
    models: ModelsFile
    gathers: GathersFile | None

    def record(self, row: int) -> dict[str, np.ndarray]:
        """Read one sample.

        Args:
            row: Index of the model in its file.

        Returns:
            Values by field; gathers in half precision keep it, and have the scale 1.
        """
        # Copies, since a view would keep the whole file in memory.
        record: dict[str, np.ndarray] = {"velocity": np.array(self.models.velocity[row], np.float32, order="C")}
        if self.gathers:
            gathers = self.gathers.gathers[row]
            half = gathers.dtype.kind == "f" and gathers.dtype.itemsize == 2
            record["gathers"] = np.array(gathers, np.float16 if half else np.float32, order="C")
            record |= {"gathers_scale": np.ones((), np.float32)} if half else {}
        return record

    def check(self, row: int) -> int:
        """Check the values of one sample.

        Args:
            row: Index of the model in its file.

        Returns:
            Number of shots that record nothing.

        Raises:
            InputError: If a value is not finite, a velocity is not physical, or single precision cannot hold the
                gathers.
        """
        with np.errstate(over="ignore"):  # what overflows is refused below
            record = self.record(row)
        check_velocity(record["velocity"], f"Model {row} of {self.pair.model}")
        if not self.gathers:
            return 0
        gathers, where = record["gathers"], f"The gathers of sample {row} in {self.pair.gather}"
        bad = np.argwhere(~np.isfinite(gathers))
        if len(bad):
            shot, sample, receiver = bad[0]
            raise InputError(
                f"{where} have {len(bad)} values that are not finite in {gathers.dtype} precision, the first at "
                f"shot {shot}, time sample {sample}, receiver {receiver}. Repair or rescale them, or leave the sample "
                "out."
            )
        silent = ~gathers.any(axis=(1, 2))
        if silent.any() and np.any(self.gathers.gathers[row][silent]):
            raise InputError(
                f"{where} are too small for single precision, in which shot {np.argmax(silent)} is zero. Multiply all "
                "gathers by one factor."
            )
        return int(silent.sum())


class Checked(NamedTuple):
    """Hold what is known of a pair of files after all its values were checked.

    Attributes:
        samples: Number of samples.
        fields: Shape and dtype of the fields of a record.
        files: Name, number of samples and hash of each file.
        spacing: Cell size of the models [m], or None.
        dt: Sampling interval of the gathers [s], or None.
        delay: Time of the first sample of the gathers [s], or None.
        sources: Positions (z, x) of the sources [m] as nested lists, or None.
        receivers: Positions (z, x) of the receivers [m] as nested lists, or None.
        velocities: Smallest and largest velocity [m/s].
        peak_frequency: Frequency at which the gathers of the first sample are strongest [cycles per sample], or None.
        notes: For each file, sentences on what its reader decided.
    """

    samples: int
    fields: dict[str, dict[str, Any]]
    files: list[dict[str, Any]]
    spacing: float | None
    dt: float | None
    delay: float | None
    sources: list | None
    receivers: list | None
    velocities: tuple[float, float]
    peak_frequency: float | None
    notes: dict[str, tuple[str, ...]]


class _Reader:
    """Read pairs of files; at most one is in memory."""

    def __init__(self, pairs: Sequence[Pair], shot_word: str | None):
        self.pairs, self._shot_word, self._content = pairs, shot_word, None

    def content(self, pair: Pair) -> Content:
        if self._content is None or self._content.pair != pair:
            self._content = None  # before the next one is read
            self._content = _read(pair, self._shot_word)
        return self._content


def _read(pair: Pair, shot_word: str | None) -> Content:
    models = read_models(pair.model)
    if pair.gather is None:
        return Content(pair, models, None)
    gathers = read_gathers(pair.gather, shot_word)
    if len(gathers.gathers) != len(models.velocity):
        raise InputError(
            f"{pair.model} has {len(models.velocity)} models, but {pair.gather} has the gathers of "
            f"{len(gathers.gathers)}. Give files that belong together."
        )
    return Content(pair, models, gathers)


def _check(content: Content) -> Checked:
    pair, models, gathers = content.pair, content.models, content.gathers
    samples = len(models.velocity)
    silent = sum(content.check(row) for row in range(samples))
    notes = {pair.name(pair.model): models.notes}
    if gathers and pair.gather:
        nt, receivers = gathers.gathers.shape[2:]
        also = [f"{silent} shots record nothing"] if silent else []
        also += [f"{receivers} receivers, but {nt} time samples: are the axes swapped?"] if receivers > nt else []
        notes[pair.name(pair.gather)] = tuple(dict.fromkeys((*gathers.notes, *also)))
    return Checked(
        samples,
        {name: field_of(value.shape, value.dtype) for name, value in content.record(0).items()},
        [{"name": pair.name(file), "samples": samples, "sha256": _hash(file)} for file in pair.files],
        models.spacing,
        gathers.dt if gathers else None,
        gathers.delay if gathers else None,
        _from_first_cell(gathers.sources if gathers else None, models.first),
        _from_first_cell(gathers.receivers if gathers else None, models.first),
        (float(np.float32(models.velocity.min())), float(np.float32(models.velocity.max()))),
        peak_of_gathers(gathers.gathers[0]) if gathers else None,
        notes,
    )


def _measured(checked: Sequence[Checked]) -> dict[str, Any]:
    """Return what the description of the data needs in addition to the recipe (`data_gen.dataset.recorded`)."""
    ranges = np.array([one.velocities for one in checked])
    velocities = [float(ranges[:, 0].min()), float(ranges[:, 1].max())]
    return {"velocities": velocities, "peak_frequency": checked[0].peak_frequency}


def _from_first_cell(points: np.ndarray | None, first: float | None) -> list | None:
    """Move the origin of x to the first column of the model, if its position is known."""
    return None if points is None else (points - np.array([0.0, first or 0.0])).tolist()


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _shared(pairs: Sequence[Pair], what: str, values: Sequence[Any]) -> Any:
    """Return the value that all files share; raise `InputError` if they differ."""
    for pair, value in zip(pairs, values, strict=True):
        if value != values[0]:
            raise InputError(
                f"All files of a data set have the same {what}, but {pairs[0].model} has {_short(values[0])} and "
                f"{pair.model} has {_short(value)}. Import them separately."
            )
    return values[0]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 120 else f"{text[:100]}..."


def _step(pairs: Sequence[Pair], what: str, values: Sequence[float | None], given: float | None) -> float | None:
    """Return the spacing or sampling interval of the files or the given one, which may both be unknown."""
    found = _shared(pairs, what, values)
    if given is not None and not 0 < given < np.inf:
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
    split_seed: int | None = 0,
    shot_word: str | None = None,
    shard_size: int = 64,
    survey: ImportedSurvey = UNKNOWN_SURVEY,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Make a data set from files of velocity models and gathers, or the missing part of it.

    Args:
        source: Folder of the files, or one file of models.
        path: Folder of the data set to make.
        spacing: Cell size of the models [m], if the files do not give it; may stay unknown.
        dt: Sampling interval of the gathers [s], if the files do not give it; may stay unknown.
        validation: Number of validation samples.
        test: Number of test samples.
        split_seed: Seed of the draw of both across all files; None takes the last samples in the order of the files.
        shot_word: Header word of SEG-Y files that tells shots apart, where several differ; see `read_gathers`.
        shard_size: Largest number of samples in one file.
        survey: Positions, wavelet and times of the gathers, as far as they are known; they replace those of the files.
        report: Function that takes sentences on what was found, decided and left out.

    Returns:
        The manifest of the finished data set.

    Raises:
        InputError: If the files do not fit together, hold other data, or have too few samples for the splits.
    """
    if shard_size < 1:
        raise InputError(f"--shard-size must be at least 1, but is {shard_size}.")
    found, path = find_pairs(Path(source)), Path(path)
    for note in found.notes():
        report(note)
    pairs, reader = found.pairs, _Reader(found.pairs, shot_word)
    checked = [_check(reader.content(pair)) for pair in pairs]
    _report_found(pairs, checked, report)
    rows = divide(sum(one.samples for one in checked), validation, test, split_seed)
    splits = {split: len(indices) for split, indices in rows.items()}
    fields: Fields = {"index": field_of((), "int64")} | _shared(
        pairs, "shapes and types", [one.fields for one in checked]
    )
    recipe = {
        "files": [file for one in checked for file in one.files],
        "spacing": _step(pairs, "spacing", [one.spacing for one in checked], spacing),
        "dt": _step(pairs, "sampling interval", [one.dt for one in checked], dt),
        **{
            name: value
            for name, what in (
                ("delay", "time of the first sample"),
                ("sources", "sources"),
                ("receivers", "receivers"),
            )
            if (value := _shared(pairs, what, [getattr(one, name) for one in checked])) is not None
        },
        "split_seed": split_seed,
        **splits,
    }
    recipe |= survey.settings(recipe, fields)
    layout = {"shard_size": shard_size, "batch_size": 1}
    manifest = new_manifest("imported", recipe, splits, layout, fields) | {"measured": _measured(checked)}
    if "gathers" in fields and recipe["spacing"] and recipe["dt"]:
        config_of(manifest, path).create()  # refuses a survey that does not fit the grid
    manifest = claim(path, manifest)
    starts = np.array([0, *accumulate(one.samples for one in checked)])
    _report_splits(pairs, starts, rows, split_seed, report)

    def records(split: str, indices: range) -> Iterator[dict[str, Any]]:
        for index in indices:
            row = int(rows[split][index])
            file = int(np.searchsorted(starts, row, side="right")) - 1
            yield {"index": np.int64(index), **reader.content(pairs[file]).record(row - int(starts[file]))}

    for shard in shards_of(manifest):
        write_shard(path, shard, fields, VERSIONS, lambda shard=shard: records(shard.split, shard.indices))
    return finish(path, manifest)


def _report_found(pairs: Sequence[Pair], checked: Sequence[Checked], report: Callable[[str], None]) -> None:
    """Report which files were found, and what was decided: once for all files of which it is true."""
    first, samples = pairs[0], sum(one.samples for one in checked)
    example = f"{first.name(first.model)} with {first.name(first.gather) if first.gather else 'no gathers'}"
    shape = checked[0].fields["velocity"]["shape"]
    report(
        f"{samples} models of {shape[0]} x {shape[1]} cells (depth x width) in {len(pairs)} files, the first {example}"
    )
    if first.gather:
        shots, nt, receivers = checked[0].fields["gathers"]["shape"]
        report(f"gathers of {shots} shots, {nt} time samples and {receivers} receivers")
    files: dict[str, list[str]] = {}
    for one in checked:
        for file, notes in one.notes.items():
            for note in notes:
                files.setdefault(note, []).append(file)
    for note, names in files.items():
        report(f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {note}")


def _report_splits(
    pairs: Sequence[Pair],
    starts: np.ndarray,
    rows: dict[str, np.ndarray],
    seed: int | None,
    report: Callable[[str], None],
) -> None:
    """Report how many samples of each folder a split has."""
    families = list(dict.fromkeys(pair.family for pair in pairs))
    of_file = np.array([families.index(pair.family) for pair in pairs])
    for split, indices in rows.items():
        if not len(indices):
            continue
        counts = np.bincount(of_file[np.searchsorted(starts, indices, side="right") - 1], minlength=len(families))
        shares = ", ".join(f"{family or '.'} {count}" for family, count in zip(families, counts, strict=True))
        how = "in the order of the files" if seed is None else f"drawn across all files with seed {seed}"
        report(f"{split}: {len(indices)} samples" + (f" ({shares})" if len(families) > 1 else "") + f", {how}")
