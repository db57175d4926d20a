"""Describe what a parametrization does, and what it may be made from."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float


class ModelSpace(NamedTuple):
    """Hold what is known of the models of an inversion before it begins.

    Attributes:
        start: Starting model `(nz, nx)` [m/s].
        low: Lowest velocity of a free cell [m/s].
        high: Highest velocity of a free cell [m/s].
        spacing: Side of a cell [m].
    """

    start: Float[Array, "nz nx"]
    low: float
    high: float
    spacing: float


@runtime_checkable
class Parametrization(Protocol):
    """Map unknowns to a velocity model and back. Differentiable, and free of random numbers.

    Unknowns have a shape of their own. Cells that are held fixed keep their velocity only if they are set again after
    `to_velocity`.
    """

    def to_velocity(self, unknown: Float[Array, "*unknown"]) -> Float[Array, "nz nx"]:
        """Compute the velocity model of unknowns.

        Args:
            unknown: The unknowns.

        Returns:
            The velocity model `(nz, nx)` [m/s].
        """
        ...

    def to_unknown(self, velocity: Float[Array, "nz nx"]) -> Float[Array, "*unknown"]:
        """Compute the unknowns whose velocity model is a given one, or the nearest to it.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].

        Returns:
            The unknowns.
        """
        ...

    def bounds(
        self, low: Float[Array, "nz nx"], high: Float[Array, "nz nx"]
    ) -> tuple[Float[Array, "*unknown"], Float[Array, "*unknown"]]:
        """Compute bounds of the unknowns within which the velocity keeps its bounds.

        Args:
            low: Lowest velocities `(nz, nx)` [m/s].
            high: Highest velocities `(nz, nx)` [m/s], equal to the lowest in cells that are held fixed.

        Returns:
            Lowest and highest unknowns; infinite where an unknown has no bound.
        """
        ...
