"""Recompute the intermediate values of blocks in the backward pass."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


def recomputable(call: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the `__call__` of a block: write its output to memory, and recompute it backwards if `remat` is set.

    Without a barrier XLA's CPU compiler recomputes the nonlinearities of a block, and of the blocks before, in each
    place that reads them: four blocks take twice the time (measured).

    Args:
        call: The `__call__(self, x)` of an `nnx.Module`, whose attribute `remat` is read if it exists.

    Returns:
        The decorated method.
    """

    @functools.wraps(call)
    def wrapped(self, x):
        return jax.lax.optimization_barrier(
            nnx.remat(call)(self, x) if getattr(self, "remat", False) else call(self, x)
        )

    wrapped.recomputable = True  # pyright: ignore[reportAttributeAccessIssue]
    return wrapped


def recompute_blocks(operator: nnx.Module) -> None:
    """Recompute every block in the backward pass: it stores the intermediate values of one block instead of all.

    Args:
        operator: Operator to change in place.
    """
    for _, module in list(nnx.iter_modules(operator)):
        if hasattr(type(module).__call__, "recomputable"):
            module.remat = True  # pyright: ignore[reportAttributeAccessIssue]


def compiler_options() -> dict[str, str]:
    """Return options that keep XLA's CPU compiler from removing the barriers around blocks and recomputed values."""
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if jax.default_backend() == "cpu" else {}
