"""Drop-path (stochastic depth): in training, a residual branch of a sample is dropped with some probability.

    x <- x + (keep / (1 - rate)) branch(x),    keep ~ Bernoulli(1 - rate) per sample;   evaluation: x + branch(x)

Source: G. Huang et al., "Deep networks with stochastic depth", ECCV 2016.

A model is in evaluation mode until `model.train()` is called, so no branch is dropped by oversight. The random state is
one small array of plain integers that is saved with the weights: a resumed run draws the same numbers as an
uninterrupted one.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class DropState(nnx.Variable):
    """Hold the raw data of a random key, which is saved with the weights and never trained."""


class DropPath(nnx.Module):
    """Multiply each sample of a batch by 0 or `1 / (1 - rate)` in training; it has no parameters.

    Args:
        rate: Probability of dropping a sample.
        rngs: Source of the random key.
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs):
        self.rate = rate
        self.deterministic = True
        self.key = DropState(jax.random.key_data(rngs.params()))

    def __call__(self, x: Float[Array, "batch *rest"]) -> Float[Array, "batch *rest"]:
        """Drop samples in training; return the input in evaluation.

        Args:
            x: Residual branch `(batch, ...)`.

        Returns:
            Array of the same shape.
        """
        if self.deterministic:
            return x
        key, draw = jax.random.split(jax.random.wrap_key_data(self.key[...]))
        self.key[...] = jax.random.key_data(key)
        kept = jax.random.bernoulli(draw, 1 - self.rate, (x.shape[0],) + (1,) * (x.ndim - 1))
        return jnp.where(kept, x / (1 - self.rate), 0)


class Identity(nnx.Module):
    """Return the input; it takes the place of a layer that an option leaves out."""

    def __call__(self, x: Array) -> Array:
        """Return the input.

        Args:
            x: Any array.

        Returns:
            The same array.
        """
        return x


def make_drop_path(rate: float, *, rngs: nnx.Rngs) -> DropPath | Identity:
    """Create a drop-path, or an `Identity` without random state if the rate is zero.

    Args:
        rate: Probability of dropping a sample (0 to below 1).
        rngs: Source of the random key.

    Returns:
        The layer.
    """
    return DropPath(rate, rngs=rngs) if rate > 0 else Identity()
