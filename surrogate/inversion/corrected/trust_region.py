"""Minimize a misfit by a cheap forward model, corrected around one center after the other, in a trust region.

    x = argmin J_k within |x - m_k| <= radius w and the bounds         by the driver's own optimizers
    ratio = (J(m_k) - J(x)) / (J(m_k) - J_k(x))                         decides, by one gradient of J

x becomes the next center where the ratio is positive. The next radius is a quarter of the step where the ratio is below
1/4, and twice the step otherwise. The inner minimization begins along the projected gradient of J, which is that of
J_k, and so falls by a part of what the projected Cauchy point does at least: whatever the cheap model is, centers that
are accepted tend to a stationary point of J. w are the weights of the preconditioner, in whose unit steps are.

Near m_k, the best J_k has the data of both models equal there (F_k in corrected_objective.py). A step that moves waves
leaves this correction of data behind, and then the cheap model's own data say more, with the gradient corrected alone.
Where the ratio is below 1/4, or data changed in another way, the other of the two J_k is asked for its value at x, and
takes over if that is nearer to J(x).

A misfit may also fall by a step that leads away from the minimum: a cheap model that predicts a change of the data
worse than none, of a relative error above one, knows nothing of the direction, and its trial is rejected, too.

Where two trials in a row were rejected, or one as its data changed in another way, or a trial lowered the logarithm of
J by less for its cost than the last steps of L-BFGS by J itself, such steps follow, from pairs of J's own gradients,
those of rejected trials among them. The next trial waits for twice as many of them as the last one did, so that a cheap
model that never helps costs a number of trials that grows with the logarithm of the steps. An accepted trial of a poor
ratio is followed by one such step, so that there is something to compare with.
Sources: see corrected_objective.py; A. R. Conn, N. I. M. Gould and P. L. Toint, Trust-Region Methods (2000), 12.2.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.corrected.corrected_objective import CorrectedObjective, rank_ones
from surrogate.inversion.drawn_misfit import DrawnMisfit
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers.lbfgs import LBFGS, with_pair
from surrogate.inversion.optimizers.line_search import SLIGHT, Point, decrease
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.optimizers.protocol import Objective, Optimizer, State, Tally, Vector, last_state, next_state

ACCEPTED = 1e-4
SHRINK, GROW = 0.25, 2.0
POOR = 0.25
TINY = np.finfo(float).tiny
MISLED = 1.01  # relative error of a change of data; 1 is that of no change, of a model that predicts nothing
REJECTED = 2  # trials in a row after which the misfit itself makes a step
LOW = ("low_forwards", "low_gradients", "low_hessian_products")
PLAIN, ACCEPT, REJECT = 0, 1, 2
TRIAL = ("kind", "iteration", "ratio", "radius", "gradients", "low_gradients")  # entries of a row of `trials`


@dataclass(frozen=True, eq=False)
class Corrected:
    """Minimize by a corrected cheap model; it is an `Optimizer` of a `ModelObjective` that keeps its data.

    These are `KeptData`, or a `DrawnMisfit` of them: both ends of a ratio are of the same shots.

    The state adds the radius, the pairs of the misfit's own gradients and of the inner optimizer's, the last centers,
    whether data are corrected, how many trials in a row were rejected, the steps up to the next trial and after it, how
    fast the misfit's own steps lower it, the simulations of the cheap model, and the trials.

    Attributes:
        low: Misfit of the cheap forward model, with the regularizers.
        inner: Optimizer of J_k.
        plain: L-BFGS of the misfit itself.
        preconditioner: Preconditioner, whose weights scale the trust region.
        iterations: Largest number of iterations on J_k.
        secants: Number of past centers that B knows.
        radius: First radius, in the unit of the unknowns; infinite for none.
        cost: Cost of a gradient by the cheap model, in gradients of J.
    """

    low: ModelObjective
    inner: Optimizer
    plain: LBFGS
    preconditioner: Preconditioner
    iterations: int = 10
    secants: int = 2
    radius: float = np.inf
    cost: float = 0.0
    compares: ClassVar[bool] = True

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """See `Optimizer.start`."""
        state, none = self.plain.start(objective, x, bounds), np.zeros((0, len(x)))
        more = {"radius": self.radius, "rejected": 0, "shifts": True, "wait": 0, "interval": 1, "rate": np.nan}
        more |= dict.fromkeys(LOW, 0)
        more |= {name: none for name in ("low_steps", "low_changes", "centers", "slopes")}
        return state | {name: np.array(entry) for name, entry in more.items()} | {"trials": np.zeros((0, len(TRIAL)))}

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """See `Optimizer.step`."""
        assert isinstance(objective, ModelObjective) and not isinstance(objective.data, DataMisfit)
        objective.data.forget_all_but(objective.velocity(state["x"]))
        if state["done"]:
            return last_state(Tally(objective, state), state)
        state = {"shifts": np.array(True)} | state  # which progress of an earlier version has not
        before, corrected = state, None
        while int(state["wait"]) == 0:
            corrected = corrected or self._corrected(objective, state, shifts=bool(state["shifts"]))
            state, ratio, corrected = self._try(objective, corrected, state, bounds)
            if ratio > ACCEPTED:
                if self._rate(objective, before, state) < float(state["rate"]):
                    return self._waiting(state)
                shorter = max(1, int(state["interval"]) // 2)
                return state | {"wait": np.array(int(ratio < POOR)), "interval": np.array(shorter)}
            if int(state["rejected"]) >= REJECTED:
                state = self._waiting(state)
        before = state
        state = self.plain.step(objective, state, bounds)
        rate, old = self._rate(objective, before, state), float(state["rate"])
        more = {"wait": state["wait"] - 1, "rate": np.array(rate if np.isnan(old) else (rate + old) / 2)}
        return _told(state | more, PLAIN, np.nan)

    def _rate(self, objective: Objective, before: State, after: State) -> float:
        """Compute by how much the logarithm of J fell for the cost of a gradient of J."""
        gradients, low = (float(after[name] - before[name]) for name in ("gradients", "low_gradients"))
        high, low_value = (max(float(state["value"]), TINY) for state in (before, after))
        fall = float(np.log(high / low_value))
        return fall / max((gradients + self.cost * low) / objective.shots, 1.0)

    def _waiting(self, state: State) -> State:
        """Let the next trial wait twice as long as the last one did."""
        interval = int(state["interval"])
        return state | {"wait": np.array(interval), "interval": np.array(2 * interval)}

    def _try(
        self, objective: ModelObjective, corrected: CorrectedObjective, state: State, bounds: Bounds
    ) -> tuple[State, float, CorrectedObjective]:
        """Minimize J_k, and accept what it finds or not: the state, the ratio, and J_k for another trial."""
        center = corrected.center
        (x, value), pairs = self._minimize(corrected, state, bounds)
        state = _counted(state | pairs, corrected)
        tally, visible = Tally(objective, state), objective.resolution * abs(center.value)
        predicted = center.value - value
        if not predicted > SLIGHT * visible:
            # J's own step may lower it still; if it does not, that step ends the minimization.
            return _told(state | {"rejected": np.array(REJECTED)}, REJECT, np.nan), 0.0, corrected
        new = Point(x, *tally.evaluate(x))
        gained = decrease(center, new, objective.resolution) if new.is_finite else -np.inf
        ratio = gained / predicted if gained > SLIGHT * visible else -1.0
        misled = ratio > ACCEPTED and self._data_error(objective, corrected, x) > MISLED
        state, length = _counted(state, corrected), self._length(x - center.x)
        if new.is_finite and (ratio < POOR or misled):
            state, corrected = self._nearer(objective, state, corrected, new, value)
        factor = SHRINK if ratio < POOR or misled else GROW
        state = self._with_pair(state, center, new) | {"radius": np.array(factor * length)}
        if ratio <= ACCEPTED or misled:
            rejected = REJECTED if misled else state["rejected"] + 1
            return _told(state | tally.counts() | {"rejected": np.array(rejected)}, REJECT, ratio), 0.0, corrected
        past = {"centers": center.x, "slopes": center.gradient}
        oldest = max(0, len(state["centers"]) + 1 - self.secants)
        more = {name: np.vstack([state[name], last])[oldest:] for name, last in past.items()}
        more |= {"rejected": 0}
        return _told(next_state(tally, state, *new, **more), ACCEPT, ratio), ratio, corrected

    def _nearer(
        self, objective: ModelObjective, state: State, corrected: CorrectedObjective, new: Point, value: float
    ) -> tuple[State, CorrectedObjective]:
        """Compare what J_k predicted for a new point with the other correction; take the one nearer to J."""
        shifts = not state["shifts"]
        other = self._corrected(objective, state, shifts=shifts)
        found = other.value_and_gradient(new.x)[0]
        state = _counted(state, other)
        if not abs(found - new.value) < abs(value - new.value):  # nor where it is not finite
            return state, corrected
        return state | {"shifts": np.array(shifts)}, other

    def _data_error(self, objective: ModelObjective, corrected: CorrectedObjective, x: Vector) -> float:
        """Compute the relative error of the change of the data that a trial predicts."""
        assert not isinstance(objective.data, DataMisfit)
        before, after = (objective.data.data(objective.velocity(at)) for at in (corrected.center.x, x))
        return corrected.data_error(x, before, after)

    def _corrected(self, objective: ModelObjective, state: State, *, shifts: bool) -> CorrectedObjective:
        """Make J_k around a center, from the data of both forward models there; of the same shots, where J has some."""
        data, cheap = objective.data, self.low.data
        assert not isinstance(data, DataMisfit) and isinstance(cheap, DataMisfit)
        if isinstance(data, DrawnMisfit):
            cheap = DrawnMisfit(cheap, data.groups, {})
        center = Point(state["x"], float(state["value"]), state["gradient"])
        velocity = objective.velocity(center.x)
        shift = data.data(velocity) - cheap.data(velocity)
        low = self.low.with_data(cheap.shifted(shift if shifts else jnp.zeros_like(shift)))
        corrected = CorrectedObjective(low, center, shift)
        # Gradients at past centers are of other shots, where J has some.
        past = () if isinstance(data, DrawnMisfit) else zip(state["centers"], state["slopes"], strict=True)
        pairs = [(center.x - x, center.gradient - slope - corrected.low_change(x)) for x, slope in past]
        corrected.bend = rank_ones(len(center.x), pairs)
        return corrected

    def _minimize(
        self, corrected: CorrectedObjective, state: State, bounds: Bounds
    ) -> tuple[tuple[Vector, float], State]:
        """Minimize J_k within the trust region: the model, J_k there, and the pairs of the inner optimizer."""
        x, radius = corrected.center.x, float(state["radius"])
        reach = radius * self._weights if np.isfinite(radius) else np.inf
        box = Bounds(np.maximum(bounds.low, x - reach), np.minimum(bounds.high, x + reach))
        inner = self.inner.start(corrected, x, box)
        pairs = {"steps": "low_steps", "changes": "low_changes"} if "steps" in inner else {}
        inner |= {name: state[kept] for name, kept in pairs.items()}
        while int(inner["iteration"]) < self.iterations and not inner["done"]:
            inner = self.inner.step(corrected, inner, box)
        return (inner["x"], float(inner["value"])), {kept: inner[name] for name, kept in pairs.items()}

    def _with_pair(self, state: State, old: Point, new: Point) -> State:
        """Add the pair of two gradients of the misfit to those of its own L-BFGS."""
        if not new.is_finite:
            return state
        steps, changes = with_pair(state["steps"], state["changes"], old, new, self.plain.memory)
        return state | {"steps": steps, "changes": changes}

    @property
    def _weights(self) -> Vector:
        return self.preconditioner.scales / np.max(self.preconditioner.scales)

    def _length(self, change: Vector) -> float:
        """Return the radius at whose edge a change lies."""
        weights = self._weights
        return float(np.max(np.abs(change[weights > 0]) / weights[weights > 0], initial=0.0))


def _counted(state: State, corrected: CorrectedObjective) -> State:
    """Add what a cheap model has simulated since the last time."""
    return state | {name: state[name] + n for name, n in zip(LOW, corrected.take_counts(), strict=True)}


def _told(state: State, kind: int, ratio: float) -> State:
    """Add a row to the trials."""
    counts = (int(state[name]) for name in ("gradients", "low_gradients"))
    row = [kind, int(state["iteration"]), ratio, float(state["radius"]), *counts]
    return state | {"trials": np.vstack([state["trials"], row])}
