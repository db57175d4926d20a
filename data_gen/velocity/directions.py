"""Draw directions of change of a velocity model, along which the snapshots of a sample are differentiated.

    d = FRACTION v g(x),    <g(x) g(x + r)> = exp(-|r|^2 / a^2),    a = v_min / (4 f)
    tangents = d/de p(v + e d) at e = 0

Here g has unit variance, f is the highest peak frequency of the wavelets and v_min the slowest velocity. The spectrum
of g, exp(-(k a)^2 / 4), has fallen to 8 % at k = 4 pi f / v_min, twice the wavenumber of the shortest dominant wave.
That is the finest detail of a model that reflected waves resolve, and the detail for which an inversion needs the
derivative of a surrogate.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.random_fields import gaussian_field
from data_gen.velocity.base.reproducible import reproducible

FRACTION = 0.01  # of the velocity; tangents are linear in it, so its value only scales them


@dataclass(frozen=True)
class Directions:
    """Draw smooth random directions.

    Attributes:
        length: Correlation length a of the directions [m].
    """

    length: float

    def draw(self, key: Key[Array, ""], velocity: Float[Array, "nz nx"], count: int, grid: Grid) -> Float[Array, "..."]:
        """Draw directions about a model; direction i depends only on the key and i.

        Args:
            key: Random key of the directions.
            velocity: Velocity model `(nz, nx)` [m/s].
            count: Number of directions.
            grid: The grid `(nz, nx)`.

        Returns:
            Directions `(count, nz, nx)` [m/s].
        """
        return FRACTION * velocity * self._fields(key, count, grid).astype(velocity.dtype)

    @reproducible
    def _fields(self, key: Key[Array, ""], count: int, grid: Grid) -> Float[Array, "count nz nx"]:
        def amplitude(kz, kx):
            return jnp.exp(-(kz**2 + kx**2) * self.length**2 / 8)

        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
        return jax.vmap(lambda key: gaussian_field(key, grid, amplitude))(keys)
