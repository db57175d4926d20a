"""Set the precision in which a training step computes an operator.

The precision changes neither the meaning of the weights nor how they are saved: it is set on the copy of the operator
with which a step is traced, and a trained operator always computes in float32.

bfloat16 has float32's range and eight significant bits. The layers inside an operator's body compute in bfloat16. These
stay in float32: the operator's frame, through which inputs and outputs pass; the Fourier transforms and the products
with spectral weights (layers/spectral.py); the weights, the loss and the optimizer; and the fields to which residual
and feed-forward blocks add. (Between classic blocks, and between the levels of a U, the field is the result of a
layer.) bfloat16 is faster on matrix units; most CPUs emulate it, and are slower.
"""

import jax.numpy as jnp
from flax import nnx

from surrogate.operators.base import GridOperator

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
POINTWISE = (nnx.Linear, nnx.Conv, nnx.GroupNorm)


def set_precision(operator: nnx.Module, precision: str) -> None:
    """Set the precision of the pointwise layers in all bodies of an operator.

    Args:
        operator: Operator, changed in place.
        precision: One of `PRECISIONS`.
    """
    modules = [module for _, module in nnx.iter_modules(operator)]
    frames = [module for module in modules if isinstance(module, GridOperator)]
    outside = [layer for f in frames for layer in (f.lift, f.norm, f.project)]
    # Filters (layers/products.py) read its weights, and would not see its precision.
    outside += [f.spread for f in frames if f.spread]
    outside += [layer for f in frames if f.products for layer in (f.products.gate, f.products.local)]
    kept = {id(layer) for layer in outside}
    for module in modules:
        if isinstance(module, POINTWISE) and id(module) not in kept:
            module.dtype = PRECISIONS[precision]
