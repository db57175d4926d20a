"""Prefer smooth models, by the mean square of first or second derivatives over the area A of the model.

    first     1 / A  int  v_z^2 + v_x^2  dA
    second    1 / A  int  v_zz^2 + 2 v_zx^2 + v_xx^2  dA

Differences between neighbors stand for derivatives; beyond the model there are none. A constant has no first
derivative, and a linear function no second one, in whichever direction it rises. Source: A. N. Tikhonov and V. Y.
Arsenin, Solutions of Ill-posed Problems (1977). To smooth an update in place of the model, give `velocity - start`.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclass(frozen=True)
class FirstOrder:
    """Take the mean squared gradient [1 / s^2]: 1 where velocity changes by 1000 m/s over 1 km."""

    def __call__(
        self, velocity: Float[Array, "nz nx"], start: Float[Array, "nz nx"], spacing: float
    ) -> Float[Array, ""]:
        """See `Regularizer.__call__`."""
        steps = (jnp.diff(velocity, axis=axis) / spacing for axis in (0, 1))
        return sum((jnp.sum(step**2) for step in steps), jnp.zeros((), velocity.dtype)) / velocity.size


@dataclass(frozen=True)
class SecondOrder:
    """Take the mean squared second derivatives [1 / (m^2 s^2)]."""

    def __call__(
        self, velocity: Float[Array, "nz nx"], start: Float[Array, "nz nx"], spacing: float
    ) -> Float[Array, ""]:
        """See `Regularizer.__call__`."""
        deep, wide = (jnp.diff(velocity, 2, axis=axis) / spacing**2 for axis in (0, 1))
        mixed = jnp.diff(jnp.diff(velocity, axis=0), axis=1) / spacing**2
        return (jnp.sum(deep**2) + 2 * jnp.sum(mixed**2) + jnp.sum(wide**2)) / velocity.size
