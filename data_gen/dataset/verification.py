"""Verify a data set against its manifest (checksums, values, splits), and rebuild one sample of it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import DatasetError, InputError
from data_gen.common.files import differences
from data_gen.dataset.manifest import config_of, read_manifest, shards_of, tfds_fault
from data_gen.dataset.records import add_to_digest, made_with, sample_records
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import Shard, read_shard
from data_gen.solver.problem.checks import check_velocity

POSITIONS = ("sources", "receivers")


@dataclass
class Contents:
    """Check the contents of records: finite, physical, and with each model in one split only.

    Attributes:
        velocities: Smallest and largest velocity that the families can produce [m/s], or None if unknown.
        extent: Depth and width of the grid [m], or None if unknown.
        models: Hashes of the velocity models in each split.
    """

    velocities: tuple[float, float] | None
    extent: tuple[float, float] | None
    models: dict[str, set[bytes]] = field(default_factory=lambda: {split: set() for split in SPLITS})

    def check(self, record: Mapping[str, Any], shard: Shard, place: int) -> None:
        """Check one record and remember its velocity model.

        Args:
            record: Values by field.
            shard: Shard of the record.
            place: Index of the record in its shard.

        Raises:
            DatasetError: If a value is not finite or not physical, or the record has another index.
        """
        where = f"Record {place} of {shard.name} (sample {shard.start + place} of split {shard.split})"
        for name, value in record.items():
            if not np.isfinite(value).all():
                raise DatasetError(f"{where} has values in `{name}` that are not finite. Make the data set again.")
        if record.get("index", shard.start + place) != shard.start + place:
            raise DatasetError(f"{where} has the index {record['index']}. Make the data set again.")
        if "velocity" in record:
            self._check_velocity(np.asarray(record["velocity"]), where)
            digest = hashlib.sha256(np.ascontiguousarray(record["velocity"]).tobytes()).digest()
            self.models[shard.split].add(digest[:16])
        for name in POSITIONS if self.extent else ():
            if name in record:
                points = np.asarray(record[name], np.float64).reshape(-1, 2)
                limits = np.array(self.extent)
                if not ((points >= -1e-3 * limits) & (points <= 1.001 * limits)).all():
                    raise DatasetError(
                        f"{where} has its `{name}` at (z, x) = {points.tolist()} m, outside the grid of {self.extent} "
                        "m. Make the data set again."
                    )

    def _check_velocity(self, velocity: np.ndarray, where: str) -> None:
        try:
            check_velocity(velocity.astype(np.float64), where)
        except InputError as error:
            raise DatasetError(str(error)) from error
        if self.velocities:
            # A few operations, and the storage, have rounded the values to their type.
            slack = 1 + 4 * float(np.finfo(velocity.dtype).eps)
            low, high = float(velocity.min()), float(velocity.max())
            if low * slack < self.velocities[0] or high > self.velocities[1] * slack:
                raise DatasetError(
                    f"{where} has velocities of {low:g} to {high:g} m/s, but its families span "
                    f"{self.velocities[0]:g} to {self.velocities[1]:g} m/s. Make the data set again."
                )

    def check_splits(self) -> None:
        """Raise `DatasetError` if a velocity model is in two splits."""
        for i, a in enumerate(SPLITS):
            for b in SPLITS[i + 1 :]:
                if common := self.models[a] & self.models[b]:
                    raise DatasetError(
                        f"{len(common)} velocity models are in split {a} and in split {b}: what is learned from one is "
                        "known in the other. Divide the data so that each model is in one split only."
                    )


def _contents(manifest: Mapping[str, Any], path: Path) -> Contents:
    if manifest["source"] != "generated":
        return Contents(None, None)
    spec = config_of(manifest, path).create()
    return Contents((spec.slowest, spec.mixture.max_velocity), spec.simulation.grid.extent)


def _damage(file: Path, shard: Shard, manifest: Mapping[str, Any], contents: Contents | None) -> str:
    """Describe the damage to a shard, if any; raise `DatasetError` if its bytes are intact but its contents are bad."""
    if not file.is_file():
        return "is missing"
    digest, bad = hashlib.sha256(), None
    try:
        for place, record in enumerate(read_shard(file, manifest["fields"])):
            add_to_digest(digest, record)
            try:
                if contents and not bad:
                    contents.check(record, shard, place)
            except DatasetError as error:  # reported only if the bytes are intact: damage explains any contents
                bad = error
        found = digest.hexdigest()
    except Exception as error:  # the reader has many errors for a damaged file; the remedy is the same
        found = f"unreadable: {error}"
    expected = manifest["shards"].get(shard.name, {}).get("sha256", "none")
    if found != expected:
        return f"is damaged ({found[:60]} instead of {expected[:12]}...)"
    if bad:
        raise bad
    return ""


def verify(
    path: str | Path,
    *,
    checksums: bool = True,
    contents: bool = False,
    on_shard: Callable[[int, int], None] = lambda checked, shards: None,
) -> dict[str, Any]:
    """Verify that a data set is complete and that its shards match their checksums.

    Args:
        path: Folder of the data set.
        checksums: Whether to read all shards and compare their checksums.
        contents: Whether to check also that every value is finite and physical, and that no velocity model is in two
            splits.
        on_shard: Function called with the number of shards whose checksum is compared, and the number of all shards.

    Returns:
        The manifest.

    Raises:
        DatasetError: If the data set is unfinished, or if files are missing, truncated or changed; the message names
            the files.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if not manifest["complete"]:
        raise DatasetError(f"The data set at {path} is unfinished. Run the command that started it again.")
    if fault := tfds_fault(path, manifest):
        raise DatasetError(f"{fault}. Run the command that made the data set again: it writes that file anew.")
    if not checksums:
        return manifest
    checked = _contents(manifest, path) if contents else None
    shards, found = shards_of(manifest), {}
    for shard in shards:
        on_shard(len(found), len(shards))
        found[shard.name] = _damage(path / shard.name, shard, manifest, checked)
    if damaged := [f"{path / name} {reason}" for name, reason in found.items() if reason]:
        raise DatasetError(
            f"{len(damaged)} of {len(found)} shards do not match the manifest's checksums: {', '.join(damaged[:10])}. "
            "Delete these files and run the command that made them again: only they are made again."
        )
    if checked:
        checked.check_splits()
    return manifest


def rebuild(path: str | Path, split: str, index: int) -> tuple[dict[str, float], str]:
    """Make one sample again from the manifest alone and compare it with the stored record.

    Args:
        path: Folder of the data set.
        split: Name of the split.
        index: Index of the sample in the split.

    Returns:
        For each field, the largest difference as a fraction of the largest stored value (0 if all bits are equal), and
        a description of how this software differs from the software that made the data set.

    Raises:
        InputError: If there is no such sample.
        DatasetError: If its shard is missing, or the data set was imported.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if manifest["source"] != "generated":
        raise DatasetError(
            f"The data set at {path} was {manifest['source']}: its records came from files, so they cannot be made "
            "again from a config. Its manifest names the files and their checksums under `recipe`."
        )
    config = config_of(manifest, path)
    spec = config.create()
    if split not in SPLITS or not 0 <= index < manifest["splits"].get(split, 0):
        raise InputError(
            f"There is no sample {index} in split {split!r} of {path}: it has {manifest['splits']}, counted from 0."
        )
    shard = next(shard for shard in shards_of(manifest) if shard.split == split and index in shard.indices)
    if not (path / shard.name).is_file():
        raise DatasetError(f"Shard {path / shard.name} is missing. Run the command that made it again.")
    stored = list(read_shard(path / shard.name, manifest["fields"]))[index - shard.start]
    made = next(sample_records(spec, split, range(index, index + 1), config.batch_size))
    changes = {name: _difference(np.asarray(stored[name]), np.asarray(made[name])) for name in stored}
    return changes, differences(made_with(spec, config.batch_size), manifest["versions"])


def _difference(stored: np.ndarray, made: np.ndarray) -> float:
    if stored.shape != made.shape or stored.dtype != made.dtype:
        return float("inf")
    if stored.tobytes() == made.tobytes():
        return 0.0
    stored, made = stored.astype(np.float64), made.astype(np.float64)
    if not (np.isfinite(stored).all() and np.isfinite(made).all()):
        return float("inf")
    tiny = np.finfo(np.float64).tiny  # never 0, which means the same bits: -0.0 is not 0.0
    return max(tiny, float(np.abs(stored - made).max() / max(np.abs(stored).max(), tiny)))
