"""Pointwise linear layers: the same for every cell.

y = x W + b
"""

import jax
from flax import nnx


class Linear(nnx.Linear):
    """`nnx.Linear` on the rows of a matrix: with more axes XLA transposes the field for the gradient of the weights."""

    def __call__(self, x: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.out_features)
