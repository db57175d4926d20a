"""Measure the misfit between predicted and observed data: scalars, zero at equality, free of the data's units.

With d the predicted and d_obs the observed data:

    l2                   ||d - d_obs||^2 / ||d_obs||^2: the mean squared error over the observed mean square
    global_correlation   1 - <d, d_obs> / (||d|| ||d_obs||), averaged over the shots: blind to amplitude. Shots whose
                         observed data are zero throughout are left out.
                         Source: Y. Choi and T. Alkhalifah, Geophysical Prospecting 60 (2012), 748-758

Data are divided by their largest amplitude before anything is squared, so that no unit leaves the range of float32.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError

Misfit = Callable[[Float[Array, "n_sources *rest"], Float[Array, "n_sources *rest"]], Float[Array, ""]]


def _check_shapes(predicted: Array, observed: Array) -> None:
    """Refuse data that broadcasting would compare, though they are not each other's."""
    if predicted.shape != observed.shape:
        raise InputError(
            f"Predicted data of the shape {predicted.shape} cannot be compared with observed data of the shape "
            f"{observed.shape}. Give the same shots, times and receivers to both, and map a batch by jax.vmap."
        )


def _amplitude(data: Array, axis: int | None = None) -> Array:
    """Return the largest amplitude, or one of silent data; it has no derivative: no misfit depends on it."""
    largest = jnp.max(jnp.abs(data), axis=axis, keepdims=True)
    return jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))


def _unit(shots: Array) -> Array:
    """Divide the data of each shot `(n_sources, n)` by their norm; silent shots stay zero."""
    shots = shots / _amplitude(shots, axis=1)
    energy = jnp.sum(shots**2, axis=1, keepdims=True)
    return shots / jnp.sqrt(jnp.where(energy == 0, 1, energy))


def l2(predicted: Float[Array, "n_sources *rest"], observed: Float[Array, "n_sources *rest"]) -> Float[Array, ""]:
    """Divide the mean squared error by the mean square of the observed data.

    Args:
        predicted: Predicted data `(n_sources, ...)`.
        observed: Observed data `(n_sources, ...)`, not zero everywhere.

    Returns:
        The misfit.

    Raises:
        InputError: If the shapes differ.
    """
    _check_shapes(predicted, observed)
    amplitude = _amplitude(observed)
    return jnp.sum(((predicted - observed) / amplitude) ** 2) / jnp.sum((observed / amplitude) ** 2)


def global_correlation(
    predicted: Float[Array, "n_sources *rest"], observed: Float[Array, "n_sources *rest"]
) -> Float[Array, ""]:
    """Average one minus the normalized correlation over the shots that are not silent.

    Args:
        predicted: Predicted data `(n_sources, ...)`.
        observed: Observed data `(n_sources, ...)`, not zero everywhere.

    Returns:
        The misfit.

    Raises:
        InputError: If the shapes differ.
    """
    _check_shapes(predicted, observed)
    p, o = (d.reshape(len(d), -1) for d in (predicted, observed))
    heard = jnp.any(o != 0, axis=1)
    return jnp.mean(1 - jnp.sum(_unit(p) * _unit(o), axis=1), where=heard)


# A misfit is one function and its line here; a config chooses it by name.
MISFITS: dict[str, Misfit] = {
    "l2": l2,
    "global_correlation": global_correlation,
}
