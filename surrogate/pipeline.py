"""From shards to batches: TFDS's data source, Grain's deterministic shuffle, and an iterator state that resumes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np

from data_gen import dataset
from data_gen.sample import DataConfig

# What training and evaluation read of a record.
FIELDS = ("velocity", "source", "snapshots")


def check_dataset(config: DataConfig, *, verify: bool = True) -> None:
    """Check that the data set on disk is the one that `config` describes and, if `verify`, undamaged.

    Raises `DatasetError`, naming the differing keys or the damaged shard.
    """
    found = dataset.config_of(dataset.read_manifest(config.path), config.path)
    # Compared as values, where 1 equals 1.0; where and in which pieces the set is kept is no part of what it is.
    if difference := dataset.differences(dataset.recipe(config), dataset.recipe(found)):
        raise dataset.DatasetError(
            f"The data set at {config.path} does not match the run's config ({difference}). "
            "Point data.path elsewhere, generate it again, or set the same values."
        )
    dataset.verify(config.path, checksums=verify)


def _select(record: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(record[name]) for name in FIELDS}


def _fields(path: str | Path, split: str) -> grain.MapDataset:
    return grain.MapDataset.source(dataset.data_source(path, split)).map(_select)


def training_batches(path: str | Path, batch_size: int, seed: int) -> grain.DatasetIterator:
    """Endless shuffled batches, a new order each epoch; `get_state` and `set_state` resume it exactly."""
    source = grain.MapDataset.source(dataset.data_source(path, "train"))
    batches = source.seed(seed).shuffle().repeat().map(_select).batch(batch_size, drop_remainder=True)
    return iter(batches.to_iter_dataset())


def ordered_batches(path: str | Path, split: str, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One pass over a split in order; the last batch may be smaller."""
    return iter(_fields(path, split).batch(batch_size, drop_remainder=False).to_iter_dataset())
