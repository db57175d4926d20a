"""Describe a minimization step by step: an objective, an optimizer, and a state that a file can hold.

    state = optimizer.start(objective, x, bounds)
    state = optimizer.step(objective, state, bounds)        one accepted iteration

Loops over steps run on the host, in float64, around compiled evaluations of the objective. A state is a flat dictionary
of NumPy arrays, numbers among them as arrays of shape `()`:

    numpy.savez(path, **state)          state = dict(numpy.load(path))

A step depends on the state, the objective and the bounds only, so that a run which is stored after any iteration goes
on with the same bits. Every state has the entries of `COMMON`; each optimizer adds its own.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from surrogate.inversion.bounds import Bounds

Vector = Float64[np.ndarray, " n"]
State = dict[str, np.ndarray]
COUNTS = ("forwards", "gradients", "hessian_products")
WEIGHTS = (1, 3, 6)  # what each costs, in simulations of a shot
# x, its misfit and its gradient, the iterations made, whether no further step is possible, and the simulations.
COMMON = ("x", "value", "gradient", "iteration", "done", *COUNTS)


@runtime_checkable
class Objective(Protocol):
    """Compute a misfit and its gradient; products are needed by the Newton methods only.

    Attributes:
        shots: Simulations that one evaluation takes, by which evaluations are counted.
        resolution: Relative rounding error of the misfit: smaller differences are taken from gradients.
    """

    @property
    def shots(self) -> int:
        """Simulations that one evaluation takes."""
        ...

    @property
    def resolution(self) -> float:
        """Relative rounding error of the misfit."""
        ...

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """Compute the misfit and its gradient.

        Args:
            x: Model `(n,)` [m/s].

        Returns:
            The misfit, and its gradient `(n,)`.
        """
        ...


@runtime_checkable
class CurvedObjective(Objective, Protocol):
    """Compute products with second derivatives, too.

    Attributes:
        shots: Simulations that one evaluation takes, by which evaluations are counted.
        resolution: Relative rounding error of the misfit: smaller differences are taken from gradients.
    """

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """Multiply a direction by the Hessian of the misfit.

        Args:
            x: Model `(n,)` [m/s].
            direction: Direction `(n,)` [m/s].

        Returns:
            The product `(n,)`.
        """
        ...

    def gauss_newton_product(self, x: Vector, direction: Vector) -> Vector:
        """Multiply a direction by J^T M J, with the forward model's Jacobian J and the Hessian M of its misfit.

        Args:
            x: Model `(n,)` [m/s].
            direction: Direction `(n,)` [m/s].

        Returns:
            The product `(n,)`.
        """
        ...


@runtime_checkable
class Nonsmooth(Protocol):
    """Compute a convex part h of what is minimized, which has no gradient."""

    def value(self, x: Vector) -> float:
        """Compute it.

        Args:
            x: Model `(n,)` [m/s].

        Returns:
            Its value.
        """
        ...

    def proximal(self, x: Vector, steps: Vector, bounds: Bounds, memory: Any) -> tuple[Vector, float, Any]:
        """Minimize the sum of h(u) and `(u - x)^2 / (2 steps)` over u within bounds, about.

        Args:
            x: Model `(n,)` [m/s].
            steps: Step of each value `(n,)`.
            bounds: Bounds of every value.
            memory: Memory that a call with a model nearby has returned; None for none.

        Returns:
            The minimum u `(n,)`; the e of which `(x - u) / steps` is an e-subgradient of h with the bounds at u; and
            the memory of the next call.
        """
        ...


@runtime_checkable
class CompositeObjective(Objective, Protocol):
    """Compute the smooth part of what is minimized, and know the other part; only proximal optimizers need it.

    Attributes:
        shots: Simulations that one evaluation takes, by which evaluations are counted.
        resolution: Relative rounding error of the misfit: smaller differences are taken from gradients.
        nonsmooth: Part that is added to the misfit; None for none.
    """

    @property
    def nonsmooth(self) -> Nonsmooth | None:
        """Part that is added to the misfit; None for none."""
        ...


@runtime_checkable
class Optimizer(Protocol):
    """Minimize an objective within bounds, one accepted iteration a call.

    Attributes:
        compares: Whether a step compares the misfits or gradients of two models, which then must be those of the same
            shots.
    """

    compares: ClassVar[bool]

    def start(self, objective: Objective, x: Vector, bounds: Bounds) -> State:
        """Evaluate the model to start from.

        Args:
            objective: Objective.
            x: Model within the bounds `(n,)` [m/s].
            bounds: Bounds of every value.

        Returns:
            The state of iteration 0.
        """
        ...

    def step(self, objective: Objective, state: State, bounds: Bounds) -> State:
        """Make one iteration.

        Args:
            objective: Objective.
            state: State, which is not changed.
            bounds: Bounds of every value.

        Returns:
            The state after the iteration. Where no step lowers the misfit, `done` is set, and the model is the old one.
        """
        ...


@runtime_checkable
class Settings(Protocol):
    """Describe the part of an `InversionConfig` that optimizers read, where each field is documented."""

    learning_rate: float
    cg_iterations: int


class Tally:
    """Evaluate an objective, and count the simulations.

    Args:
        objective: Objective.
        state: State whose counts it continues; None for none.
    """

    def __init__(self, objective: Any, state: State | None = None):
        self.objective = objective
        self._counts = {name: int(state[name]) if state else 0 for name in COUNTS}

    def evaluate(self, x: Vector) -> tuple[float, Vector]:
        """Compute the misfit and its gradient. See `Objective.value_and_gradient`."""
        self._counts["gradients"] += self.objective.shots
        value, gradient = self.objective.value_and_gradient(x)
        return float(value), gradient

    def product(self, kind: str, x: Vector, direction: Vector) -> Vector:
        """Multiply a direction by second derivatives.

        Args:
            kind: Method of the objective, `hessian_product` or `gauss_newton_product`.
            x: Model `(n,)` [m/s].
            direction: Direction `(n,)` [m/s].

        Returns:
            The product `(n,)`.
        """
        self._counts["hessian_products"] += self.objective.shots
        return getattr(self.objective, kind)(x, direction)

    def counts(self) -> State:
        """Return the counts so far, by the names of `COUNTS`."""
        return {name: np.array(count, np.int64) for name, count in self._counts.items()}


def first_state(tally: Tally, x: Vector, **more: Any) -> State:
    """Make the state of iteration 0.

    Args:
        tally: Objective, which is evaluated once.
        x: Model to start from `(n,)` [m/s].
        more: Entries that an optimizer adds.

    Returns:
        The state.
    """
    value, gradient = tally.evaluate(x)
    entries = {"x": x, "value": value, "gradient": gradient, "iteration": 0, "done": False, **more}
    return {name: np.array(entry) for name, entry in entries.items()} | tally.counts()


def next_state(tally: Tally, state: State, x: Vector, value: float, gradient: Vector, **more: Any) -> State:
    """Make the state after an accepted iteration.

    Args:
        tally: Objective with its counts.
        state: State before the iteration.
        x: New model `(n,)` [m/s].
        value: Its misfit.
        gradient: Its gradient `(n,)`.
        more: Entries that the optimizer changed.

    Returns:
        The state.
    """
    entries = {"x": x, "value": value, "gradient": gradient, "iteration": int(state["iteration"]) + 1, **more}
    return {**state, **{name: np.array(entry) for name, entry in entries.items()}, **tally.counts()}


def last_state(tally: Tally, state: State, **more: Any) -> State:
    """Make the state that says that no further step is possible.

    Args:
        tally: Objective with its counts.
        state: State before the step that was not possible.
        more: Entries that the optimizer changed.

    Returns:
        The state.
    """
    entries = {"done": True, **more}
    return {**state, **{name: np.array(entry) for name, entry in entries.items()}, **tally.counts()}


def simulations(counts: Sequence[int] | np.ndarray) -> dict[str, int]:
    """Name simulations and add up what they cost.

    Args:
        counts: Simulations of a shot, in the order of `COUNTS`.

    Returns:
        The counts, and `weighted`: their sum with the weights 1, 3 and 6.
    """
    named = {name: int(count) for name, count in zip(COUNTS, counts, strict=True)}
    return named | {"weighted": sum(weight * count for weight, count in zip(WEIGHTS, named.values(), strict=True))}
