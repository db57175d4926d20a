"""Draw salt in sediments: a body of constant, high velocity that has risen through layers and dragged them up.

The body is star-shaped about its center, `rho(theta) = 1 + sum_k a_k cos(k theta + phi_k)` with `sum |a_k| < 1`, and
therefore connected. In half of the models a stem that widens downwards joins it to the base, which makes it a diapir.
The sediments are folded layers whose velocity grows with depth, bent upwards around the salt.

Source: the shapes resemble those of the SEG/EAGE salt model (Aminzadeh, Brac and Kunz, 1997), whose salt has 4480 m/s;
the recipe is this project's.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import reproducible
from data_gen.velocity.families.layered import fill, fold, layer_tops, layer_velocities, unit_coordinates


@dataclass(frozen=True)
class Salt:
    """Draw a salt body in folded sediments.

    Attributes:
        min_velocity: Smallest velocity of the sediments [m/s].
        max_velocity: Velocity of the salt [m/s].
        sediment_velocity: Largest velocity of the sediments [m/s].
        size: Largest mean radius of the body, as a fraction of the model's shorter side; the smallest is half of it.
        layers: Largest number of sediment layers; the smallest is 4.
        contrast: Smallest difference of velocity between two sediment layers [m/s].
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4480.0
    sediment_velocity: float = 3500.0
    size: float = 0.24
    layers: int = 9
    contrast: float = 60.0

    def __post_init__(self):
        if not self.min_velocity < self.sediment_velocity < self.max_velocity:
            raise InputError(
                "Salt is faster than its sediments: expected min_velocity < sediment_velocity < max_velocity, but got "
                f"{self.min_velocity:g}, {self.sediment_velocity:g} and {self.max_velocity:g} m/s."
            )
        if self.layers < 4 or (self.layers - 1) * self.contrast >= self.sediment_velocity - self.min_velocity:
            raise InputError(
                f"The sediments need at least four layers, {self.contrast:g} m/s apart, between min_velocity and "
                f"sediment_velocity, but got layers={self.layers}: change layers or lower contrast."
            )

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        keys = jax.random.split(key, 7)
        z, x = unit_coordinates(grid)
        width = grid.shape[1] / grid.shape[0]
        radius = self.size * min(1.0, width) * jax.random.uniform(keys[0], minval=0.5)
        center = jnp.array([0.2, 0.25 * width]) + jax.random.uniform(keys[1], (2,)) * jnp.array([0.3, 0.5 * width])
        center = center.at[0].add(radius)
        salt = _body(keys[2], z - center[0], x - center[1], radius)

        aside, above = (x - center[1]) / (1.6 * radius), jnp.minimum(z - center[0], 0) / (2 * radius)
        uplift = 0.15 * jnp.exp(-(aside**2) - above**2)
        depth = z + fold(keys[3], x, width, 0.06) + uplift
        count = jax.random.randint(keys[4], (), 4, self.layers + 1)
        tops = layer_tops(keys[5], count, self.layers, 0.5 / self.layers)
        bounds = self.min_velocity, self.sediment_velocity
        sediments = fill(depth, tops, layer_velocities(keys[6], count, self.layers, bounds, self.contrast, True))
        return jnp.where(salt, self.max_velocity, sediments)


def _body(
    key: Key[Array, ""], dz: Float[Array, "nz nx"], dx: Float[Array, "nz nx"], radius: Float[Array, ""]
) -> Bool[Array, "nz nx"]:
    """Tell which cells, at `(dz, dx)` from the body's center, are salt."""
    keys = jax.random.split(key, 5)
    stretch = jax.random.uniform(keys[0], minval=1.0, maxval=1.6)
    # Salt spreads: the body is wide and flat; the radius is the mean of both directions.
    distance = jnp.sqrt((dz * stretch) ** 2 + dx**2) / radius
    theta = jnp.arctan2(dz * stretch, dx)
    harmonics = jnp.arange(2, 7)
    heights = jax.random.uniform(keys[1], (5,), minval=-1.0) * jnp.array([0.25, 0.18, 0.12, 0.08, 0.06])
    phases = jax.random.uniform(keys[2], (5,), maxval=2 * jnp.pi)
    waves = heights * jnp.cos(harmonics * theta[..., None] + phases)
    edge = 1 + jnp.sum(waves, axis=-1)

    half_width = radius * jax.random.uniform(keys[3], minval=0.2, maxval=0.45)
    stem = (dz > 0) & (jnp.abs(dx) < half_width + 0.2 * jnp.maximum(dz - radius / 2, 0))
    return (distance < edge) | (stem & jax.random.bernoulli(keys[4]))
