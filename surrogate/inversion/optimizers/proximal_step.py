"""Minimize a parabola of L-BFGS, total variation and bounds together: the step of a proximal quasi-Newton method.

    minimize over u in C    m(u) = g . (u - x) + (u - x) . B (u - x) / 2 + h(u)
    W B W = b I + U^T (L - b I) U

W are the weights of the preconditioner, by which cells move more or less readily, b is the curvature of the last pair
in these units, U has orthonormal rows, and L are the curvatures along them.

The parabola and h with the bounds are minimized in turn (Douglas-Rachford), each in closed form or by its proximal
operator, as U gives the inverse of W B W + r I:

    u <- argmin parabola(u) + r |u - z + y|^2 / 2,          |u|: the norm of W^-1 u
    z <- argmin over C of h(z) + r |z - u - y|^2 / 2,       y <- y + u - z,       both with u relaxed by 1.6

r W^-2 y is then an e-subgradient of h with the bounds at z, so that m(z) is above its minimum by no more than
v . B^-1 v / 2 + e, v = g + B (z - x) + r W^-2 y: the gap by which the iterations end.
Sources: R. H. Byrd, J. Nocedal and R. B. Schnabel, Mathematical Programming 63 (1994), 129-156 (B);
J. Eckstein and D. P. Bertsekas, Mathematical Programming 55 (1992), 293-318 (in turn, relaxed).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from surrogate.inversion.bounds import Bounds
from surrogate.inversion.optimizers.protocol import Nonsmooth, Vector

ITERATIONS = 300
CHECK_EVERY = 5  # iterations between two gaps
RELAXATION = 1.6
INEXACT = 0.1  # gap at which the iterations end, in decreases of m
FLATTEST = 1e-8  # smallest curvature, in those of the last pair: rounding may bring smaller ones


@dataclass(frozen=True, eq=False)
class Curvature:
    """Hold W B W.

    Attributes:
        weights: Weights W `(n,)`, positive.
        base: Curvature b across the rows of U.
        basis: Orthonormal rows U `(k, n)`.
        values: Curvatures L along them `(k,)`.
    """

    weights: Vector
    base: float
    basis: Float64[np.ndarray, "k n"]
    values: Float64[np.ndarray, " k"]

    def apply(self, function: Callable[[np.ndarray], np.ndarray], vector: Vector) -> Vector:
        """Multiply a vector by a function of W B W.

        Args:
            function: Function of a curvature, such as its inverse.
            vector: Vector `(n,)`.

        Returns:
            The product `(n,)`.
        """
        across = function(np.array(self.base))
        return across * vector + (function(self.values) - across) * (self.basis @ vector) @ self.basis


def flat_curvature(base: float, weights: Vector) -> Curvature:
    """Make the matrix b I of no pairs.

    Args:
        base: Curvature b.
        weights: Weights W `(n,)`, positive.

    Returns:
        The matrix.
    """
    return Curvature(weights, base, np.zeros((0, len(weights))), np.zeros(0))


def pairs_curvature(
    steps: Float64[np.ndarray, "k n"], changes: Float64[np.ndarray, "k n"], weights: Vector
) -> Curvature:
    """Make the matrix of L-BFGS.

    Args:
        steps: Steps of the pairs, newest last `(k, n)`, at least one.
        changes: Changes of the gradient along them `(k, n)`, of positive curvature.
        weights: Weights W `(n,)`, positive.

    Returns:
        The matrix, which is positive definite.
    """
    steps, changes = steps / weights, changes * weights
    base = float(changes[-1] @ changes[-1]) / float(steps[-1] @ changes[-1])
    # In units in which the curvature of each pair and b are one, so that nothing depends on the misfit's scale.
    curvatures = np.sqrt(np.sum(steps * changes, axis=1, keepdims=True))
    s, y = steps * np.sqrt(base) / curvatures, changes / (np.sqrt(base) * curvatures)
    lower = np.tril(s @ y.T, -1)
    inner = np.block([[s @ s.T, lower], [lower.T, -np.eye(len(s))]])
    basis, corner = np.linalg.qr(np.vstack([s, y]).T)
    low_rank = corner @ np.linalg.lstsq(inner, corner.T)[0]
    values, turned = np.linalg.eigh(np.eye(len(low_rank)) - (low_rank + low_rank.T) / 2)
    return Curvature(weights, base, turned.T @ basis.T, base * np.maximum(values, FLATTEST))


def proximal_step(
    x: Vector, gradient: Vector, curvature: Curvature, nonsmooth: Nonsmooth, bounds: Bounds, visible: float
) -> Vector:
    """Minimize m, about.

    Args:
        x: Model `(n,)` [m/s].
        gradient: Gradient g of the smooth part there `(n,)`.
        curvature: Matrix W B W.
        nonsmooth: Part h.
        bounds: Bounds C of every value.
        visible: Gap that is none.

    Returns:
        The model z `(n,)`, whose m is within INEXACT of its decrease of the minimum, unless ITERATIONS were too few.
    """
    lowest = min(curvature.base, float(np.min(curvature.values, initial=np.inf)))
    highest = max(curvature.base, float(np.max(curvature.values, initial=0.0)))
    r, w = np.sqrt(lowest * highest), curvature.weights
    before, z, y, memory = nonsmooth.value(x), x, np.zeros_like(x), None
    for iteration in range(1, ITERATIONS + 1):
        u = x + w * curvature.apply(lambda c: 1 / (c + r), r * (z - y - x) / w - w * gradient)
        wanted = RELAXATION * u + (1 - RELAXATION) * z + y
        z, excess, memory = nonsmooth.proximal(wanted, w**2 / r, bounds, memory)
        y = wanted - z
        if iteration % CHECK_EVERY:
            continue
        curved = curvature.apply(lambda c: c, (z - x) / w) / w
        miss = w * (gradient + curved) + r * y / w
        gap = float(miss @ curvature.apply(lambda c: 1 / c, miss)) / 2 + excess
        decrease = before - nonsmooth.value(z) - float((gradient + curved / 2) @ (z - x))
        if gap <= max(INEXACT * decrease, visible):
            break
    return z
