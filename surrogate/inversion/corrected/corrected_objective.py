"""Correct a cheap forward model around a model m_k, so that it agrees there with the one that is inverted.

    F_k(m) = F_low(m) + F(m_k) - F_low(m_k)
    J_k(m) = J(F_k(m)) + const + c . (m - m_k) + (m - m_k) . B (m - m_k) / 2,    c = grad J(m_k) - grad J(F_k)(m_k)

so that J_k has the value and the gradient of J at m_k, whatever F_low is, and so it has with F_low in place of F_k. The
regularizers of J are in it as they are.
B is what past centers m_i tell of the difference of both Hessians: of symmetric rank one (SR1) for each pair

    s = m_k - m_i,    y = [grad J(m_k) - grad J(m_i)] - [grad J(F_k)(m_k) - grad J(F_k)(m_i)]

but for pairs along which J bends less than J_k: with negative curvature, two pairs sent J_k's minimum so far away that
every third trial failed, where without it none does.

Sources: N. M. Alexandrov, J. E. Dennis, R. M. Lewis and V. Torczon, Structural Optimization 15 (1998), 16-23;
M. S. Eldred, A. A. Giunta and S. S. Collis, AIAA paper 2004-4457; J. Nocedal and S. Wright, Numerical Optimization
(2006), section 6.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from surrogate.inversion.kept_data import KeptData
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.optimizers.line_search import Point
from surrogate.inversion.optimizers.protocol import Vector

SKIPPED = 1e-8  # smallest cosine between a step and what SR1 adds along it, which must not be negative


class RankOnes(NamedTuple):
    """Hold a symmetric matrix B = sum of r r^T / a.

    Attributes:
        vectors: Vectors r `(k, n)`.
        scales: Numbers a `(k,)`.
    """

    vectors: np.ndarray
    scales: np.ndarray

    def product(self, direction: Vector) -> Vector:
        """Multiply a direction.

        Args:
            direction: Direction `(n,)`.

        Returns:
            The product `(n,)`.
        """
        return (self.vectors @ direction / self.scales) @ self.vectors


def rank_ones(size: int, pairs: Sequence[tuple[Vector, Vector]]) -> RankOnes:
    """Build the matrix with B s = y for the last pair, and for those before it as far as SR1 keeps them.

    It has no negative curvature: a pair that would need one is left out.

    Args:
        size: Length n of the vectors.
        pairs: Steps s and changes y `(n,)`, the oldest first.

    Returns:
        The matrix.
    """
    found = RankOnes(np.zeros((0, size)), np.zeros(0))
    for step, change in pairs:
        missing = change - found.product(step)
        along = float(missing @ step)
        if along > SKIPPED * np.linalg.norm(missing) * np.linalg.norm(step):
            found = RankOnes(np.vstack([found.vectors, missing]), np.append(found.scales, along))
    return found


@dataclass(eq=False)
class CorrectedObjective:
    """Compute J_k; it is a `CurvedObjective`, which counts what it simulates.

    Attributes:
        low: Misfit of the cheap forward model's data, shifted or not, with the regularizers.
        center: Center m_k, with the misfit and the gradient of J there.
        shift: F(m_k) - F_low(m_k), which correct the data of the cheap model `(n_sources, n_times, ...)`.
        bend: Matrix B; None for zero.
        linear: Gradient c of the correction `(n,)`.
        constant: Number that makes the values equal at the center.
        counts: Simulations of a shot by the cheap model, in the order of COUNTS: one forward each has made the shift.
    """

    low: ModelObjective
    center: Point
    shift: Array
    bend: RankOnes | None = None
    linear: Vector = field(init=False)
    constant: float = field(init=False)
    counts: list[int] = field(init=False)

    def __post_init__(self):
        self.counts = [self.shots, 0, 0]
        value, gradient = self._low(self.center.x)
        self.linear, self.constant = self.center.gradient - gradient, self.center.value - value

    @property
    def shots(self) -> int:
        """See `Objective.shots`."""
        return self.low.shots

    @property
    def resolution(self) -> float:
        """See `Objective.resolution`."""
        return self.low.resolution

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """See `Objective.value_and_gradient`."""
        if np.array_equal(x, self.center.x):
            return self.center.value, self.center.gradient
        value, gradient = self._low(x)
        step = x - self.center.x
        bent = self._bent(step)
        return float(value + self.constant + (self.linear + bent / 2) @ step), gradient + self.linear + bent

    def low_change(self, x: Vector) -> Vector:
        """Compute how the gradient of the shifted misfit differs from a model to the center.

        Args:
            x: Model `(n,)`.

        Returns:
            The gradient at the center less that at the model `(n,)`.
        """
        return self.center.gradient - self.linear - self._low(x)[1]

    def data_error(self, x: Vector, center_data: Array, data: Array) -> float:
        """Compute the error of the change of the data that the cheap model predicts, over that change.

        Args:
            x: Model `(n,)`.
            center_data: Data of the forward model that is inverted, at the center `(n_sources, n_times, ...)`.
            data: Its data at the model, of that shape.

        Returns:
            The relative L2 error; 1 is that of no change.
        """
        assert not isinstance(self.low.data, KeptData)
        self.counts[0] += self.shots
        weighted, predicted = self.low.data.weighted, self.low.data.data(self.low.velocity(x)) + self.shift
        return float(jnp.linalg.norm(weighted(data - predicted)) / jnp.linalg.norm(weighted(data - center_data)))

    def take_counts(self) -> list[int]:
        """Return the simulations since the last call.

        Returns:
            Simulations of a shot by the cheap model, in the order of COUNTS.
        """
        taken, self.counts = self.counts, [0, 0, 0]
        return taken

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.hessian_product`."""
        self.counts[2] += self.shots
        return self.low.hessian_product(x, direction) + self._bent(direction)

    def gauss_newton_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.gauss_newton_product`."""
        self.counts[2] += self.shots
        return self.low.gauss_newton_product(x, direction) + self._bent(direction)

    def _low(self, x: Vector) -> tuple[float, Vector]:
        self.counts[1] += self.shots
        return self.low.value_and_gradient(x)

    def _bent(self, direction: Vector) -> Vector:
        return np.zeros_like(direction) if self.bend is None else self.bend.product(direction)
