"""Training losses: scalars of a batch."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.metrics import relative_l2


def mean_relative_l2(prediction: Float[Array, "batch *rest"], truth: Float[Array, "batch *rest"]) -> Float[Array, ""]:
    """Mean over the batch of ||prediction - truth|| / ||truth||: every sample counts alike, however weak its field."""
    return jnp.mean(relative_l2(prediction, truth))
