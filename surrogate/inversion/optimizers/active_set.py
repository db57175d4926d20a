"""Find the values that a step moves freely: all but those at a bound, or next to it, that descent would push beyond.

A step with a metric that couples values may descend only by what the bounds then cut off. It does not where those
values are taken out of the metric before. Values next to a bound are taken out as well as those at it, or steps would
become as short as the way to the bound; they are moved along their own gradient, no further than the bound.
Source: D. P. Bertsekas, SIAM Journal on Control and Optimization 20 (1982), 221-246.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.protocol import Vector

NEAR = 0.01  # how near to a bound counts as next to it, in learning rates


class ActiveSet(NamedTuple):
    """Hold what a step may do with each value.

    Attributes:
        free: Mask of the values that move freely `(n,)`.
        near: Mask of those that move along their own gradient, to the bound next to them `(n,)`.
    """

    free: Bool[np.ndarray, " n"]
    near: Bool[np.ndarray, " n"]

    def only_free(self, vector: Vector) -> Vector:
        """Set to zero what does not move freely.

        Args:
            vector: Vector `(n,)`.

        Returns:
            The vector, zero elsewhere `(n,)`.
        """
        return np.where(self.free, vector, 0.0)


def active_set(x: Vector, gradient: Vector, bounds: Bounds, learning_rate: float, rate: float) -> ActiveSet:
    """Find what a step may do with each value.

    Args:
        x: Model `(n,)` [m/s].
        gradient: Gradient of the misfit there `(n,)`.
        bounds: Bounds of every value.
        learning_rate: Length of a usual step [m/s].
        rate: Factor of a gradient that makes it a step of that length.

    Returns:
        The free values and those next to a bound.
    """
    # Next to a bound means less as steps become shorter, so that a minimum near a bound is found, too.
    longest = np.max(np.abs(x - bounds.clip(x - rate * gradient)), initial=0.0)
    reach = min(NEAR * learning_rate, float(longest))
    low, high = x - bounds.low <= reach, bounds.high - x <= reach
    held = (low & (gradient >= 0)) | (high & (gradient <= 0)) | ~bounds.free
    return ActiveSet(free=~held, near=held & ~bounds.active(x, gradient) & (gradient != 0))
