"""Fourier neural operator, with classic or with pre-norm residual blocks.

    residual      x <- x + Spectral(norm(x)) + Local(norm(x)),    x <- x + MLP(norm(x)),    MLP(x) = B gelu(A x)
    feedforward   x <- x + MLP(Spectral(norm(x)) + Local(norm(x)))
    classic       x <- gelu(Spectral(norm(x)) + Linear(norm(x)) + Local(norm(x))), and a pointwise MLP before projection

Sources: Z. Li et al., ICLR 2021 (the operator, classic with `norm=none local=false`); J. A. Lara Benitez et al.,
"Out-of-distributional risk bounds for neural operators with applications to the Helmholtz equation", J. Comput. Phys.
2024 (the residual block); A. Tran et al., ICLR 2023 (the feed-forward block, see ffno.py); N. Shazeer, "GLU variants
improve transformer", 2020 (`gated`).

With `gated` the MLP of a residual or feed-forward block is B (gelu(A x) * C x): a product of features, as waves are
scattered by the product of a field and the medium. It has two thirds of the hidden channels, so as many parameters.

Local is a 3x3 convolution: it sees cells, not metres, so an operator with one does not transfer to a finer grid.

Parameters, with w = width, r = mlp_ratio, S = those of a spectral layer, L = 9 w^2 + w (or 0), n = 2 w per norm, and
F = those of the frame (see grid_operator.py): F + depth (S + L + B), where B is 2 n + M (residual), n + M
(feedforward) or n + w^2 + w (classic, which adds M once), with M = 2 r w^2 + (r + 1) w; gated, with g hidden channels,
the integer nearest to 2 r w / 3, M = 3 g w + 2 g + w.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.base import GridOperator, GridOperatorConfig
from surrogate.operators.layers.drop_path import Identity, make_drop_path
from surrogate.operators.layers.pointwise import Linear, conv3x3, make_norm
from surrogate.operators.layers.recompute import recomputable
from surrogate.operators.layers.spectral import SpectralConv


@dataclass
class FourierConfig(GridOperatorConfig):
    """What all operators made of Fourier blocks have.

    depth: blocks. modes: kept along z and x. mlp_ratio: hidden channels of the MLP over width.
    local: a 3x3 convolution beside the spectral path. block: residual, feedforward or classic. gated: an MLP with a
    product in it.
    """

    depth: int = 4
    modes: list[int] = field(default_factory=lambda: [16, 16])
    mlp_ratio: int = 4
    local: bool = True
    block: str = "residual"
    gated: bool = False

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if len(self.modes) != 2 or min(self.depth, self.mlp_ratio, *self.modes) < 1:
            raise InputError(
                f"A Fourier operator needs positive depth and mlp_ratio and two positive modes: got {self}."
            )
        if self.block not in BLOCKS:
            raise InputError(f"model.block must be one of {', '.join(BLOCKS)}, but is {self.block!r}.")
        if self.block == "classic" and self.drop_path:
            raise InputError("A classic block has no residual branch to drop: set model.drop_path=0.")
        if self.block == "classic" and self.gated:
            raise InputError("A classic block has no MLP to gate: set model.gated=false.")

    def reach(self) -> tuple[float, float]:
        """See `OperatorConfig`."""
        padded = 1 + 2 * self.padding
        return self.modes[0] / padded, self.modes[1] / padded

    def spectral_layer(self, rngs: nnx.Rngs) -> nnx.Module:
        """The spectral layer of a block; here S = 2 (2 modes[0] + 1) (modes[1] + 1) w^2."""
        return SpectralConv(self.width, self.width, (self.modes[0], self.modes[1]), rngs=rngs)

    def local_layer(self, index: int, rngs: nnx.Rngs) -> nnx.Module | None:
        """What stands beside the spectral layer of block `index`, if anything."""
        return conv3x3(self.width, self.width, periodic=self.periodic, rngs=rngs) if self.local else None

    def blocks(self, depth: int, rngs: nnx.Rngs) -> list["Block"]:
        """As many blocks, the last dropped with the probability `drop_path`, earlier ones proportionally less."""
        return [BLOCKS[self.block](self, index, depth, rngs=rngs) for index in range(depth)]


@dataclass
class FNOConfig(FourierConfig):
    """See `FourierConfig`."""

    name: str = "fno"

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "FNO":
        """See `OperatorConfig`."""
        self.check()
        return FNO(in_channels, out_channels, self, rngs=rngs)


class Block(nnx.Module):
    """The spectral and the local path, which every block has."""

    def __init__(self, config: FourierConfig, index: int, *, rngs: nnx.Rngs):
        self.spectral_norm = make_norm(config.norm, config.width, rngs=rngs)
        self.spectral = config.spectral_layer(rngs)
        self.local = config.local_layer(index, rngs)

    def mix(self, normed: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """The sum of both paths."""
        mixed = self.spectral(normed)
        return mixed if self.local is None else mixed + self.local(normed)

    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See the module's equations."""
        raise NotImplementedError


class BlockWithMLP(Block):
    """And an MLP, plain or gated; both end a residual branch."""

    def make_mlp(self, config: FourierConfig, index: int, depth: int, rngs: nnx.Rngs) -> None:
        """The layers of `mlp`, and what drops a branch."""
        width, self.gated = config.width, config.gated
        hidden = round(2 / 3 * config.mlp_ratio * width) if self.gated else config.mlp_ratio * width
        self.expand = Linear(width, 2 * hidden if self.gated else hidden, rngs=rngs)
        self.contract = Linear(hidden, width, rngs=rngs)
        self.drop = make_drop_path(config.drop_path * (index + 1) / depth, rngs=rngs)

    def mlp(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """Pointwise; see the module's equations."""
        hidden = self.expand(x)
        if not self.gated:
            return self.contract(jax.nn.gelu(hidden))
        gate, value = jnp.split(hidden, 2, axis=-1)
        return self.contract(jax.nn.gelu(gate) * value)


class FeedForwardBlock(BlockWithMLP):
    """One residual branch, the MLP behind the spectral layer; see the module's equations."""

    def __init__(self, config: FourierConfig, index: int, depth: int, *, rngs: nnx.Rngs):
        super().__init__(config, index, rngs=rngs)
        self.make_mlp(config, index, depth, rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        return x + self.drop(self.mlp(self.mix(self.spectral_norm(x))))


class ResidualBlock(BlockWithMLP):
    """Two residual branches; see the module's equations."""

    def __init__(self, config: FourierConfig, index: int, depth: int, *, rngs: nnx.Rngs):
        super().__init__(config, index, rngs=rngs)
        self.mlp_norm = make_norm(config.norm, config.width, rngs=rngs)
        self.make_mlp(config, index, depth, rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        x = x + self.drop(self.mix(self.spectral_norm(x)))
        return x + self.drop(self.mlp(self.mlp_norm(x)))


class ClassicBlock(Block):
    """No residual branch, hence nothing to drop; see the module's equations."""

    def __init__(self, config: FourierConfig, index: int, depth: int, *, rngs: nnx.Rngs):
        super().__init__(config, index, rngs=rngs)
        self.linear = Linear(config.width, config.width, rngs=rngs)

    @recomputable
    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        normed = self.spectral_norm(x)
        return jax.nn.gelu(self.mix(normed) + self.linear(normed))


BLOCKS = {"residual": ResidualBlock, "feedforward": FeedForwardBlock, "classic": ClassicBlock}


def _pointwise_mlp(config: FourierConfig, rngs: nnx.Rngs) -> nnx.Sequential:
    width, hidden = config.width, config.mlp_ratio * config.width
    return nnx.Sequential(Linear(width, hidden, rngs=rngs), jax.nn.gelu, Linear(hidden, width, rngs=rngs))


class FNO(GridOperator):
    """Maps `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries its modes."""

    def assemble(self, config: FNOConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator`."""
        self.blocks = nnx.List(config.blocks(config.depth, rngs))
        self.mlp = _pointwise_mlp(config, rngs) if config.block == "classic" else Identity()

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `GridOperator`."""
        for block in self.blocks:
            x = block(x)
        return self.mlp(x)
