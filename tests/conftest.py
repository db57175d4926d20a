"""Shared fixtures. Shapes in signatures are enforced in every run (see `addopts` in pyproject.toml)."""

import os
from pathlib import Path

# Four host devices: data-parallel code is exercised on every machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["WANDB_MODE"] = "offline"

import jax
import pytest
from omegaconf import OmegaConf

import train
from data_gen.sample import DataConfig
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


@pytest.fixture(autouse=True, scope="session")
def freed_memory_is_given_back():
    """A test process trains many models: what `train.main` asks of the allocator would keep the memory of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "keep_freed_memory", lambda: True)
        yield


@pytest.fixture
def float64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
