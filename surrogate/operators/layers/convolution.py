"""Convolutions on a grid, whose derivatives are convolutions that XLA compiles well for a CPU.

    T(x, w, g) = sum_{b, i, a, c, d} x[b, s i + a - p, c] w[a, c, d] g[b, i, d]

is linear in the input x, the kernel w and the cotangent g of the output: the convolution, its two gradients and all
their derivatives compute one of the three from the other two. `jax.lax` derives the gradients as convolutions with
other orders of axes. In the body of a loop (a rollout, gradient accumulation) XLA compiles those to a CPU kernel that
takes tens of times as long (measured: 650 ms instead of 18 ms for 3 x 3 x 32 x 32 on 8 x 64 x 64 cells).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.linear_map import linear_call

INPUT, KERNEL, OUTPUT = "input", "kernel", "output"
AXES = ("NHWC", "HWIO", "NHWC")
Pads = tuple[tuple[int, int], ...]  # cells before and after, along each axis of the grid


@dataclass(frozen=True)
class Convolution:
    """Map `operand` to dT / d(wanted), as a `LinearMap` whose residual is the third of the three factors.

    Attributes:
        cells: Shape of the input grid.
        size: Shape of the kernel.
        strides: Strides along both axes of the grid.
        pads: Padding before and after along both axes [cells].
        wanted: Factor that the map computes: input, kernel or output.
        operand: Factor that the map is linear in.
    """

    cells: tuple[int, ...]
    size: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    wanted: str = OUTPUT
    operand: str = INPUT

    def apply(self, residuals, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap.apply`."""
        residual, operand = residuals[0], operands[0]
        factors = {self.residual: residual, self.operand: operand}
        one, other = (factors[name] for name in (INPUT, KERNEL, OUTPUT) if name != self.wanted)
        call = {OUTPUT: self._output, KERNEL: self._kernel, INPUT: self._input}[self.wanted]
        for _ in range(one.ndim - 4):  # batch dimensions of `vmap`, each of size 1 or of the batch
            call = _mapped(call)
        return (call(one, other),)

    def shapes(self, residuals, operands) -> tuple[jax.ShapeDtypeStruct, ...]:
        """See `LinearMap.shapes`."""
        return jax.eval_shape(self.apply, residuals, operands)

    def transpose(self) -> "Convolution":
        """See `LinearMap.transpose`."""
        return replace(self, wanted=self.operand, operand=self.wanted)

    def residual_tangent(self, residuals, tangents, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap.residual_tangent`; it is the same form with operand and residual exchanged."""
        return tuple(linear_call(replace(self, operand=self.residual), operands, tangents))

    @property
    def residual(self) -> str:
        """The third of the three factors."""
        return next(name for name in (INPUT, KERNEL, OUTPUT) if name not in (self.wanted, self.operand))

    def _output(self, x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(x, w, self.strides, self.pads, dimension_numbers=AXES)

    def _input(self, w: Array, g: Array) -> Array:
        """Convolve g with the mirrored kernel, with zeros between the cells of g if strides skipped cells."""
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
        """Convolve x with g as a kernel of the grid's size; channels and samples exchange their roles."""
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
    """Map `call` over a leading dimension of both arguments, of which one may have size 1."""

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
    """Convolve as `jax.lax.conv_general_dilated` does; for `nnx.Conv(conv_general_dilated=convolve)`.

    Args:
        x: Input `(batch, nz, nx, channels)`.
        kernel: Kernel `(kz, kx, channels, features)`.
        strides: Strides along both axes of the grid.
        padding: SAME, VALID, or the cells added before and after along both axes.
        lhs_dilation: Only `(1, 1)` is supported.
        rhs_dilation: Only `(1, 1)` is supported.
        feature_group_count: Only 1 is supported.
        **options: Ignored; `nnx.Conv` passes the axes, which are fixed here, and the precision.

    Returns:
        Output `(batch, mz, mx, features)`.

    Raises:
        ValueError: If dilation or groups are requested.
    """
    if any(factor != 1 for factor in (*lhs_dilation, *rhs_dilation, feature_group_count)):
        raise ValueError(
            "Dilation and groups are not supported here: expected 1 throughout, but got "
            f"{lhs_dilation=}, {rhs_dilation=}, {feature_group_count=}."
        )
    cells, size = x.shape[1:3], kernel.shape[:2]
    pads = jax.lax.padtype_to_pads(cells, size, strides, padding) if isinstance(padding, str) else padding
    form = Convolution(cells, size, tuple(strides), tuple((int(a), int(b)) for a, b in pads))
    return linear_call(form, (kernel,), (x,))[0]
