"""U-FNO: a small U-Net as the local path of the last Fourier blocks.

    x <- x + Spectral(norm(x)) + UNet(norm(x)),    x <- x + MLP(norm(x))

Source: G. Wen et al., "U-FNO: an enhanced Fourier neural operator-based deep-learning model for multiphase flow", Adv.
Water Resour. 2022: plain Fourier layers first, then layers with a U-Net beside the spectral path.

Parameters: those of fno.py, where in the last `unet_blocks` blocks L is that of a U (u_shape.py) of `unet_levels`
levels, with one residual block (unet.py) in each stage.
"""

from dataclasses import dataclass

from flax import nnx

from data_gen.common.errors import InputError
from surrogate.operators.fno import FNOConfig
from surrogate.operators.unet import convolutional_u


@dataclass
class UFNOConfig(FNOConfig):
    """unet_blocks: how many of the last blocks have a U-Net as local path, of `unet_levels` halvings of the grid."""

    name: str = "ufno"
    unet_blocks: int = 2
    unet_levels: int = 2

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if not 1 <= self.unet_blocks <= self.depth or self.unet_levels < 1:
            raise InputError(
                f"A U-FNO needs 1 <= unet_blocks <= depth and unet_levels >= 1, but got {self.unet_blocks} of "
                f"{self.depth} and {self.unet_levels}."
            )

    def local_layer(self, index: int, rngs: nnx.Rngs) -> nnx.Module | None:
        """See `FNOConfig`."""
        if index < self.depth - self.unet_blocks:
            return super().local_layer(index, rngs)
        return convolutional_u(self, self.unet_levels, 1, rngs)
