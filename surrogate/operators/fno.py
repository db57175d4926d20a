"""Fourier neural operator with classic or pre-norm residual blocks.

    residual      x <- x + Spectral(norm(x)) + Local(norm(x)),    x <- x + MLP(norm(x)),    MLP(x) = B gelu(A x)
    feedforward   x <- x + MLP(Spectral(norm(x)) + Local(norm(x)))
    classic       x <- gelu(Spectral(norm(x)) + Linear(norm(x)) + Local(norm(x))), and a pointwise MLP before projection

Sources: Z. Li et al., ICLR 2021 (the operator, classic with `norm=none local=false`); J. A. Lara Benitez et al.,
"Out-of-distributional risk bounds for neural operators with applications to the Helmholtz equation", J. Comput. Phys.
2024 (the residual block); A. Tran et al., ICLR 2023 (the feed-forward block, see ffno.py); N. Shazeer, "GLU variants
improve transformer", 2020 (`gated`).

With `gated` the MLP of a residual or feed-forward block is B (gelu(A x) * C x). It multiplies features, as the
scattering of waves multiplies the field by the medium. It has two thirds of the hidden channels of the plain MLP, and
therefore as many parameters.

Local is a 3x3 convolution: its filter has a size in cells, not in meters, so an operator with this path does not
transfer to a finer grid.

Parameters, with w = width, r = mlp_ratio, S = those of a spectral layer, L = 9 w^2 + w (or 0), n = 2 w per norm, and
F = those of the frame (see base.py): F + depth (S + L + B), where B is 2 n + M (residual), n + M
(feedforward) or n + w^2 + w (classic, which adds M once), with M = 2 r w^2 + (r + 1) w; gated, with g hidden channels,
the integer nearest to 2 r w / 3, M = 3 g w + 2 g + w.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.ranges import ranged
from surrogate.operators.base import GridOperator, GridOperatorConfig
from surrogate.operators.layers.drop_path import Identity, make_drop_path
from surrogate.operators.layers.pointwise import Linear, conv3x3, make_norm
from surrogate.operators.layers.recompute import recomputable
from surrogate.operators.layers.spectral import SpectralConv

BLOCK_NAMES = ("residual", "feedforward", "classic")


@dataclass
class FourierConfig(GridOperatorConfig):
    """Describe an operator that consists of Fourier blocks.

    Attributes:
        depth: Number of blocks (uno: in each stage).
        modes: Largest Fourier modes kept along z and x [cycles per padded domain].
        mlp_ratio: Hidden channels of the MLP of a block, as a multiple of `width`.
        local: Whether a 3x3 convolution runs parallel to each spectral layer.
        block: Kind of block: residual, feedforward or classic.
        gated: Whether the MLP of a block multiplies two sets of features (at as many parameters); not with
            block=classic.
    """

    depth: int = ranged(4, "[1, 1024]")
    modes: list[int] = ranged([16, 16], "[1, 65536]", length=2)
    mlp_ratio: int = ranged(4, "[1, 1024]")
    local: bool = True
    block: str = ranged("residual", BLOCK_NAMES)
    gated: bool = False

    def check(self, group: str = "model") -> None:
        """See `OperatorConfig.check`."""
        super().check(group)
        if self.block == "classic" and self.drop_path:
            raise InputError(f"A classic block has no residual branch to drop: set {group}.drop_path=0.")
        if self.block == "classic" and self.gated:
            raise InputError(f"A classic block has no MLP to gate: set {group}.gated=false.")

    def reach(self) -> tuple[float, float] | None:
        """See `OperatorConfig.reach`; the channels of a block of cells hold every wavenumber within it."""
        if self.patch > 1:
            return None
        padded = 1 + 2 * self.padding
        return self.modes[0] / padded, self.modes[1] / padded

    def spectral_layer(self, rngs: nnx.Rngs) -> nnx.Module:
        """Create the spectral layer of a block, here of S = 2 (2 modes[0] + 1) (modes[1] + 1) w^2 parameters.

        Args:
            rngs: Source of the initial weights.

        Returns:
            A layer that maps `(batch, nz, nx, width)` to the same shape.
        """
        return SpectralConv(self.width, self.width, (self.modes[0], self.modes[1]), rngs=rngs)

    def local_layer(self, index: int, rngs: nnx.Rngs) -> nnx.Module | None:
        """Create the layer that runs parallel to the spectral layer of a block.

        Args:
            index: Position of the block, from 0.
            rngs: Source of the initial weights.

        Returns:
            A layer that maps `(batch, nz, nx, width)` to the same shape; None for a block without one.
        """
        return conv3x3(self.width, self.width, periodic=self.periodic, rngs=rngs) if self.local else None

    def blocks(self, depth: int, rngs: nnx.Rngs) -> list["Block"]:
        """Create a sequence of blocks; the drop rate rises linearly to `drop_path` in the last one.

        Args:
            depth: Number of blocks.
            rngs: Source of the initial weights.

        Returns:
            The blocks, in the order in which they are applied.
        """
        return [BLOCKS[self.block](self, index, depth, rngs=rngs) for index in range(depth)]


@dataclass
class FNOConfig(FourierConfig):
    """Describe a Fourier neural operator; see `FourierConfig` for the other fields.

    Attributes:
        name: Name of the operator in the registry.
    """

    name: str = "fno"

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "FNO":
        """See `OperatorConfig.create`."""
        self.check()
        return FNO(in_channels, out_channels, self, rngs=rngs)


class Block(nnx.Module):
    """Hold the spectral and the local path, which every block has.

    Args:
        config: Settings of the operator.
        index: Position of the block, from 0.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: FourierConfig, index: int, *, rngs: nnx.Rngs):
        self.spectral_norm = make_norm(config.norm, config.width, rngs=rngs)
        self.spectral = config.spectral_layer(rngs)
        self.local = config.local_layer(index, rngs)

    def mix(self, normed: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """Add the spectral and the local path.

        Args:
            normed: Normalized features `(batch, nz, nx, width)`.

        Returns:
            The sum of both paths `(batch, nz, nx, width)`.
        """
        mixed = self.spectral(normed)
        return mixed if self.local is None else mixed + self.local(normed)

    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """Apply the block by the module's equations.

        Args:
            x: Features `(batch, nz, nx, width)`.

        Returns:
            Features of the same shape.
        """
        raise NotImplementedError


class BlockWithMLP(Block):
    """Hold an MLP too, plain or gated; both kinds end a residual branch."""

    def make_mlp(self, config: FourierConfig, index: int, depth: int, rngs: nnx.Rngs) -> None:
        """Create the layers of `mlp` and the drop-path of the branches.

        Args:
            config: Settings of the operator.
            index: Position of the block, from 0.
            depth: Number of blocks.
            rngs: Source of the initial weights.
        """
        width, self.gated = config.width, config.gated
        hidden = round(2 / 3 * config.mlp_ratio * width) if self.gated else config.mlp_ratio * width
        self.expand = Linear(width, 2 * hidden if self.gated else hidden, rngs=rngs)
        self.contract = Linear(hidden, width, rngs=rngs)
        self.drop = make_drop_path(config.drop_path * (index + 1) / depth, rngs=rngs)

    def mlp(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """Apply the pointwise MLP of the module's equations.

        Args:
            x: Features `(batch, nz, nx, width)`.

        Returns:
            Features of the same shape.
        """
        hidden = self.expand(x)
        if not self.gated:
            return self.contract(jax.nn.gelu(hidden))
        gate, value = jnp.split(hidden, 2, axis=-1)
        return self.contract(jax.nn.gelu(gate) * value)


class FeedForwardBlock(BlockWithMLP):
    """Add one residual branch: the MLP of the mixed features.

    Args:
        config: Settings of the operator.
        index: Position of the block, from 0.
        depth: Number of blocks.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: FourierConfig, index: int, depth: int, *, rngs: nnx.Rngs):
        super().__init__(config, index, rngs=rngs)
        self.make_mlp(config, index, depth, rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `Block.__call__`."""
        return x + self.drop(self.mlp(self.mix(self.spectral_norm(x))))


class ResidualBlock(BlockWithMLP):
    """Add two residual branches: the mixed features, then the MLP.

    Args:
        config: Settings of the operator.
        index: Position of the block, from 0.
        depth: Number of blocks.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: FourierConfig, index: int, depth: int, *, rngs: nnx.Rngs):
        super().__init__(config, index, rngs=rngs)
        self.mlp_norm = make_norm(config.norm, config.width, rngs=rngs)
        self.make_mlp(config, index, depth, rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `Block.__call__`."""
        x = x + self.drop(self.mix(self.spectral_norm(x)))
        return x + self.drop(self.mlp(self.mlp_norm(x)))


class ClassicBlock(Block):
    """Apply a nonlinearity to the sum of all paths; without a residual branch there is no drop-path.

    Args:
        config: Settings of the operator.
        index: Position of the block, from 0.
        depth: Number of blocks.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: FourierConfig, index: int, depth: int, *, rngs: nnx.Rngs):
        super().__init__(config, index, rngs=rngs)
        self.linear = Linear(config.width, config.width, rngs=rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `Block.__call__`."""
        normed = self.spectral_norm(x)
        return jax.nn.gelu(self.mix(normed) + self.linear(normed))


BLOCKS: dict[str, Callable[..., Block]] = {
    "residual": ResidualBlock,
    "feedforward": FeedForwardBlock,
    "classic": ClassicBlock,
}


def _pointwise_mlp(config: FourierConfig, rngs: nnx.Rngs) -> nnx.Sequential:
    width, hidden = config.width, config.mlp_ratio * config.width
    return nnx.Sequential(Linear(width, hidden, rngs=rngs), jax.nn.gelu, Linear(hidden, width, rngs=rngs))


class FNO(GridOperator):
    """Map `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries the modes."""

    def assemble(self, config: FNOConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator.assemble`."""
        self.blocks = nnx.List(config.blocks(config.depth, rngs))
        self.mlp = _pointwise_mlp(config, rngs) if config.block == "classic" else Identity()

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `GridOperator.body`."""
        for block in self.blocks:
            x = block(x)
        return self.mlp(x)
