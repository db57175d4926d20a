"""Misfits between predicted and observed data: scalars, zero at equality, free of the data's units.

l2                   ||d - d_obs||^2 / ||d_obs||^2: the mean squared error over the observed mean square
global_correlation   1 - <d, d_obs> / (||d|| ||d_obs||) by shot: blind to amplitude.
                     Source: Y. Choi and T. Alkhalifah, Geophysical Prospecting 60 (2012), 748-758
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Misfit = Callable[[Float[Array, "n_sources *rest"], Float[Array, "n_sources *rest"]], Float[Array, ""]]


def l2(predicted: Float[Array, "n_sources *rest"], observed: Float[Array, "n_sources *rest"]) -> Float[Array, ""]:
    """Mean squared error divided by the mean square of the observed data."""
    return jnp.sum((predicted - observed) ** 2) / jnp.sum(observed**2)


def global_correlation(
    predicted: Float[Array, "n_sources *rest"], observed: Float[Array, "n_sources *rest"]
) -> Float[Array, ""]:
    """One minus the normalised correlation of each shot, averaged over shots."""
    p, o = (d.reshape(len(d), -1) for d in (predicted, observed))
    norms = jnp.sqrt(jnp.sum(p**2, axis=1) * jnp.sum(o**2, axis=1))
    return jnp.mean(1 - jnp.sum(p * o, axis=1) / norms)


MISFITS: dict[str, Misfit] = {"l2": l2, "global_correlation": global_correlation}
