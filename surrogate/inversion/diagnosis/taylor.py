"""Test a gradient by Taylor's theorem: what remains of the misfit's change beyond it is of second order.

    R(h) = |J(x + h d) - J(x) - h g . d|,    R(h / 10) = R(h) / 100 if g is the gradient, R(h) / 10 if not

The slope of log R over log h is thus 2 with the gradient and 1 with anything else. Long steps see higher orders, and
the shortest ones the rounding of J: the decade of the shortest steps whose remainders are well above it counts.
"""

from typing import NamedTuple, Protocol

import numpy as np

from data_gen.solver.diagnosis import Finding, judge
from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.protocol import Objective, Vector

PER_DECADE = 2  # steps
DECADES = 2.0
ROUNDING = 30.0  # in rounding errors of the misfit: remainders above it are known to a few percent
TOLERANCE = 0.2  # of the slope


class TaylorTest(NamedTuple):
    """Hold a test at one point.

    Attributes:
        steps: Lengths of the steps, the largest change of an unknown `(n,)`.
        remainders: Remainders R, in misfits at the point `(n,)`.
        slope: Slope over the decade of the shortest steps that count; NaN if fewer do.
    """

    steps: np.ndarray
    remainders: np.ndarray
    slope: float


class ValuedObjective(Objective, Protocol):
    """Compute a misfit alone, too, which is cheaper than with its gradient."""

    def value(self, x: Vector) -> float:
        """Compute the misfit.

        Args:
            x: Unknowns `(n,)`.

        Returns:
            The misfit.
        """
        ...


def taylor_test(objective: ValuedObjective, x: Vector, direction: Vector) -> TaylorTest:
    """Test the gradient at one point along one direction.

    Args:
        objective: The misfit and its gradient.
        x: Unknowns `(n,)`.
        direction: The longest step `(n,)`.

    Returns:
        The test.
    """
    longest = float(np.abs(direction).max())
    unit = direction / longest
    steps = longest * 10.0 ** -np.arange(0, DECADES + 1e-9, 1 / PER_DECADE)
    value, gradient = objective.value_and_gradient(x)
    along = float(gradient @ unit)
    remainders = np.array([abs(objective.value(x + h * unit) - value - h * along) for h in steps])
    # A small misfit is a square of small differences of data: an error e of these changes it by 2 sqrt(J) e.
    counted = remainders > ROUNDING * objective.resolution * max(abs(value), abs(value) ** 0.5)
    slope = np.nan
    for first in range(len(steps) - PER_DECADE):
        if counted[first : first + PER_DECADE + 1].all():
            slope = float(np.log10(remainders[first] / remainders[first + PER_DECADE]))
    return TaylorTest(steps, remainders / (abs(value) or 1.0), slope)


def inward(x: Vector, direction: Vector, bounds: Bounds) -> Vector:
    """Keep a direction within the bounds, and off fixed unknowns.

    Args:
        x: Unknowns `(n,)`.
        direction: The longest step `(n,)`.
        bounds: Bounds of the unknowns.

    Returns:
        The direction, zero for unknowns that would leave their bounds, or whose bounds are equal.
    """
    inside = (x + direction <= bounds.high) & (x + direction >= bounds.low) & bounds.free
    return np.where(inside, direction, 0.0)


def judge_gradient(tests: dict[str, TaylorTest]) -> Finding:
    """Judge the gradient by its tests.

    Args:
        tests: Tests by the name of the point.

    Returns:
        The finding.
    """
    told = {name: test.slope for name, test in tests.items() if np.isfinite(test.slope)}
    wanted = f"2 within {TOLERANCE:g} over a decade of steps"
    if not told:
        return Finding("gradient", "not told: all remainders are rounding errors", wanted)
    measured = ", ".join(f"{slope:.2f} at {name}" for name, slope in told.items())
    wrong = [name for name, slope in told.items() if abs(slope - 2) > TOLERANCE]
    remedy = ""
    if wrong:
        remedy = (
            f"The gradient at {' and '.join(wrong)} is not that of the misfit to second order: the misfit has kinks "
            "there (huber, wasserstein and total_variation may), or steps of 2 % of the velocity skip cycles. Take "
            "inversion.misfit=l2 without regularizers; if that fails, too, report it."
        )
    return judge("gradient", f"slopes {measured}", wanted, remedy)
