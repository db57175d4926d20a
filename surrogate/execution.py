"""How a training step computes an operator: its precision, and what it keeps for the backward pass.

Neither changes what the weights mean or how they are saved: both are set on the copy of the operator that a step is
traced with, and a trained operator is always the plain one in float32.

bfloat16 has float32's range and eight significant bits. The layers inside an operator's body compute in it. In float32
stay: the operator's frame, through which come inputs and outputs; the Fourier transforms and the products with spectral
weights (spectral_conv.py); the weights themselves, the loss and the optimizer; and what residual and feed-forward
blocks add to. (Between classic blocks, and between the levels of a U, the field is what a layer has computed.) It pays
on matrix units; most CPUs emulate it, and are slower.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from surrogate.grid_operator import GridOperator

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
POINTWISE = (nnx.Linear, nnx.Conv, nnx.GroupNorm)


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


def set_precision(operator: nnx.Module, precision: str) -> None:
    """Let the pointwise layers of all bodies compute in one of `PRECISIONS`."""
    modules = [module for _, module in nnx.iter_modules(operator)]
    frames = [module for module in modules if isinstance(module, GridOperator)]
    outside = [layer for f in frames for layer in (f.lift, f.norm, f.project)]
    outside += [layer for f in frames if f.products for layer in (f.products.gate, f.products.local)]
    kept = {id(layer) for layer in outside}
    for module in modules:
        if isinstance(module, POINTWISE) and id(module) not in kept:
            module.dtype = PRECISIONS[precision]
