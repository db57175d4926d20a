"""Shared fixtures. Shapes in signatures are enforced in every run (see `addopts` in pyproject.toml)."""

import os

# Four host devices: data-parallel code is exercised on every machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
# What runs once had better compile fast: LLVM's optimizations are most of the tests' time, and change rounding only.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["WANDB_MODE"] = "offline"

import jax
import pytest

from surrogate.commands import train


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
