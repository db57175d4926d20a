"""Incremental modes: a spectral operator begins with few Fourier modes, and the others are switched on as it learns.

    mode k is on at step t    if    |k| <= round( modes min(1, start + (1 - start) t / steps) )    along each axis

Source: R. George et al., "Incremental spatial and spectral learning of neural operators for solving large-scale PDEs",
TMLR 2024. Low frequencies are learnt first; fewer of them regularise.

The weights of modes that are off are multiplied by zero, which makes the operator the one that has only the others; the
step is a traced value, so nothing is compiled twice. Whatever is validated or kept has the zeros in its weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer

from data_gen.common.errors import InputError
from surrogate.operators.layers.spectral import SpectralLayer


@dataclass
class ModeSchedule:
    """start: fraction of the modes along each axis that is on at first. steps: by when all are; 0: from the start."""

    start: float = 0.25
    steps: int = 0

    def check(self) -> None:
        """Raise `InputError` for values no schedule could have."""
        if not 0 <= self.start <= 1 or self.steps < 0:
            raise InputError(
                "training.mode_schedule needs a fraction 0 <= start <= 1 and steps >= 0, but got "
                f"{self.start} and {self.steps}."
            )

    def check_operator(self, operator: nnx.Module) -> None:
        """Raise `InputError` if there is a schedule, but nothing in an operator that it could switch off."""
        if self.steps and not any(True for _ in _weights(operator)):
            raise InputError(
                f"training.mode_schedule.steps = {self.steps} would grow the Fourier modes of an operator that trains "
                "none. Set it to 0, or choose a spectral model."
            )

    def apply(self, operator: nnx.Module, step: Integer[Array, ""]) -> None:
        """Switch off, in place, what is not on at `step` of an operator's modes; nothing, without a schedule."""
        if self.steps:
            limit_modes(operator, jnp.minimum(1.0, self.start + (1 - self.start) * step / self.steps))


def _on(wavenumbers: np.ndarray, fraction: Float[Array, ""]) -> Float[Array, " n"]:
    return jnp.where(wavenumbers <= jnp.round(fraction * wavenumbers.max()), 1.0, 0.0)


def _weights(operator: nnx.Module) -> Iterator[tuple[nnx.Param, tuple[np.ndarray, ...]]]:
    """Every trained weight with modes, and their wavenumbers along its first axes."""
    for _, layer in nnx.iter_modules(operator):
        if isinstance(layer, SpectralLayer):
            for name, axes in layer.wavenumbers().items():
                if isinstance(weight := getattr(layer, name), nnx.Param):
                    yield weight, axes


def limit_modes(operator: nnx.Module, fraction: Float[Array, ""]) -> None:
    """Keep, in place, the lowest `fraction` of the modes along each axis in every spectral layer; frozen ones whole."""
    for weight, axes in list(_weights(operator)):
        for axis, wavenumbers in enumerate(axes):
            shape = [-1 if i == axis else 1 for i in range(weight[...].ndim)]
            weight[...] = weight[...] * _on(wavenumbers, fraction).reshape(shape).astype(weight[...].dtype)
