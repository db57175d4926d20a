"""U-shaped neural operator: Fourier blocks on ever coarser grids with ever more channels, and back.

    level l: grid n / 2^l, modes / 2^l, 2^l width channels; between levels the trigonometric interpolant

Source: M. A. Rahman et al., "U-NO: U-shaped neural operators", TMLR 2023. Here the blocks are those of fno.py, and the
change of domain is a layer of its own (u_shape.py), without parameters in space: fields keep their wavenumbers.

Parameters: the frame's (grid_operator.py) and the U's with Fourier resampling (u_shape.py); a stage is `depth` blocks
of fno.py of width w_l and modes modes // 2^l.
"""

from dataclasses import dataclass, replace

from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.base import GridOperator
from surrogate.operators.fno import FourierConfig
from surrogate.operators.u_shape import FourierResampling, UShape


@dataclass
class UNOConfig(FourierConfig):
    """levels: halvings of the grid. depth: blocks in each stage. The rest as for the FNO, on the finest level."""

    name: str = "uno"
    depth: int = 1
    levels: int = 2

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if self.levels < 1:
            raise InputError(f"A U-NO needs at least one level, but levels is {self.levels}.")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "UNO":
        """See `OperatorConfig`."""
        self.check()
        return UNO(in_channels, out_channels, self, rngs=rngs)


class UNO(GridOperator):
    """Maps `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries its modes."""

    def assemble(self, config: UNOConfig, rngs: nnx.Rngs) -> None:
        """See `GridOperator`."""

        def stage(level: int, rngs: nnx.Rngs) -> nnx.Module:
            factor = 2**level
            modes = [m // factor for m in config.modes]
            here = replace(config, width=factor * config.width, modes=modes)
            return nnx.Sequential(*here.blocks(config.depth, rngs))

        def resampling(width: int, rngs: nnx.Rngs) -> FourierResampling:
            return FourierResampling(width, rngs=rngs)

        self.u = UShape(config.width, config.levels, stage, resampling, rngs=rngs)

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "batch nz nx width"]:
        """See `GridOperator`."""
        return self.u(x)
