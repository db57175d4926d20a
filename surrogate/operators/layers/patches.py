"""Fold blocks of cells into channels and back ("space to depth"), so that a body works on fewer cells.

Source: W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
neural network", CVPR 2016, the way back.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def to_whole_blocks(x: Float[Array, "batch nz nx channels"], side: int) -> Float[Array, "batch mz mx channels"]:
    """Repeat the last cells until the grid consists of whole blocks.

    Args:
        x: Features `(batch, nz, nx, channels)`.
        side: Side of a block [cells].

    Returns:
        Features `(batch, nz, nx, channels)`, both sides rounded up to multiples of `side`.
    """
    more = ((0, -cells % side) for cells in x.shape[1:3])
    return jnp.pad(x, ((0, 0), *more, (0, 0)), mode="edge")


def fold(x: Float[Array, "batch nz nx channels"], side: int) -> Float[Array, "batch mz mx folded"]:
    """Fold each block of cells into the channels of one cell.

    Args:
        x: Features `(batch, nz, nx, channels)` on a whole number of blocks.
        side: Side p of a block [cells].

    Returns:
        Features `(batch, nz / p, nx / p, p p channels)`.
    """
    batch, nz, nx, channels = x.shape
    x = x.reshape(batch, nz // side, side, nx // side, side, channels)
    return jnp.transpose(x, (0, 1, 3, 2, 4, 5)).reshape(batch, nz // side, nx // side, side**2 * channels)


def unfold(x: Float[Array, "batch mz mx folded"], side: int) -> Float[Array, "batch nz nx channels"]:
    """Spread the channels of each cell over a block of cells: the inverse of `fold`.

    Args:
        x: Features `(batch, mz, mx, p p channels)`.
        side: Side p of a block [cells].

    Returns:
        Features `(batch, p mz, p mx, channels)`.
    """
    batch, mz, mx, folded = x.shape
    x = x.reshape(batch, mz, mx, side, side, folded // side**2)
    return jnp.transpose(x, (0, 1, 3, 2, 4, 5)).reshape(batch, side * mz, side * mx, folded // side**2)
