"""Compute the misfit of a velocity model, its gradient and products with its second derivatives.

    J(v) = misfit(forward(v), observed)
    gradient             J'^T r,                     r = dJ / d(data), J' = d(data) / dv
    Gauss-Newton         J'^T M J' d,                M = d^2 J / d(data)^2
    Hessian              J'^T M J' d + (dJ' / dv . d)^T r

The solver computes in the model's precision. The misfit and its derivatives over the data are computed in float64, so
that two nearly equal misfits can be told apart. Before they go back through the solver they are divided by their
largest value, so that no factor of the misfit leaves the range of float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from surrogate.inversion.forward import ForwardModel
from surrogate.inversion.misfits.registry import Misfit

Vector = Float64[np.ndarray, " n"]
Prepare = Callable[[Array, Array, Array | None], tuple[Array, Array, Array | None]]


@dataclass(frozen=True, eq=False)
class DataMisfit:
    """Compute the misfit of the data of a velocity model; it is an `Objective` with second derivatives.

    Attributes:
        forward: Forward model, the solver or a surrogate.
        observed: Observed data `(n_sources, n_times, ...)`.
        weights: Factors of predicted and observed data, zero where data are left out; None for none.
        misfit: Misfit of predicted and observed data.
        shape: Shape of the velocity model `(nz, nx)`.
        dtype: Precision of the velocity model.
        prepare: Function that treats predicted and observed data and their weights before they are compared, and
            returns all three; None compares them as they are.
    """

    forward: ForwardModel
    observed: Float[Array, "n_sources n_times ..."]
    weights: Array | None
    misfit: Misfit
    shape: tuple[int, ...]
    dtype: Any = "float32"
    prepare: Prepare | None = None

    @property
    def shots(self) -> int:
        """Simulations that one evaluation takes."""
        return len(self.observed)

    @property
    def resolution(self) -> float:
        """Relative rounding error of the misfit: that of the data."""
        return float(jnp.finfo(self.dtype).eps)

    def value(self, x: Vector) -> float:
        """Compute the misfit.

        Args:
            x: Velocity model `(nz nx,)` [m/s].

        Returns:
            The misfit.
        """
        return float(self._value(self._model(x), *self._data))

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """See `Objective.value_and_gradient`."""
        value, size, gradient = self._gradient(self._model(x), *self._data)
        return float(value), float(size) * _flat(gradient)

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.hessian_product`."""
        return self._product(self._hessian, x, direction)

    def gauss_newton_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.gauss_newton_product`."""
        return self._product(self._gauss_newton, x, direction)

    def _product(self, compiled: Callable[..., Any], x: Vector, direction: Vector) -> Vector:
        """Multiply a direction of the largest value one, and undo that."""
        largest = float(np.max(np.abs(direction), initial=0.0)) or 1.0
        size, product = compiled(self._model(x), self._model(direction / largest), *self._data)
        return largest * float(size) * _flat(product)

    def _model(self, x: Vector) -> Array:
        return jnp.asarray(x.reshape(self.shape), self.dtype)

    @property
    def _data(self) -> tuple[Array, Array | None]:
        # The data are arguments of what is compiled: XLA would compute with constants while it compiles.
        return self.observed, self.weights

    @cached_property
    def _value(self) -> Callable[..., Any]:
        def value(velocity, observed, weights):
            predicted = self.forward(velocity)
            with jax.enable_x64(True):
                return self._of_data(observed, weights)(_double(predicted))

        return jax.jit(value)

    @cached_property
    def _gradient(self) -> Callable[..., Any]:
        def gradient(velocity, observed, weights):
            predicted, pull_back = jax.vjp(self.forward, velocity)
            with jax.enable_x64(True):
                value, slope = jax.value_and_grad(self._of_data(observed, weights))(_double(predicted))
                size, unit = _normalized(slope, predicted.dtype)
            return value, size, pull_back(unit)[0]

        return jax.jit(gradient)

    @cached_property
    def _gauss_newton(self) -> Callable[..., Any]:
        def product(velocity, direction, observed, weights):
            predicted, push_forward = jax.linearize(self.forward, velocity)
            change, pull_back = push_forward(direction), jax.linear_transpose(push_forward, velocity)
            with jax.enable_x64(True):
                slope = jax.grad(self._of_data(observed, weights))
                _, curved = jax.jvp(slope, (_double(predicted),), (_double(change),))
                size, unit = _normalized(curved, predicted.dtype)
            return size, pull_back(unit)[0]

        return jax.jit(product)

    @cached_property
    def _hessian(self) -> Callable[..., Any]:
        def slope(velocity, observed, weights):
            predicted, pull_back = jax.vjp(self.forward, velocity)
            with jax.enable_x64(True):
                size, unit = _normalized(
                    jax.grad(self._of_data(observed, weights))(_double(predicted)), predicted.dtype
                )
            return pull_back(unit)[0], size

        def product(velocity, direction, observed, weights):
            at = partial(slope, observed=observed, weights=weights)
            _, change, size = jax.jvp(at, (velocity,), (direction,), has_aux=True)
            return size, change

        return jax.jit(product)

    def _of_data(self, observed: Array, weights: Array | None) -> Callable[[Array], Array]:
        """Return the misfit as a function of the predicted data, in double precision."""
        factors = None if weights is None else _double(weights)
        used = _double(observed) if factors is None else jnp.where(factors > 0, _double(observed), 0)

        def misfit(predicted: Array) -> Array:
            compared = (predicted, used, factors) if self.prepare is None else self.prepare(predicted, used, factors)
            data, left = compared[:2], compared[2]
            return self.misfit(*data) if left is None else self.misfit(*data, left)

        return misfit


def _double(data: Array) -> Array:
    return data.astype(jnp.float64)


def _normalized(data: Array, dtype: Any) -> tuple[Array, Array]:
    """Return the largest value, which has no derivative, and the data divided by it, in another precision."""
    largest = jnp.max(jnp.abs(data))
    size = jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))
    return size, (data / size).astype(dtype)


def _flat(model: Array) -> Vector:
    return np.asarray(model, np.float64).ravel()
