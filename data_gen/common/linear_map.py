"""Apply a linear map with a custom transpose under all transformations of JAX.

    y = A(r) x,    x = A(r)^T y,    dy = A(r) dx + (dA(r) dr) x

`jax.custom_vjp` forbids forward mode, and `jax.custom_derivatives.linear_call` neither batches nor differentiates with
respect to the residuals r. A `LinearMap` states all three rules, so jvp, vjp, Gauss-Newton and Hessian-vector products
compose.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


@runtime_checkable
class LinearMap(Protocol):
    """Describe a linear map A; hashable. Arrays may have leading batch dimensions, each of size 1 or the batch's."""

    def apply(self, residuals, operands) -> tuple[jax.Array, ...]:
        """Compute A(r) x.

        Args:
            residuals: Arrays r on which the map depends.
            operands: Arrays x to which the map is applied.

        Returns:
            Arrays y.
        """
        ...

    def shapes(self, residuals, operands) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Compute shapes and dtypes of the results of `apply` without computing or compiling anything.

        Args:
            residuals: Arrays r, or their shapes.
            operands: Arrays x, or their shapes.

        Returns:
            Shape and dtype of each array y.
        """
        ...

    def transpose(self) -> "LinearMap":
        """Return the map from cotangents of the results of `apply` to cotangents of its operands."""
        ...

    def residual_tangent(self, residuals, tangents, operands) -> tuple[jax.Array, ...]:
        """Compute (dA(r) dr) x.

        Args:
            residuals: Arrays r.
            tangents: Tangents dr, each None where it is zero.
            operands: Arrays x.

        Returns:
            Tangents of the arrays y.
        """
        ...


_linear_call = Primitive("wave_linear_call")
_linear_call.multiple_results = True


def linear_call(linear_map: LinearMap, residuals, operands) -> list[jax.Array]:
    """Apply a linear map; its rules hold under every transformation.

    Args:
        linear_map: The map A.
        residuals: Arrays r on which the map depends.
        operands: Arrays x to which the map is applied.

    Returns:
        Arrays y.
    """
    return _linear_call.bind(*residuals, *operands, linear_map=linear_map, n_residuals=len(residuals))


def _apply(*arguments, linear_map: LinearMap, n_residuals: int):
    return list(linear_map.apply(arguments[:n_residuals], arguments[n_residuals:]))


def _abstract(*avals, linear_map: LinearMap, n_residuals: int):
    shapes = linear_map.shapes(avals[:n_residuals], avals[n_residuals:])
    return [ShapedArray(shape.shape, shape.dtype) for shape in shapes]


def _jvp(primals, tangents, *, linear_map: LinearMap, n_residuals: int):
    residuals, operands = primals[:n_residuals], primals[n_residuals:]
    residual_tangents = [None if type(t) is ad.Zero else t for t in tangents[:n_residuals]]
    operand_tangents = [ad.instantiate_zeros(t) for t in tangents[n_residuals:]]
    result = linear_call(linear_map, residuals, operands)
    tangent = linear_call(linear_map, residuals, operand_tangents)
    if any(t is not None for t in residual_tangents):
        extra = linear_map.residual_tangent(residuals, residual_tangents, operands)
        tangent = [a + b for a, b in zip(tangent, extra, strict=True)]
    return result, tangent


def _transpose(cotangents, *arguments, linear_map: LinearMap, n_residuals: int):
    residuals, operands = arguments[:n_residuals], arguments[n_residuals:]
    cotangents = [ad.instantiate_zeros(c) for c in cotangents]
    results = linear_call(linear_map.transpose(), residuals, cotangents)
    # An operand that is no undefined primal is a concrete zero tangent, which needs no cotangent.
    return [None] * n_residuals + [
        _summed_to(result, operand.aval.shape) if ad.is_undefined_primal(operand) else None
        for result, operand in zip(results, operands, strict=True)
    ]


def _summed_to(array: jax.Array, shape: tuple[Any, ...]) -> jax.Array:
    """Undo the broadcasting along batch dimensions of size 1; sizes may be symbols, as in exports."""
    axes = tuple(i for i, (have, want) in enumerate(zip(array.shape, shape, strict=True)) if have != want)
    return jnp.sum(array, axis=axes, keepdims=True) if axes else array


def _batch(arguments, dims, **params):
    aligned = [
        argument[None] if dim is None else jnp.moveaxis(argument, dim, 0)
        for argument, dim in zip(arguments, dims, strict=True)
    ]
    results = _linear_call.bind(*aligned, **params)
    return results, [0] * len(results)


_linear_call.def_impl(jax.jit(_apply, static_argnames=("linear_map", "n_residuals")))
_linear_call.def_abstract_eval(_abstract)
ad.primitive_jvps[_linear_call] = _jvp
ad.primitive_transposes[_linear_call] = _transpose
batching.primitive_batchers[_linear_call] = _batch
mlir.register_lowering(_linear_call, mlir.lower_fun(_apply, multiple_results=True))
