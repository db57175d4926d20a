"""Minimize by an optimizer that sees other shots in every iteration.

    compares models     step k with draw k, from x_k to x_k+1; then misfit and gradient of draw k + 1 at x_k+1
    compares none       step k with the gradient of draw k at x_k; then misfit and gradient of draw k + 1 at x_k+1

A line search, a trust region and the pairs of L-BFGS compare two models, which only means something with the same
shots. A group that both draws share is not simulated twice (batches.py).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogate.inversion.batches import Draws
from surrogate.inversion.bounds import Bounds
from surrogate.inversion.drawn_misfit import DrawnMisfit
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.optimizers.protocol import Objective, Optimizer, State, Vector


@dataclass(frozen=True, eq=False)
class Stochastic:
    """Minimize by another optimizer, whose state this is; it is an `Optimizer` of a `ModelObjective`.

    Attributes:
        optimizer: The optimizer.
        draws: Draw of every iteration.
    """

    optimizer: Optimizer
    draws: Draws
    compares: ClassVar[bool] = False

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        return self.optimizer.start(self._drawn(objective, 0)[0], x, bounds)

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        iteration = int(state["iteration"])
        if not self.optimizer.compares:
            return self.optimizer.step(self._drawn(objective, iteration + 1)[0], state, bounds)
        drawn, data = self._drawn(objective, iteration)
        state = self.optimizer.step(drawn, state, bounds)
        return state if state["done"] else self._with_next(objective, state, data)

    def _with_next(self, objective: Objective, state: State, before: DrawnMisfit) -> State:
        """Evaluate the model with the next draw, and count what was not known."""
        x = state["x"]
        drawn, data = self._drawn(objective, int(state["iteration"]), before)
        missing = data.missing(drawn.velocity(x))
        value, gradient = drawn.value_and_gradient(x)
        gradients = state["gradients"] + missing
        return {**state, "value": np.array(value), "gradient": gradient, "gradients": np.array(gradients)}

    def _drawn(
        self, objective: Objective, iteration: int, before: DrawnMisfit | None = None
    ) -> tuple[ModelObjective, DrawnMisfit]:
        """Return the objective of a draw, which knows what the one before has found."""
        assert isinstance(objective, ModelObjective) and not isinstance(objective.data, DrawnMisfit)
        data = DrawnMisfit(objective.data, self.draws.groups(iteration), {} if before is None else before.found)
        return objective.with_data(data), data
