"""Add total variation without smoothing, as the part without a gradient of what a proximal optimizer minimizes.

    h(v) = w TV(v) = w / (N side)  sum over cells |D v|,     N the number of cells

Its proximal operator is that of total_variation.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.regularizers.total_variation import adjoint_differences, differences, proximal_dual

Vector = Float64[np.ndarray, " n"]
ITERATIONS = 30  # of the dual in a call; the next call goes on from it


@dataclass(frozen=True)
class ProximalTotalVariation:
    """Compute total variation and its proximal operator of flat models; it is a `Nonsmooth`.

    Attributes:
        weight: Weight w.
        shape: Shape of the model `(nz, nx)`.
        spacing: Side of a cell [m].
    """

    weight: float
    shape: tuple[int, ...]
    spacing: float

    @property
    def by_cell(self) -> float:
        """Factor of the length of a cell's differences."""
        return self.weight / (np.prod(self.shape) * self.spacing)

    def value(self, x: Vector) -> float:
        """See `Nonsmooth.value`."""
        with jax.enable_x64(True):
            return self.by_cell * float(_length(x.reshape(self.shape)))

    def proximal(self, x: Vector, steps: Vector, bounds: Bounds, memory: Any) -> tuple[Vector, float, Any]:
        """See `Nonsmooth.proximal`; the memory is the dual."""
        dual = np.zeros((2, *self.shape)) if memory is None else memory
        model, cells, low, high = (vector.reshape(self.shape) for vector in (x, steps, *bounds))
        with jax.enable_x64(True):
            found, gap, dual = _proximal(model, self.by_cell, low, high, cells, dual, ITERATIONS)
            return np.asarray(found).ravel(), float(gap), dual


@jax.jit
def _length(model):
    return jnp.sum(jnp.linalg.norm(differences(model), axis=0))


@partial(jax.jit, static_argnames="iterations")
def _proximal(model, limit, low, high, steps, dual, iterations):
    dual = proximal_dual(model, limit, low, high, iterations, steps, dual)
    found = jnp.clip(model - steps * adjoint_differences(dual), low, high)
    return found, limit * _length(found) - jnp.vdot(dual, differences(found)), dual
