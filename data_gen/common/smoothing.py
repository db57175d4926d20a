"""Smooth a field with a Gaussian, `exp(-x^2 / (2 deviation^2))`, cut off and normalized to a unit sum."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def gaussian_kernel(reach: int, deviation: float) -> Float[np.ndarray, " n"]:
    """Compute the weights of a Gaussian.

    Args:
        reach: Number of samples on each side of the center.
        deviation: Standard deviation [samples].

    Returns:
        Weights `(2 reach + 1,)` with a sum of one.
    """
    weights = np.exp(-((np.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    return weights / weights.sum()


def gaussian_smooth(
    field: Float[Array, "nz nx"], deviation: float, *, edges: Literal["edge", "reflect"] = "edge", truncate: float = 3.0
) -> Float[Array, "nz nx"]:
    """Convolve a field with a Gaussian, as a sum of shifted copies.

    Args:
        field: The field `(nz, nx)`.
        deviation: Standard deviation of the Gaussian [cells]; with 0 the field is returned unchanged.
        edges: Continuation of the field beyond its edges: by their values (edge) or mirrored (reflect).
        truncate: Distance at which the Gaussian is cut off, in standard deviations.

    Returns:
        The smoothed field `(nz, nx)`.
    """
    if deviation == 0:
        return field
    for axis in (0, 1):
        length = field.shape[axis]
        reach = int(truncate * deviation + 0.5)
        # A mirror image has no more samples than the field has beyond its edge.
        reach = min(reach, length - 1) if edges == "reflect" else reach
        rows = jnp.moveaxis(field, axis, 0)
        padded = jnp.pad(rows, ((reach, reach), (0, 0)), mode=edges)
        total = jnp.zeros_like(rows)
        for shift, weight in enumerate(gaussian_kernel(reach, deviation)):
            total += float(weight) * padded[shift : shift + length]
        field = jnp.moveaxis(total, 0, axis)
    return field
