"""Switch the Fourier modes of a spectral operator on in the course of training, the lowest ones first.

    mode k is on at step t    if    |k| <= round( modes min(1, start + (1 - start) t / steps) )    along each axis

Source: R. George et al., "Incremental spatial and spectral learning of neural operators for solving large-scale PDEs",
TMLR 2024. Low frequencies are learned first; fewer modes regularize.

The weights of modes that are off are multiplied by zero, which makes the operator the one that has only the other
modes; the step is a traced value, so nothing is compiled twice. The models that are validated or saved have the zeros
in their weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged
from surrogate.operators.layers.spectral import SpectralLayer


@dataclass
class ModeSchedule:
    """Set how the number of Fourier modes grows during training.

    Attributes:
        start: Fraction of the modes along each axis that are on at the first step.
        steps: Number of steps after which all modes are on; 0 switches all modes on from the start.
    """

    start: float = ranged(0.25, "[0, 1]")
    steps: int = ranged(0, "[0, inf)")

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: A value is out of its range.
        """
        check_fields(self, "training.mode_schedule")

    def check_operator(self, operator: nnx.Module) -> None:
        """Check that an operator has modes which the schedule can switch off.

        Args:
            operator: Operator to train.

        Raises:
            InputError: There is a schedule, but the operator trains no Fourier modes.
        """
        if self.steps and not any(True for _ in _weights(operator)):
            raise InputError(
                f"training.mode_schedule.steps = {self.steps} would grow the Fourier modes of an operator that trains "
                "none. Set it to 0, or choose a spectral model."
            )

    def apply(self, operator: nnx.Module, step: Integer[Array, ""]) -> None:
        """Switch off, in place, the modes of an operator that are not on yet; without a schedule nothing changes.

        Args:
            operator: Operator that is trained.
            step: Number of steps so far.
        """
        if self.steps:
            limit_modes(operator, jnp.minimum(1.0, self.start + (1 - self.start) * step / self.steps))


def _on(wavenumbers: np.ndarray, fraction: Float[Array, ""]) -> Float[Array, " n"]:
    return jnp.where(wavenumbers <= jnp.round(fraction * wavenumbers.max()), 1.0, 0.0)


def _weights(operator: nnx.Module) -> Iterator[tuple[nnx.Param, tuple[np.ndarray, ...]]]:
    """Find every trained weight with modes, and their wavenumbers along its first axes."""
    for _, layer in nnx.iter_modules(operator):
        if isinstance(layer, SpectralLayer):
            for name, axes in layer.wavenumbers().items():
                if isinstance(weight := getattr(layer, name), nnx.Param):
                    yield weight, axes


def limit_modes(operator: nnx.Module, fraction: Float[Array, ""]) -> None:
    """Keep, in place, the lowest modes along each axis of every spectral layer; frozen weights stay as they are.

    Args:
        operator: Operator with spectral layers.
        fraction: Fraction of the modes to keep along each axis.
    """
    for weight, axes in list(_weights(operator)):
        for axis, wavenumbers in enumerate(axes):
            shape = [-1 if i == axis else 1 for i in range(weight[...].ndim)]
            weight[...] = weight[...] * _on(wavenumbers, fraction).reshape(shape).astype(weight[...].dtype)
