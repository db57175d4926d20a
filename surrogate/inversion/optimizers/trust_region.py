"""Minimize with Newton steps in a trust region: conjugate gradients on products with second derivatives.

    minimize  g . s + s . B s / 2,    s = P q over the free values,    ||q|| <= radius,    x' = clip(x + s)
    ratio = (J(x) - J(x')) / (the decrease that the parabola predicts)

A step is accepted where the ratio is positive. The radius shrinks where the ratio is below 1/4, and grows where it is
above 3/4 at the edge. The parabola's decrease is that of the step as the bounds have left it, which takes a product
more where they cut something off. The first radius lets a step along the gradient change no value by more than
`learning_rate`.
Sources: J. Nocedal and S. Wright, Numerical Optimization (2006), algorithms 4.1 and 7.2; active_set.py; steihaug.py.

Conjugate gradients end where the residual has fallen to the part min(1/2, sqrt(||P^T g|| / its first norm)), or after
`cg_iterations` products: few at first, where steps are short, and more near the minimum.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.active_set import ActiveSet, active_set
from surrogate.inversion.optimizers.line_search import SLIGHT, Point, decrease
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
from surrogate.inversion.optimizers.steihaug import Path

TRIALS = 12  # the radius is then 4^12 times smaller
ACCEPTED = 1e-4
SHRINK, GROW = 0.25, 2.0
POOR, GOOD = 0.25, 0.75


@dataclass(frozen=True, eq=False)
class TrustRegion:
    """Minimize in a trust region; the state adds the radius, the change along the first gradient, and its norm.

    Attributes:
        learning_rate: Largest change by the first step, if it goes along the gradient [m/s].
        preconditioner: Preconditioner P.
        cg_iterations: Largest number of products in a step, but for those that clipped steps take.
    """

    learning_rate: float
    preconditioner: Preconditioner
    cg_iterations: int = 10
    compares: ClassVar[bool] = True
    product: ClassVar[str]  # the method of the objective that multiplies by B

    @classmethod
    def create(cls, settings: Settings, preconditioner: Preconditioner) -> "TrustRegion":
        """Make the optimizer of an inversion. See `Adam.create`."""
        return cls(settings.learning_rate, preconditioner, settings.cg_iterations)

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        state = first_state(Tally(objective), x)
        slope = self.preconditioner.transpose(bounds.project(x, state["gradient"]))
        steepest = float(np.max(np.abs(bounds.project(x, self.preconditioner(slope))), initial=0.0))
        norm = float(np.linalg.norm(slope))
        radius = self.learning_rate / steepest * norm if steepest > 0 else 0.0
        more = {"unit": steepest, "norm": norm, "radius": radius, "done": not steepest > 0}
        return state | {name: np.array(entry) for name, entry in more.items()}

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        tally = Tally(objective, state)
        if state["done"]:
            return last_state(tally, state)
        point = Point(state["x"], float(state["value"]), state["gradient"])
        rate, radius = self.learning_rate / float(state["unit"]), float(state["radius"])
        active = active_set(point.x, point.gradient, bounds, self.learning_rate, rate)
        slope = self.preconditioner.transpose(active.only_free(point.gradient))
        path = self._path(tally, point, slope, active, float(state["norm"]))
        size, visible = float(np.linalg.norm(slope)), tally.objective.resolution * abs(point.value)
        for _ in range(TRIALS):
            step = path.within(radius)
            pushed = np.where(active.near, radius / (size or float(state["norm"])) * point.gradient, 0.0)
            wanted = point.x + step.change - pushed
            x = bounds.clip(wanted)
            change = x - point.x
            if not change.any():
                break
            whole = not pushed.any() and np.array_equal(x, wanted)
            product = step.product if whole else tally.product(self.product, point.x, change)
            predicted = -float(point.gradient @ change + 0.5 * change @ product)
            ratio, new = -1.0, None
            if predicted > 0:
                new = Point(x, *tally.evaluate(x))
                if new.is_finite:
                    gained = decrease(point, new, tally.objective.resolution)
                    ratio = gained / predicted if gained > SLIGHT * visible else -1.0
            if ratio < POOR:
                radius = SHRINK * min(radius, step.norm or radius)
            elif ratio > GOOD and step.at_edge:
                radius = GROW * radius
            if new is not None and ratio > ACCEPTED:
                return next_state(tally, state, *new, radius=radius)
            if 0 < predicted <= visible:
                break
        return last_state(tally, state, radius=radius)

    def _path(self, tally: Tally, point: Point, slope: Vector, active: ActiveSet, first: float) -> Path:
        """Return the path of conjugate gradients over q."""

        def product(q):
            change = active.only_free(self.preconditioner(q))
            curved = tally.product(self.product, point.x, change)
            return self.preconditioner.transpose(active.only_free(curved)), change, curved

        tolerance = min(0.5, np.sqrt(float(np.linalg.norm(slope)) / first))
        return Path(product, slope, tolerance, self.cg_iterations)
