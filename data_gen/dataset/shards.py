"""Write and read shards: pure functions of (config, split, shard index), each written completely or not at all.

    PATH/wave_data-train.array_record-00000-of-00016        the records
    PATH/receipts/<that name>.json                          its receipt: checksum, number of samples, software
    PATH/receipts/<that name>.lock, *.tmp                   while it is being made

One process at a time writes a shard. A shard is finished when both its file and its receipt exist. The receipt is
written last; until then a rerun makes the shard again, which gives the same records. The next process that holds the
lock of a shard removes the files that a killed writer left.
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
    explain_full_disk,
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
    """Describe a file of records.

    Attributes:
        name: Name of the file.
        split: Split of its samples.
        start: Index of its first sample in the split.
        stop: Index after its last sample in the split.
    """

    name: str
    split: str
    start: int
    stop: int

    @property
    def indices(self) -> range:
        """The indices of its samples in the split."""
        return range(self.start, self.stop)


def shard_layout(splits: Mapping[str, int], shard_size: int) -> list[Shard]:
    """Divide the samples of every split into shards.

    Args:
        splits: Number of samples in each split.
        shard_size: Largest number of samples in a shard.

    Returns:
        The shards in order.
    """
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
    """Return the path of a shard's receipt.

    Args:
        folder: Folder of the data set.
        shard: The shard.

    Returns:
        Path of the receipt, whether it exists or not.
    """
    return folder / RECEIPTS / f"{shard.name}.json"


def read_receipt(folder: Path, shard: Shard) -> Receipt | None:
    """Read the receipt of a shard.

    Args:
        folder: Folder of the data set.
        shard: The shard.

    Returns:
        The receipt, or None if it is missing or damaged.
    """
    try:
        receipt = read_json(receipt_file(folder, shard))
    except DatasetError:
        return None
    sound = receipt.get("split") == shard.split and receipt.get("samples") == len(shard.indices)
    return receipt if sound and {"sha256", "versions"} <= receipt.keys() else None


def is_finished(folder: Path, shard: Shard) -> bool:
    """Tell whether a shard and its receipt exist.

    Args:
        folder: Folder of the data set.
        shard: The shard.

    Returns:
        True if the shard is finished.
    """
    return (folder / shard.name).is_file() and read_receipt(folder, shard) is not None


def read_shard(file: Path, fields: Fields) -> Iterator[dict[str, Any]]:
    """Read the records of one shard.

    Args:
        file: File of the shard.
        fields: Shape and dtype of every field by name.

    Yields:
        Values by field of each record.
    """
    description = features(fields)
    reader = ArrayRecordReader(str(file))
    try:
        for raw in reader.read_all():
            decoded = cast(dict[str, Any], description.deserialize_example_np(raw))
            # TFDS decodes scalars to Python numbers.
            yield {name: np.asarray(value, fields[name]["dtype"]) for name, value in decoded.items()}
    finally:
        reader.close()


def _write_records(file: Path, name: str, records: Iterator[dict[str, Any]], fields: Fields) -> str:
    """Write all records to a temporary file and return their checksum."""
    description, digest = features(fields), hashlib.sha256()
    # Compression would save a tenth of a wavefield's size and cost a third of the time to write it.
    writer = ArrayRecordWriter(str(file), "group_size:1,uncompressed")
    for record in records:
        if not all(np.isfinite(value).all() for value in record.values()):
            raise DatasetError(f"Sample {record['index']} of {name} is not finite. Check its inputs.")
        writer.write(description.serialize_example(record))
        add_to_digest(digest, record)
    writer.close()
    return digest.hexdigest()


def write_shard(
    folder: Path, shard: Shard, fields: Fields, versions: Mapping[str, str], records: Callable[[], Iterator[Any]]
) -> Receipt:
    """Write one shard and its receipt, unless both exist.

    Args:
        folder: Folder of the data set.
        shard: The shard.
        fields: Shape and dtype of every field by name.
        versions: Software and hardware that may affect the last bits of a record.
        records: Function that returns the records in order.

    Returns:
        The receipt.

    Raises:
        DatasetError: If the disk is full, if other software made the existing shards, or if a shard that is made again
            differs from its receipt. The folder is then left unchanged.
    """
    file, kept = folder / shard.name, folder / RECEIPTS
    with explain_full_disk(folder):
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
                        "machine like that one, or generate the entire data set again."
                    )
                publish(temporary, file)
            finally:
                temporary.unlink(missing_ok=True)
            receipt = {"split": shard.split, "samples": len(shard.indices), "sha256": digest}
            receipt["versions"] = dict(versions)
            write_json(receipt_file(folder, shard), receipt)
            return receipt


def _check_versions(kept: Path, versions: Mapping[str, str]) -> None:
    """Refuse to mix software that may round differently; one receipt represents all existing ones."""
    theirs = next((read_json(file).get("versions") for file in kept.glob("*.json")), None)
    if theirs is not None and theirs != versions:
        raise DatasetError(
            f"{kept.parent} was started with other software or another device ({differences(versions, theirs)}), which "
            "may round differently. Finish the data set with those, or remove that folder."
        )


def make_shard(config: DataConfig, shard: Shard, on_sample: Callable[[], None] = lambda: None) -> Receipt:
    """Make one shard of a generated data set; every worker of an executor calls this function.

    Args:
        config: Config of the data set.
        shard: The shard.
        on_sample: Function that is called when a sample is made and is about to be written.

    Returns:
        The receipt.
    """
    spec = config.create()

    def records() -> Iterator[dict[str, Any]]:
        for record in sample_records(spec, shard.split, shard.indices, config.batch_size):
            on_sample()
            yield record

    return write_shard(Path(config.path), shard, fields_of(spec), made_with(spec, config.batch_size), records)
