"""How a training step computes an operator: its precision, and what it keeps for the backward pass.

Neither changes what the weights mean or how they are saved: both are set on the copy of the operator that a step is
traced with, and a trained operator is always the plain one in float32.

bfloat16 has float32's range and eight significant bits. The layers inside an operator's body compute in it, beside a
residual stream that stays float32, as do: the lifting and the projection, through which come inputs and outputs; the
Fourier transforms and the products with spectral weights (spectral_conv.py); the weights themselves, the loss and the
optimizer. It pays on matrix units; most CPUs emulate it, and are slower.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from surrogate.grid_operator import GridOperator

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
POINTWISE = (nnx.Linear, nnx.Conv, nnx.GroupNorm)


def recomputable(call: Callable[..., Any]) -> Callable[..., Any]:
    """A block's `__call__` that, where the block's `remat` is set, is computed again in the backward pass."""

    @functools.wraps(call)
    def wrapped(self, x):
        return nnx.remat(call)(self, x) if getattr(self, "remat", False) else call(self, x)

    wrapped.recomputable = True  # pyright: ignore[reportAttributeAccessIssue]
    return wrapped


def recompute_blocks(operator: nnx.Module) -> None:
    """Let every block be computed again in the backward pass: memory for one block's insides instead of all."""
    for _, module in list(nnx.iter_modules(operator)):
        if hasattr(type(module).__call__, "recomputable"):
            module.remat = True  # pyright: ignore[reportAttributeAccessIssue]


def set_precision(operator: nnx.Module, precision: str) -> None:
    """Let the pointwise layers of all bodies compute in one of `PRECISIONS`."""
    modules = [module for _, module in nnx.iter_modules(operator)]
    outside = [(m.lift, m.norm, m.project) for m in modules if isinstance(m, GridOperator)]
    kept = {id(layer) for layers in outside for layer in layers}
    for module in modules:
        if isinstance(module, POINTWISE) and id(module) not in kept:
            module.dtype = PRECISIONS[precision]
