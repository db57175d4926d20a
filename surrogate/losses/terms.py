"""Compare a prediction with its target in the training loss: relative errors, by sample.

    relative_l2   N = ||u||
    sobolev       N = ||D^s u||: all s-fold differences between neighbors, along the last two axes
    bands         N^2 = sum over bands b of w_b ||P_b u||^2, P_b the Fourier modes of a band of metrics/errors.py
    traces        N = ||u at the receivers||

The error is N(prediction - target) / N(target). The Sobolev term takes differences, not the Fourier transform: a window
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
from surrogate.metrics.errors import band_masks, unit_of
from surrogate.protocols import Batch, Task

# A sample whose target is (almost) silent has no scale of its own: none counts as less than this of the batch's.
FLOOR = 1e-3


class Judged(NamedTuple):
    """Hold what a term looks at.

    Attributes:
        predict: The model as a pure function of its inputs.
        prediction: Prediction of the batch `(batch, outputs, *shape)`.
        target: Target of the batch.
        batch: Examples.
        key: Random key of this step.
    """

    predict: Callable[..., jax.Array]
    prediction: jax.Array
    target: jax.Array
    batch: Batch
    key: Key[Array, ""]


PerSample = Float[Array, " batch"]
SquaredNorm = Callable[[Float[Array, "batch *rest"]], PerSample]
Term = Callable[[Judged], PerSample]


def relative(
    squared: SquaredNorm, error: Float[Array, "batch *rest"], target: Float[Array, "batch *rest"]
) -> PerSample:
    """Compute N(error) / N(target) by sample; see `FLOOR`. Where the error is 0, so is the derivative.

    Both are divided by the largest target of the batch first, so that no square overflows or vanishes in any unit.

    Args:
        squared: Squared norm N^2 of each sample.
        error: Errors `(batch, ...)`.
        target: Targets `(batch, ...)`.

    Returns:
        Relative errors `(batch,)`.
    """
    unit = unit_of(target)
    error, target = squared(error / unit), squared(target / unit)
    none = error == 0  # False for NaN, which stays NaN
    norm = jnp.where(none, 0.0, jnp.sqrt(jnp.where(none, 1.0, error)))
    typical = jnp.sqrt(jnp.mean(target))
    scale = jnp.maximum(jnp.sqrt(target), FLOOR * typical)
    return norm / jnp.where(typical > 0, scale, 1.0)


def squares(field: Float[Array, "batch *rest"]) -> Float[Array, " batch"]:
    """Compute ||field||^2 of each sample.

    Args:
        field: Field `(batch, ...)`.

    Returns:
        Squared norms `(batch,)`.
    """
    return jnp.sum(field**2, axis=tuple(range(1, field.ndim)))


def relative_l2(judged: Judged) -> Float[Array, " batch"]:
    """Compute ||prediction - target|| / ||target||, as in metrics/errors.py but for the `FLOOR`.

    Args:
        judged: Prediction and target.

    Returns:
        Relative errors `(batch,)`.
    """
    return relative(squares, judged.prediction - judged.target, judged.target)


def sobolev(order: int) -> Term:
    """Make the term that is the relative error of the derivatives of one order.

    Args:
        order: 1 for the gradient, 2 for the second derivatives, and so on.

    Returns:
        The term.
    """

    def derivatives(field: jax.Array, order: int) -> list[jax.Array]:
        if order == 0:
            return [field]
        return [d for axis in (-2, -1) for d in derivatives(jnp.diff(field, axis=axis), order - 1)]

    def norm(field: jax.Array) -> Float[Array, " batch"]:
        return reduce(add, map(squares, derivatives(field, order)))

    return lambda judged: relative(norm, judged.prediction - judged.target, judged.target)


def bands(weights: Mapping[str, float]) -> Term:
    """Make the term that weighs the squared errors of each band of wavenumbers along the last two axes.

    Args:
        weights: Weight of each band of metrics/errors.py.

    Returns:
        The term.
    """

    def norm(field: jax.Array) -> Float[Array, " batch"]:
        *_, nz, nx = field.shape
        masks = band_masks((nz, nx))
        weight = reduce(add, (weights[name] * mask for name, mask in masks.items()))
        modes = jnp.fft.fft2(field)
        axes = tuple(range(1, field.ndim))
        return jnp.sum(weight * (modes.real**2 + modes.imag**2), axis=axes)

    return lambda judged: relative(norm, judged.prediction - judged.target, judged.target)


def traces(task: Task) -> Term:
    """Make the term that is the relative L2 error of the field at the receivers.

    Args:
        task: Task that is trained.

    Returns:
        The term.

    Raises:
        InputError: If the prediction is no pressure on the grid.
    """
    if task.equation is None:
        raise InputError(
            f"The loss `traces` takes fields at the receivers, but this task predicts {task.target}. Set "
            "training.loss.traces=0; for gathers it would be training.loss.relative_l2."
        )
    rows, columns = task.spec.receiver_cells

    def term(judged: Judged) -> Float[Array, " batch"]:
        prediction, target = (field[..., rows, columns] for field in (judged.prediction, judged.target))
        return relative(squares, prediction - target, target)

    return term
