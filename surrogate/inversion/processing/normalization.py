"""Divide traces or shots by their root mean square, where only their shape shall count.

    y = x / sqrt(mean(x^2))

y has no unit and does not depend on a factor of x, so that its derivative along x itself is zero. Silent traces stay
zero, with a derivative of zero. Data are divided by their largest amplitude before they are squared: no unit leaves the
range of float32.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def _normalize(gathers: Array, axes: tuple[int, ...]) -> Array:
    """Divide by the root mean square over some axes."""
    largest = jnp.max(jnp.abs(gathers), axis=axes, keepdims=True)
    # Without a derivative: the root mean square below divides any such factor out again.
    divided = gathers / jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))
    unit = jnp.where(largest == 0, 0, divided)
    power = jnp.mean(unit**2, axis=axes, keepdims=True)
    return unit / jnp.sqrt(jnp.where(power == 0, 1, power))


def normalize_traces(gathers: Float[Array, "n_shots nt n_receivers"]) -> Float[Array, "n_shots nt n_receivers"]:
    """Divide each trace by its root mean square: no amplitude counts, neither along offset nor between shots.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`, muted before.

    Returns:
        The traces, each of root mean square one or silent `(n_shots, nt, n_receivers)`.
    """
    return _normalize(gathers, (1,))


def normalize_shots(gathers: Float[Array, "n_shots nt n_receivers"]) -> Float[Array, "n_shots nt n_receivers"]:
    """Divide each shot by its root mean square: amplitudes along offset count, the strength of a shot does not.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`, muted before.

    Returns:
        The shots, each of root mean square one or silent `(n_shots, nt, n_receivers)`.
    """
    return _normalize(gathers, (1, 2))
