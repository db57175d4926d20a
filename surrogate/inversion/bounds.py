"""Keep a velocity model within bounds, cell by cell. A cell whose two bounds coincide is held fixed.

At a bound, the part of a gradient that leads out of it is left out: otherwise an optimizer would collect it in its
moments or its history, though no step follows it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Bounds(NamedTuple):
    """Hold the lowest and the highest velocity of every cell.

    Attributes:
        low: Lowest velocities `(nz, nx)` [m/s].
        high: Highest velocities `(nz, nx)` [m/s].
    """

    low: Float[Array, "nz nx"]
    high: Float[Array, "nz nx"]

    @property
    def free(self) -> Bool[Array, "nz nx"]:
        """Cells that are not held fixed."""
        return self.low < self.high

    def clip(self, model: Float[Array, "nz nx"]) -> Float[Array, "nz nx"]:
        """Move every velocity into its bounds.

        Args:
            model: Velocity model `(nz, nx)` [m/s].

        Returns:
            The model within bounds `(nz, nx)` [m/s].
        """
        return jnp.clip(model, self.low, self.high)

    def active(self, model: Float[Array, "nz nx"], gradient: Float[Array, "nz nx"]) -> Bool[Array, "nz nx"]:
        """Find the cells at a bound, or beyond it, that descent does not lead back inside.

        Args:
            model: Velocity model `(nz, nx)` [m/s].
            gradient: Gradient of the misfit there `(nz, nx)`.

        Returns:
            Mask of these cells `(nz, nx)`.
        """
        return ((model <= self.low) & (gradient >= 0)) | ((model >= self.high) & (gradient <= 0))

    def project(self, model: Float[Array, "nz nx"], gradient: Float[Array, "nz nx"]) -> Float[Array, "nz nx"]:
        """Remove from a gradient what leads out of the bounds.

        Args:
            model: Velocity model `(nz, nx)` [m/s].
            gradient: Gradient of the misfit there `(nz, nx)`.

        Returns:
            The gradient, zero in the active cells `(nz, nx)`.
        """
        return jnp.where(self.active(model, gradient), 0, gradient)


def make_bounds(
    low: float, high: float, start: Float[Array, "nz nx"], fixed: Bool[Array, "nz nx"] | None = None
) -> Bounds:
    """Make the bounds of an inversion.

    Args:
        low: Lowest velocity of a free cell [m/s].
        high: Highest velocity of a free cell [m/s].
        start: Starting model `(nz, nx)` [m/s], whose velocities fixed cells keep.
        fixed: Mask of the fixed cells `(nz, nx)`; None: all cells are free.

    Returns:
        The bounds of every cell.
    """
    held = jnp.zeros(start.shape, bool) if fixed is None else fixed
    return Bounds(jnp.where(held, start, low), jnp.where(held, start, high))
