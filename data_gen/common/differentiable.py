"""Call a function that has derivatives of its own, under all transformations of JAX.

`jax.custom_vjp` forbids forward mode. The rule of a `jax.custom_jvp` is lost where `lax.scan` and `lax.map` divide
their body for reverse mode, so that a second derivative does not find it, and it says nothing about transposition.
A primitive keeps its rules everywhere.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


@runtime_checkable
class Differentiable(Protocol):
    """Describe a function; hashable. Arrays may have leading batch dimensions, each of size 1 or the batch's."""

    def apply(self, *arguments) -> tuple[jax.Array, ...]:
        """Compute the function.

        Args:
            *arguments: Arrays.

        Returns:
            Arrays.
        """
        ...

    def shapes(self, *arguments) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Compute shapes and dtypes of the results of `apply`.

        Args:
            *arguments: Arrays, or their shapes.

        Returns:
            Shape and dtype of each result.
        """
        ...

    def jvp(self, arguments, tangents) -> tuple[Sequence[jax.Array], Sequence[jax.Array]]:
        """Compute the function and its derivative along a direction.

        Args:
            arguments: Arrays.
            tangents: Tangents of the arrays, each None where it is zero.

        Returns:
            Results, and their tangents.
        """
        ...

    def transpose(self, arguments, cotangents) -> Sequence[jax.Array | None]:
        """Apply the transpose of the function in the arguments in which it is linear.

        Args:
            arguments: Arrays; the shape and dtype only of each argument whose cotangent is wanted.
            cotangents: Cotangents of the results.

        Returns:
            The wanted cotangents, and anything for the others.
        """
        ...


_call = Primitive("wave_call")
_call.multiple_results = True


def call(function: Differentiable, *arguments) -> list[jax.Array]:
    """Call a function; its rules hold under every transformation.

    Args:
        function: The function.
        *arguments: Arrays.

    Returns:
        Arrays.
    """
    return _call.bind(*arguments, function=function)


def _apply(*arguments, function: Differentiable):
    return list(function.apply(*arguments))


def _abstract(*avals, function: Differentiable):
    shapes = function.shapes(*(jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals))
    return [ShapedArray(shape.shape, shape.dtype) for shape in shapes]


def _jvp(primals, tangents, *, function: Differentiable):
    results, changes = function.jvp(primals, [None if type(t) is ad.Zero else t for t in tangents])
    return list(results), list(changes)


def _transpose(cotangents, *arguments, function: Differentiable):
    wanted = [ad.is_undefined_primal(argument) for argument in arguments]
    known = [
        jax.ShapeDtypeStruct(argument.aval.shape, argument.aval.dtype) if unknown else argument
        for argument, unknown in zip(arguments, wanted, strict=True)
    ]
    results = function.transpose(known, [ad.instantiate_zeros(c) for c in cotangents])
    # A cotangent left out would be taken for zero.
    assert not any(unknown and result is None for unknown, result in zip(wanted, results, strict=True)), function
    return [
        _summed_to(result, argument.shape) if unknown and result is not None else None
        for result, argument, unknown in zip(results, known, wanted, strict=True)
    ]


def _summed_to(array: jax.Array, shape: tuple[Any, ...]) -> jax.Array:
    """Undo the broadcasting along batch dimensions of size 1; sizes may be symbols, as in exports."""
    axes = tuple(i for i, (have, want) in enumerate(zip(array.shape, shape, strict=True)) if have != want)
    return jnp.sum(array, axis=axes, keepdims=True) if axes else array


def _batch(arguments, dims, *, function: Differentiable):
    aligned = [
        argument[None] if dim is None else jnp.moveaxis(argument, dim, 0)
        for argument, dim in zip(arguments, dims, strict=True)
    ]
    results = call(function, *aligned)
    return results, [0] * len(results)


_call.def_impl(jax.jit(_apply, static_argnames="function"))
_call.def_abstract_eval(_abstract)
ad.primitive_jvps[_call] = _jvp
ad.primitive_transposes[_call] = _transpose
batching.primitive_batchers[_call] = _batch
mlir.register_lowering(_call, mlir.lower_fun(_apply, multiple_results=True))
