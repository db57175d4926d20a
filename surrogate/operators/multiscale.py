"""Two operators in sequence: the second learns the residual of the first, at high wavenumbers.

    u = u_1(x) + High( u_2([x, u_1(x)]) ),    High removes the modes |k_z| <= cutoff_z, |k_x| <= cutoff_x

Source: C. Qin et al., "Toward a better understanding of Fourier neural operators from a spectral perspective", 2024
(SpecBoost): the residual of a Fourier operator consists of high wavenumbers, and a second operator fits those.

Joint training divides the work by wavenumber. Training in stages takes the first operator from a run of its own
(`first_run`, an FNO with the same settings, task, data and encoding; see surrogate/runs/initialization.py) and freezes
it: its weights are no parameters here.

Parameters: those of both FNOs (fno.py), the second with in_channels + out_channels inputs; in stages only the second's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.ranges import ranged
from surrogate.operators.base import OperatorConfig, copy_weights
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.spectral import extend, restrict


@dataclass
class MultiscaleConfig(OperatorConfig):
    """Describe two FNOs in sequence.

    Attributes:
        name: Name of the operator in the registry.
        first: Settings of the first FNO, as of model=fno.
        second: Settings of the second FNO, as of model=fno.
        cutoff: Largest modes along z and x [cycles per domain] that only the first FNO predicts; empty for none.
        first_run: Folder of a trained run of model=fno that the first FNO is copied from, and frozen; null trains both
            FNOs jointly.
    """

    name: str = "multiscale"
    first: FNOConfig = field(default_factory=FNOConfig)
    second: FNOConfig = field(default_factory=lambda: FNOConfig(width=16, depth=2, modes=[24, 24]))
    cutoff: list[int] = ranged([8, 8], "[0, 65536]", length=(0, 2))
    first_run: str | None = None

    def check(self, group: str = "model") -> None:
        """See `OperatorConfig.check`."""
        super().check(group)
        self.first.check(f"{group}.first")
        self.second.check(f"{group}.second")

    def create(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> "Multiscale":
        """See `OperatorConfig.create`."""
        self.check()
        return Multiscale(in_channels, out_channels, self, rngs=rngs)

    def reach(self) -> tuple[float, float] | None:
        """See `OperatorConfig.reach`."""
        first, second = self.first.reach(), self.second.reach()
        if first is None or second is None:
            return None
        return max(first[0], second[0]), max(first[1], second[1])

    def warm_start(self, operator: nnx.Module, load: Callable[[str, OperatorConfig], nnx.Module]) -> bool:
        """See `OperatorConfig.warm_start`; fills the first operator if trained in stages."""
        if self.first_run is None:
            return False
        assert isinstance(operator, Multiscale)
        copy_weights(load(self.first_run, self.first), operator.first)
        return True


class Frozen(nnx.Variable):
    """Mark a weight that is saved with the others, but never trained, decayed or averaged."""


def freeze(operator: nnx.Module) -> None:
    """Turn all parameters of an operator into `Frozen` variables of the same names and values.

    Args:
        operator: Operator to change in place.
    """
    for _, module in list(nnx.iter_modules(operator)):
        for name, value in list(vars(module).items()):
            if isinstance(value, nnx.Param):
                setattr(module, name, Frozen(value[...]))


class Multiscale(nnx.Module):
    """Map `(batch, nz, nx, in_channels)` to `(batch, nz, nx, out_channels)`, on any grid that carries the modes.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        config: Settings of the operator.
        rngs: Source of the initial weights.
    """

    def __init__(self, in_channels: int, out_channels: int, config: MultiscaleConfig, *, rngs: nnx.Rngs):
        self.cutoff = (config.cutoff[0], config.cutoff[1]) if config.cutoff else None
        frozen = config.first_run is not None
        # A frozen operator stays the function that it was trained to be: it drops no branch.
        first = replace(config.first, drop_path=0.0) if frozen else config.first
        self.first = first.create(in_channels, out_channels, rngs=rngs)
        self.second = config.second.create(in_channels + out_channels, out_channels, rngs=rngs)
        if frozen:
            freeze(self.first)

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx outputs"]:
        """See `GridOperator.__call__`."""
        first = self.first(x)
        second = self.second(jnp.concatenate([x, first], axis=-1))
        if self.cutoff is None:
            return first + second
        return first + second - extend(*restrict(second, self.cutoff), (x.shape[1], x.shape[2]))
