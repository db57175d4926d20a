"""Two operators in sequence: the second learns what the first leaves, at high wavenumbers.

    u = u_1(x) + High( u_2([x, u_1(x)]) ),    High leaves out the modes |k_z| <= cutoff_z, |k_x| <= cutoff_x

Source: C. Qin et al., "Toward a better understanding of Fourier neural operators from a spectral perspective", 2024
(SpecBoost): the residual of a Fourier operator is made of high wavenumbers, and a second one fits those.

Joint training shares the work out by wavenumber. In stages, the first operator comes trained from a run of its own
(`first_run`, an FNO with the same settings, task, data and encoding; see stages.py) and is frozen: its weights are no
parameters here.

Parameters: those of both FNOs (fno.py), the second with in_channels + out_channels inputs; in stages its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.base import OperatorConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.spectral import extend, restrict


@dataclass
class MultiscaleConfig(OperatorConfig):
    """first, second: settings of the two FNOs. cutoff: modes along z and x left to the first, none if empty.

    first_run: folder of the trained run that the first is taken from, and frozen; none: both are trained jointly.
    """

    name: str = "multiscale"
    first: FNOConfig = field(default_factory=FNOConfig)
    second: FNOConfig = field(default_factory=lambda: FNOConfig(width=16, depth=2, modes=[24, 24]))
    cutoff: list[int] = field(default_factory=lambda: [8, 8])
    first_run: str | None = None

    def check(self) -> None:
        """Raise `InputError` for values no operator could be made of."""
        super().check()
        self.first.check()
        self.second.check()
        if len(self.cutoff) not in (0, 2) or min(self.cutoff, default=0) < 0:
            raise InputError(f"model.cutoff must be empty or two numbers of modes, but is {self.cutoff}.")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "Multiscale":
        """See `OperatorConfig`."""
        self.check()
        return Multiscale(in_channels, out_channels, self, rngs=rngs)

    def reach(self) -> tuple[float, float]:
        """See `OperatorConfig`."""
        (first_z, first_x), (second_z, second_x) = self.first.reach(), self.second.reach()
        return max(first_z, second_z), max(first_x, second_x)

    def warm_start(self, operator: nnx.Module, load: Callable[[str, OperatorConfig], nnx.Module]) -> bool:
        """See `OperatorConfig`: the first operator's, in stages."""
        if self.first_run is None:
            return False
        assert isinstance(operator, Multiscale)
        operator.adopt(load(self.first_run, self.first))
        return True


class Frozen(nnx.Variable):
    """A weight that is saved with the others, but never trained, decayed or averaged."""


def freeze(operator: nnx.Module) -> None:
    """Turn all parameters of an operator into `Frozen` variables of the same names and values."""
    for _, module in list(nnx.iter_modules(operator)):
        for name, value in list(vars(module).items()):
            if isinstance(value, nnx.Param):
                setattr(module, name, Frozen(value[...]))


class Multiscale(nnx.Module):
    """Maps `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries the modes."""

    def __init__(self, in_channels: int, out_channels: int, config: MultiscaleConfig, *, rngs: nnx.Rngs):
        self.cutoff = (config.cutoff[0], config.cutoff[1]) if config.cutoff else None
        frozen = config.first_run is not None
        # What is frozen is the function it was trained to be: it leaves out no branch.
        first = replace(config.first, drop_path=0.0) if frozen else config.first
        self.first = first.create(in_channels, out_channels, rngs=rngs)
        self.second = config.second.create(in_channels + out_channels, out_channels, rngs=rngs)
        if frozen:
            freeze(self.first)

    def adopt(self, trained: nnx.Module) -> None:
        """Take the first operator's weights from a trained one of the same settings."""
        ours, theirs = (dict(nnx.to_flat_state(nnx.state(o))) for o in (self.first, trained))
        for path, variable in ours.items():
            variable[...] = theirs[path][...]
        nnx.update(self.first, nnx.from_flat_state(list(ours.items())))

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx outputs"]:
        first = self.first(x)
        second = self.second(jnp.concatenate([x, first], axis=-1))
        if self.cutoff is None:
            return first + second
        return first + second - extend(*restrict(second, self.cutoff), (x.shape[1], x.shape[2]))
