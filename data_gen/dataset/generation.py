"""Generate data sets on disk. Any executor, and any number of interruptions, gives the same records.

`data_gen.dataset.records` defines a record, `shards` writes a shard, `manifest` describes the data set, and
`verification` checks it; see docs/guides/data.md.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from data_gen.common.errors import DatasetError, InputError
from data_gen.common.files import differences, holds_files, read_json, write_json
from data_gen.dataset.config import DataConfig
from data_gen.dataset.executors import Executor
from data_gen.dataset.executors.local import Local
from data_gen.dataset.manifest import (
    MANIFEST,
    claim,
    config_of,
    fingerprint,
    finish,
    generated_manifest,
    read_manifest,
    shards_of,
    tfds_fault,
)
from data_gen.dataset.shards import Shard, is_finished, make_shard
from data_gen.dataset.truth import TRUTH, measure_truth
from data_gen.dataset.verification import verify

__all__ = [
    "MANIFEST",
    "DatasetError",
    "Shard",
    "config_of",
    "data_source",
    "differences",
    "fingerprint",
    "generate",
    "holds_files",
    "read_json",
    "read_manifest",
    "verify",
    "write_json",
]


def generate(
    config: DataConfig,
    executor: Executor | None = None,
    on_samples: Callable[[int, bool], None] = lambda samples, made: None,
    on_truth: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Generate the data set at `config.path`, or the missing part of it.

    A folder that was started with another `shard_size` or `batch_size` keeps them. When all shards are there, this
    process compares `config.truth_samples` of them with the wave equation, unless the manifest states the error.

    Args:
        config: Config of the data set.
        executor: Executor that makes the shards; by default this process.
        on_samples: Function called with a number of samples, and True if they were made now or False if they were
            already finished. It is called for every sample that this process makes, and for every shard otherwise.
        on_truth: Function called when the comparison with the wave equation begins.

    Returns:
        The manifest of the finished data set.

    Raises:
        InputError: A setting cannot be used, or the config is that of imported data.
    """
    if config.recorded is not None:
        raise InputError(
            f"The config is that of data that were imported to {config.path}: import the files again, "
            "or choose families of models to generate from."
        )
    config = replace(config.settled(), path=str(Path(config.path).absolute()))
    path = Path(config.path)
    manifest = claim(path, generated_manifest(config))
    unfinished = []
    for shard in shards_of(manifest):
        if is_finished(path, shard):
            on_samples(len(shard.indices), False)
        else:
            unfinished.append(shard)
    if unfinished:
        config, executor = replace(config, **manifest["layout"]), executor or Local()
        if isinstance(executor, Local):
            lock = Lock()
            for _ in executor.run(partial(_make_and_count, config, on_samples, lock), unfinished):
                pass
        else:
            for receipt in executor.run(partial(make_shard, config), unfinished):
                on_samples(receipt["samples"], True)
    # Another process may have measured it meanwhile.
    manifest = manifest | {key: value for key, value in read_manifest(path).items() if key == TRUTH}
    if config.truth_samples and TRUTH not in manifest:
        on_truth()
        manifest |= {TRUTH: measure_truth(path, manifest, config.truth_samples)}
    return finish(path, manifest)


def _make_and_count(config: DataConfig, on_samples: Callable[[int, bool], None], lock: Lock, shard: Shard) -> None:
    """Make a shard in this process and report each of its samples; the lock lets one thread report at a time."""
    counted = 0

    def count(samples: int = 1) -> None:
        nonlocal counted
        counted += samples
        with lock:
            on_samples(samples, True)

    receipt = make_shard(config, shard, count)
    if counted < receipt["samples"]:  # another process has made it meanwhile
        count(receipt["samples"] - counted)


def data_source(path: str | Path, split: str):
    """Open one split of a data set for random access.

    Args:
        path: Folder of the data set.
        split: Name of the split: train, validation or test.

    Returns:
        A sequence of decoded records, each with NumPy arrays by field.

    Raises:
        DatasetError: If there is no data set, or it has no samples in that split.
    """
    manifest = read_manifest(Path(path))
    splits = manifest["splits"]
    if not splits.get(split):
        known = ", ".join(f"{name} ({samples} samples)" for name, samples in splits.items())
        raise DatasetError(f"The data set at {path} has no samples in {split!r}, but in {known}.")
    if fault := tfds_fault(Path(path), manifest):
        raise DatasetError(f"{fault}. Run the command that made the data set again: it writes that file anew.")
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(str(path)).as_data_source(split=split)  # pyright: ignore[reportCallIssue]
