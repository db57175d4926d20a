"""Minimize with projected L-BFGS: quasi-Newton steps of the free values, bent at the bounds by a line search.

    d = -B_FF^-1 g_F,    x' = clip(x + a d),    B: BFGS from the last pairs s = x' - x, y = g' - g

The free values are those of active_set.py, B is that of quasi_newton.py, and line_search.py chooses a.
Source: J. Nocedal and S. Wright, Numerical Optimization (2006), chapter 7.

The first trial step changes no value by more than `learning_rate`. Pairs are kept where their curvature `s . y` is
positive. If a line search fails, for example because float32 spoils the pairs, the step starts again without pairs; the
minimization ends where that fails, too.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.active_set import ActiveSet, active_set
from surrogate.inversion.optimizers.line_search import Point, search
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.optimizers.protocol import (
    Objective,
    Settings,
    State,
    Tally,
    Vector,
    first_state,
    last_state,
    next_state,
)
from surrogate.inversion.optimizers.quasi_newton import quasi_newton_step

MEMORY = 20
CURVATURE = 1e-8  # smallest cosine between the two vectors of a pair


@dataclass(frozen=True, eq=False)
class LBFGS:
    """Minimize with projected L-BFGS; the state adds the pairs, newest last, and the change along the first gradient.

    Attributes:
        learning_rate: Largest change by the first trial step [m/s].
        preconditioner: Preconditioner P.
        memory: Pairs that are remembered.
    """

    learning_rate: float
    preconditioner: Preconditioner
    memory: int = MEMORY
    compares: ClassVar[bool] = True

    @classmethod
    def create(cls, settings: Settings, preconditioner: Preconditioner) -> "LBFGS":
        """Make the optimizer of an inversion. See `Adam.create`."""
        return cls(settings.learning_rate, preconditioner)

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        state = first_state(Tally(objective), x, steps=np.zeros((0, len(x))), changes=np.zeros((0, len(x))))
        slope = bounds.project(x, state["gradient"])
        steepest = np.max(np.abs(bounds.project(x, self.preconditioner.metric(slope))), initial=0.0)
        return state | {"unit": np.array(steepest), "done": np.array(not steepest > 0)}

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        tally = Tally(objective, state)
        point = Point(state["x"], float(state["value"]), state["gradient"])
        steps, changes = state["steps"], state["changes"]
        rate = self.learning_rate / float(state["unit"]) if state["unit"] > 0 else 0.0
        active = active_set(point.x, point.gradient, bounds, self.learning_rate, rate)
        found = None
        for kept in () if state["done"] else dict.fromkeys((len(steps), 0)):
            steps, changes = steps[:kept], changes[:kept]
            direction, length = self._direction(point, steps, changes, active, bounds)
            found = search(tally, point, direction, length, bounds)
            if found is not None:
                break
        if found is None:
            return last_state(tally, state)
        steps, changes = with_pair(steps, changes, point, found, self.memory)
        return next_state(tally, state, *found, steps=steps, changes=changes)

    def _direction(
        self, point: Point, steps: np.ndarray, changes: np.ndarray, active: ActiveSet, bounds: Bounds
    ) -> tuple[Vector, float]:
        """Return the direction and the first length to try."""
        if len(steps):
            direction, length = quasi_newton_step(point.gradient, steps, changes, active, self.preconditioner), 1.0
        else:
            direction = -active.only_free(self.preconditioner.metric(active.only_free(point.gradient)))
            largest = float(np.max(np.abs(direction), initial=0.0))
            length = self.learning_rate / largest if largest > 0 else 1.0
        ends = np.where(point.gradient > 0, bounds.low, bounds.high)
        return np.where(active.near, (ends - point.x) / length, direction), length


def with_pair(
    steps: np.ndarray, changes: np.ndarray, old: Point, new: Point, memory: int
) -> tuple[np.ndarray, np.ndarray]:
    """Add the pair of two points, if its curvature is positive beyond rounding.

    Args:
        steps: Steps of the pairs, newest last `(k, n)`.
        changes: Changes of the gradient along them `(k, n)`.
        old: First point.
        new: Second point.
        memory: Pairs that are remembered.

    Returns:
        Steps and changes.
    """
    step, change = new.x - old.x, new.gradient - old.gradient
    if not step @ change > CURVATURE * np.linalg.norm(step) * np.linalg.norm(change):
        return steps, changes
    return np.vstack([steps, step])[-memory:], np.vstack([changes, change])[-memory:]
