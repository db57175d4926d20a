"""Compute the misfit of a velocity model, its gradient and products with its second derivatives.

    J(v) = misfit(forward(v), observed)
    gradient             J'^T r,                     r = dJ / d(data), J' = d(data) / dv
    Gauss-Newton         J'^T M J' d,                M = d^2 J / d(data)^2
    Hessian              J'^T M J' d + (dJ' / dv . d)^T r

The solver computes in the model's precision. The misfit and its derivatives over the data are computed in float64, so
that two nearly equal misfits can be told apart. Before they go back through the solver they are divided by their
largest value, so that no factor of the misfit leaves the range of float32.

The misfit of some of the shots, or of super-shots, is the part that they have in the misfit of all (shares.py): parts
of shots add up to it. Compiled functions take the numbers of the shots as an argument, so that one serves every draw.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from surrogate.inversion.batches import Draw
from surrogate.inversion.forward import ForwardModel
from surrogate.inversion.misfits.registry import Misfit
from surrogate.inversion.shares import Whole, prepared, relative_size, whole_size

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
        shift: Data that are added to those of the forward model, of their shape; None for none.
    """

    forward: ForwardModel
    observed: Float[Array, "n_sources n_times ..."]
    weights: Array | None
    misfit: Misfit
    shape: tuple[int, ...]
    dtype: Any = "float32"
    prepare: Prepare | None = None
    shift: Array | None = None

    def shifted(self, shift: Array) -> "DataMisfit":
        """Return the misfit with data added to those of the forward model, for which nothing is compiled anew.

        Args:
            shift: Data of all shots `(n_sources, n_times, ...)`.

        Returns:
            The misfit.
        """
        other = replace(self, shift=shift)
        vars(other).update({name: getattr(self, name) for name in ("_data", "_gradient", "_hessian", "_gauss_newton")})
        if "_whole" in vars(self):
            vars(other).update(_whole=self._whole)
        return other

    @property
    def shots(self) -> int:
        """Simulations that one evaluation takes."""
        return len(self.observed)

    @property
    def resolution(self) -> float:
        """Relative rounding error of the misfit: that of the data."""
        return float(jnp.finfo(self.dtype).eps)

    def value(self, x: Vector, draw: Draw | None = None) -> float:
        """Compute the misfit.

        Args:
            x: Velocity model `(nz nx,)` [m/s].
            draw: Shots; None for all.

        Returns:
            The misfit, or the draw's part of it.
        """
        return float(self._value(self._model(x), *self._given(draw)))

    def value_and_gradient(self, x: Vector, draw: Draw | None = None) -> tuple[float, Vector]:
        """Compute the misfit and its gradient.

        Args:
            x: Velocity model `(nz nx,)` [m/s].
            draw: Shots; None for all.

        Returns:
            The misfit, or the draw's part of it, and its gradient `(nz nx,)`.
        """
        return self.value_gradient_and_data(x, draw)[:2]

    def value_gradient_and_data(self, x: Vector, draw: Draw | None = None) -> tuple[float, Vector, Array]:
        """Compute the misfit, its gradient, and the data that are predicted.

        Args:
            x: Velocity model `(nz nx,)` [m/s].
            draw: Shots; None for all.

        Returns:
            The misfit, its gradient `(nz nx,)`, and the data of the forward model, without `shift`.
        """
        value, size, gradient, predicted = self._gradient(self._model(x), *self._given(draw))
        return float(value), float(size) * _flat(gradient), predicted

    def data(self, x: Vector, draw: Draw | None = None) -> Array:
        """Predict the data.

        Args:
            x: Velocity model `(nz nx,)` [m/s].
            draw: Shots; None for all.

        Returns:
            Data `(n_sources, n_times, ...)`, without `shift`.
        """
        return self._data(self._model(x), draw)

    def weighted(self, data: Array, draw: Draw | None = None) -> Array:
        """Multiply data by their weights.

        Args:
            data: Data `(n_sources, n_times, ...)`.
            draw: Shots; None for all.

        Returns:
            The products.
        """
        weights = self.weights if draw is None else draw.weights(self.weights)
        return data if weights is None else weights * data

    def know_size(self) -> None:
        """Measure the size of all shots, which every misfit of some of them needs (shares.py), once for all shifts."""
        _ = self._whole

    def hessian_product(self, x: Vector, direction: Vector, draw: Draw | None = None) -> Vector:
        """Multiply a direction by the Hessian.

        Args:
            x: Velocity model `(nz nx,)` [m/s].
            direction: Direction `(nz nx,)` [m/s].
            draw: Shots; None for all.

        Returns:
            The product `(nz nx,)`.
        """
        return self._product(self._hessian, x, direction, draw)

    def gauss_newton_product(self, x: Vector, direction: Vector, draw: Draw | None = None) -> Vector:
        """Multiply a direction by the matrix of Gauss and Newton. See `DataMisfit.hessian_product`."""
        return self._product(self._gauss_newton, x, direction, draw)

    def _product(self, compiled: Callable[..., Any], x: Vector, direction: Vector, draw: Draw | None) -> Vector:
        """Multiply a direction of the largest value one, and undo that."""
        largest = float(np.max(np.abs(direction), initial=0.0)) or 1.0
        size, product = compiled(self._model(x), self._model(direction / largest), *self._given(draw))
        return largest * float(size) * _flat(product)

    def _model(self, x: Vector) -> Array:
        return jnp.asarray(x.reshape(self.shape), self.dtype)

    def _given(self, draw: Draw | None) -> tuple[Array, Array | None, Array | None, Draw | None, Whole | None]:
        # The data are arguments of what is compiled: XLA would compute with constants while it compiles.
        return self.observed, self.weights, self.shift, draw, None if draw is None else self._whole

    @cached_property
    def _data(self) -> Callable[..., Any]:
        return jax.jit(lambda velocity, draw: self._drawn_forward(draw)(velocity))

    @cached_property
    def _whole(self) -> Whole:
        with jax.enable_x64(True):
            return jax.jit(lambda observed, weights: whole_size(self._compare, observed, weights))(
                self.observed, self.weights
            )

    @cached_property
    def _value(self) -> Callable[..., Any]:
        def value(velocity, *given):
            predicted = self._forward(*given)(velocity)
            with jax.enable_x64(True):
                return self._of_data(*given)(_double(predicted))

        return jax.jit(value)

    @cached_property
    def _gradient(self) -> Callable[..., Any]:
        def gradient(velocity, *given):
            predicted, pull_back = jax.vjp(self._forward(*given), velocity)
            with jax.enable_x64(True):
                value, slope = jax.value_and_grad(self._of_data(*given))(_double(predicted))
                size, unit = _normalized(slope, predicted.dtype)
            return value, size, pull_back(unit)[0], predicted

        return jax.jit(gradient)

    @cached_property
    def _gauss_newton(self) -> Callable[..., Any]:
        def product(velocity, direction, *given):
            predicted, push_forward = jax.linearize(self._forward(*given), velocity)
            change, pull_back = push_forward(direction), jax.linear_transpose(push_forward, velocity)
            with jax.enable_x64(True):
                slope = jax.grad(self._of_data(*given))
                _, curved = jax.jvp(slope, (_double(predicted),), (_double(change),))
                size, unit = _normalized(curved, predicted.dtype)
            return size, pull_back(unit)[0]

        return jax.jit(product)

    @cached_property
    def _hessian(self) -> Callable[..., Any]:
        def slope(velocity, *given):
            predicted, pull_back = jax.vjp(self._forward(*given), velocity)
            with jax.enable_x64(True):
                size, unit = _normalized(jax.grad(self._of_data(*given))(_double(predicted)), predicted.dtype)
            return pull_back(unit)[0], size

        def product(velocity, direction, *given):
            _, change, size = jax.jvp(lambda at: slope(at, *given), (velocity,), (direction,), has_aux=True)
            return size, change

        return jax.jit(product)

    def _forward(
        self, observed: Array, weights: Array | None, shift: Array | None, draw: Draw | None, whole: Whole | None
    ) -> ForwardModel:
        return self._drawn_forward(draw)

    def _drawn_forward(self, draw: Draw | None) -> ForwardModel:
        return self.forward if draw is None else draw.forward(self.forward)

    def _of_data(
        self, observed: Array, weights: Array | None, shift: Array | None, draw: Draw | None, whole: Whole | None
    ) -> Callable[[Array], Array]:
        """Return the misfit, or a draw's part of it, as a function of the predicted data, in double precision."""
        if draw is None or whole is None:
            given = prepared(observed, weights)
            return lambda predicted: self._compare(predicted if shift is None else predicted + shift, *given)
        used, factors = prepared(draw.data(observed), draw.weights(weights))
        size = relative_size(self._compare, draw, whole.reference, observed, weights)
        # Silent shots count nothing, and get some values from which no misfit is NaN: that times zero would be NaN.
        used = jnp.where(size > 0, used, 1)
        factors = None if factors is None else jnp.where(size > 0, factors, 1)
        moved = None if shift is None else draw.data(shift)
        part = size / whole.size
        return lambda predicted: part * self._compare(predicted if moved is None else predicted + moved, used, factors)

    def _compare(self, predicted: Array, observed: Array, weights: Array | None) -> Array:
        """Compute the misfit of data, in double precision."""
        compared = (predicted, observed, weights)
        predicted, observed, weights = compared if self.prepare is None else self.prepare(*compared)
        return self.misfit(predicted, observed) if weights is None else self.misfit(predicted, observed, weights)


def _double(data: Array) -> Array:
    return data.astype(jnp.float64)


def _normalized(data: Array, dtype: Any) -> tuple[Array, Array]:
    """Return the largest value, which has no derivative, and the data divided by it, in another precision."""
    largest = jnp.max(jnp.abs(data))
    size = jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))
    return size, (data / size).astype(dtype)


def _flat(model: Array) -> Vector:
    return np.asarray(model, np.float64).ravel()
