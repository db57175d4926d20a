"""Helpers that several test files share."""

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


def tiny_config(path, **changes) -> DataConfig:
    """`configs/data/tiny.yaml`, kept at `path`."""
    preset = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/data/tiny.yaml"))
    assert isinstance(preset, dict)
    merged = OmegaConf.merge(OmegaConf.structured(DataConfig), {**preset, "path": str(path), **changes})
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
    """The relative L2 difference of two arrays; the largest one over the leaves of two trees, empty leaves apart."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    flat = [(np.ravel(np.asarray(x)), np.ravel(np.asarray(y))) for x, y in pairs]
    return max(float(np.linalg.norm(x - y) / np.linalg.norm(y)) for x, y in flat if y.size)
