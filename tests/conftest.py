"""Shared fixtures. Shapes in signatures are enforced in every run (see `addopts` in pyproject.toml)."""

import os
from collections.abc import Callable
from pathlib import Path

# Four host devices: data-parallel code is exercised on every machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
# What runs once had better compile fast: LLVM's optimizations are most of the tests' time, and change rounding only.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["WANDB_MODE"] = "offline"

import jax
import numpy as np
import pytest
from omegaconf import OmegaConf

import train
from data_gen.sample import DataConfig
from surrogate import trainer
from surrogate.pipeline import Examples
from surrogate.tasks import TaskConfig

ROOT = Path(__file__).parents[1]


def tiny_config(path, **changes) -> DataConfig:
    """`configs/data/tiny.yaml`, kept at `path`."""
    preset = OmegaConf.load(ROOT / "configs/data/tiny.yaml")
    merged = OmegaConf.merge(OmegaConf.structured(DataConfig), preset, {"path": str(path)} | changes)
    config = OmegaConf.to_object(merged)
    assert isinstance(config, DataConfig)
    return config


def task_config(name: str) -> TaskConfig:
    """A task of `tasks.TASKS`; a propagator needs no more than three snapshots."""
    return TaskConfig(name, unroll=1) if name == "propagator" else TaskConfig(name)


def spoil(patch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the snapshots of example 5 of the 16 that are trained with, once the normalisation is taken."""
    intact, statistics = Examples.__getitem__, trainer.statistics_batches

    def spoilt(self, index):
        example = intact(self, index)
        return example | {"snapshots": change(example["snapshots"])} if len(self) == 16 and index == 5 else example

    def of_intact(*arguments):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Examples, "__getitem__", intact)
            return list(statistics(*arguments))

    patch.setattr(Examples, "__getitem__", spoilt)
    patch.setattr(trainer, "statistics_batches", of_intact)


@pytest.fixture(autouse=True, scope="session")
def freed_memory_is_given_back():
    """A test process trains many models: what `train.main` asks of the allocator would keep the memory of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "keep_freed_memory", lambda: True)
        yield


@pytest.fixture
def optimised():
    """Optimised programs, for a test in which they run for longer than it takes to make them."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def float64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
