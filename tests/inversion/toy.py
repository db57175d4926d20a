"""A forward model that costs nothing: a fixed matrix applied to a smooth, nonlinear function of the velocity."""

import jax.numpy as jnp
import numpy as np


class Toy:
    """Predict gathers of 3 shots, 8 times and 4 receivers.

    Args:
        scale: Factor of the data.
        limit: Velocity [m/s] beyond which the data are NaN.
    """

    shape = (6, 5)
    steps = tuple(range(8))

    def __init__(self, scale: float = 1.0, limit: float = np.inf):
        self.scale, self.limit = np.float32(scale), limit
        matrix = np.random.default_rng(0).normal(size=(3, 8, 4, *self.shape))
        self.matrix = jnp.asarray(matrix * np.linspace(1.0, 0.1, 6)[:, None], jnp.float32)

    def __call__(self, velocity):
        """See `ForwardModel.__call__`."""
        medium = jnp.tanh((velocity - 2500.0) / 500.0)
        data = self.scale * jnp.einsum("strzx,zx->str", self.matrix, medium)
        return jnp.where(velocity.max() > self.limit, jnp.nan, data)
