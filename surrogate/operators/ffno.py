"""Factorized Fourier neural operator: one-dimensional transforms, one per axis, replace the two-dimensional one.

    Separable(x) = sum over axes a of F_a^-1 ( R_a,k F_a(x)_k ),    0 <= k <= modes_a

Source: A. Tran et al., "Factorized Fourier neural operators", ICLR 2023. Its block applies the MLP after the
spectral layer (`block=feedforward`); `shared` uses one set of spectral weights in all blocks, as the smaller models of
the paper do.

Parameters: those of fno.py with S = 2 w^2 (modes_z + 1 + modes_x + 1), counted once in all if shared.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.ranges import ranged
from surrogate.operators.fno import BLOCK_NAMES, FNO, FNOConfig
from surrogate.operators.layers.dft import EXACT, real_dft, real_dft_transpose
from surrogate.operators.layers.spectral import SpectralLayer, at_least_float32, check_modes_fit


@dataclass
class FFNOConfig(FNOConfig):
    """Describe a factorized Fourier neural operator; see `FourierConfig` for the other fields.

    Attributes:
        name: Name of the operator in the registry.
        local: Whether a 3x3 convolution runs parallel to each spectral layer.
        block: Kind of block: residual, feedforward or classic.
        shared: Whether all blocks share one set of spectral weights.
    """

    name: str = "ffno"
    local: bool = False
    block: str = ranged("feedforward", BLOCK_NAMES)
    shared: bool = False

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> FNO:
        """See `OperatorConfig.create`."""
        operator = super().create(in_channels, out_channels, rngs=rngs)
        if self.shared:
            for block in operator.blocks:
                block.spectral = operator.blocks[0].spectral
        return operator

    def spectral_layer(self, rngs: nnx.Rngs) -> nnx.Module:
        """See `FourierConfig.spectral_layer`."""
        return SeparableConv(self.width, (self.modes[0], self.modes[1]), rngs=rngs)


class AxisConv(SpectralLayer):
    """Apply a linear map per mode `0..modes` along one axis: 2 (modes + 1) width^2 parameters.

    Args:
        width: Number of channels.
        modes: Largest mode kept.
        axis: Axis of the transform, 1 for z and 2 for x.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, modes: int, axis: int, *, rngs: nnx.Rngs):
        self.modes = modes
        self.axis = axis
        shape, scale = (modes + 1, width, width), 1 / np.sqrt(2 * width)
        self.real = nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        self.imaginary = nnx.Param(scale * jax.random.normal(rngs.params(), shape))

    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `SpectralLayer.__call__`."""
        batch, nz, nx, width = x.shape
        # `real_dft` transforms the second axis: for the last axis every row is a sample.
        fields = at_least_float32(x).reshape((batch, nz, nx, width) if self.axis == 1 else (batch * nz, nx, 1, width))
        many, size, rest, _ = fields.shape
        modes = (real_dft(fields, self.modes + 1) / size).reshape(many, 2, self.modes + 1, rest, width)
        # Both parts are adjacent within a sample, since samples may be on many devices.
        rows = jnp.transpose(modes, (2, 0, 1, 3, 4)).reshape(self.modes + 1, -1, width)
        # Each k > 0 also represents its conjugate.
        twice = jnp.asarray(np.where(np.arange(self.modes + 1) == 0, 1.0, 2.0), rows.dtype)[:, None, None]
        (a, b), (c, d) = (
            jnp.moveaxis(jnp.matmul(rows, twice * weight[...], precision=EXACT).reshape(-1, many, 2, rest, width), 2, 0)
            for weight in (self.real, self.imaginary)
        )
        modes = jnp.transpose(jnp.stack([a - d, b + c]), (2, 0, 1, 3, 4)).reshape(many, -1, rest, width)
        return real_dft_transpose(modes, size).reshape(x.shape).astype(x.dtype)

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """See `SpectralLayer.wavenumbers`."""
        return {"real": (np.arange(self.modes + 1),), "imaginary": (np.arange(self.modes + 1),)}


class SeparableConv(nnx.Module):
    """Add one `AxisConv` along each axis.

    Args:
        width: Number of channels.
        modes: Largest modes kept along z and x.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, modes: tuple[int, int], *, rngs: nnx.Rngs):
        self.modes = modes
        self.along_z = AxisConv(width, modes[0], 1, rngs=rngs)
        self.along_x = AxisConv(width, modes[1], 2, rngs=rngs)

    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `SpectralLayer.__call__`."""
        check_modes_fit((x.shape[1], x.shape[2]), self.modes)
        return self.along_z(x) + self.along_x(x)
