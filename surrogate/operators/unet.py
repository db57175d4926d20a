"""Modern U-Net: the reference without a spectral layer.

    stage: x <- x + Conv(silu(norm(Conv(silu(norm(x)))))), depth times

Sources: O. Ronneberger et al., MICCAI 2015 (the shape); J. Gupta and J. Brandstetter, "Towards
multi-spatiotemporal-scale generalized PDE modeling", TMLR 2023 (modern blocks for fields).

Parameters: the frame's (base.py) and the U's (u_shape.py), with stages of depth (2 n_l + 2 (9 w_l^2 + w_l)),
n_l = 2 w_l.
"""

from dataclasses import dataclass

import jax
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.ranges import ranged
from surrogate.operators.base import GridOperator, GridOperatorConfig
from surrogate.operators.layers.drop_path import make_drop_path
from surrogate.operators.layers.pointwise import NORMS, conv3x3, make_norm
from surrogate.operators.layers.recompute import recomputable
from surrogate.operators.u_shape import ConvResampling, UShape


@dataclass
class UNetConfig(GridOperatorConfig):
    """Describe a U-Net; see `GridOperatorConfig` for the other fields.

    Attributes:
        name: Name of the operator in the registry.
        padding: Width of the zeros added on each side, as a fraction of the domain; convolutions need none.
        norm: Over what a norm is taken: sample, group, instance or none (as for the other operators).
        levels: Number of halvings of the grid.
        depth: Number of residual blocks in each stage.
    """

    name: str = "unet"
    padding: float = ranged(0.0, "[0, 1]")
    norm: str = ranged("group", NORMS)
    levels: int = ranged(3, "[1, 32]")
    depth: int = ranged(1, "[1, 1024]")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "UNet":
        """See `OperatorConfig.create`."""
        self.check()
        return UNet(in_channels, out_channels, self, rngs=rngs)


class ResidualConv(nnx.Module):
    """Add two 3x3 convolutions to the identity by the module's equation.

    Args:
        width: Number of channels.
        norm: Kind of norm, one of `NORMS`.
        drop_path: Probability of dropping the branch in training.
        periodic: Whether the domain is a periodic box.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, norm: str, drop_path: float, periodic: bool, *, rngs: nnx.Rngs):
        self.first_norm = make_norm(norm, width, rngs=rngs)
        self.first = conv3x3(width, width, periodic=periodic, rngs=rngs)
        self.second_norm = make_norm(norm, width, rngs=rngs)
        self.second = conv3x3(width, width, periodic=periodic, rngs=rngs)
        self.drop = make_drop_path(drop_path, rngs=rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `Block.__call__`."""
        y = self.first(jax.nn.silu(self.first_norm(x)))
        return x + self.drop(self.second(jax.nn.silu(self.second_norm(y))))


def convolutional_u(config: GridOperatorConfig, levels: int, depth: int, rngs: nnx.Rngs) -> UShape:
    """Create a U of `ResidualConv` stages.

    Args:
        config: Settings of the operator: width, norm, drop-path and boundary.
        levels: Number of halvings of the grid.
        depth: Number of residual blocks in each stage.
        rngs: Source of the initial weights.

    Returns:
        The U, which maps `(batch, nz, nx, width)` to the same shape.
    """

    def stage(level: int, rngs: nnx.Rngs) -> nnx.Module:
        width = 2**level * config.width
        rate = config.drop_path * (level + 1) / (levels + 1)
        blocks = [ResidualConv(width, config.norm, rate, config.periodic, rngs=rngs) for _ in range(depth)]
        return nnx.Sequential(*blocks)

    def resampling(width: int, rngs: nnx.Rngs) -> ConvResampling:
        return ConvResampling(width, config.periodic, rngs=rngs)

    return UShape(config.width, levels, stage, resampling, rngs=rngs)


class UNet(GridOperator):
    """Map `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`; filters are 3x3 cells on any grid."""

    def assemble(self, config: UNetConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator.assemble`."""
        self.u = convolutional_u(config, config.levels, config.depth, rngs)

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `GridOperator.body`."""
        return self.u(x)
