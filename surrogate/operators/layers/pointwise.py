"""Small layers that the operators share: a pointwise linear map, norms, 3x3 convolutions and positions.

y = x W + b, the same for every cell
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from surrogate.operators.layers.convolution import convolve
from surrogate.operators.layers.drop_path import Identity


class Linear(nnx.Linear):
    """Apply `nnx.Linear` to the rows of a matrix; its arguments are those of `nnx.Linear`.

    With more axes XLA transposes the field for the gradient of the weights.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map the channels of every cell.

        Args:
            x: Features `(..., in_features)`.

        Returns:
            Features `(..., out_features)`.
        """
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.out_features)


class GroupNorm(nnx.GroupNorm):
    """Apply `nnx.GroupNorm` with scale and bias, with sums over cells before those over the channels of a group.

    XLA's CPU compiler does not vectorize both sums at once: 16 samples of 70 x 70 cells and 16 channels in eight groups
    take eight times as long.
    """

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalize each group of channels of each sample.

        Args:
            x: Features `(batch, ..., channels)`.

        Returns:
            Features of the same shape.
        """
        assert self.scale is not None and self.bias is not None
        scale, bias = self.scale[...], self.bias[...]
        dtype = self.dtype or jnp.result_type(x, scale, bias)
        x = x.astype(dtype)
        wide, cells = x.astype(jnp.promote_types(dtype, jnp.float32)), tuple(range(1, x.ndim - 1))
        mean, square = (self._of_groups(jnp.mean(values, cells, keepdims=True)) for values in (wide, wide**2))
        inverse = lax.rsqrt(jnp.maximum(square - mean**2, 0) + self.epsilon)
        return ((wide - mean) * (inverse * scale) + bias).astype(dtype)

    def _of_groups(self, means: jax.Array) -> jax.Array:
        """Average over the channels of a group, and give each channel the average of its group."""
        groups = means.reshape(*means.shape[:-1], self.num_groups, self.group_size)
        return jnp.broadcast_to(jnp.mean(groups, axis=-1, keepdims=True), groups.shape).reshape(means.shape)


NORMS = ("sample", "group", "instance", "none")


def make_norm(kind: str, width: int, *, rngs: nnx.Rngs) -> GroupNorm | Identity:
    """Create a norm of 2 width parameters, or an `Identity`.

    Args:
        kind: One of `NORMS`: sample (all cells and channels), group (eight groups of channels), instance (each
            channel) or none.
        width: Number of channels.
        rngs: Source of the initial weights.

    Returns:
        The layer.
    """
    if kind == "none":
        return Identity()
    groups = {"sample": 1, "group": math.gcd(8, width), "instance": width}[kind]
    return GroupNorm(width, num_groups=groups, rngs=rngs)


def conv3x3(width: int, features: int, *, periodic: bool, strides: int = 1, rngs: nnx.Rngs) -> nnx.Conv:
    """Create a 3x3 convolution of 9 width features + features parameters.

    Args:
        width: Number of input channels.
        features: Number of output channels.
        periodic: Whether the convolution wraps around; otherwise zeros surround the grid.
        strides: Stride along both axes.
        rngs: Source of the initial weights.

    Returns:
        The layer.
    """
    padding = "CIRCULAR" if periodic else "SAME"
    return nnx.Conv(width, features, (3, 3), strides, padding=padding, conv_general_dilated=convolve, rngs=rngs)


def positions(x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx 2"]:
    """Return depth and lateral position of each cell, from -1 to 1.

    Args:
        x: Any field on the grid `(batch, nz, nx, channels)`.

    Returns:
        Positions `(batch, nz, nx, 2)`, with the dtype of `x`.
    """
    batch, nz, nx, _ = x.shape
    position = jnp.meshgrid(jnp.linspace(-1, 1, nz), jnp.linspace(-1, 1, nx), indexing="ij")
    return jnp.broadcast_to(jnp.stack(position, axis=-1).astype(x.dtype), (batch, nz, nx, 2))
