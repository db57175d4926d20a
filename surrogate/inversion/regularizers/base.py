"""Describe what a regularizer does."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class Regularizer(Protocol):
    """Measure a velocity model: a differentiable number, zero or more, which an inversion adds with a weight.

    Lengths are in meters and velocities in m/s, so that the value belongs to the model and not to its grid: with cells
    of half the size, a smooth model has the same value but for a part of the order of the cell's size.
    """

    def __call__(
        self, velocity: Float[Array, "nz nx"], start: Float[Array, "nz nx"], spacing: float
    ) -> Float[Array, ""]:
        """Compute the value.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            start: Starting model `(nz, nx)` [m/s], which some regularizers compare with.
            spacing: Side of a cell [m].

        Returns:
            The value; its unit is in the docstring of the class.
        """
        ...
