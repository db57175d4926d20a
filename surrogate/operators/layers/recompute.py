"""Blocks whose intermediate values are computed again in the backward pass."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


def recomputable(call: Callable[..., Any]) -> Callable[..., Any]:
    """A block's `__call__`: its output is written out, and where its `remat` is set, computed again going backwards.

    Written out, or XLA's CPU compiler computes every block's nonlinearities again in each place that reads them, and
    those of the blocks before: twice the time of four blocks (measured).
    """

    @functools.wraps(call)
    def wrapped(self, x):
        return jax.lax.optimization_barrier(
            nnx.remat(call)(self, x) if getattr(self, "remat", False) else call(self, x)
        )

    wrapped.recomputable = True  # pyright: ignore[reportAttributeAccessIssue]
    return wrapped


def recompute_blocks(operator: nnx.Module) -> None:
    """Let every block be computed again in the backward pass: memory for one block's insides instead of all."""
    for _, module in list(nnx.iter_modules(operator)):
        if hasattr(type(module).__call__, "recomputable"):
            module.remat = True  # pyright: ignore[reportAttributeAccessIssue]


def compiler_options() -> dict[str, str]:
    """For XLA's CPU compiler, which would see through the barriers between blocks and around what is recomputed."""
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if jax.default_backend() == "cpu" else {}
