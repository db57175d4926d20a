"""Multiply arrays by a constant matrix with a rounding that does not depend on the batch.

A matrix product of a whole batch may divide its sums in another way than that of one item. Data sets promise the same
bits whatever the batch, so each item of a batch is multiplied alone.
"""

from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from data_gen.common.linear_map import linear_call


@dataclass(frozen=True)
class Contraction:
    """Sum over the indices that a constant array and an operand share, as `numpy.einsum` names them; a `LinearMap`.

    Attributes:
        constant: Indices of the constant array, such as "ij".
        operand: Indices of the operand without batch dimensions, such as "jk".
        result: Indices of the result, such as "ik".
    """

    constant: str
    operand: str
    result: str

    def apply(self, residuals, operands):
        """See `LinearMap.apply`."""
        (constant,), (values,) = residuals, operands
        constant = constant.reshape(constant.shape[-len(self.constant) :])
        formula, own = f"{self.constant},{self.operand}->{self.result}", len(self.operand)

        def alone(values):
            # By default a GPU may multiply in TF32, whose ten bits are too few for media and records.
            return jnp.einsum(formula, constant, values, precision=lax.Precision.HIGHEST)

        batch = values.shape[: values.ndim - own]
        if not batch:
            return (alone(values),)
        flat = values.reshape(prod(batch), *values.shape[values.ndim - own :])
        results = lax.map(alone, flat)
        return (results.reshape(*batch, *results.shape[1:]),)

    def shapes(self, residuals, operands):
        """See `LinearMap.shapes`."""
        (constant,), (values,) = residuals, operands
        own = len(self.operand)
        sizes = dict(zip(self.constant, constant.shape[-len(self.constant) :], strict=True))
        sizes |= dict(zip(self.operand, values.shape[values.ndim - own :], strict=True))
        shape = (*values.shape[: values.ndim - own], *(sizes[index] for index in self.result))
        return (jax.ShapeDtypeStruct(shape, values.dtype),)

    def transpose(self) -> "Contraction":
        """See `LinearMap.transpose`."""
        return Contraction(self.constant, self.result, self.operand)

    def residual_tangent(self, residuals, tangents, operands):
        """See `LinearMap.residual_tangent`."""
        return tuple(linear_call(self, tangents, operands))


def contract(constant: np.ndarray, values: jax.Array, formula: str) -> jax.Array:
    """Multiply values by a constant array, each item of a batch of `vmap` alone.

    Args:
        constant: The array, in any precision.
        values: The values; they may have more leading dimensions than the formula names.
        formula: Indices of both and of the result, as `numpy.einsum` takes them, such as "ij,jk->ik".

    Returns:
        The product, in the type of the values.
    """
    indices, operand, result = formula.replace("->", ",").split(",")
    leading = "STUVW"[: values.ndim - len(operand)]
    contraction = Contraction(indices, leading + operand, leading + result)
    return linear_call(contraction, (jnp.asarray(constant, values.dtype),), (values,))[0]
