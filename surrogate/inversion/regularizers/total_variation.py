"""Prefer models of constant parts with sharp edges, by the mean length of the gradient over the area A of the model.

    TV(v) = 1 / A  int  |grad v| dA,    as a value with a gradient: |g| = g^2 / (sqrt(g^2 + e^2) + e)

An edge costs its height times its length, however sharp it is. In each cell the gradient is that of differences to
the next row and the next column, zero at the last. Source: L. I. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992).

The proximal operator solves, without smoothing and within bounds C,

    min over u in C of    mean((u - v)^2) / 2 + w TV(u)

by its dual: u = P_C(v - D^T p) with |p| <= w / h in every cell, h the side of a cell, D the differences. The dual is
maximized by accelerated projected gradients of step 1 / 8, as ||D||^2 <= 8: A. Beck and M. Teboulle, IEEE Transactions
on Image Processing 18 (2009), 2419-2434, from A. Chambolle, Journal of Mathematical Imaging and Vision 20 (2004).
A step of descent of length s on J + m TV, with N cells, ends with the proximal operator of w = s m / N.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.common.errors import InputError


def differences(model: Float[Array, "nz nx"]) -> Float[Array, "2 nz nx"]:
    """Subtract each cell from the next one along both axes: D.

    Args:
        model: Model `(nz, nx)`.

    Returns:
        Differences along z and along x `(2, nz, nx)`, zero in the last row or column.
    """
    last_row, last_column = model[-1:], model[:, -1:]
    return jnp.stack([jnp.diff(model, axis=0, append=last_row), jnp.diff(model, axis=1, append=last_column)])


def adjoint_differences(pair: Float[Array, "2 nz nx"]) -> Float[Array, "nz nx"]:
    """Apply the transpose of `differences`.

    Args:
        pair: Two models `(2, nz, nx)`; the last row of the first and the last column of the second do not count.

    Returns:
        D^T of them `(nz, nx)`.
    """
    deep, wide = pair[0, :-1], pair[1, :, :-1]
    rows = jnp.pad(deep, ((1, 0), (0, 0))) - jnp.pad(deep, ((0, 1), (0, 0)))
    return rows + jnp.pad(wide, ((0, 0), (1, 0))) - jnp.pad(wide, ((0, 0), (0, 1)))


def _primal(model: Array, dual: Array, low: float | Array, high: float | Array, steps: float | Array = 1.0) -> Array:
    """Compute the model that belongs to a dual: P_C(v - steps D^T p)."""
    return jnp.clip(model - steps * adjoint_differences(dual), low, high)


def proximal_dual(
    model: Float[Array, "nz nx"],
    limit: float | Float[Array, ""],
    low: float | Float[Array, "nz nx"],
    high: float | Float[Array, "nz nx"],
    iterations: int,
    steps: float | Float[Array, "nz nx"] = 1.0,
    start: Float[Array, "2 nz nx"] | None = None,
) -> Float[Array, "2 nz nx"]:
    """Compute the dual p of the proximal operator, which proves how near its model u is to the minimum.

    The sum of |u - v|^2 / (2 steps) + limit |D u| is above its minimum by no more than the sum of limit |D u| - p D u.
    A step of the dual in a cell is 1 / 4 over the largest sum of the steps of the two cells at one of its edges, by
    Gershgorin's circles of D steps D^T.

    Args:
        model: Model v `(nz, nx)`.
        limit: Largest |p|, w / h.
        low: Lowest values of u.
        high: Highest values of u.
        iterations: Number of iterations.
        steps: Steps of the cells, which move more or less readily.
        start: Dual to start from, such as that of a model nearby; None for zero.

    Returns:
        The dual `(2, nz, nx)`.
    """
    cells = jnp.broadcast_to(jnp.asarray(steps, model.dtype), model.shape)
    rates = 1 / (4 * jnp.max(2 * cells + differences(cells), axis=0))

    def limited(dual):
        length = jnp.sqrt(jnp.sum(dual**2, axis=0))
        return dual * jnp.where(length > limit, limit / jnp.where(length > 0, length, 1), 1)

    def improve(_, carry):
        dual, guess, momentum = carry
        following = limited(guess + rates * differences(_primal(model, guess, low, high, steps)))
        greater = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        return following, following + (momentum - 1) / greater * (following - dual), greater

    first = jnp.zeros((2, *model.shape), model.dtype) if start is None else limited(start)
    return jax.lax.fori_loop(0, iterations, improve, (first, first, jnp.ones((), model.dtype)))[0]


@dataclass(frozen=True)
class TotalVariation:
    """Take the mean length of the gradient [1 / s].

    Attributes:
        smoothing: Gradient e [1 / s] below which its length counts by its square, so that the value has a derivative.

    Raises:
        InputError: If it is not positive.
    """

    smoothing: float = 0.01

    def __post_init__(self):
        if not self.smoothing > 0:
            raise InputError(
                f"Total variation needs a positive smoothing in 1/s, such as 0.01 (a change of 10 m/s over 1 km), but "
                f"it is {self.smoothing}."
            )

    def __call__(
        self, velocity: Float[Array, "nz nx"], start: Float[Array, "nz nx"], spacing: float
    ) -> Float[Array, ""]:
        """See `Regularizer.__call__`."""
        squared = jnp.sum((differences(velocity) / spacing) ** 2, axis=0)
        return jnp.mean(squared / (jnp.sqrt(squared + self.smoothing**2) + self.smoothing))

    def proximal(
        self,
        velocity: Float[Array, "nz nx"],
        weight: float | Float[Array, ""],
        spacing: float,
        *,
        low: float | Float[Array, "nz nx"] = -jnp.inf,
        high: float | Float[Array, "nz nx"] = jnp.inf,
        iterations: int = 200,
    ) -> Float[Array, "nz nx"]:
        """Compute the model nearest to a given one that is worth its total variation.

        Args:
            velocity: Velocity model v `(nz, nx)` [m/s].
            weight: Weight w, zero or more [m^2 / s].
            spacing: Side of a cell [m].
            low: Lowest velocities [m/s].
            high: Highest velocities [m/s].
            iterations: Number of iterations.

        Returns:
            The minimum `(nz, nx)` [m/s].
        """
        return _primal(velocity, proximal_dual(velocity, weight / spacing, low, high, iterations), low, high)
