"""Estimate the diagonal of a matrix that is known by its products alone, from random vectors of +1 and -1.

    diag(A)_i      = E[z_i (A z)_i],        variance  sum_{j != i} A_ij^2
    diag(J^T J)_i  = E[(J^T z)_i^2],        variance  2 (sum_d J_di^2)^2 - 2 sum_d J_di^4

Sources: C. Bekas, E. Kokiopoulou, Y. Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics
57 (2007), 1214-1229; M. F. Hutchinson, Communications in Statistics 19 (1990), 433-450. The second is for the Hessian
of Gauss and Newton: its estimates are never negative, each is wrong by at most sqrt(2 / probes) of itself (one standard
deviation), and a probe costs one gradient of the data in place of a product with the Hessian.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError


def _check_probes(probes: int) -> None:
    if probes < 1:
        raise InputError(f"A diagonal needs one random probe or more, but probes = {probes}.")


def probed_diagonal(
    product: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]],
    like: Float[Array, "*shape"],
    key: jax.Array,
    *,
    probes: int = 16,
) -> Float[Array, "*shape"]:
    """Estimate the diagonal of any matrix, such as a full Hessian.

    Args:
        product: Function that multiplies an array by the matrix.
        like: Array of the shape and type that it takes.
        key: Key of the random numbers.
        probes: Number of products.

    Returns:
        The estimate, of that shape; entries of a positive matrix may come out negative.

    Raises:
        InputError: If there is no probe.
    """
    _check_probes(probes)

    def add(total, key):
        signs = jax.random.rademacher(key, like.shape, like.dtype)
        return total + signs * product(signs), None

    return jax.lax.scan(add, jnp.zeros_like(like), jax.random.split(key, probes))[0] / probes


def gauss_newton_diagonal(
    forward: Callable[[Float[Array, "*shape"]], Float[Array, "..."]],
    model: Float[Array, "*shape"],
    key: jax.Array,
    *,
    weights: Float[Array, "..."] | None = None,
    probes: int = 16,
) -> Float[Array, "*shape"]:
    """Estimate the diagonal of J^T W^2 J for the derivative J of a forward model.

    Args:
        forward: Function from a model to its data.
        model: The model.
        key: Key of the random numbers.
        weights: Factors W of the data, of a shape that broadcasts to theirs; None for one.
        probes: Number of gradients.

    Returns:
        The estimate, of the model's shape, relative to its largest entry, so that data may be of any unit.

    Raises:
        InputError: If there is no probe.
    """
    _check_probes(probes)
    data, pull_back = jax.vjp(forward, model)

    def gradient(key):
        signs = jax.random.rademacher(key, data.shape, data.dtype)
        return pull_back(signs if weights is None else (signs * weights).astype(data.dtype))[0]

    gradients = jax.lax.map(gradient, jax.random.split(key, probes))
    largest = jnp.max(jnp.abs(gradients))
    diagonal = jnp.mean((gradients / jnp.where(largest > 0, largest, 1)) ** 2, axis=0)
    return diagonal / jnp.max(jnp.where(largest > 0, diagonal, 1))


def damped_inverse(
    diagonal: Float[Array, "*shape"], *, level: float = 0.1, power: float = 1.0
) -> Float[Array, "*shape"]:
    """Turn a diagonal or an illumination into weights of updates, which make up for it.

    Args:
        diagonal: Diagonal or illumination, not negative.
        level: Part of its mean that is added to it: cells with much less than that are not raised further.
        power: Power of the weights. 1 weighs gradients by the inverse of the diagonal. Where a preconditioner is
            applied on both sides, as P P^T, 1/2 makes P.

    Returns:
        Weights of the same shape, the largest of which is one.

    Raises:
        InputError: If the level is not positive.
    """
    if not level > 0:
        raise InputError(f"The level must be positive, or silent cells would be raised without limit, but is {level}.")
    damped = jnp.maximum(diagonal, 0) + level * jnp.mean(diagonal)
    return (jnp.min(damped) / damped) ** power
