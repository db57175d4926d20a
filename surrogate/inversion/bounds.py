"""Keep a model within bounds, value by value. A value whose two bounds coincide is held fixed.

At a bound, the part of a gradient that leads out of it is left out: otherwise an optimizer would collect it in its
moments or its history, though no step follows it.
"""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float64


class Bounds(NamedTuple):
    """Hold the lowest and the highest value of every unknown.

    Attributes:
        low: Lowest values, of the model's shape [m/s].
        high: Highest values, of the model's shape [m/s].
    """

    low: Float64[np.ndarray, "..."]
    high: Float64[np.ndarray, "..."]

    @property
    def free(self) -> Bool[np.ndarray, "*shape"]:
        """Values that are not held fixed."""
        return self.low < self.high

    def clip(self, model: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """Move every value into its bounds.

        Args:
            model: Model, of any shape [m/s].

        Returns:
            The model within bounds, of the same shape [m/s].
        """
        return np.clip(model, self.low, self.high)

    def active(
        self, model: Float64[np.ndarray, "*shape"], gradient: Float64[np.ndarray, "*shape"]
    ) -> Bool[np.ndarray, "*shape"]:
        """Find the values at a bound, or beyond it, that descent does not lead back inside.

        Args:
            model: Model, of any shape [m/s].
            gradient: Gradient of the misfit there, of the same shape.

        Returns:
            Mask of these values, of the same shape.
        """
        return ((model <= self.low) & (gradient >= 0)) | ((model >= self.high) & (gradient <= 0))

    def project(
        self, model: Float64[np.ndarray, "*shape"], gradient: Float64[np.ndarray, "*shape"]
    ) -> Float64[np.ndarray, "*shape"]:
        """Remove from a gradient what leads out of the bounds.

        Args:
            model: Model, of any shape [m/s].
            gradient: Gradient of the misfit there, of the same shape.

        Returns:
            The gradient, zero in the active values, of the same shape.
        """
        return np.where(self.active(model, gradient), 0.0, gradient)


def make_bounds(low: float, high: float, start: ArrayLike, fixed: ArrayLike | None = None) -> Bounds:
    """Make the bounds of an inversion.

    Args:
        low: Lowest velocity of a free cell [m/s].
        high: Highest velocity of a free cell [m/s].
        start: Starting model, of any shape [m/s], whose velocities fixed cells keep.
        fixed: Mask of the fixed cells, of the same shape; None: all cells are free.

    Returns:
        The bounds of every cell. They are numbers of the start's precision, so that a model within them stays there
        when it is rounded to that precision.
    """
    model = np.asarray(start)
    held = np.zeros(model.shape, bool) if fixed is None else np.asarray(fixed)
    lowest, highest = (np.where(held, model, np.asarray(bound, model.dtype)) for bound in (low, high))
    return Bounds(lowest.astype(np.float64), highest.astype(np.float64))
