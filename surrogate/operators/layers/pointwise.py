"""Pointwise linear layers: the same for every cell.

y = x W + b
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from surrogate.operators.layers.convolution import convolve
from surrogate.operators.layers.drop_path import Identity


class Linear(nnx.Linear):
    """`nnx.Linear` on the rows of a matrix: with more axes XLA transposes the field for the gradient of the weights."""

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.out_features)


NORMS = ("sample", "group", "instance", "none")


def make_norm(kind: str, width: int, *, rngs: nnx.Rngs) -> nnx.GroupNorm | Identity:
    """One of `NORMS` over `width` channels: 2 width parameters, or none."""
    if kind == "none":
        return Identity()
    groups = {"sample": 1, "group": math.gcd(8, width), "instance": width}[kind]
    return nnx.GroupNorm(width, num_groups=groups, rngs=rngs)


def conv3x3(width: int, features: int, *, periodic: bool, strides: int = 1, rngs: nnx.Rngs) -> nnx.Conv:
    """9 width features + features parameters."""
    padding = "CIRCULAR" if periodic else "SAME"
    return nnx.Conv(width, features, (3, 3), strides, padding=padding, conv_general_dilated=convolve, rngs=rngs)


def positions(x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx 2"]:
    """Depth and lateral position of each cell, from -1 to 1."""
    batch, nz, nx, _ = x.shape
    position = jnp.meshgrid(jnp.linspace(-1, 1, nz), jnp.linspace(-1, 1, nx), indexing="ij")
    return jnp.broadcast_to(jnp.stack(position, axis=-1).astype(x.dtype), (batch, nz, nx, 2))
