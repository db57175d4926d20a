"""Directions of change of a velocity model, along which a sample's snapshots are differentiated.

    d = FRACTION v g(x),    <g(x) g(x + r)> = exp(-|r|^2 / a^2),    a = v_min / (4 f)
    tangents = d/de p(v + e d) at e = 0

with g of unit variance, f the wavelets' highest peak frequency and v_min the slowest velocity. The spectrum of g,
exp(-(k a)^2 / 4), has fallen to 8 % at k = 4 pi f / v_min, twice the wavenumber of the shortest dominant wave: the
finest detail of a model that reflected waves tell of, and so what an inversion asks a surrogate's derivative for.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.random_fields import gaussian_field
from data_gen.velocity.base.reproducible import isolated

FRACTION = 0.01  # of the velocity; tangents are linear in it, so it is a matter of units only


@dataclass(frozen=True)
class Directions:
    """Smooth random directions. length: a, of their correlation [m]."""

    length: float

    def draw(self, key: Key[Array, ""], velocity: Float[Array, "nz nx"], count: int, grid: Grid) -> Float[Array, "..."]:
        """Directions `(count, nz, nx)` [m/s] about a model; direction i depends on the key and i alone."""
        return FRACTION * velocity * self._fields(key, count, grid).astype(velocity.dtype)

    @isolated
    def _fields(self, key: Key[Array, ""], count: int, grid: Grid) -> Float[Array, "count nz nx"]:
        def amplitude(kz, kx):
            return jnp.exp(-(kz**2 + kx**2) * self.length**2 / 8)

        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
        return jax.vmap(lambda key: gaussian_field(key, grid, amplitude))(keys)
