"""Take the change of a model for a Gaussian random field with a Matern covariance, which is known beforehand.

    R(v) = (v - v_start)^T C^-1 (v - v_start) / 2
    C(r) = s^2 2^(1 - n) / Gamma(n) (sqrt(2 n) r)^n K_n(sqrt(2 n) r),    r^2 = (z / l_z)^2 + (x / l_x)^2
    S(k) = 4 pi n (2 n)^n s^2 l_z l_x / (2 n + (l_z k_z)^2 + (l_x k_x)^2)^(n + 1)        its spectrum, in two dimensions

s is the standard deviation, l the correlation length, and n the smoothness: fields have fewer than n derivatives, 1/2
is C = s^2 exp(-r), and a large n a Gaussian. Source: P. Whittle, Biometrika 41 (1954), 434-449; C. E. Rasmussen and C.
K. I. Williams, Gaussian Processes for Machine Learning (2006), chapter 4.

C is diagonal in the cosine functions of the model, whose even continuation beyond the edges it takes: the covariance is
that of two cells plus that of the one with all mirror images of the other. So within about a length of an edge the
standard deviation rises, to sqrt(2) s at the edge and 2 s in a corner. In terms of the cosine transform of cells of
side h, C^-1 multiplies by h^2 / S(k): the sum over cells is an integral, so that R belongs to the model, not the grid.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.fft import dctn, idctn
from jaxtyping import Array, Float

from data_gen.common.errors import InputError


@dataclass(frozen=True)
class GaussianPrior:
    """Take half the squared distance from the start in standard deviations (no unit); see the module.

    The precision of waves of two cells is (pi length / spacing)^(2 smoothness + 2) of that of long ones, and velocities
    in float32 are rounded: with lengths of 30 cells, values and gradients of changes that the prior expects are right
    to 1e-3 for a smoothness of 1. Rougher priors and shorter lengths are easier, a smoothness of 2 needs 10 cells.

    Attributes:
        deviation: Standard deviation s [m/s].
        length: Correlation length along x [m].
        depth_length: Correlation length along z [m]; None takes the same.
        smoothness: Smoothness n.

    Raises:
        InputError: If one of them is not positive.
    """

    deviation: float
    length: float
    depth_length: float | None = None
    smoothness: float = 1.0

    def __post_init__(self):
        for name in ("deviation", "length", "depth_length", "smoothness"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"The {name} of a Gaussian prior must be positive and finite, but is {value}.")

    def eigenvalues(self, shape: tuple[int, ...], spacing: float) -> Float[np.ndarray, "nz nx"]:
        """Compute the variances of the coefficients of the orthonormal cosine transform.

        Args:
            shape: Shape of the model `(nz, nx)`.
            spacing: Side of a cell [m].

        Returns:
            Eigenvalues of C `(nz, nx)` [m^2 / s^2].
        """
        lengths, n = (self.depth_length or self.length, self.length), self.smoothness
        squared = [
            (length * np.pi * np.arange(count) / (count * spacing)) ** 2
            for count, length in zip(shape, lengths, strict=True)
        ]
        scale = 4 * np.pi * n * (2 * n) ** n * self.deviation**2 * math.prod(lengths) / spacing**2
        return scale / (2 * n + squared[0][:, None] + squared[1]) ** (n + 1)

    def apply_power(self, model: Float[Array, "nz nx"], power: float, spacing: float) -> Float[Array, "nz nx"]:
        """Multiply a model by a power of C: 1 is the covariance, -1 the precision, 1/2 the root of samples.

        Args:
            model: Model `(nz, nx)`.
            power: The power.
            spacing: Side of a cell [m].

        Returns:
            The product `(nz, nx)`.
        """
        factors = jnp.asarray(self.eigenvalues(model.shape, spacing) ** power, model.dtype)
        return idctn(factors * dctn(model, norm="ortho"), norm="ortho")

    def sample(self, key: jax.Array, shape: tuple[int, int], spacing: float) -> Float[Array, "nz nx"]:
        """Draw a change of the model.

        Args:
            key: Key of the random numbers.
            shape: Shape of the model `(nz, nx)`.
            spacing: Side of a cell [m].

        Returns:
            A random field of covariance C `(nz, nx)` [m/s].
        """
        root = jnp.asarray(np.sqrt(self.eigenvalues(shape, spacing)), float)
        return idctn(root * jax.random.normal(key, shape, root.dtype), norm="ortho")

    def __call__(
        self, velocity: Float[Array, "nz nx"], start: Float[Array, "nz nx"], spacing: float
    ) -> Float[Array, ""]:
        """See `Regularizer.__call__`."""
        precision = 1 / self.eigenvalues(velocity.shape, spacing)
        return jnp.sum(jnp.asarray(precision, velocity.dtype) * dctn(velocity - start, norm="ortho") ** 2) / 2
