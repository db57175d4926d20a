"""Search along a direction, bent at the bounds, for a point that satisfies the strong Wolfe conditions.

    x(a) = clip(x + a d)
    J(x(a)) <= J(x) + DECREASE g . (x(a) - x)           it lowers the misfit by enough
    |dJ(x(a)) / da| <= CURVATURE |dJ(x(0)) / da|        it is near a minimum along the path

Source: J. Nocedal and S. Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6.

Rounding can hide a small decrease. Where the two misfits are equal within the objective's resolution, their difference
is taken from the mean of the two gradients, which is exact on a parabola.
Source: W. W. Hager and H. Zhang, SIAM Journal on Optimization 16 (2005), 170-192.
"""

from typing import NamedTuple

import numpy as np

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.protocol import Tally, Vector

DECREASE, CURVATURE = 1e-4, 0.9
SLIGHT = 1e-3  # a decrease below this part of the resolution is none
TRIALS = 20


class Point(NamedTuple):
    """Hold a model, its misfit and its gradient.

    Attributes:
        x: Model `(n,)` [m/s].
        value: Misfit.
        gradient: Gradient `(n,)`.
    """

    x: Vector
    value: float
    gradient: Vector

    @property
    def is_finite(self) -> bool:
        """Whether the misfit and its gradient are finite."""
        return bool(np.isfinite(self.value) and np.isfinite(self.gradient).all())


class _Trial(NamedTuple):
    """Length along the direction, misfit and derivative there."""

    length: float
    value: float
    slope: float


def decrease(old: Point, new: Point, resolution: float) -> float:
    """Compute by how much the misfit falls from one point to another.

    Args:
        old: First point.
        new: Second point.
        resolution: Relative rounding error of the misfit.

    Returns:
        The decrease, from the gradients where the misfits are equal within their resolution.
    """
    difference = old.value - new.value
    if abs(difference) > resolution * abs(old.value):
        return difference
    return float(-0.5 * (old.gradient + new.gradient) @ (new.x - old.x))


def search(tally: Tally, point: Point, direction: Vector, length: float, bounds: Bounds) -> Point | None:
    """Search along a direction.

    Args:
        tally: Objective.
        point: Point to start from, within the bounds.
        direction: Direction of descent `(n,)` [m/s].
        length: First length to try, in units of the direction.
        bounds: Bounds of every value.

    Returns:
        A point that satisfies both conditions. Where none was found, one that satisfies the first; else None.
    """

    def derivative(at: Point) -> float:
        leaving = np.where(direction < 0, at.x <= bounds.low, at.x >= bounds.high)
        return float(at.gradient[~leaving] @ direction[~leaving])

    lower = before = _Trial(0.0, point.value, derivative(point))
    first, upper, best = lower.slope, None, None
    visible = tally.objective.resolution * abs(point.value)  # changes of the misfit that rounding does not hide
    for _ in range(TRIALS if first < 0 else 0):
        x = bounds.clip(point.x + length * direction)
        if np.array_equal(x, point.x):
            break
        new = Point(x, *tally.evaluate(x))
        wanted = max(-DECREASE * float(point.gradient @ (x - point.x)), SLIGHT * visible)
        if not new.is_finite:
            upper = _Trial(length, np.inf, np.inf)
        elif not decrease(point, new, tally.objective.resolution) >= wanted:
            upper = _Trial(length, new.value, derivative(new))
            if -first * length <= visible:
                break
        else:
            trial = _Trial(length, new.value, derivative(new))
            best = new if best is None or new.value < best.value else best
            if abs(trial.slope) <= -CURVATURE * first:
                return new
            if trial.slope < 0:
                before, lower = lower, trial
            else:
                upper = trial
        length = _longer(before, lower) if upper is None else _between(lower, upper)
    return best


def _longer(before: _Trial, end: _Trial) -> float:
    """Choose a length beyond a trial at which the path is still steep."""
    width = end.length - before.length
    return end.length + float(np.clip(_cubic(before, end) - 1, 1.1, 4.0)) * width


def _between(lower: _Trial, upper: _Trial) -> float:
    """Choose a length between two trials, away from both."""
    part = _cubic(lower, upper) if np.isfinite(upper.value) else 0.25
    return lower.length + float(np.clip(part, 0.1, 0.9)) * (upper.length - lower.length)


def _cubic(start: _Trial, end: _Trial) -> float:
    """Find the minimum of the cubic through two trials, as a part of the way; infinity where there is none."""
    width = end.length - start.length
    bend = start.slope + end.slope + 3 * (start.value - end.value) / width
    root = np.sqrt(max(bend**2 - start.slope * end.slope, 0.0))
    below = end.slope - start.slope + 2 * root
    return float(1 - (end.slope + root - bend) / below) if below > 0 else np.inf
