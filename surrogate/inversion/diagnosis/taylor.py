"""Test a gradient by Taylor's theorem: what remains of the misfit's change beyond it is of second order.

    R(h) = |J(x + h d) - J(x) - h g . d|,    R(h / 10) = R(h) / 100 if g is the gradient, R(h) / 10 if not

The slope of log R over log h is thus 2 with the gradient and 1 with anything else. Steps that are too long see higher
orders, and too short ones the rounding of J, so that the best decade of several counts.
"""

from typing import NamedTuple

import numpy as np

from data_gen.solver.diagnosis import Finding, judge
from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.protocol import Objective, Vector

PER_DECADE = 2  # steps
DECADES = 2.0
TOLERANCE = 0.2  # of the slope


class TaylorTest(NamedTuple):
    """Hold a test at one point.

    Attributes:
        steps: Lengths of the steps, the largest change of a cell `(n,)` [m/s].
        remainders: Remainders R, in misfits at the point `(n,)`.
        slope: Slope over the decade that is nearest to 2.
    """

    steps: np.ndarray
    remainders: np.ndarray
    slope: float


def taylor_test(objective: Objective, x: Vector, direction: Vector, longest: float) -> TaylorTest:
    """Test the gradient at one point along one direction.

    Args:
        objective: The misfit and its gradient.
        x: Model `(n,)` [m/s].
        direction: Direction `(n,)`.
        longest: Largest change of a cell by the longest step [m/s].

    Returns:
        The test.
    """
    unit = direction / np.abs(direction).max()
    steps = longest * 10.0 ** -np.arange(0, DECADES + 1e-9, 1 / PER_DECADE)
    value, gradient = objective.value_and_gradient(x)
    along = float(gradient @ unit)
    remainders = np.array([abs(objective.value(x + h * unit) - value - h * along) for h in steps])
    # A remainder of zero is below the rounding of the misfit.
    logs = np.log10(np.maximum(remainders, np.finfo(float).tiny))
    slopes = logs[:-PER_DECADE] - logs[PER_DECADE:]
    return TaylorTest(steps, remainders / max(abs(value), np.finfo(float).tiny), float(slopes[np.abs(slopes - 2).argmin()]))


def inward(x: Vector, direction: Vector, bounds: Bounds, longest: float) -> Vector:
    """Keep a direction within the bounds, for steps up to the longest one, and off fixed cells.

    Args:
        x: Model `(n,)` [m/s].
        direction: Direction `(n,)`.
        bounds: Bounds of the model.
        longest: Largest change of a cell [m/s].

    Returns:
        The direction, zero in cells that could leave the bounds, or whose bounds are equal.
    """
    step = longest * direction / np.abs(direction).max()
    inside = (x + step <= bounds.high) & (x + step >= bounds.low) & bounds.free
    return np.where(inside, direction, 0.0)


def judge_gradient(tests: dict[str, TaylorTest]) -> Finding:
    """Judge the gradient by its tests.

    Args:
        tests: Tests by the name of the point.

    Returns:
        The finding.
    """
    measured = ", ".join(f"{test.slope:.2f} at {name}" for name, test in tests.items())
    wrong = [name for name, test in tests.items() if abs(test.slope - 2) > TOLERANCE]
    remedy = ""
    if wrong:
        remedy = (
            f"The gradient at {' and '.join(wrong)} is not that of the misfit to second order: the misfit has kinks "
            "there (huber, wasserstein and mutes at times of waves may), or rounding hides it. Take inversion.misfit=l2; "
            "if that fails, too, report it. inversion.hold_layers=True leaves out what the absorbing layers feel."
        )
    return judge("gradient", f"slopes {measured}", f"2 within {TOLERANCE:g} over a decade of steps", remedy)
