"""Shards: pure functions of (config, split, shard index), each written whole or not at all, by one process at a time.

    PATH/wave_data-train.array_record-00000-of-00016        the records
    PATH/receipts/<that name>.json                          its receipt: checksum, samples, what made it
    PATH/receipts/<that name>.lock, *.tmp                   while it is being made

A shard is finished when both it and its receipt are there. The receipt comes last; until then a rerun makes the shard
again, which gives the same records. What a killed writer left is removed by the next one to hold the shard's lock.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_gen.common.errors import DatasetError
from data_gen.common.files import (
    differences,
    exclusive,
    full_disk_is_told,
    publish,
    read_json,
    temporary_name,
    write_json,
)
from data_gen.dataset.config import DataConfig
from data_gen.dataset.records import Fields, add_to_digest, features, fields_of, made_with, sample_records
from data_gen.dataset.sample import SPLITS

NAME = "wave_data"
RECEIPTS = "receipts"
Receipt = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """A file of records: samples `start` to `stop` of a split."""

    name: str
    split: str
    start: int
    stop: int

    @property
    def indices(self) -> range:
        """Of its samples, in their split."""
        return range(self.start, self.stop)


def shard_layout(splits: Mapping[str, int], shard_size: int) -> list[Shard]:
    """Every shard of a data set with so many samples in each split."""
    layout = []
    for split in SPLITS:
        total = int(splits.get(split, 0))
        starts = range(0, total, shard_size)
        layout += [
            Shard(f"{NAME}-{split}.array_record-{i:05d}-of-{len(starts):05d}", split, a, min(a + shard_size, total))
            for i, a in enumerate(starts)
        ]
    return layout


def receipt_file(folder: Path, shard: Shard) -> Path:
    """Where the receipt of a shard is kept."""
    return folder / RECEIPTS / f"{shard.name}.json"


def read_receipt(folder: Path, shard: Shard) -> Receipt | None:
    """The receipt of a shard, if there is a sound one."""
    try:
        receipt = read_json(receipt_file(folder, shard))
    except DatasetError:
        return None
    sound = receipt.get("split") == shard.split and receipt.get("samples") == len(shard.indices)
    return receipt if sound and {"sha256", "versions"} <= receipt.keys() else None


def is_finished(folder: Path, shard: Shard) -> bool:
    """Whether there is nothing left to do for a shard."""
    return (folder / shard.name).is_file() and read_receipt(folder, shard) is not None


def read_shard(file: Path, fields: Fields) -> Iterator[dict[str, Any]]:
    """The decoded records of one shard."""
    description = features(fields)
    reader = ArrayRecordReader(str(file))
    try:
        for raw in reader.read_all():
            decoded = cast(dict[str, Any], description.deserialize_example_np(raw))
            # TFDS makes Python's numbers of scalars.
            yield {name: np.asarray(value, fields[name]["dtype"]) for name, value in decoded.items()}
    finally:
        reader.close()


def _write_records(file: Path, name: str, records: Iterator[dict[str, Any]], fields: Fields) -> str:
    """Write all records to a file that has no name yet, and return their checksum."""
    description, digest = features(fields), hashlib.sha256()
    # Compression would save a tenth of a wavefield and cost a third of what it takes to write one.
    writer = ArrayRecordWriter(str(file), "group_size:1,uncompressed")
    for record in records:
        if not all(np.isfinite(value).all() for value in record.values()):
            raise DatasetError(f"Sample {record['index']} of {name} is not finite. Check what it is made of.")
        writer.write(description.serialize_example(record))
        add_to_digest(digest, record)
    writer.close()
    return digest.hexdigest()


def write_shard(
    folder: Path, shard: Shard, fields: Fields, versions: Mapping[str, str], records: Callable[[], Iterator[Any]]
) -> Receipt:
    """Write one shard and its receipt, unless they are there.

    Raises `DatasetError` if the disk is full, if other software made what is there, or if a shard that is made again
    differs from its receipt; the folder then holds what it held.
    """
    file, kept = folder / shard.name, folder / RECEIPTS
    with full_disk_is_told(folder):
        kept.mkdir(parents=True, exist_ok=True)
        with exclusive(kept / f"{shard.name}.lock"):
            known = read_receipt(folder, shard)
            if known and file.is_file():
                return known
            for leftover in kept.glob(f"{shard.name}*.tmp"):
                leftover.unlink()
            _check_versions(kept, versions)
            temporary = temporary_name(kept / shard.name)
            try:
                digest = _write_records(temporary, shard.name, records(), fields)
                if known and known["sha256"] != digest:
                    raise DatasetError(
                        f"Shard {shard.name} was made again, but its records differ from the checksum in its receipt: "
                        f"it was made with {known['versions']}, this is {dict(versions)}. Use those versions on a "
                        "machine like that one, or generate all anew."
                    )
                publish(temporary, file)
            finally:
                temporary.unlink(missing_ok=True)
            receipt = {"split": shard.split, "samples": len(shard.indices), "sha256": digest}
            receipt["versions"] = dict(versions)
            write_json(receipt_file(folder, shard), receipt)
            return receipt


def _check_versions(kept: Path, versions: Mapping[str, str]) -> None:
    """Refuse to mix what may round differently: one receipt speaks for all that are there."""
    theirs = next((read_json(file).get("versions") for file in kept.glob("*.json")), None)
    if theirs is not None and theirs != versions:
        raise DatasetError(
            f"{kept.parent} was begun with other software or another device ({differences(versions, theirs)}), which "
            "may round differently. Finish it with those, or remove that folder."
        )


def make_shard(config: DataConfig, shard: Shard) -> Receipt:
    """What every worker does: make one shard of a generated data set."""
    spec = config.create()
    return write_shard(
        Path(config.path),
        shard,
        fields_of(spec),
        made_with(spec, config.batch_size),
        lambda: sample_records(spec, shard.split, shard.indices, config.batch_size),
    )
