"""Multiply by the inverse of the part of a limited-memory BFGS matrix that belongs to the free values.

    B = B_0 - [B_0 S, Y] Q^-1 [B_0 S, Y]^T,         Q = [S^T B_0 S, L; L^T, -D]
    B_FF^-1 = H + [S_F, H Y_F] K^-1 [S_F, H Y_F]^T
    K = [S_A^T B_0 S_A, L - S_F^T Y_F; its transpose, -D - Y_F^T H Y_F]

S and Y hold the steps and the changes of the gradient, F and A are the free and the other values, D is the diagonal and
L the part below it of S^T Y. The matrix starts from H = g P P^T over the free values, with g = (s . y) / (y . P P^T y)
of the last pair, and from B_0 = c / (g w^2) over the others, which is its inverse where nothing is smoothed. Where all
values are free, the product is that of the two loops of L-BFGS. Where some are not, it keeps what pairs say about both
sides: fewer gradients to the minimum than with pairs that are cut off at the free values.
Sources: R. H. Byrd, J. Nocedal and R. B. Schnabel, Mathematical Programming 63 (1994), 129-156;
R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, SIAM Journal on Scientific Computing 16 (1995), 1190-1208.
"""

import numpy as np
from jaxtyping import Float64

from surrogate.inversion.optimizers.active_set import ActiveSet
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.optimizers.protocol import Vector

Pairs = Float64[np.ndarray, "k n"]


def quasi_newton_step(
    gradient: Vector, steps: Pairs, changes: Pairs, active: ActiveSet, preconditioner: Preconditioner
) -> Vector:
    """Compute the step `-B_FF^-1 g_F`.

    Args:
        gradient: Gradient `(n,)`.
        steps: Steps of the pairs, newest last `(k, n)`, at least one.
        changes: Changes of the gradient along them `(k, n)`, of positive curvature.
        active: Free values.
        preconditioner: Preconditioner P.

    Returns:
        The step, zero where values are not free `(n,)`.
    """

    def restricted(vectors):
        return np.where(active.free, vectors, 0.0)

    # In units in which the curvature of each pair and g are one, so that nothing in K depends on the misfit's scale.
    root = np.sqrt(_initial(steps[-1], changes[-1], active, preconditioner))
    curvatures = np.sqrt(np.sum(steps * changes, axis=1, keepdims=True))
    s, y = steps / (root * curvatures), changes * (root / curvatures)
    free_s, free_y = restricted(s), restricted(y)
    scales = preconditioner.scales
    held_s = np.divide(s, scales, out=np.zeros_like(s), where=~active.free & (scales > 0))
    slope = root * restricted(gradient)
    *curved, steepest = restricted(preconditioner.metric(np.vstack([free_y, slope])))
    upper = np.tril(s @ y.T, -1) - free_s @ free_y.T
    k = np.block([[held_s @ held_s.T, upper], [upper.T, -np.eye(len(s)) - free_y @ np.transpose(curved)]])
    outer = np.vstack([free_s, curved])
    try:
        correction = np.linalg.solve(k, outer @ slope) @ outer
    except np.linalg.LinAlgError:
        correction = 0.0
    return -root * (steepest + correction)


def _initial(step: Vector, change: Vector, active: ActiveSet, preconditioner: Preconditioner) -> float:
    """Return g of the last pair: over the free values, or over all where the curvature is not positive there."""
    free = active.only_free(change)
    for curvature, vector in ((float(step @ free), free), (float(step @ change), change)):
        size = float(np.sum(preconditioner.transpose(vector) ** 2))
        if curvature > 0 and size > 0:
            break
    return curvature / size if size > 0 else 1.0
