"""Draw gently folded layers that straight faults cut.

A depth coordinate is folded by a few sines and shifted by the throw of each fault on one side of its line. The layer
that contains the resulting depth gives the velocity. The recipe follows the description of the Fault families of
OpenFWI by Deng et al. (NeurIPS 2022), regenerated here from that description.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.reproducible import reproducible


@dataclass(frozen=True)
class FaultedLayers:
    """Draw folded layers with faults.

    Attributes:
        min_velocity: Smallest velocity [m/s].
        max_velocity: Largest velocity [m/s].
        layers: Largest number of layers; the smallest is 2.
        faults: Largest number of faults; the smallest is 0.
        fold: Largest height of a fold, as a fraction of the model's depth.
        throw: Largest shift along a fault, as a fraction of the model's depth.
        ordered: Whether velocity grows with depth; otherwise the layers are in random order.
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    layers: int = 7
    faults: int = 2
    fold: float = 0.08
    throw: float = 0.12
    ordered: bool = False

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        nz, nx = grid.shape
        keys = jax.random.split(key, 8)
        # Unit coordinates along the depth; x keeps the aspect ratio.
        z = ((jnp.arange(nz) + 0.5) / nz)[:, None]
        x = ((jnp.arange(nx) + 0.5) / nz)[None, :]

        heights = self.fold * jax.random.uniform(keys[0], (3,), minval=-1.0) / jnp.arange(1, 4)
        phases = jax.random.uniform(keys[1], (3,), maxval=2 * jnp.pi)
        waves = jnp.arange(1, 4)[:, None, None] * jnp.pi * x * nz / nx + phases[:, None, None]
        depth = z + jnp.sum(heights[:, None, None] * jnp.sin(waves), axis=0)

        count = jax.random.randint(keys[2], (), 0, self.faults + 1)
        crossing = jax.random.uniform(keys[3], (self.faults,), minval=0.2, maxval=0.8) * nx / nz
        dip = jax.random.uniform(keys[4], (self.faults,), minval=-0.6, maxval=0.6)
        shifts = self.throw * jax.random.uniform(keys[5], (self.faults,), minval=-1.0)
        for i in range(self.faults):
            beyond = x > crossing[i] + dip[i] * (z - 0.5)
            depth += jnp.where(beyond & (i < count), shifts[i], 0.0)

        # Interfaces: the first `active` of a random set; the others lie far below the model.
        active = jax.random.randint(keys[6], (), 2, self.layers + 1)
        interface_key, velocity_key = jax.random.split(keys[7])
        interfaces = jnp.where(
            jnp.arange(self.layers - 1) < active - 1,
            jax.random.uniform(interface_key, (self.layers - 1,)),
            jnp.inf,
        )
        index = jnp.sum(depth[..., None] > jnp.sort(interfaces), axis=-1)
        velocities = jax.random.uniform(
            velocity_key, (self.layers,), minval=self.min_velocity, maxval=self.max_velocity
        )
        return (jnp.sort(velocities) if self.ordered else velocities)[index]
