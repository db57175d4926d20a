"""Data sets on disk, made by any executor, killed at any time, the same in the end: see docs/guides/data.md.

records.py has what a record is, shards.py how a shard is written, manifest.py what is said about them all, verify.py
how they are checked.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_gen.common.errors import DatasetError
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
    new_manifest,
    read_manifest,
    shards_of,
)
from data_gen.dataset.records import fields_of
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import Shard, is_finished, make_shard
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
    on_shard: Callable[[int, bool], None] = lambda samples, made: None,
) -> dict[str, Any]:
    """Generate the data set at `config.path`, or what is missing of it, and return its manifest.

    executor: who makes the shards; by default this process. on_shard: called for every shard with the number of its
    samples, and True if it was made now or False if it was found finished.

    A folder that was begun with another `shard_size` or `batch_size` keeps its own. Raises `DatasetError` if it holds
    something else; nothing is then touched.
    """
    config = replace(config, path=str(Path(config.path).absolute()))
    spec, path = config.create(), Path(config.path)
    splits = {split: getattr(config, split) for split in SPLITS}
    layout = {"shard_size": config.shard_size, "batch_size": config.batch_size}
    manifest = claim(path, new_manifest("generated", config.identity(), splits, layout, fields_of(spec)))
    todo = []
    for shard in shards_of(manifest):
        if is_finished(path, shard):
            on_shard(len(shard.indices), False)
        else:
            todo.append(shard)
    if todo:
        work = partial(make_shard, replace(config, **manifest["layout"]))
        for receipt in (executor or Local()).run(work, todo):
            on_shard(receipt["samples"], True)
    return finish(path, manifest)


def data_source(path: str | Path, split: str):
    """Random access to the decoded records of one split: a sequence of dicts of numpy arrays."""
    return tfds.builder_from_directory(str(path)).as_data_source(split=split)  # pyright: ignore[reportCallIssue]
