"""U-FNO: a small U-Net is the local path of the last Fourier blocks.

    x <- x + Spectral(norm(x)) + UNet(norm(x)),    x <- x + MLP(norm(x))

Source: G. Wen et al., "U-FNO: an enhanced Fourier neural operator-based deep-learning model for multiphase flow", Adv.
Water Resour. 2022: plain Fourier layers first, then layers with a U-Net parallel to the spectral path.

Parameters: those of fno.py, where in the last `unet_blocks` blocks L is that of a U (u_shape.py) of `unet_levels`
levels, with one residual block (unet.py) in each stage.
"""

from dataclasses import dataclass

from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.ranges import ranged
from surrogate.operators.fno import FNOConfig
from surrogate.operators.unet import convolutional_u


@dataclass
class UFNOConfig(FNOConfig):
    """Describe a U-FNO; see `FourierConfig` for the other fields.

    Attributes:
        name: Name of the operator in the registry.
        unet_blocks: Number of last blocks whose local path is a U-Net (1 to depth).
        unet_levels: Number of halvings of the grid in these U-Nets.
    """

    name: str = "ufno"
    unet_blocks: int = ranged(2, "[1, 1024]")
    unet_levels: int = ranged(2, "[1, 32]")

    def check(self, group: str = "model") -> None:
        """See `OperatorConfig.check`."""
        super().check(group)
        if self.unet_blocks > self.depth:
            raise InputError(
                f"{group}.unet_blocks must be at most {group}.depth = {self.depth}, but is {self.unet_blocks}: these "
                "are the last of the blocks."
            )

    def local_layer(self, index: int, rngs: nnx.Rngs) -> nnx.Module | None:
        """See `FourierConfig.local_layer`; a U-Net in the last blocks."""
        if index < self.depth - self.unet_blocks:
            return super().local_layer(index, rngs)
        return convolutional_u(self, self.unet_levels, 1, rngs)
