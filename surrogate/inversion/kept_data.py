"""Keep the data that were predicted along with a gradient, so that a center needs no simulation of its own."""

from dataclasses import dataclass, field

from jaxtyping import Array

from surrogate.inversion.objective import DataMisfit, Vector


@dataclass(frozen=True, eq=False)
class KeptData:
    """Compute a misfit and keep the data of the models that it saw; it is an `Objective`.

    Attributes:
        misfit: Misfit.
        found: Data of each model, by its bytes.
    """

    misfit: DataMisfit
    found: dict[bytes, Array] = field(default_factory=dict)

    @property
    def shots(self) -> int:
        """See `Objective.shots`."""
        return self.misfit.shots

    @property
    def resolution(self) -> float:
        """See `Objective.resolution`."""
        return self.misfit.resolution

    def value(self, x: Vector) -> float:
        """Compute the misfit. See `DataMisfit.value`."""
        return self.misfit.value(x)

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """See `Objective.value_and_gradient`."""
        value, gradient, self.found[x.tobytes()] = self.misfit.value_gradient_and_data(x)
        return value, gradient

    def data(self, x: Vector) -> Array:
        """Return the data of a model; after a resumption they are simulated again, by the same program.

        Args:
            x: Velocity model `(nz nx,)` [m/s].

        Returns:
            Data `(n_sources, n_times, ...)`.
        """
        if x.tobytes() not in self.found:
            self.value_and_gradient(x)
        return self.found[x.tobytes()]

    def forget_all_but(self, x: Vector) -> None:
        """Forget the data of all models but one.

        Args:
            x: That model `(nz nx,)` [m/s].
        """
        for key in self.found.keys() - {x.tobytes()}:
            del self.found[key]

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.hessian_product`."""
        return self.misfit.hessian_product(x, direction)

    def gauss_newton_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.gauss_newton_product`."""
        return self.misfit.gauss_newton_product(x, direction)
