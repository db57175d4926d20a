"""Choose the weight of a regularizer by what noise leaves: the smoothest model that fits the data to their noise.

    minimize R(v)    where J(v) = level        is        minimize J(v) + w R(v)    of one weight w

so the weight follows the misfit, from iteration to iteration: it falls where J is above the level, which is the misfit
of noise alone (noise_level.py), and grows where J is below,

    w' = w (level / J)^p,    by a factor of FASTEST at most, up to w R = LARGEST,

and stands still where J is the level. How much J changes with w differs from problem to problem: the power p is halved
whenever J passes the level, and grows to POWER in between (as steps of Rprop do), so that w does not swing. A change of
the weight changes value and gradient by R and its gradient, which takes no simulation.

Sources: V. A. Morozov, Methods for Solving Incorrectly Posed Problems (1984), chapter 2, for the choice of w; M.
Riedmiller, H. Braun, IEEE International Conference on Neural Networks (1993), 586-591, for p.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.optimizers.protocol import COUNTS, Objective, Optimizer, State, Vector

BEGIN = 0.1  # of the level: what the regularizer adds at first
POWER = 4.0  # largest one: of much data, J changes little with w
SLOWER, FASTER = 0.5, 1.2  # factors of the power
FASTEST = 1.5  # largest change of the weight by an iteration, so that the optimizer can follow
LARGEST = 1.0  # misfit of a silent prediction: at a minimum, w R is less than the misfit of any model without R
SETTLED = 1e-3  # change of a weight that is found
SMALLEST = 1e-3  # misfit, in parts of the level, that is told from zero
WEIGHT, SHORT, RATE = "weight", "short_of_level", "weight_power"  # entries of the state


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """Minimize by another optimizer, whose state this is with the weight; it is an `Optimizer` of a `ModelObjective`.

    Attributes:
        optimizer: The optimizer.
        level: Misfit of the data that is wanted.
    """

    optimizer: Optimizer
    level: float
    compares: ClassVar[bool] = True

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        assert isinstance(objective, ModelObjective)
        return self._begin(objective, x, bounds, self._first(objective, x))

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        assert isinstance(objective, ModelObjective)
        weight = float(state[WEIGHT])
        state = self.optimizer.step(objective.with_factor(weight), state, bounds)
        penalty, slope = objective.penalty_and_gradient(state["x"])
        misfit = float(state["value"]) - weight * penalty
        ratio = self.level / max(misfit, SMALLEST * self.level)
        passed = (ratio > 1) != bool(state[SHORT])
        power = max(SLOWER * state[RATE], SMALLEST) if passed else min(FASTER * state[RATE], POWER)
        change = float(np.clip(ratio**power, 1 / FASTEST, FASTEST))
        following = weight * change if weight else self._first(objective, state["x"])
        if change > 1 and following * penalty > LARGEST:
            following = weight
        if not state["done"]:
            value, gradient = misfit + following * penalty, state["gradient"] + (following - weight) * slope
            own = {WEIGHT: np.array(following), RATE: np.array(power), SHORT: np.array(ratio > 1)}
            return state | {"value": np.array(value), "gradient": gradient} | own
        if abs(following - weight) <= SETTLED * weight:
            return state
        # The model of this weight is found: the optimizer begins anew with the next one, which counts as an iteration.
        begun = self._begin(objective, state["x"], bounds, following)
        own = {"iteration": state["iteration"] + 1, RATE: np.array(power)}
        return begun | {name: state[name] + begun[name] for name in COUNTS} | own

    def _begin(self, objective: ModelObjective, x: Vector, bounds: Bounds, weight: float) -> State:
        state = self.optimizer.start(objective.with_factor(weight), x, bounds)
        misfit = float(state["value"]) - weight * objective.penalty(x)
        return state | {WEIGHT: np.array(weight), RATE: np.array(POWER), SHORT: np.array(misfit < self.level)}

    def _first(self, objective: ModelObjective, x: Vector) -> float:
        """Choose the weight to begin with; zero where the regularizer is, as in a constant model."""
        penalty = objective.penalty(x)
        return BEGIN * self.level / penalty if penalty > 0 else 0.0
