"""Compute the misfit of the shots that an iteration sees, group by group; what is known of a group is not computed."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from surrogate.inversion.batches import Group
from surrogate.inversion.kept_data import KeptData
from surrogate.inversion.objective import DataMisfit, Vector


@dataclass(frozen=True, eq=False)
class DrawnMisfit:
    """Compute the misfit of the shots that an iteration sees; it is a `CurvedObjective`.

    Attributes:
        misfit: Misfit of all shots.
        groups: Draws, whose parts of the misfit add up.
        found: Parts that are known, by the number of their group and their model; those that are computed are added.
    """

    misfit: DataMisfit | KeptData
    groups: tuple[Group, ...]
    found: dict[tuple[int, bytes], tuple[float, Vector]]

    @property
    def shots(self) -> int:
        """Simulations that one evaluation takes."""
        return sum(group.shots for group in self.groups)

    @property
    def resolution(self) -> float:
        """See `DataMisfit.resolution`."""
        return self.misfit.resolution

    def data(self, x: Vector) -> Array:
        """Predict the data of the draws. See `DataMisfit.data`."""
        return jnp.concatenate([self.misfit.data(x, group.draw) for group in self.groups])

    def weighted(self, data: Array) -> Array:
        """Multiply data of the draws by their weights. See `DataMisfit.weighted`."""
        ends = np.cumsum([group.shots for group in self.groups])[:-1]
        parts = zip(jnp.split(data, ends), self.groups, strict=True)
        return jnp.concatenate([self.misfit.weighted(part, group.draw) for part, group in parts])

    def shifted(self, shift: Array) -> "DrawnMisfit":
        """Return the misfit with data added to those of the forward model. See `DataMisfit.shifted`.

        Args:
            shift: Data of the draws, which are of shots, not sums of them `(n, n_times, ...)`.

        Returns:
            The misfit.
        """
        assert isinstance(self.misfit, DataMisfit)
        self.misfit.know_size()
        shots = np.concatenate([group.draw.shots for group in self.groups])
        all_shots = jnp.zeros((len(self.misfit.observed), *shift.shape[1:]), shift.dtype).at[shots].set(shift)
        return DrawnMisfit(self.misfit.shifted(all_shots), self.groups, {})

    def forget_all_but(self, x: Vector) -> None:
        """Forget the data of all models but one. See `KeptData.forget_all_but`."""
        assert isinstance(self.misfit, KeptData)
        self.misfit.forget_all_but(x)

    def missing(self, x: Vector) -> int:
        """Count the simulations that an evaluation takes beyond what is known.

        Args:
            x: Velocity model `(nz nx,)` [m/s].

        Returns:
            Simulations of a shot.
        """
        return sum(group.shots for group in self.groups if (group.number, x.tobytes()) not in self.found)

    def value(self, x: Vector) -> float:
        """Compute the misfit. See `DataMisfit.value`."""
        return sum(group.weight * self.misfit.value(x, group.draw) for group in self.groups)

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """See `Objective.value_and_gradient`."""
        total, slope = 0.0, np.zeros_like(x)
        for group in self.groups:
            key = group.number, x.tobytes()
            if key not in self.found:
                self.found[key] = self.misfit.value_and_gradient(x, group.draw)
            value, gradient = self.found[key]
            total, slope = total + group.weight * value, slope + group.weight * gradient
        return total, slope

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.hessian_product`."""
        products = (group.weight * self.misfit.hessian_product(x, direction, group.draw) for group in self.groups)
        return np.sum(list(products), axis=0)

    def gauss_newton_product(self, x: Vector, direction: Vector) -> Vector:
        """See `CurvedObjective.gauss_newton_product`."""
        products = (group.weight * self.misfit.gauss_newton_product(x, direction, group.draw) for group in self.groups)
        return np.sum(list(products), axis=0)
