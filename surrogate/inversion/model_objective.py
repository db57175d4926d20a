"""Add regularizers to the misfit of the data, and compute derivatives by the unknowns of a parametrization.

    J(x) = misfit(v(x)) + sum_k w_k R_k(v(x)),    v(x) = the parametrization's velocity in free cells

    gradient        P^T (g + r),            P = dv / dx,  g and r the gradients by v of misfit and regularizers
    Gauss-Newton    P^T (B + R'') P d,      B the data's product, R'' the regularizers' Hessian
    Hessian         P^T (H + R'') P d + (dP / dx . d)^T (g + r)

All but the data's part is computed in float64. Cells that are held fixed keep their velocity. Where density is free,
v stands for the two fields of density.py, and R_k is the sum of both fields' values. A part that has no gradient, for a
proximal optimizer, is in none of these: it stands beside them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.drawn_misfit import DrawnMisfit
from surrogate.inversion.kept_data import KeptData
from surrogate.inversion.objective import DataMisfit, Vector
from surrogate.inversion.optimizers.protocol import Nonsmooth
from surrogate.inversion.parametrizations.base import Parametrization
from surrogate.inversion.parametrizations.elementwise import Velocity
from surrogate.inversion.regularizers.base import Regularizer

Cells = Float64[np.ndarray, " n_cells"]


@dataclass(frozen=True, eq=False)
class ModelObjective:
    """Compute the misfit of unknowns with the regularizers; it is a `CurvedObjective`.

    Attributes:
        data: Misfit of the data of a velocity model.
        parametrization: Map from the unknowns to a velocity model.
        regularizers: Weights and regularizers.
        start: Starting model of the inversion `(nz, nx)` [m/s], or `(2, nz, nx)` where density is free.
        held: Mask of the cells that keep its velocity, of its shape.
        low: Lowest velocity of a free cell [m/s]; of each field `(2, 1, 1)` where density is free.
        high: Highest velocity of a free cell [m/s], likewise.
        spacing: Side of a cell [m].
        nonsmooth: Part that a proximal optimizer adds, of unknowns that are velocities; None for none.
        factor: Factor of all weights.
    """

    data: DataMisfit | DrawnMisfit | KeptData
    parametrization: Parametrization
    regularizers: tuple[tuple[float, Regularizer], ...]
    start: Float64[np.ndarray, "... nz nx"]
    held: Bool[np.ndarray, "... nz nx"]
    low: float | Float[np.ndarray, "2 1 1"]
    high: float | Float[np.ndarray, "2 1 1"]
    spacing: float
    nonsmooth: Nonsmooth | None = None
    factor: float = 1.0

    @property
    def shots(self) -> int:
        """See `Objective.shots`."""
        return self.data.shots

    @property
    def resolution(self) -> float:
        """See `Objective.resolution`."""
        return self.data.resolution

    def with_data(self, data: DataMisfit | DrawnMisfit | KeptData) -> "ModelObjective":
        """Return the objective of other data, for which nothing is compiled anew.

        Args:
            data: Misfit of the data of a velocity model.

        Returns:
            The objective.
        """
        return self._changed(data=data)

    def with_factor(self, factor: float) -> "ModelObjective":
        """Return the objective of other weights, for which nothing is compiled anew.

        Args:
            factor: Factor of all weights.

        Returns:
            The objective.
        """
        return self._changed(factor=factor)

    def _changed(self, **changes: Any) -> "ModelObjective":
        other = replace(self, **changes)
        vars(other).update(_compiled=self._compiled, bounds=self.bounds)
        return other

    def velocity(self, x: Vector) -> Cells:
        """Compute the velocity model of unknowns.

        Args:
            x: Unknowns `(n,)`.

        Returns:
            The model `(nz nx,)` [m/s].
        """
        return np.asarray(self._velocity(x)).ravel()

    def unknowns(self, velocity: Float[np.ndarray, "... nz nx"]) -> Vector:
        """Compute the unknowns of a velocity model.

        Args:
            velocity: The model `(nz, nx)` [m/s].

        Returns:
            The unknowns `(n,)`, within their bounds.
        """
        with jax.enable_x64(True):
            x = np.asarray(self.parametrization.to_unknown(jnp.asarray(velocity, jnp.float64)), np.float64).ravel()
        return self.bounds.clip(x)

    def by_velocity(self, x: Vector, change: Vector) -> Cells:
        """Compute the change of the velocity that a change of the unknowns makes.

        Args:
            x: Unknowns `(n,)`.
            change: Their change `(n,)`.

        Returns:
            The change of the velocity model `(nz nx,)`, to first order.
        """
        return np.asarray(self._push(x, change)[1]).ravel()

    @cached_property
    def bounds(self) -> Bounds:
        """Bounds of the unknowns: one that moves no free cell is held where it starts."""
        with jax.enable_x64(True):
            low, high = (jnp.where(self.held, self.start, jnp.float64(bound)) for bound in (self.low, self.high))
            lowest, highest = (np.array(x, np.float64).ravel() for x in self.parametrization.bounds(low, high))
            start = np.asarray(self.parametrization.to_unknown(jnp.asarray(self.start)), np.float64).ravel()
        if len(start) == self.held.size:
            held = self.held.ravel()
            lowest, highest = np.where(held, start, lowest), np.where(held, start, highest)
        return Bounds(lowest, highest)

    def penalty(self, x: Vector) -> float:
        """Compute the regularizers' part of the misfit, without that which has no gradient.

        Args:
            x: Unknowns `(n,)`.

        Returns:
            The part.
        """
        return self.penalty_and_gradient(x)[0] if self.regularizers else 0.0

    def penalty_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """Compute the regularizers' part of the misfit, and its gradient.

        Args:
            x: Unknowns `(n,)`.

        Returns:
            The part, and its gradient by the unknowns `(n,)`.
        """
        penalty, pull = self._penalty(self._velocity(x))
        return penalty, self._pull_back(x, pull)

    def value(self, x: Vector) -> float:
        """Compute the misfit with the regularizers.

        Args:
            x: Unknowns `(n,)`.

        Returns:
            The misfit.
        """
        return self.data.value(self.velocity(x)) + self.penalty(x)

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """See `Objective.value_and_gradient`."""
        value, slope = self._by_velocity(x)
        return value, self._pull_back(x, slope)

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.hessian_product`."""
        product = self._product(self.data.hessian_product, x, direction)
        if not isinstance(self.parametrization, Velocity):
            product = product + self._bend(x, direction, self._by_velocity(x)[1])
        return product

    def gauss_newton_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.gauss_newton_product`."""
        return self._product(self.data.gauss_newton_product, x, direction)

    def _by_velocity(self, x: Vector) -> tuple[float, Cells]:
        """Compute the misfit with the regularizers and its gradient by the velocity model; the last one is kept."""
        last = self._last.get("x")
        if last is None or not np.array_equal(last, x):
            velocity = self._velocity(x)
            value, slope = self.data.value_and_gradient(np.asarray(velocity).ravel())
            if self.regularizers:
                penalty, pull = self._penalty(velocity)
                value, slope = value + penalty, slope + pull
            self._last.update(x=np.array(x), found=(value, slope))
        return self._last["found"]

    @cached_property
    def _last(self) -> dict[str, Any]:
        return {}

    def _product(self, of_data: Callable[[Vector, Vector], Vector], x: Vector, direction: Vector) -> Vector:
        velocity, change = self._push(x, direction)
        product = of_data(np.asarray(velocity).ravel(), np.asarray(change).ravel())
        if self.regularizers:
            product = product + self.factor * np.asarray(self._penalty_product(velocity, change)).ravel()
        return self._pull_back(x, product)

    def _of(self, x: Array) -> Array:
        """Compute the velocity model of unknowns, with those of the held cells."""
        unknown = x.reshape(self._shape)
        return jnp.where(self.held, self.start, self.parametrization.to_velocity(unknown))

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        with jax.enable_x64(True):
            return jax.eval_shape(self.parametrization.to_unknown, jnp.asarray(self.start)).shape

    def _velocity(self, x: Vector) -> Array:
        with jax.enable_x64(True):
            return self._compiled["velocity"](x)

    def _push(self, x: Vector, direction: Vector) -> tuple[Array, Array]:
        with jax.enable_x64(True):
            return self._compiled["push"](x, direction)

    def _pull_back(self, x: Vector, slope: Cells) -> Vector:
        with jax.enable_x64(True):
            return np.asarray(self._compiled["pull"](x, slope.reshape(self.start.shape)))

    def _bend(self, x: Vector, direction: Vector, slope: Cells) -> Vector:
        with jax.enable_x64(True):
            return np.asarray(self._compiled["bend"](x, direction, slope.reshape(self.start.shape)))

    def _penalty(self, velocity: Array) -> tuple[float, Cells]:
        with jax.enable_x64(True):
            penalty, pull = self._compiled["penalty"](velocity)
        return self.factor * float(penalty), self.factor * np.asarray(pull).ravel()

    def _penalty_product(self, velocity: Array, change: Array) -> Array:
        with jax.enable_x64(True):
            return self._compiled["penalty_product"](velocity, change)

    @cached_property
    def _compiled(self) -> dict[str, Callable[..., Any]]:
        def penalty(velocity):
            fields, starts = (x.reshape(-1, *x.shape[-2:]) for x in (velocity, jnp.asarray(self.start)))
            pairs = list(zip(fields, starts, strict=True))
            return sum(
                weight * measure(field, start, self.spacing)
                for weight, measure in self.regularizers
                for field, start in pairs
            )

        def pull(x, slope):
            return jax.vjp(self._of, x)[1](slope)[0]

        functions: dict[str, Callable[..., Any]] = {
            "velocity": self._of,
            "push": lambda x, direction: jax.jvp(self._of, (x,), (direction,)),
            "pull": pull,
            "bend": lambda x, direction, slope: jax.jvp(lambda x: pull(x, slope), (x,), (direction,))[1],
            "penalty": jax.value_and_grad(penalty),
            "penalty_product": lambda velocity, change: jax.jvp(jax.grad(penalty), (velocity,), (change,))[1],
        }
        return {name: jax.jit(function) for name, function in functions.items()}
