"""Measure the misfit between predicted and observed data: scalars, zero at equality, free of the data's units.

With d the predicted and d_obs the observed data:

    l2                   ||d - d_obs||^2 / ||d_obs||^2: the mean squared error over the observed mean square
    global_correlation   1 - <d, d_obs> / (||d|| ||d_obs||) by shot: blind to amplitude.
                         Source: Y. Choi and T. Alkhalifah, Geophysical Prospecting 60 (2012), 748-758
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Misfit = Callable[[Float[Array, "n_sources *rest"], Float[Array, "n_sources *rest"]], Float[Array, ""]]


def l2(predicted: Float[Array, "n_sources *rest"], observed: Float[Array, "n_sources *rest"]) -> Float[Array, ""]:
    """Divide the mean squared error by the mean square of the observed data.

    Args:
        predicted: Predicted data `(n_sources, ...)`.
        observed: Observed data `(n_sources, ...)`.

    Returns:
        The misfit.
    """
    return jnp.sum((predicted - observed) ** 2) / jnp.sum(observed**2)


def global_correlation(
    predicted: Float[Array, "n_sources *rest"], observed: Float[Array, "n_sources *rest"]
) -> Float[Array, ""]:
    """Average one minus the normalized correlation over the shots.

    Args:
        predicted: Predicted data `(n_sources, ...)`.
        observed: Observed data `(n_sources, ...)`.

    Returns:
        The misfit.
    """
    p, o = (d.reshape(len(d), -1) for d in (predicted, observed))
    norms = jnp.sqrt(jnp.sum(p**2, axis=1) * jnp.sum(o**2, axis=1))
    return jnp.mean(1 - jnp.sum(p * o, axis=1) / norms)


# A misfit is one function and its line here; a config chooses it by name.
MISFITS: dict[str, Misfit] = {
    "l2": l2,
    "global_correlation": global_correlation,
}
