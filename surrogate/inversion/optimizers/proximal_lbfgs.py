"""Minimize a smooth misfit J and total variation without smoothing, by a proximal quasi-Newton method.

    u = argmin over u in the bounds of    g . (u - x) + (u - x) . B (u - x) / 2 + h(u),        d = u - x
    x' = x + a d,    J(x') + h(x') <= J(x) + h(x) + DECREASE a (g . d + h(u) - h(x)),         a = 1 at first

h is the objective's `nonsmooth` part, zero where it has none, and B the matrix of L-BFGS from the last pairs
s = x' - x, y = g' - g. proximal_step.py finds u without simulations.
Source: J. D. Lee, Y. Sun and M. A. Saunders, SIAM Journal on Optimization 24 (2014), 1420-1443.

The first trial step changes no value by more than `learning_rate`. If a line search fails, the step starts again
without pairs; the minimization ends where that fails, too. The weights of a preconditioner belong to B. Smoothing does
not: the inverse of B would have no short waves, of which edges are made.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from data_gen.common.errors import InputError
from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.lbfgs import MEMORY, with_pair
from surrogate.inversion.optimizers.line_search import DECREASE, SLIGHT, TRIALS, Point, decrease
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.optimizers.protocol import (
    CompositeObjective,
    Nonsmooth,
    Objective,
    Settings,
    State,
    Tally,
    Vector,
    first_state,
    last_state,
    next_state,
)
from surrogate.inversion.optimizers.proximal_step import flat_curvature, pairs_curvature, proximal_step


class OnlyBounds:
    """Add nothing to the misfit; it is a `Nonsmooth`."""

    def value(self, x: Vector) -> float:
        """See `Nonsmooth.value`."""
        return 0.0

    def proximal(self, x: Vector, steps: Vector, bounds: Bounds, memory: Any) -> tuple[Vector, float, Any]:
        """See `Nonsmooth.proximal`."""
        return bounds.clip(x), 0.0, None


@dataclass(frozen=True, eq=False)
class ProximalLBFGS:
    """Minimize by proximal L-BFGS; the state adds the pairs, newest last. Its value is that of the smooth part.

    Attributes:
        learning_rate: Largest change by the first trial step [m/s].
        weights: Weights of the preconditioner `(n,)`, positive.
        memory: Pairs that are remembered.
    """

    learning_rate: float
    weights: Vector
    memory: int = MEMORY
    compares: ClassVar[bool] = True

    @classmethod
    def create(cls, settings: Settings, preconditioner: Preconditioner) -> "ProximalLBFGS":
        """Make the optimizer of an inversion.

        Args:
            settings: Settings of the inversion.
            preconditioner: Weights of steps, and no smoothing.

        Returns:
            The optimizer.

        Raises:
            InputError: If it smooths.
        """
        if preconditioner.smoothers:
            raise InputError(
                "proximal_lbfgs takes weights of cells, but does not smooth gradients, as total variation keeps edges: "
                "make its preconditioner with smoothing=0 (inversion.gradient_smoothing=0)."
            )
        return cls(settings.learning_rate, preconditioner.weights)

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        return first_state(Tally(objective), x, steps=np.zeros((0, len(x))), changes=np.zeros((0, len(x))))

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        tally, nonsmooth = Tally(objective, state), _nonsmooth(objective)
        point = Point(state["x"], float(state["value"]), state["gradient"])
        steps, changes = state["steps"], state["changes"]
        found = None
        for kept in () if state["done"] else dict.fromkeys((len(steps), 0)):
            steps, changes = steps[:kept], changes[:kept]
            found = self._search(tally, point, steps, changes, nonsmooth, bounds)
            if found is not None:
                break
        if found is None:
            return last_state(tally, state)
        steps, changes = with_pair(steps, changes, point, found, self.memory)
        return next_state(tally, state, *found, steps=steps, changes=changes)

    def _search(
        self, tally: Tally, point: Point, steps: np.ndarray, changes: np.ndarray, nonsmooth: Nonsmooth, bounds: Bounds
    ) -> Point | None:
        """Return a point that lowers the sum of both parts by enough, if there is one."""
        x, before = point.x, nonsmooth.value(point.x)
        if len(steps):
            curvature = pairs_curvature(steps, changes, self.weights)
        else:
            slope = self.weights**2 * bounds.project(x, point.gradient)
            steepest = float(np.max(np.abs(slope), initial=0.0))
            # A flat J says nothing of lengths: h then falls by all of it within the learning rate.
            base = steepest / self.learning_rate or before / (len(x) * self.learning_rate**2)
            if not base > 0:
                return None
            curvature = flat_curvature(base, self.weights)
        visible = tally.objective.resolution * abs(point.value)  # changes that rounding does not hide
        target = proximal_step(x, point.gradient, curvature, nonsmooth, bounds, SLIGHT * visible)
        direction = target - x
        slope = float(point.gradient @ direction) + nonsmooth.value(target) - before
        largest = float(np.max(np.abs(direction), initial=0.0))
        length = 1.0 if len(steps) else min(1.0, self.learning_rate / largest) if largest > 0 else 0.0
        for _ in range(TRIALS if slope < 0 else 0):
            trial = target if length == 1 else bounds.clip(x + length * direction)
            if np.array_equal(trial, x):
                break
            new = Point(trial, *tally.evaluate(trial))
            gained = decrease(point, new, tally.objective.resolution) + before - nonsmooth.value(trial)
            if new.is_finite and gained >= max(-DECREASE * length * slope, SLIGHT * visible):
                return new
            if -length * slope <= visible:
                break
            # The minimum of the parabola through both values and the slope.
            bend = -2 * (gained + length * slope)
            part = -length * slope / bend if np.isfinite(bend) and bend > 0 else 0.1
            length *= float(np.clip(part, 0.1, 0.5))
        return None


def _nonsmooth(objective: Objective) -> Nonsmooth:
    given = objective.nonsmooth if isinstance(objective, CompositeObjective) else None
    return OnlyBounds() if given is None else given
