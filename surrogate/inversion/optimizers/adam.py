"""Minimize with Adam, whose steps are about `learning_rate` in every cell.

    v <- clip(v - learning_rate * w * m / (sqrt(s) + epsilon), bounds)
    m, s: running means of the gradient G (dJ/dv / c) and of its square, without bias; G, w, c: see precondition.py

Source: D. P. Kingma and J. Ba, International Conference on Learning Representations 2015, arXiv:1412.6980.

Gradients are divided by the root mean square of the first one, so that the path does not depend on a factor of the
misfit. Epsilon is a fraction of that: cells whose gradient is as small as the rounding errors of others do not follow
their noise. The running mean of a cell at a bound is zero, so that it leaves the bound as soon as the gradient leads
inside.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.optimizers.protocol import Objective, Settings, State, Tally, Vector, first_state, next_state

EPSILON = 1e-3  # in root mean squares of the first gradient
MEAN, SQUARE = 0.9, 0.999  # what the running means keep in an iteration


@dataclass(frozen=True, eq=False)
class Adam:
    """Minimize with Adam; the state adds the running means and the first gradient's root mean square.

    Attributes:
        learning_rate: Step in every cell [m/s].
        preconditioner: Smoothing of gradients and weights of steps.
    """

    learning_rate: float
    preconditioner: Preconditioner
    compares: ClassVar[bool] = False

    @classmethod
    def create(cls, settings: Settings, preconditioner: Preconditioner) -> "Adam":
        """Make the optimizer of an inversion.

        Args:
            settings: Settings of the inversion.
            preconditioner: Smoothing of gradients and weights of steps.

        Returns:
            The optimizer.
        """
        return cls(settings.learning_rate, preconditioner)

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        zeros = np.zeros_like(x)
        return first_state(Tally(objective), x, mean=zeros, square=zeros, norm=0.0)

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        tally, x = Tally(objective, state), state["x"]
        slope = self.preconditioner.smooth(bounds.project(x, state["gradient"]) / self.preconditioner.copies)
        active = bounds.active(x, slope)
        slope = np.where(active, 0.0, slope)
        norm = float(state["norm"]) or _root_mean_square(slope[bounds.free])
        slope = slope / (norm or 1.0)
        count = int(state["iteration"]) + 1
        mean = MEAN * np.where(active, 0.0, state["mean"]) + (1 - MEAN) * slope
        square = SQUARE * state["square"] + (1 - SQUARE) * slope**2
        change = mean / (1 - MEAN**count) / (np.sqrt(square / (1 - SQUARE**count)) + EPSILON)
        new = bounds.clip(x - self.learning_rate * self.preconditioner.weights * change)
        return next_state(tally, state, new, *tally.evaluate(new), mean=mean, square=square, norm=norm)


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0
