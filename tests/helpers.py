"""Helpers that several test files share."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from omegaconf import OmegaConf

from data_gen.dataset.config import DataConfig
from surrogate.encodings.registry import encoding_schemas
from surrogate.encodings.schemas import EncodingConfig
from surrogate.runs import training_run
from surrogate.tasks.base import TaskConfig
from surrogate.tasks.propagator import PropagatorConfig
from surrogate.tasks.registry import TASKS
from surrogate.training.batches import Examples

ROOT = Path(__file__).parents[1]
LOOPBACK = ("0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F")  # 127.0.0.1, ::1, ::ffff:127.0.0.1


def tiny_config(path, **changes) -> DataConfig:
    """`configs/data/tiny.yaml`, kept at `path`, whose manifest states no error: that would take a simulation more."""
    preset = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/data/tiny.yaml"))
    assert isinstance(preset, dict)
    merged = OmegaConf.merge(
        OmegaConf.structured(DataConfig), {**preset, "path": str(path), "truth_samples": 0, **changes}
    )
    config = OmegaConf.to_object(merged)
    assert isinstance(config, DataConfig)
    return config


def task_config(name: str) -> TaskConfig:
    """The settings of a task; a propagator needs no more than three snapshots."""
    return PropagatorConfig(unroll=1) if name == PropagatorConfig.name else TASKS[name]()


def encoding_config(name: str) -> EncodingConfig:
    """The settings of an encoding."""
    return encoding_schemas()[name]()


def spoil(patch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the snapshots of example 5 of the 16 that are trained with, once the normalization is taken."""
    intact, statistics = Examples.__getitem__, training_run.statistics_batches

    def spoilt(self, index):
        example = intact(self, index)
        return example | {"snapshots": change(example["snapshots"])} if len(self) == 16 and index == 5 else example

    def of_intact(*arguments):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Examples, "__getitem__", intact)
            return list(statistics(*arguments))

    patch.setattr(Examples, "__getitem__", spoilt)
    patch.setattr(training_run, "statistics_batches", of_intact)


def relative(a, b) -> float:
    """The relative L2 difference of two arrays; the largest one over the leaves of two trees, empty leaves apart.

    It is NaN as soon as one leaf holds NaN (Python's `max` would pass over it), and 0 for two leaves of zeros.
    """
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    flat = [(np.ravel(np.asarray(x)), np.ravel(np.asarray(y))) for x, y in pairs]
    norms = [(np.linalg.norm(x - y), np.linalg.norm(y)) for x, y in flat if y.size]
    return float(np.max([float(off / size) if off else 0.0 for off, size in norms]))


def listening() -> list[str]:
    """Addresses of the listening TCP sockets of this process and its descendants, as in /proc/net/tcp; Linux only."""
    processes, children = {os.getpid()}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            (parent,) = re.findall(r"^PPid:\t(\d+)", (folder / "status").read_text(), re.MULTILINE)
            children.setdefault(int(parent), []).append(int(folder.name))
    waiting = [*processes]
    while waiting:
        new = children.get(waiting.pop(), [])
        processes.update(new)
        waiting += new
    held = set()
    for process in processes:
        for file in Path(f"/proc/{process}/fd").glob("*"):
            with contextlib.suppress(OSError):
                held.add(str(file.readlink()))
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()]
    return [row[1].rsplit(":", 1)[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held]
