"""Keep the data that were predicted along with a gradient, so that a center needs no simulation of its own."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Array

from surrogate.inversion.batches import Draw
from surrogate.inversion.objective import DataMisfit, Vector


@dataclass(frozen=True, eq=False)
class KeptData:
    """Compute a misfit and keep the data of the models that it saw; it is an `Objective`.

    Attributes:
        misfit: Misfit.
        found: Data of each model and each draw of shots, by their bytes.
    """

    misfit: DataMisfit
    found: dict[tuple[bytes, bytes], Array] = field(default_factory=dict)

    @property
    def shots(self) -> int:
        """See `Objective.shots`."""
        return self.misfit.shots

    @property
    def resolution(self) -> float:
        """See `Objective.resolution`."""
        return self.misfit.resolution

    def value(self, x: Vector, draw: Draw | None = None) -> float:
        """Compute the misfit. See `DataMisfit.value`."""
        return self.misfit.value(x, draw)

    def value_and_gradient(self, x: Vector, draw: Draw | None = None) -> tuple[float, Vector]:
        """See `DataMisfit.value_and_gradient`."""
        value, gradient, self.found[_key(x, draw)] = self.misfit.value_gradient_and_data(x, draw)
        return value, gradient

    def data(self, x: Vector, draw: Draw | None = None) -> Array:
        """Return the data of a model; after a resumption they are simulated again, by the same program.

        Args:
            x: Velocity model `(nz nx,)` [m/s].
            draw: Shots; None for all.

        Returns:
            Data `(n_sources, n_times, ...)`.
        """
        if _key(x, draw) not in self.found:
            self.value_and_gradient(x, draw)
        return self.found[_key(x, draw)]

    def weighted(self, data: Array, draw: Draw | None = None) -> Array:
        """See `DataMisfit.weighted`."""
        return self.misfit.weighted(data, draw)

    def forget_all_but(self, x: Vector) -> None:
        """Forget the data of all models but one.

        Args:
            x: That model `(nz nx,)` [m/s].
        """
        for key in [key for key in self.found if key[0] != x.tobytes()]:
            del self.found[key]

    def hessian_product(self, x: Vector, direction: Vector, draw: Draw | None = None) -> Vector:
        """See `DataMisfit.hessian_product`."""
        return self.misfit.hessian_product(x, direction, draw)

    def gauss_newton_product(self, x: Vector, direction: Vector, draw: Draw | None = None) -> Vector:
        """Multiply a direction by the matrix of Gauss and Newton. See `DataMisfit.hessian_product`."""
        return self.misfit.gauss_newton_product(x, direction, draw)


def _key(x: Vector, draw: Draw | None) -> tuple[bytes, bytes]:
    return x.tobytes(), b"" if draw is None else np.asarray(draw.shots).tobytes()
