"""Prefer models near the start, by the mean squared difference: mean((v - v_start)^2)."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclass(frozen=True)
class Distance:
    """Take the mean squared difference from the start [m^2 / s^2]: 1e4 where all cells differ by 100 m/s."""

    def __call__(
        self, velocity: Float[Array, "nz nx"], start: Float[Array, "nz nx"], spacing: float
    ) -> Float[Array, ""]:
        """See `Regularizer.__call__`."""
        return jnp.mean((velocity - start) ** 2)
