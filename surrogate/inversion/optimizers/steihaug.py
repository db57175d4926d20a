"""Follow the path of conjugate gradients to the edge of a trust region.

    minimize  g . q + q . B q / 2,    ||q|| <= radius

The path from zero grows in norm with every iteration, and does not depend on the radius: the step is its point at the
radius, or its end. Along a direction of negative curvature, the path goes on without end.
Source: T. Steihaug, SIAM Journal on Numerical Analysis 20 (1983), 626-637.

The directions are kept, so that a smaller radius costs no further product.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from surrogate.inversion.optimizers.protocol import Vector

Product = Callable[[Vector], tuple[Vector, Vector, Vector]]


class _Segment(NamedTuple):
    """Direction in q, its model change, the product there, and the length (infinite: negative curvature)."""

    direction: Vector
    change: Vector
    product: Vector
    length: float


class Step(NamedTuple):
    """Hold a point of the path.

    Attributes:
        norm: Norm of q.
        change: Change of the model `(n,)` [m/s].
        product: Product of the second derivatives with the change `(n,)`.
        at_edge: Whether it lies at the edge of the trust region.
    """

    norm: float
    change: Vector
    product: Vector
    at_edge: bool


class Path:
    """Follow the path of conjugate gradients, as far as it is asked for.

    Args:
        product: Function from q to B q, the change of the model and the product of the second derivatives with it.
        slope: Gradient g `(n,)`.
        tolerance: Norm of the residual at which the path ends, in norms of g.
        iterations: Largest number of products.
    """

    def __init__(self, product: Product, slope: Vector, tolerance: float, iterations: int):
        self._product, self._left = product, iterations
        self._residual = self._next = -slope
        self._enough = tolerance * float(np.linalg.norm(slope))
        self._segments: list[_Segment] = []

    def within(self, radius: float) -> Step:
        """Find the step of a trust region.

        Args:
            radius: Radius of the trust region, positive.

        Returns:
            The step, with zeros where g is zero.
        """
        q, change, product = (np.zeros_like(self._residual) for _ in range(3))
        index = 0
        while index < len(self._segments) or self._extend():
            segment = self._segments[index]
            edge = _to_edge(q, segment.direction, radius)
            length = min(edge, segment.length)
            q = q + length * segment.direction
            change = change + length * segment.change
            product = product + length * segment.product
            if edge <= segment.length:
                return Step(float(np.linalg.norm(q)), change, product, True)
            index += 1
        return Step(float(np.linalg.norm(q)), change, product, False)

    def _extend(self) -> bool:
        """Add a segment, and say whether there was one to add."""
        size = float(self._residual @ self._residual)
        if not self._left or not size > self._enough**2:
            return False
        self._left -= 1
        direction = self._next
        curved, change, product = self._product(direction)
        curvature = float(direction @ curved)
        length = size / curvature if curvature > 0 else np.inf
        self._segments.append(_Segment(direction, change, product, length))
        if curvature > 0:
            self._residual = self._residual - length * curved
            self._next = self._residual + float(self._residual @ self._residual) / size * direction
        else:
            self._left = 0
        return True


def _to_edge(q: Vector, direction: Vector, radius: float) -> float:
    """Return the length along the direction at which the norm of q is the radius."""
    square, along = float(direction @ direction), float(q @ direction)
    left = radius**2 - float(q @ q)
    # This form of the positive root does not cancel: along a path whose norm grows, `along` is not negative.
    root = np.sqrt(max(along**2 + square * left, 0.0))
    return max(left / (along + root), 0.0) if along + root > 0 else np.inf
