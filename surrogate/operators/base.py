"""Frame of all operators on a grid: lifting, positions, padding, normalization and projection.

    h = unfold(spread(norm(crop(body(pad(lift(fold(x), position)))))))
    u = project([h, gate(h) * local(x)])

By default the norm divides each sample by one number, taken over all cells and channels: a norm per cell would amplify
the silence ahead of a wave front to the strength of the wave. The domain is padded on all sides, since a Fourier basis
is periodic and the window of the wave is not. Padding is a fraction of the domain, not a number of cells: an operator
trained on one grid runs on another.

With `patch` q, `fold` makes one cell of each block of q x q cells, so that the body works on q^2 times fewer of them,
and `spread` maps the features of such a cell to those of its block. With q = 1 both are left out. A block has a side in
cells: such an operator stays on its grid.

The products are optional. If the input holds a wave whose delay or amplitude is wrong by a smooth field, then the error
is that field times a derivative of the wave. A 3x3 convolution of the input gives the derivatives and the body gives
the smooth field, so their product corrects the wave directly: in rough media, training with products took a third of
the steps to the same error (measured).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged
from surrogate.operators.layers.patches import fold, to_whole_blocks
from surrogate.operators.layers.pointwise import NORMS, Linear, make_norm, positions
from surrogate.operators.layers.products import Products, Projection


def copy_weights(source: nnx.Module, target: nnx.Module) -> None:
    """Copy the weights of an operator into another of the same settings; its random state stays its own.

    Args:
        source: Trained operator.
        target: Operator to change in place; its weights may be frozen.
    """
    theirs = dict(nnx.to_flat_state(nnx.state(source)))
    ours = dict(nnx.to_flat_state(nnx.state(target, nnx.Not(nnx.RngState))))
    for path, variable in ours.items():
        variable[...] = theirs[path][...]
    nnx.update(target, nnx.from_flat_state(list(ours.items())))


@dataclass
class OperatorConfig:
    """Describe an operator: the name of its schema, and a way to create the operator.

    Attributes:
        name: Name of the operator in the registry; chosen with `model=NAME`, never set as `model.name=NAME`.
    """

    name: str = ""

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> nnx.Module:
        """Create the operator `(batch, nz, nx, in_channels) -> (batch, nz, nx, out_channels)`.

        Args:
            in_channels: Number of input channels.
            out_channels: Number of output channels.
            rngs: Source of the initial weights.

        Returns:
            The untrained operator.

        Raises:
            InputError: If `check` refuses a setting.
        """
        raise NotImplementedError

    def check(self, group: str = "model") -> None:
        """Refuse settings that no operator can be built from.

        Args:
            group: Name of the settings in errors.

        Raises:
            InputError: If a setting is outside its range.
        """
        if self.name != type(self).name:
            raise InputError(
                f"{group}.name = {self.name!r} stands in the settings of {type(self).name!r}. This key only records "
                f"the operator of the settings; choose another operator with model={self.name}."
            )
        check_fields(self, group)

    def reach(self) -> tuple[float, float] | None:
        """Return the largest wavenumbers of the spectral path along z and x [cycles per domain]; None without one."""
        return None

    def warm_start(self, operator: nnx.Module, load: Callable[[str, "OperatorConfig"], nnx.Module]) -> bool:
        """Copy weights that another run has trained into a new operator.

        Args:
            operator: New operator, changed in place.
            load: Returns the trained operator of a run, given the run's folder and the settings it must have.

        Returns:
            Whether there is such a run; if not, the normalization is yet to be computed too.
        """
        return False


@dataclass
class GridOperatorConfig(OperatorConfig):
    """Describe the frame that all operators on a grid share.

    Attributes:
        width: Number of channels inside the operator, on the finest grid.
        padding: Width of the zeros added on each side, as a fraction of the domain (0 to 1).
        norm: Over what a norm is taken: sample (all cells and channels of a sample), group (eight groups of channels),
            instance (each channel) or none.
        drop_path: Probability (0 to below 1) of dropping a residual branch of the last block in training. It grows
            linearly from block to block (uno: within each stage; unet and the U of ufno: by level, the most at the
            bottom).
        products: Number of channels of products with local features of the input, which the projection also reads; 0
            for none.
        periodic: Whether the domain is a periodic box, with circular convolutions and without positions; needs
            padding=0.
        patch: Side of the blocks that the operator sees as one cell [cells]; 1 for none. `modes` have to fit onto the
            grid of blocks.
    """

    width: int = ranged(32, "[1, 65536]")
    padding: float = ranged(0.0625, "[0, 1]")
    norm: str = ranged("sample", NORMS)
    drop_path: float = ranged(0.0, "[0, 1)")
    products: int = ranged(0, "[0, 65536]")
    periodic: bool = False
    patch: int = ranged(1, "[1, 64]")

    def check(self, group: str = "model") -> None:
        """See `OperatorConfig.check`."""
        super().check(group)
        if self.periodic and self.padding:
            raise InputError(f"A periodic box has no sides to pad: set {group}.padding=0 (it is {self.padding}).")


class GridOperator(nnx.Module):
    """Map `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)` by the module's equations.

    Subclasses `assemble` a body that maps `width` channels to `width` channels.

    Parameters: (in_channels + 2 + 1) width for lifting, 2 width for the norm, (width + 1) out_channels to project;
    2 width less if periodic, and no norm if it is `none`. With p products there are (width + 1) p more for the gate,
    (9 in_channels + 1) p for the local features, and p out_channels to project. With blocks of q x q cells there are
    (q^2 - 1) in_channels width more for lifting, and (width + 1) q^2 width to spread.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        config: Settings of the operator.
        rngs: Source of the initial weights.
    """

    def __init__(self, in_channels: int, out_channels: int, config: GridOperatorConfig, *, rngs: nnx.Rngs):
        self.padding = config.padding
        self.periodic = config.periodic
        self.patch = config.patch
        self.lift = Linear(config.patch**2 * in_channels + (0 if config.periodic else 2), config.width, rngs=rngs)
        self.assemble(config, rngs)
        self.norm = make_norm(config.norm, config.width, rngs=rngs)
        self.spread = Linear(config.width, config.patch**2 * config.width, rngs=rngs) if config.patch > 1 else None
        # Zero at the start: the first prediction is the baseline that the encoding supplies.
        zeros = nnx.initializers.zeros
        self.project = Linear(config.width + config.products, out_channels, kernel_init=zeros, rngs=rngs)
        self.products = (
            Products(in_channels, config.width, config.products, periodic=config.periodic, rngs=rngs)
            if config.products
            else None
        )

    def assemble(self, config, rngs: nnx.Rngs) -> None:
        """Create the layers of the body.

        Args:
            config: Settings of the operator.
            rngs: Source of the initial weights.
        """
        raise NotImplementedError

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "many nz nx width"]:
        """Apply the body on the padded domain.

        Args:
            x: Lifted and padded input `(batch, nz, nx, width)`.

        Returns:
            Features `(many, nz, nx, width)`, with many = batch except where a subclass says otherwise.
        """
        raise NotImplementedError

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "many nz nx outputs"]:
        """Apply the operator to a batch of normalized inputs.

        Args:
            x: Input `(batch, nz, nx, in_channels)`.

        Returns:
            Output `(batch, nz, nx, out_channels)`.

        Raises:
            InputError: If a periodic box is no whole number of blocks.
        """
        if self.periodic and any(side % self.patch for side in x.shape[1:3]):
            raise InputError(
                f"A periodic box of {x.shape[1]} x {x.shape[2]} cells is no whole number of blocks of {self.patch} x "
                f"{self.patch} cells: set model.patch to a divisor of both sides, or 1."
            )
        cells = fold(to_whole_blocks(x, self.patch), self.patch)
        nz, nx = cells.shape[1:3]
        h = self.lift(cells if self.periodic else jnp.concatenate([cells, positions(cells)], axis=-1))
        pad_z, pad_x = round(self.padding * nz), round(self.padding * nx)
        h = jnp.pad(h, ((0, 0), (pad_z, pad_z), (pad_x, pad_x), (0, 0)))
        h = self.norm(self.body(h)[:, pad_z : pad_z + nz, pad_x : pad_x + nx])
        return Projection(self.project, self.products, self.spread, self.patch)(h, x)
