"""A modern U-Net: the reference without a spectral layer.

    stage: x <- x + Conv(silu(norm(Conv(silu(norm(x)))))), depth times

Sources: O. Ronneberger et al., MICCAI 2015 (the shape); J. Gupta and J. Brandstetter, "Towards
multi-spatiotemporal-scale generalized PDE modeling", TMLR 2023 (what a modern one is for fields).

Parameters: the frame's (grid_operator.py) and the U's (u_shape.py), with stages of depth (2 n_l + 2 (9 w_l^2 + w_l)),
n_l = 2 w_l.
"""

from dataclasses import dataclass

import jax
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.base import GridOperator, GridOperatorConfig
from surrogate.operators.layers.drop_path import make_drop_path
from surrogate.operators.layers.pointwise import conv3x3, make_norm
from surrogate.operators.layers.recompute import recomputable
from surrogate.operators.u_shape import ConvResampling, UShape


@dataclass
class UNetConfig(GridOperatorConfig):
    """levels: halvings of the grid. depth: residual blocks in each stage. The domain needs no padding here."""

    name: str = "unet"
    padding: float = 0.0
    norm: str = "group"
    levels: int = 3
    depth: int = 1

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if min(self.levels, self.depth) < 1:
            raise InputError(f"A U-Net needs positive levels and depth: got {self}.")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "UNet":
        """See `OperatorConfig`."""
        self.check()
        return UNet(in_channels, out_channels, self, rngs=rngs)


class ResidualConv(nnx.Module):
    """Two 3x3 convolutions beside the identity; see the module's equation."""

    def __init__(self, width: int, norm: str, drop_path: float, periodic: bool, *, rngs: nnx.Rngs):
        self.first_norm = make_norm(norm, width, rngs=rngs)
        self.first = conv3x3(width, width, periodic=periodic, rngs=rngs)
        self.second_norm = make_norm(norm, width, rngs=rngs)
        self.second = conv3x3(width, width, periodic=periodic, rngs=rngs)
        self.drop = make_drop_path(drop_path, rngs=rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        y = self.first(jax.nn.silu(self.first_norm(x)))
        return x + self.drop(self.second(jax.nn.silu(self.second_norm(y))))


def convolutional_u(config: GridOperatorConfig, levels: int, depth: int, rngs: nnx.Rngs) -> UShape:
    """A U of `ResidualConv` stages; the norm, drop-path and boundary are the config's."""

    def stage(level: int, rngs: nnx.Rngs) -> nnx.Module:
        width = 2**level * config.width
        rate = config.drop_path * (level + 1) / (levels + 1)
        blocks = [ResidualConv(width, config.norm, rate, config.periodic, rngs=rngs) for _ in range(depth)]
        return nnx.Sequential(*blocks)

    def resampling(width: int, rngs: nnx.Rngs) -> ConvResampling:
        return ConvResampling(width, config.periodic, rngs=rngs)

    return UShape(config.width, levels, stage, resampling, rngs=rngs)


class UNet(GridOperator):
    """Maps `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`; its filters see cells, not metres."""

    def assemble(self, config: UNetConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator`."""
        self.u = convolutional_u(config, config.levels, config.depth, rngs)

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `GridOperator`."""
        return self.u(x)
