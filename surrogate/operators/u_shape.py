"""U shape: stages on ever coarser grids and back, with a skip connection on each level.

    down: s_l = encode_l(x),  x <- shrink_l(s_l);    x <- bottom(x);    up: x <- decode_l(fuse_l([grow_l(x), s_l]))

Source: O. Ronneberger et al., "U-Net", MICCAI 2015. Level l has 2^l width channels on every 2^l-th cell, rounded up, so
any grid is allowed. The caller chooses the stages and the resampling between grids: convolutions in unet.py and
ufno.py, Fourier layers in uno.py.

Parameters, with w_l = 2^l width: those of the stages, one at the bottom and two at each level above, and for each level
(2 w_l + 1) w_l to fuse, and A_l to shrink plus A_l' to grow: 9 w_l w_(l+1) + w_(l+1) and 9 w_l w_(l+1) + w_l with
convolutions, w_l w_(l+1) + w_(l+1) and w_l w_(l+1) + w_l with Fourier resampling.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from surrogate.operators.layers.pointwise import Linear, conv3x3
from surrogate.operators.layers.spectral import resample

Stage = Callable[[int, nnx.Rngs], nnx.Module]  # level and random state -> stage of that level


def _half(n: int) -> int:
    return -(-n // 2)


class ConvResampling(nnx.Module):
    """Shrink by a strided convolution, and grow by bilinear interpolation and a convolution.

    Args:
        width: Number of channels on the finer of the two grids; the coarser one has twice as many.
        periodic: Whether the domain is a periodic box.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, periodic: bool, *, rngs: nnx.Rngs):
        self.periodic = periodic
        self.down = conv3x3(width, 2 * width, periodic=periodic, strides=2, rngs=rngs)
        self.up = conv3x3(2 * width, width, periodic=periodic, rngs=rngs)

    def shrink(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch mz mx doubled"]:
        """Reduce features to every second cell.

        Args:
            x: Features on the finer grid `(batch, nz, nx, width)`.

        Returns:
            Features on the coarser grid `(batch, ceil(nz / 2), ceil(nx / 2), 2 width)`.
        """
        return self.down(x)

    def grow(self, x: Float[Array, "batch mz mx doubled"], shape: tuple[int, int]) -> Float[Array, "batch nz nx width"]:
        """Interpolate features to the finer grid: linearly, or trigonometrically on a periodic box, to wrap around.

        Args:
            x: Features on the coarser grid `(batch, mz, mx, 2 width)`.
            shape: Shape of the finer grid `(nz, nx)`.

        Returns:
            Features on the finer grid `(batch, nz, nx, width)`.
        """
        sizes = (x.shape[0], *shape, x.shape[3])
        return self.up(resample(x, shape) if self.periodic else jax.image.resize(x, sizes, method="linear"))


class FourierResampling(nnx.Module):
    """Shrink and grow by the trigonometric interpolant and a linear map of the channels.

    Args:
        width: Number of channels on the finer of the two grids; the coarser one has twice as many.
        rngs: Source of the initial weights.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.down = Linear(width, 2 * width, rngs=rngs)
        self.up = Linear(2 * width, width, rngs=rngs)

    def shrink(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch mz mx doubled"]:
        """See `ConvResampling.shrink`."""
        return self.down(resample(x, (_half(x.shape[1]), _half(x.shape[2]))))

    def grow(self, x: Float[Array, "batch mz mx doubled"], shape: tuple[int, int]) -> Float[Array, "batch nz nx width"]:
        """See `ConvResampling.grow`."""
        return resample(self.up(x), shape)


class UShape(nnx.Module):
    """Map `(batch, nz, nx, width)` to the same shape.

    Args:
        width: Number of channels on the finest grid.
        levels: Number of halvings of the grid.
        stage: Creates the stage of a level, which maps `2^level width` channels to as many.
        resampling: Creates the resampling between a level of so many channels and the next coarser level.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        width: int,
        levels: int,
        stage: Stage,
        resampling: Callable[[int, nnx.Rngs], ConvResampling | FourierResampling],
        *,
        rngs: nnx.Rngs,
    ):
        widths = [2**level * width for level in range(levels)]
        self.encoders = nnx.List([stage(level, rngs) for level in range(levels)])
        self.resamplings = nnx.List([resampling(w, rngs) for w in widths])
        self.bottom = stage(levels, rngs)
        self.fuses = nnx.List([Linear(2 * w, w, rngs=rngs) for w in widths])
        self.decoders = nnx.List([stage(level, rngs) for level in range(levels)])

    def __call__(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """Apply all stages, down and up.

        Args:
            x: Features `(batch, nz, nx, width)`.

        Returns:
            Features of the same shape.
        """
        skips = []
        for encode, resampling in zip(self.encoders, self.resamplings, strict=True):
            x = encode(x)
            skips.append(x)
            x = resampling.shrink(x)
        x = self.bottom(x)
        for level in reversed(range(len(skips))):
            skip = skips[level]
            grown = self.resamplings[level].grow(x, skip.shape[1:3])
            x = self.decoders[level](self.fuses[level](jnp.concatenate([grown, skip], axis=-1)))
        return x
