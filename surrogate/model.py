"""The surrogate: an encoding, an operator and the normalisation that both were trained with, in physical units.

p(v, x_s) = baseline + scale * operator((v - mean) / std, features / feature_scale)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from surrogate.encoding import Encoding


class Normaliser(nnx.Variable):
    """Statistics of the training split: saved with the weights, never trained."""


class Statistics(NamedTuple):
    """Velocity mean and deviation [m/s]; root mean square of each feature, and of truth - baseline per snapshot."""

    velocity_mean: Float[Array, ""]
    velocity_std: Float[Array, ""]
    feature_rms: Float[Array, " channels"]
    residual_rms: Float[Array, " n_snapshots"]


class Surrogate(nnx.Module):
    """Predicts snapshots `(batch, n_snapshots, nz, nx)` from velocities [m/s] and source positions `(z, x)` [m]."""

    def __init__(self, encoding: Encoding, operator: nnx.Module, n_snapshots: int):
        self.encoding = encoding
        self.operator = operator
        blank = Statistics(jnp.zeros(()), jnp.ones(()), jnp.ones(encoding.channels), jnp.ones(n_snapshots))
        self.velocity_mean, self.velocity_std, self.feature_rms, self.residual_rms = map(Normaliser, blank)

    def set_statistics(self, statistics: Statistics) -> None:
        """Fix the normalisation."""
        for name, value in statistics._asdict().items():
            getattr(self, name)[...] = jnp.asarray(value, jnp.float32)

    def __call__(
        self, velocity: Float[Array, "batch nz nx"], source: Float[Array, "batch 2"]
    ) -> Float[Array, "batch n_snapshots nz nx"]:
        features, baseline = jax.vmap(self.encoding)(velocity, source)
        inputs = jnp.concatenate(
            [
                ((velocity - self.velocity_mean[...]) / self.velocity_std[...])[:, None],
                features / self.feature_rms[:, None, None],
            ],
            axis=1,
        )
        outputs = self.operator(jnp.moveaxis(inputs, 1, -1))
        return baseline + self.residual_rms[:, None, None] * jnp.moveaxis(outputs, -1, 1)


def training_statistics(encoding: Encoding, batches) -> Statistics:
    """Statistics over an iterable of batches with keys velocity, source and snapshots: the training split's only."""

    @jax.jit
    def moments(batch):
        features, baseline = jax.vmap(encoding)(batch["velocity"], batch["source"])
        residual = batch["snapshots"] - baseline
        return (
            jnp.mean(batch["velocity"]),
            jnp.mean(batch["velocity"] ** 2),
            jnp.mean(features**2, axis=(0, 2, 3)),
            jnp.mean(residual**2, axis=(0, 2, 3)),
        )

    # Summed in double precision on the host: the squares of 1,000 samples of velocities exhaust float32.
    rows = [([np.asarray(m, np.float64) for m in moments(batch)], len(batch["velocity"])) for batch in batches]
    total = sum(count for _, count in rows)
    mean, square, feature, residual = (sum(row[i] * count for row, count in rows) / total for i in range(4))
    scales = (np.sqrt(square - mean**2), np.sqrt(feature), np.sqrt(residual))
    # A scale of zero belongs to a channel that is silent throughout: it is left as it is.
    return Statistics(*(jnp.asarray(x, jnp.float32) for x in (mean, *(np.where(s > 0, s, 1.0) for s in scales))))
