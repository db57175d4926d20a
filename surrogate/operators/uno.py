"""U-shaped neural operator: Fourier blocks on ever coarser grids with ever more channels, and back.

    level l: grid n / 2^l, modes / 2^l, 2^l width channels; between levels the trigonometric interpolant

Source: M. A. Rahman et al., "U-NO: U-shaped neural operators", TMLR 2023. Here the blocks are those of fno.py, and the
change of grid is a separate layer (u_shape.py) without parameters in space: fields keep their wavenumbers.

Parameters: the frame's (base.py) and the U's with Fourier resampling (u_shape.py); a stage is `depth` blocks
of fno.py of width w_l and modes modes // 2^l.
"""

from dataclasses import dataclass, replace

from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.ranges import ranged
from surrogate.operators.base import GridOperator
from surrogate.operators.fno import FourierConfig
from surrogate.operators.u_shape import FourierResampling, UShape


@dataclass
class UNOConfig(FourierConfig):
    """Describe a U-NO; see `FourierConfig` for the other fields, whose values belong to the finest level.

    Attributes:
        name: Name of the operator in the registry.
        depth: Number of blocks in each stage.
        levels: Number of halvings of the grid.
    """

    name: str = "uno"
    depth: int = ranged(1, "[1, 1024]")
    levels: int = ranged(2, "[1, 32]")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "UNO":
        """See `OperatorConfig.create`."""
        self.check()
        return UNO(in_channels, out_channels, self, rngs=rngs)


class UNO(GridOperator):
    """Map `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries the modes."""

    def assemble(self, config: UNOConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator.assemble`."""

        def stage(level: int, rngs: nnx.Rngs) -> nnx.Module:
            factor = 2**level
            modes = [m // factor for m in config.modes]
            here = replace(config, width=factor * config.width, modes=modes)
            return nnx.Sequential(*here.blocks(config.depth, rngs))

        def resampling(width: int, rngs: nnx.Rngs) -> FourierResampling:
            return FourierResampling(width, rngs=rngs)

        self.u = UShape(config.width, config.levels, stage, resampling, rngs=rngs)

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `GridOperator.body`."""
        return self.u(x)
