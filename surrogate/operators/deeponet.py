"""Fourier-DeepONet: decode the product of a branch (the input field) and a trunk (position and output's index).

    u(., tau) = project( blocks( branch(x) * trunk(z, x, tau) ) ),    tau = -1 .. 1 over the outputs

Sources: L. Lu et al., "DeepONet", Nature Machine Intelligence 2021; M. Zhu et al., "Fourier-DeepONet: Fourier-enhanced
deep operator networks for full waveform inversion", Comput. Methods Appl. Mech. Eng. 2023. Here the branch consists
of Fourier blocks on the field itself, and the index of the output (the time of a snapshot) enters through the trunk.
The decoder therefore runs once for each output: its cost grows with the number of outputs, its parameters do not.

Parameters: the frame's (base.py) with one output channel, (branch_depth + depth) blocks of fno.py, and the trunk's
(3 + 1) w + (w + 1) w; 2 w less if periodic.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.ranges import ranged
from surrogate.operators.base import GridOperator
from surrogate.operators.fno import FourierConfig
from surrogate.operators.layers.pointwise import Linear, positions


@dataclass
class DeepONetConfig(FourierConfig):
    """Describe a Fourier-DeepONet; see `FourierConfig` for the other fields.

    Attributes:
        name: Name of the operator in the registry.
        depth: Number of blocks after the product of branch and trunk.
        branch_depth: Number of blocks before the product, in the branch.
    """

    name: str = "deeponet"
    depth: int = ranged(3, "[1, 1024]")
    branch_depth: int = ranged(1, "[1, 1024]")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "FourierDeepONet":
        """See `OperatorConfig.create`."""
        self.check()
        return FourierDeepONet(in_channels, out_channels, self, rngs=rngs)


class FourierDeepONet(GridOperator):
    """Map `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries the modes.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        config: Settings of the operator.
        rngs: Source of the initial weights.
    """

    def __init__(self, in_channels: int, out_channels: int, config: DeepONetConfig, *, rngs: nnx.Rngs):
        super().__init__(in_channels, 1, config, rngs=rngs)
        self.outputs = out_channels

    def assemble(self, config: DeepONetConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator.assemble`."""
        self.branch = nnx.List(replace(config, drop_path=0.0).blocks(config.branch_depth, rngs))
        self.trunk_in = Linear(1 if config.periodic else 3, config.width, rngs=rngs)
        self.trunk_out = Linear(config.width, config.width, rngs=rngs)
        self.blocks = nnx.List(config.blocks(config.depth, rngs))

    def _trunk(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "outputs nz nx width"]:
        nz, nx = x.shape[1:3]
        index = jnp.linspace(-1, 1, self.outputs).astype(x.dtype)
        features = jnp.broadcast_to(index[:, None, None, None], (self.outputs, nz, nx, 1))
        if not self.periodic:
            where = jnp.broadcast_to(positions(x[:1]), (self.outputs, nz, nx, 2))
            features = jnp.concatenate([where, features], axis=-1)
        return self.trunk_out(jax.nn.gelu(self.trunk_in(features)))

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "many nz nx width"]:
        """See `GridOperator.body`; many = batch * outputs."""
        for block in self.branch:
            x = block(x)
        x = jnp.reshape(x[:, None] * self._trunk(x)[None], (-1, *x.shape[1:]))
        for block in self.blocks:
            x = block(x)
        return x

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx outputs"]:
        """See `GridOperator.__call__`."""
        fields = super().__call__(x)
        return jnp.moveaxis(fields.reshape(x.shape[0], self.outputs, *x.shape[1:3]), 1, -1)
