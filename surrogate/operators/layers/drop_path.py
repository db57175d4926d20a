"""Drop-path (stochastic depth): in training, a residual branch is left out of a sample with some probability.

    x <- x + (keep / (1 - rate)) branch(x),    keep ~ Bernoulli(1 - rate) per sample;   evaluation: x + branch(x)

Source: G. Huang et al., "Deep networks with stochastic depth", ECCV 2016.

A model is in evaluation until `model.train()` is called on it, so nothing is ever dropped by oversight. The random
state is one small array of plain integers beside the weights: a resumed run draws what an unbroken one would have.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class DropState(nnx.Variable):
    """The raw data of a random key: saved with the weights, never trained."""


class DropPath(nnx.Module):
    """Multiplies each sample of a batch by 0 or `1 / (1 - rate)`; no parameters."""

    def __init__(self, rate: float, *, rngs: nnx.Rngs):
        self.rate = rate
        self.deterministic = True
        self.key = DropState(jax.random.key_data(rngs.params()))

    def __call__(self, x: Float[Array, "batch *rest"]) -> Float[Array, "batch *rest"]:
        if self.deterministic:
            return x
        key, draw = jax.random.split(jax.random.wrap_key_data(self.key[...]))
        self.key[...] = jax.random.key_data(key)
        kept = jax.random.bernoulli(draw, 1 - self.rate, (x.shape[0],) + (1,) * (x.ndim - 1))
        return jnp.where(kept, x / (1 - self.rate), 0)


class Identity(nnx.Module):
    """What stands where an option leaves a layer out."""

    def __call__(self, x: Array) -> Array:
        return x


def make_drop_path(rate: float, *, rngs: nnx.Rngs) -> DropPath | Identity:
    """Nothing is drawn, and no state kept, at a rate of zero."""
    return DropPath(rate, rngs=rngs) if rate > 0 else Identity()
