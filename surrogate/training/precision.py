"""How a training step computes an operator: its precision, and what it keeps for the backward pass.

Neither changes what the weights mean or how they are saved: both are set on the copy of the operator that a step is
traced with, and a trained operator is always the plain one in float32.

bfloat16 has float32's range and eight significant bits. The layers inside an operator's body compute in it. In float32
stay: the operator's frame, through which come inputs and outputs; the Fourier transforms and the products with spectral
weights (spectral_conv.py); the weights themselves, the loss and the optimizer; and what residual and feed-forward
blocks add to. (Between classic blocks, and between the levels of a U, the field is what a layer has computed.) It pays
on matrix units; most CPUs emulate it, and are slower.
"""

import jax.numpy as jnp
from flax import nnx

from surrogate.operators.base import GridOperator

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
POINTWISE = (nnx.Linear, nnx.Conv, nnx.GroupNorm)


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
