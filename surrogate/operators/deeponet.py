"""Fourier-DeepONet: a branch for the input field, a trunk for where and which output, their product decoded.

    u(., tau) = project( blocks( branch(x) * trunk(z, x, tau) ) ),    tau = -1 .. 1 over the outputs

Sources: L. Lu et al., "DeepONet", Nature Machine Intelligence 2021; M. Zhu et al., "Fourier-DeepONet: Fourier-enhanced
deep operator networks for full waveform inversion", Comput. Methods Appl. Mech. Eng. 2023. Here the branch is made of
Fourier blocks on the field itself, and the output's index (a snapshot's time) enters through the trunk, so that the
decoder runs once for each output: its cost grows with their number, its parameters do not.

Parameters: the frame's (grid_operator.py) with one output channel, (branch_depth + depth) blocks of fno.py, and the
trunk's (3 + 1) w + (w + 1) w; 2 w less where periodic.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.base import GridOperator
from surrogate.operators.fno import FourierConfig
from surrogate.operators.layers.pointwise import Linear, positions


@dataclass
class DeepONetConfig(FourierConfig):
    """branch_depth: blocks before the product. depth: blocks after it. The rest as for the FNO."""

    name: str = "deeponet"
    depth: int = 3
    branch_depth: int = 1

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if self.branch_depth < 1:
            raise InputError(f"A Fourier-DeepONet needs branch_depth >= 1, but it is {self.branch_depth}.")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "FourierDeepONet":
        """See `OperatorConfig`."""
        self.check()
        return FourierDeepONet(in_channels, out_channels, self, rngs=rngs)


class FourierDeepONet(GridOperator):
    """Maps `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries its modes."""

    def __init__(self, in_channels: int, out_channels: int, config: DeepONetConfig, *, rngs: nnx.Rngs):
        super().__init__(in_channels, 1, config, rngs=rngs)
        self.outputs = out_channels

    def assemble(self, config: DeepONetConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator`."""
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
        """See `GridOperator`; many = batch * outputs."""
        for block in self.branch:
            x = block(x)
        x = jnp.reshape(x[:, None] * self._trunk(x)[None], (-1, *x.shape[1:]))
        for block in self.blocks:
            x = block(x)
        return x

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx outputs"]:
        fields = super().__call__(x)
        return jnp.moveaxis(fields.reshape(x.shape[0], self.outputs, *x.shape[1:3]), 1, -1)
