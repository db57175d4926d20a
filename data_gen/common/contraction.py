"""Multiply arrays by a constant matrix with a rounding that depends neither on the batch nor on the cores.

Data sets promise the same bits whatever the batch and whoever makes them. A library's matrix product divides its sums
among the threads it is given, and in a whole batch in another way than for one item. So each item is multiplied alone,
and its products are added one after the other: at the sizes of media and records, nearly as fast.
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
        own = len(self.operand)

        def alone(values):
            return _sum_of_products(self, constant, values)

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


def _sum_of_products(indices: Contraction, constant: jax.Array, values: jax.Array) -> jax.Array:
    """Multiply two arrays and add over the indices that the result lacks."""
    summed = "".join(i for i in indices.constant if i in indices.operand and i not in indices.result)
    # Next to last: neighbors in memory are then added up side by side, and not one after the other.
    order = indices.result[:-1] + summed + indices.result[-1]
    # Behind a barrier, so that the compiler does not round otherwise where it merges the sum with what is around it.
    constant, values = lax.optimization_barrier((constant, values))
    factors = (_spread(constant, indices.constant, order), _spread(values, indices.operand, order))
    start = len(indices.result) - 1
    return lax.optimization_barrier(jnp.sum(factors[0] * factors[1], axis=tuple(range(start, start + len(summed)))))


def _spread(array: jax.Array, own: str, order: str) -> jax.Array:
    """Bring the axes of an array in an order, with an axis of length one for each that it lacks."""
    kept = jnp.transpose(array, [own.index(i) for i in order if i in own])
    return jnp.expand_dims(kept, [axis for axis, i in enumerate(order) if i not in own])


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
