"""Fourier neural operator with pre-norm residual blocks.

    x <- x + Spectral(norm(x)) + Conv3x3(norm(x)),    x <- x + MLP(norm(x))

Sources: Z. Li et al., ICLR 2021 (the operator); J. A. Lara Benitez et al., "Out-of-distributional risk bounds for
neural operators with applications to the Helmholtz equation", J. Comput. Phys. 2024 (the residual block).

The norm is one number per sample, over all cells and channels: a norm per cell would blow up the silence ahead of a
wave front to the strength of the wave. The domain is padded by a fraction on both sides, since the Fourier basis is
periodic and the wave's window is not.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.errors import InputError
from surrogate.spectral_conv import SpectralConv


@dataclass
class FNOConfig:
    """width: channels. depth: blocks. modes: kept along z and x. mlp_ratio: hidden channels of the MLP over width.

    padding: added on each side, as a fraction of the domain. local: a 3x3 convolution beside the spectral path.
    """

    width: int = 32
    depth: int = 4
    modes: list[int] = field(default_factory=lambda: [16, 16])
    mlp_ratio: int = 4
    padding: float = 0.0625
    local: bool = True

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "FNO":
        """Raises `InputError` unless all sizes are positive and the padding lies in [0, 1]."""
        modes = self.modes
        if min(self.width, self.depth, self.mlp_ratio, *modes) < 1 or len(modes) != 2 or not 0 <= self.padding <= 1:
            raise InputError(
                f"An FNO needs positive width, depth, mlp_ratio, two positive modes and 0 <= padding <= 1: got {self}."
            )
        return FNO(
            in_channels,
            out_channels,
            width=self.width,
            depth=self.depth,
            modes=(modes[0], modes[1]),
            mlp_ratio=self.mlp_ratio,
            padding=self.padding,
            local=self.local,
            rngs=rngs,
        )


def _norm(width: int, rngs: nnx.Rngs) -> nnx.GroupNorm:
    return nnx.GroupNorm(width, num_groups=1, rngs=rngs)


class Block(nnx.Module):
    """One residual block; see the module's equation."""

    def __init__(self, width: int, modes: tuple[int, int], mlp_ratio: int, local: bool, *, rngs: nnx.Rngs):
        self.spectral_norm = _norm(width, rngs)
        self.spectral = SpectralConv(width, width, modes, rngs=rngs)
        self.local = nnx.Conv(width, width, (3, 3), rngs=rngs) if local else None
        self.mlp_norm = _norm(width, rngs)
        self.expand = nnx.Linear(width, mlp_ratio * width, rngs=rngs)
        self.contract = nnx.Linear(mlp_ratio * width, width, rngs=rngs)

    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        normed = self.spectral_norm(x)
        mixed = self.spectral(normed)
        if self.local is not None:
            mixed += self.local(normed)
        x = x + mixed
        return x + self.contract(jax.nn.gelu(self.expand(self.mlp_norm(x))))


class FNO(nnx.Module):
    """Maps `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries its modes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        depth: int,
        modes: tuple[int, int],
        mlp_ratio: int,
        padding: float,
        local: bool,
        rngs: nnx.Rngs,
    ):
        self.padding = padding
        self.lift = nnx.Linear(in_channels + 2, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, modes, mlp_ratio, local, rngs=rngs) for _ in range(depth)])
        self.norm = _norm(width, rngs)
        # Zero at the start: the first prediction is the baseline that the encoding supplies.
        self.project = nnx.Linear(width, out_channels, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx outputs"]:
        batch, nz, nx, _ = x.shape
        position = jnp.meshgrid(jnp.linspace(-1, 1, nz), jnp.linspace(-1, 1, nx), indexing="ij")
        place = jnp.broadcast_to(jnp.stack(position, axis=-1).astype(x.dtype), (batch, nz, nx, 2))
        x = self.lift(jnp.concatenate([x, place], axis=-1))
        pad_z, pad_x = round(self.padding * nz), round(self.padding * nx)
        x = jnp.pad(x, ((0, 0), (pad_z, pad_z), (pad_x, pad_x), (0, 0)))
        for block in self.blocks:
            x = block(x)
        return self.project(self.norm(x[:, pad_z : pad_z + nz, pad_x : pad_x + nx]))
