"""Apply a linear map with a custom transpose under all transformations of JAX.

    y = A(r) x,    x = A(r)^T y,    dy = A(r) dx + (dA(r) dr) x

`jax.custom_derivatives.linear_call` neither batches nor differentiates with respect to the residuals r. A `LinearMap`
states all three rules, so jvp, vjp, Gauss-Newton and Hessian-vector products compose.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from data_gen.common.differentiable import call


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


@dataclass(frozen=True)
class _Application:
    """Apply a linear map, as a `Differentiable` of its residuals, then its operands."""

    linear_map: LinearMap
    n_residuals: int

    def _split(self, arrays):
        return arrays[: self.n_residuals], arrays[self.n_residuals :]

    def apply(self, *arguments):
        return self.linear_map.apply(*self._split(arguments))

    def shapes(self, *arguments):
        return self.linear_map.shapes(*self._split(arguments))

    def jvp(self, arguments, tangents):
        (residuals, operands), (changes, directions) = self._split(arguments), self._split(tangents)
        directions = [jnp.zeros_like(x) if t is None else t for t, x in zip(directions, operands, strict=True)]
        tangent = linear_call(self.linear_map, residuals, directions)
        if any(t is not None for t in changes):
            extra = self.linear_map.residual_tangent(residuals, changes, operands)
            tangent = [a + b for a, b in zip(tangent, extra, strict=True)]
        return call(self, *arguments), tangent

    def transpose(self, arguments, cotangents):
        residuals, _ = self._split(arguments)
        return [None] * self.n_residuals + linear_call(self.linear_map.transpose(), residuals, cotangents)


def linear_call(linear_map: LinearMap, residuals, operands) -> list[jax.Array]:
    """Apply a linear map; its rules hold under every transformation.

    Args:
        linear_map: The map A.
        residuals: Arrays r on which the map depends.
        operands: Arrays x to which the map is applied.

    Returns:
        Arrays y.
    """
    return call(_Application(linear_map, len(residuals)), *residuals, *operands)
