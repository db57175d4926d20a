"""The terms of the training loss that compare a prediction with its truth: relative errors, by sample.

    relative_l2   N = ||u||
    sobolev       N = ||D^s u||: all s-fold differences between neighbours, along the last two axes
    bands         N^2 = sum over bands b of w_b ||P_b u||^2, P_b the Fourier modes of a band of metrics.py
    traces        N = ||u at the receivers||

The error is N(prediction - truth) / N(truth). The Sobolev term takes differences, not the Fourier transform: a window
of a wavefield is not periodic, and the jump between its opposite sides, which a transform sees, would outweigh the
error once multiplied with the wavenumber.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from surrogate.metrics.errors import band_masks
from surrogate.protocols import Batch, Task

# A sample whose truth is (almost) silent has no scale of its own: none counts as less than this of the batch's.
FLOOR = 1e-3


class Judged(NamedTuple):
    """What a term looks at. predict: the model as a pure function of its inputs. key: random, of this step."""

    predict: Callable[..., jax.Array]
    prediction: jax.Array
    truth: jax.Array
    batch: Batch
    key: Key[Array, ""]


Term = Callable[[Judged], Float[Array, " batch"]]


def relative(error: Float[Array, " batch"], truth: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """sqrt(error / truth) of squared norms, by sample; see `FLOOR`. Where the error is 0, so is the derivative."""
    none = error == 0  # what is not a number stays so
    norm = jnp.where(none, 0.0, jnp.sqrt(jnp.where(none, 1.0, error)))
    typical = jnp.sqrt(jnp.mean(truth))
    scale = jnp.maximum(jnp.sqrt(truth), FLOOR * typical)
    return norm / jnp.where(typical > 0, scale, 1.0)


def squares(field: Float[Array, "batch *rest"]) -> Float[Array, " batch"]:
    """||field||^2 of each sample."""
    return jnp.sum(field**2, axis=tuple(range(1, field.ndim)))


def relative_l2(judged: Judged) -> Float[Array, " batch"]:
    """||prediction - truth|| / ||truth||, as in metrics.py but for the `FLOOR`."""
    return relative(squares(judged.prediction - judged.truth), squares(judged.truth))


def sobolev(order: int) -> Term:
    """Relative error of the derivatives of one order: that of the gradient, of the second derivatives, and so on."""

    def derivatives(field: jax.Array, order: int) -> list[jax.Array]:
        if order == 0:
            return [field]
        return [d for axis in (-2, -1) for d in derivatives(jnp.diff(field, axis=axis), order - 1)]

    def norm(field: jax.Array) -> Float[Array, " batch"]:
        return reduce(add, map(squares, derivatives(field, order)))

    return lambda judged: relative(norm(judged.prediction - judged.truth), norm(judged.truth))


def bands(weights: Mapping[str, float]) -> Term:
    """Relative error with weights on the squares of each band of wavenumbers, those of the last two axes."""

    def norm(field: jax.Array) -> Float[Array, " batch"]:
        *_, nz, nx = field.shape
        masks = band_masks((nz, nx))
        weight = reduce(add, (weights[name] * mask for name, mask in masks.items()))
        modes = jnp.fft.fft2(field)
        axes = tuple(range(1, field.ndim))
        return jnp.sum(weight * (modes.real**2 + modes.imag**2), axis=axes)

    return lambda judged: relative(norm(judged.prediction - judged.truth), norm(judged.truth))


def traces(task: Task) -> Term:
    """Relative L2 error of the field at the receivers.

    Raises `InputError` for a target that is no field.
    """
    if task.target not in ("snapshots", "harmonic"):
        raise InputError(
            f"The loss `traces` takes fields at the receivers, but this task predicts {task.target}. Set "
            "training.loss.traces=0; for gathers it would be training.loss.relative_l2."
        )
    rows, columns = task.spec.receiver_cells

    def term(judged: Judged) -> Float[Array, " batch"]:
        prediction, truth = (field[..., rows, columns] for field in (judged.prediction, judged.truth))
        return relative(squares(prediction - truth), squares(truth))

    return term
