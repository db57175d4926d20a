"""Convolutions on a grid, and their derivatives as convolutions that XLA's CPU compiler knows.

    T(x, w, g) = sum_{b, i, a, c, d} x[b, s i + a - p, c] w[a, c, d] g[b, i, d]

is linear in the input x, the kernel w and the cotangent g of the output: the convolution, its two gradients and all
their derivatives give one of the three from the other two. `jax.lax` derives the gradients as convolutions with other
orders of axes, which in the body of a loop (a rollout, gradient accumulation) fall to a CPU kernel that takes hundreds
of times as long (measured: 650 ms instead of 18 ms for 3 x 3 x 32 x 32 on 8 x 64 x 64 cells).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.linear_map import linear_call

INPUT, KERNEL, OUTPUT = "input", "kernel", "output"
AXES = ("NHWC", "HWIO", "NHWC")
Pads = tuple[tuple[int, int], ...]  # before and behind, along each axis of the grid


@dataclass(frozen=True)
class Convolution:
    """A `LinearMap`: d T / d wanted as a map of `operand`, where the third of the three is the residual.

    cells: of the input. size: of the kernel.
    """

    cells: tuple[int, ...]
    size: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    wanted: str = OUTPUT
    operand: str = INPUT

    def apply(self, residuals, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap`."""
        residual, operand = residuals[0], operands[0]
        factors = {self.residual: residual, self.operand: operand}
        one, other = (factors[name] for name in (INPUT, KERNEL, OUTPUT) if name != self.wanted)
        call = {OUTPUT: self._output, KERNEL: self._kernel, INPUT: self._input}[self.wanted]
        for _ in range(one.ndim - 4):  # batch dimensions of `vmap`, each of size 1 or the batch's
            call = _mapped(call)
        return (call(one, other),)

    def shapes(self, residuals, operands) -> tuple[jax.ShapeDtypeStruct, ...]:
        """See `LinearMap`."""
        return jax.eval_shape(self.apply, residuals, operands)

    def transpose(self) -> "Convolution":
        """See `LinearMap`."""
        return replace(self, wanted=self.operand, operand=self.wanted)

    def residual_tangent(self, residuals, tangents, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap`: the same form with the roles of operand and residual changed."""
        return tuple(linear_call(replace(self, operand=self.residual), operands, tangents))

    @property
    def residual(self) -> str:
        """The third of the three."""
        return next(name for name in (INPUT, KERNEL, OUTPUT) if name not in (self.wanted, self.operand))

    def _output(self, x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(x, w, self.strides, self.pads, dimension_numbers=AXES)

    def _input(self, w: Array, g: Array) -> Array:
        """The convolution of g, with zeros between its cells where strides left cells out, with the mirrored kernel."""
        before = [size - 1 - pad for size, (pad, _) in zip(self.size, self.pads, strict=True)]
        behind = [
            cells + size - 1 - ((n - 1) * stride + 1) - first
            for cells, size, n, stride, first in zip(
                self.cells, self.size, g.shape[1:3], self.strides, before, strict=True
            )
        ]
        mirrored = jnp.swapaxes(w[::-1, ::-1], 2, 3)
        pads = tuple(zip(before, behind, strict=True))
        return jax.lax.conv_general_dilated(
            g, mirrored, (1, 1), pads, lhs_dilation=self.strides, dimension_numbers=AXES
        )

    def _kernel(self, x: Array, g: Array) -> Array:
        """The convolution of x with g as a kernel of the grid's size; channels and samples change their roles."""
        pads = tuple(
            (first, size - 1 + (n - 1) * stride + 1 - cells - first)
            for cells, size, n, stride, (first, _) in zip(
                self.cells, self.size, g.shape[1:3], self.strides, self.pads, strict=True
            )
        )
        x, g = jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(g, (1, 2, 0, 3))
        w = jax.lax.conv_general_dilated(x, g, (1, 1), pads, rhs_dilation=self.strides, dimension_numbers=AXES)
        return jnp.transpose(w, (1, 2, 0, 3))


def _mapped(call):
    """`call` over a leading dimension of both arguments, of which one may be 1."""

    def over_both(one: Array, other: Array) -> Array:
        single = [len(x) == 1 for x in (one, other)]
        if all(single):
            return call(one[0], other[0])[None]
        axes = [None if alone else 0 for alone in single]
        return jax.vmap(call, in_axes=axes)(
            *(x[0] if alone else x for x, alone in zip((one, other), single, strict=True))
        )

    return over_both


def convolve(
    x: Float[Array, "batch nz nx channels"],
    kernel: Float[Array, "kz kx channels features"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] = (1, 1),
    rhs_dilation: Sequence[int] = (1, 1),
    feature_group_count: int = 1,
    **options,
) -> Float[Array, "batch mz mx features"]:
    """What `nnx.Conv(conv_general_dilated=convolve)` computes with: `jax.lax.conv_general_dilated`'s arguments.

    Raises ValueError for dilation and groups, which it has not. Other options say where and how precisely to compute.
    """
    if any(factor != 1 for factor in (*lhs_dilation, *rhs_dilation, feature_group_count)):
        raise ValueError(f"No dilation and no groups here: {lhs_dilation=}, {rhs_dilation=}, {feature_group_count=}.")
    cells, size = x.shape[1:3], kernel.shape[:2]
    pads = jax.lax.padtype_to_pads(cells, size, strides, padding) if isinstance(padding, str) else padding
    form = Convolution(cells, size, tuple(strides), tuple((int(a), int(b)) for a, b in pads))
    return linear_call(form, (kernel,), (x,))[0]
