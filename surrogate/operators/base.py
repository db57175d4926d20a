"""What all operators on a grid share: lifting, positions, padding, normalisation and projection.

    h = norm(crop(body(pad(lift(x, position)))))
    u = project([h, gate(h) * local(x)])

The norm by default is one number per sample, over all cells and channels: a norm per cell would blow up the silence
ahead of a wave front to the strength of the wave. The domain is padded by a fraction on both sides, since a Fourier
basis is periodic and the wave's window is not. Fractions, not cells: an operator trained on one grid runs on another.

The products are optional. A delay or an amplitude that is wrong by a smooth field is that field times a derivative of
the wave, so that where the input holds a wave to correct, its local derivatives (a 3x3 convolution) times what the body
has learnt say much in one step: in rough media they took a third of the training steps to the same error (measured).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.layers.pointwise import NORMS, Linear, conv3x3, make_norm, positions


@dataclass
class OperatorConfig:
    """What every operator's config is: a name that says which schema it has, and a way to create the operator.

    name: the operator's in the registry; chosen with `model=NAME`, never set by itself.
    """

    name: str = ""

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> nnx.Module:
        """The operator `(batch, nz, nx, in_channels) -> (batch, nz, nx, out_channels)`; raises `InputError`."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        if self.name != type(self).name:
            raise InputError(
                f"model.name = {self.name!r} stands in the settings of {type(self).name!r}. It only records which "
                f"operator they are of; choose another with model={self.name}."
            )

    def reach(self) -> tuple[float, float] | None:
        """The largest wavenumbers of the spectral path along z and x, in cycles per domain; None without one."""
        return None

    def warm_start(self, operator: nnx.Module, load: Callable[[str, "OperatorConfig"], nnx.Module]) -> bool:
        """Put weights that another run has trained into a fresh operator; `load` gives a run's, of these settings.

        False: there is no such run, so that the normalisation is yet to be found too.
        """
        return False


@dataclass
class GridOperatorConfig(OperatorConfig):
    """width: channels. padding: added on each side, as a fraction of the domain.

    norm: sample (over all cells and channels), group (eight groups of channels), instance (each channel) or none.
    drop_path: the probability of leaving out a residual branch of the last block; of earlier ones proportionally less
    (uno: in each of its stages; unet, and the U of ufno: by level, the most at the bottom).
    products: channels of products with local features of the input, which the projection sees too.
    periodic: the domain is a periodic box: no positions, no padding, convolutions that wrap around.
    """

    width: int = 32
    padding: float = 0.0625
    norm: str = "sample"
    drop_path: float = 0.0
    products: int = 0
    periodic: bool = False

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        if self.width < 1 or not 0 <= self.padding <= 1 or not 0 <= self.drop_path < 1:
            raise InputError(
                f"An operator needs a positive width, 0 <= padding <= 1 and 0 <= drop_path < 1: got {self}."
            )
        if self.products < 0:
            raise InputError(f"model.products must be 0 (none) or a number of channels, but is {self.products}.")
        if self.norm not in NORMS:
            raise InputError(f"model.norm must be one of {', '.join(NORMS)}, but is {self.norm!r}.")
        if self.periodic and self.padding:
            raise InputError(f"A periodic box has no sides to pad: set model.padding=0 (it is {self.padding}).")


class Products(nnx.Module):
    """gate(h) * local(x); see the module's text."""

    def __init__(self, in_channels: int, config: GridOperatorConfig, *, rngs: nnx.Rngs):
        self.gate = Linear(config.width, config.products, rngs=rngs)
        self.local = conv3x3(in_channels, config.products, periodic=config.periodic, rngs=rngs)

    def __call__(
        self, h: Float[Array, "many nz nx width"], x: Float[Array, "batch nz nx channels"]
    ) -> Float[Array, "many nz nx products"]:
        local = self.local(x)
        # An operator that runs its body once for each output has many = batch * outputs; an export knows neither size.
        return self.gate(h) * jnp.repeat(local, h.shape[0] // local.shape[0], axis=0)


class GridOperator(nnx.Module):
    """The module's frame; subclasses `assemble` a body that maps `width` channels to `width` channels.

    Parameters: (in_channels + 2 + 1) width for lifting, 2 width for the norm, (width + 1) out_channels to project;
    2 less width where periodic, and no norm where that is `none`. With p products (width + 1) p for the gate,
    (9 in_channels + 1) p for the local features, and p out_channels more to project.
    """

    def __init__(self, in_channels: int, out_channels: int, config: GridOperatorConfig, *, rngs: nnx.Rngs):
        self.padding = config.padding
        self.periodic = config.periodic
        self.lift = Linear(in_channels + (0 if config.periodic else 2), config.width, rngs=rngs)
        self.assemble(config, rngs)
        self.norm = make_norm(config.norm, config.width, rngs=rngs)
        # Zero at the start: the first prediction is the baseline that the encoding supplies.
        zeros = nnx.initializers.zeros
        self.project = Linear(config.width + config.products, out_channels, kernel_init=zeros, rngs=rngs)
        self.products = Products(in_channels, config, rngs=rngs) if config.products else None

    def assemble(self, config, rngs: nnx.Rngs) -> None:
        """Make the body's layers."""
        raise NotImplementedError

    def body(self, x: Float[Array, "batch nz nx width"]) -> Float[Array, "many nz nx width"]:
        """What happens on the padded domain."""
        raise NotImplementedError

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "many nz nx outputs"]:
        nz, nx = x.shape[1:3]
        h = self.lift(x if self.periodic else jnp.concatenate([x, positions(x)], axis=-1))
        pad_z, pad_x = round(self.padding * nz), round(self.padding * nx)
        h = jnp.pad(h, ((0, 0), (pad_z, pad_z), (pad_x, pad_x), (0, 0)))
        h = self.norm(self.body(h)[:, pad_z : pad_z + nz, pad_x : pad_x + nx])
        return self.project(h if self.products is None else jnp.concatenate([h, self.products(h, x)], axis=-1))
