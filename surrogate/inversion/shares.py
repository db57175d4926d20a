"""Measure how much some of the shots count in a misfit of all, from the misfit alone.

    J = sum over shots of errors / sum over shots of sizes,    size: the error of a silent prediction

Every misfit is such a ratio: of least squares the size of a shot is its energy, of misfits that normalize traces it is
the weight of its traces (traces.py). So of two sets of shots, r predicted exactly and o not at all,

    q = misfit((r, 0), (r, o)) = size(o) / (size(r) + size(o)),    size(o) / size(r) = q / (1 - q)

and a misfit of some shots times the share that they have in the size of all adds up over shots to the misfit of all.
The scale of Huber's and Student's misfits and the eps of envelopes are those of the shots at hand, so that these add up
nearly.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float64, Int

from surrogate.inversion.batches import Draw

# From predicted and observed data and their weights to the misfit.
Compare = Callable[[Array, Array, Array | None], Array]


class Whole(NamedTuple):
    """Hold the size of all shots.

    Attributes:
        reference: Number of the loudest shot, whose size is the unit.
        size: Size of all shots.
    """

    reference: Int[Array, ""]
    size: Float64[Array, ""]


def prepared(
    data: Float[Array, "n nt *rest"], weights: Array | None
) -> tuple[Float64[Array, "n nt *rest"], Float64[Array, "..."] | None]:
    """Convert data and weights to float64; data of weight zero, which may be anything, become zero.

    Args:
        data: Observed data `(n, nt, ...)`.
        weights: Their weights, or None.

    Returns:
        Both.
    """
    if weights is None:
        return data.astype(jnp.float64), None
    factors = weights.astype(jnp.float64)
    return jnp.where(factors > 0, data.astype(jnp.float64), 0), factors


def relative_size(
    compare: Compare,
    draw: Draw,
    reference: Int[Array, ""],
    data: Float[Array, "n_shots nt *rest"],
    weights: Array | None,
) -> Float64[Array, ""]:
    """Measure the size of a draw.

    Args:
        compare: Misfit.
        draw: The draw.
        reference: Number of the shot whose size is the unit.
        data: Observed data of all shots `(n_shots, nt, ...)`.
        weights: Their weights, or None.

    Returns:
        The size.
    """
    both = [prepared(part.data(data), part.weights(weights)) for part in (Draw(reference[None]), draw)]
    known, hidden = (side for side, _ in both)
    each = [jnp.broadcast_to(own, (len(side), *own.shape[1:])) for side, own in both if own is not None]
    factors = jnp.concatenate(each) if each else None
    predicted, observed = jnp.concatenate([known, jnp.zeros_like(hidden)]), jnp.concatenate([known, hidden])
    part = compare(predicted, observed, factors)
    return part / (1 - part)


def whole_size(compare: Compare, data: Float[Array, "n_shots nt *rest"], weights: Array | None) -> Whole:
    """Measure the size of all shots, one by one.

    Args:
        compare: Misfit.
        data: Observed data `(n_shots, nt, ...)`.
        weights: Their weights, or None.

    Returns:
        The size, and the shot whose size is the unit.
    """

    def energy(shot):
        draw = Draw(shot[None])
        heard, factors = prepared(draw.data(data), draw.weights(weights))
        return jnp.sum((heard if factors is None else factors * heard) ** 2)

    shots = jnp.arange(len(data))
    loudest = jnp.argmax(jax.lax.map(energy, shots))
    sizes = jax.lax.map(lambda shot: relative_size(compare, Draw(shot[None]), loudest, data, weights), shots)
    return Whole(loudest, jnp.sum(sizes))
