"""Say what a generation will make and how long that takes, from two batches of it, made in a temporary folder."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from data_gen.common.files import temporary_folder
from data_gen.dataset.config import DataConfig
from data_gen.dataset.manifest import find_claim, generated_manifest, shards_of
from data_gen.dataset.shards import is_finished, make_shard, shard_layout


class GenerationForecast(NamedTuple):
    """Hold what is known of a generation before it begins.

    Attributes:
        shards: Number of shards that are still to be made.
        samples: Number of samples of the data set.
        missing: Number of samples that are still to be made.
        batch_size: Number of samples that are simulated together.
        compiling: Time before the first batch, which compiles [s].
        of_batch: Time of a batch, written to disk [s].
        seconds: Time of all batches in this process, one after the other [s].
    """

    shards: int
    samples: int
    missing: int
    batch_size: int
    compiling: float
    of_batch: float
    seconds: float


def forecast_generation(config: DataConfig) -> GenerationForecast:
    """Make two batches in a temporary folder, which is removed, and compute the time of those that are missing.

    The comparison with the wave equation at the end, of `truth_samples` samples, is not part of it.

    Args:
        config: Config of the data set, settled.

    Returns:
        The forecast.

    Raises:
        DatasetError: If the folder holds something else than a part of this data set.
    """
    path, manifest = Path(config.path), generated_manifest(config)
    manifest = find_claim(path, manifest) or manifest
    shards = shards_of(manifest)
    # A finished data set may have been copied without its receipts, which are in its manifest, too.
    listed = manifest["shards"] if manifest["complete"] else {}
    missing = [
        len(shard.indices)
        for shard in shards
        if not is_finished(path, shard) and not (shard.name in listed and (path / shard.name).is_file())
    ]
    batch_size = manifest["layout"]["batch_size"]
    compiling = of_batch = 0.0
    if missing:
        with temporary_folder(path) as folder:
            begun = replace(config, path=str(folder), batch_size=batch_size)
            compiled, timed = (_seconds(begun, shard) for shard in shard_layout({"train": 2 * batch_size}, batch_size))
        compiling, of_batch = max(compiled - timed, 0.0), timed
    batches = sum(math.ceil(samples / batch_size) for samples in missing)
    samples = sum(len(shard.indices) for shard in shards)
    return GenerationForecast(
        len(missing), samples, sum(missing), batch_size, compiling, of_batch, compiling + batches * of_batch
    )


def _seconds(config: DataConfig, shard) -> float:
    start = time.perf_counter()
    make_shard(config, shard)
    return time.perf_counter() - start
