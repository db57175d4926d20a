"""Shared fixtures. Shapes in signatures are enforced in every run (see `addopts` in pyproject.toml)."""

import os

# Four host devices: data-parallel code is exercised on every machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["WANDB_MODE"] = "offline"

import jax
import pytest


@pytest.fixture
def float64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
