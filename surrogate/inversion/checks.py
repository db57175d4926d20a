"""Check the models, the data and the weights of an inversion once, at the edge, before anything is compiled."""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import real_array
from data_gen.solver.problem.checks import check_inputs, check_velocity
from data_gen.solver.problem.simulation import field_dtype
from surrogate.inversion.forward import ForwardModel, PhysicsForward

ROUNDING = 1e-4  # relative: a smoothed model may pass a bound by as much
LISTED = 8  # shots that a message lists


class SilentDataWarning(UserWarning):
    """Warn of shots or traces whose observed data are zero throughout."""


def check_start(start: ArrayLike, bounds: Sequence[float], held: Bool[np.ndarray, "..."]) -> Float[Array, "nz nx"]:
    """Check that a starting model is finite, in meters per second, and within the bounds.

    Args:
        start: Starting model `(nz, nx)` [m/s].
        bounds: Lowest and highest velocity of a free cell [m/s].
        held: Mask of the fixed cells `(nz, nx)`.

    Returns:
        The start `(nz, nx)` in float32, or in float64 if it was given so.

    Raises:
        InputError: If it is not.
    """
    model = _check_model(start, "The starting model", bounds, held, "Give a start within them, or widen the bounds.")
    return jnp.where(held, model, jnp.clip(model, *bounds))


def check_truth(truth: ArrayLike, bounds: Sequence[float], held: Bool[np.ndarray, "nz nx"]) -> Float[Array, "nz nx"]:
    """Check that a true model can be reached: that its free cells are within the bounds.

    Args:
        truth: True model `(nz, nx)` [m/s].
        bounds: Lowest and highest velocity of a free cell [m/s].
        held: Mask of the fixed cells `(nz, nx)`.

    Returns:
        The true model `(nz, nx)` in float32, or in float64 if it was given so.

    Raises:
        InputError: If it is not finite, not in meters per second, or leaves the bounds.
    """
    remedy = (
        "No estimate could fit its data. Widen the bounds, or hold cells of known velocity, such as water, fixed with "
        "inversion.fixed_rows (in Python also with `fixed`)."
    )
    return _check_model(truth, "The true model", bounds, held, remedy)


def _check_model(model: ArrayLike, name: str, bounds: Sequence[float], held: np.ndarray, remedy: str) -> Array:
    values = np.asarray(real_array(model, name))
    if values.shape != held.shape or held.ndim != 2:
        expected = "(nz, nx)" if held.ndim != 2 else f"(nz, nx) = {held.shape}, as the start has it,"
        raise InputError(f"{name} has the shape {values.shape}, but {expected} is expected.")
    check_velocity(values.astype(np.promote_types(values.dtype, np.float32)), name)
    low, high = bounds
    outside = ~held & ((values < low * (1 - ROUNDING)) | (values > high * (1 + ROUNDING)))
    if outside.any():
        raise InputError(
            f"{name} leaves inversion.bounds = [{low:g}, {high:g}] m/s in {outside.sum()} of its "
            f"{(~held).sum()} free cells, where it spans {values[outside].min():g} to {values[outside].max():g} m/s. "
            f"{remedy}"
        )
    return jnp.asarray(values, field_dtype(values))


def check_fastest(
    forward: ForwardModel | None, start: ArrayLike, bounds: Sequence[float], held: Bool[np.ndarray, "nz nx"]
) -> None:
    """Check that the solver is stable in the fastest model that an inversion may reach.

    Args:
        forward: Forward model; only one that is the solver is checked, and None is not.
        start: Starting model `(nz, nx)` [m/s], whose velocities fixed cells keep.
        bounds: Lowest and highest velocity of a free cell [m/s].
        held: Mask of the fixed cells `(nz, nx)`.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(forward, PhysicsForward):
        return
    fastest = jnp.where(held, jnp.asarray(start), bounds[1])
    fastest, density = forward.medium(fastest)
    try:
        check_inputs(fastest, forward.survey, forward.simulation, density)
    except InputError as error:
        raise InputError(
            f"inversion.bounds = [{bounds[0]:g}, {bounds[1]:g}] m/s allow models that the solver cannot simulate. "
            f"Lower the upper bound, or change the simulation: {error}"
        ) from None


def check_weights(weights: ArrayLike | None, predicted: jax.ShapeDtypeStruct) -> Array | None:
    """Check that weights are finite, not negative, and fit the data axis by axis.

    Args:
        weights: Weights of the data; None for none.
        predicted: Shape and type of the data.

    Returns:
        The weights in the type of the data.

    Raises:
        InputError: If they are not.
    """
    if weights is None:
        return None
    given = real_array(weights, "The weights")
    shape, data = given.shape, predicted.shape
    if len(shape) != len(data) or any(n not in (1, m) for n, m in zip(shape, data, strict=True)):
        raise InputError(
            f"Weights of the shape {shape} do not fit data of the shape {data}: each axis needs the data's length, "
            "or 1, which holds for all. Traces of gathers are weighed by (n_sources, 1, n_receivers)."
        )
    values = np.asarray(given, np.float32)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() > 0):
        raise InputError("Weights must be finite and not negative, and some must be positive.")
    return jnp.asarray(values / values.max(), jnp.promote_types(predicted.dtype, jnp.float32))


def check_observed(
    observed: ArrayLike, predicted: jax.ShapeDtypeStruct, weights: Array | None = None
) -> Float[Array, "n_sources n_times ..."]:
    """Check that observed data have the shape of the predicted ones, and are finite wherever their weight is not zero.

    Warns with `SilentDataWarning` of shots and traces that are zero throughout.

    Args:
        observed: Observed data.
        predicted: Shape and type of the predicted data.
        weights: Weights of the data; None for none.

    Returns:
        The observed data in the type of the predicted ones, float32 at least.

    Raises:
        InputError: If they are not, or if they are zero everywhere.
    """
    values = np.asarray(real_array(observed, "The observed data"))
    if values.shape != predicted.shape:
        raise InputError(
            f"Observed data of the shape {values.shape} cannot be compared with the forward model's, which "
            f"have the shape {predicted.shape}: (shots, times, receivers), or (shots, times, nz, nx) for wavefields. "
            "Give the same shots, times and receivers to both."
        )
    used = np.broadcast_to(True if weights is None else np.asarray(weights) > 0, values.shape)
    bad = used & ~np.isfinite(values)
    if bad.any():
        shot, time, *rest = (int(i) for i in np.argwhere(bad)[0])
        place = f"trace {rest[0]}" if len(rest) == 1 else f"cell {tuple(rest)}"
        raise InputError(
            f"The observed data have {bad.sum()} values that are not finite, the first in shot {shot}, {place}, at "
            f"time sample {time}. Repair them, or leave them out by weights of zero."
        )
    _warn_of_silence(used & (values != 0), used)
    return jnp.asarray(values, jnp.promote_types(predicted.dtype, jnp.float32))


def _warn_of_silence(heard: np.ndarray, used: np.ndarray) -> None:
    """Warn of what is used but silent: whole shots, and traces of gathers. Silence everywhere is refused."""
    if not heard.any():
        raise InputError(
            "The observed data are zero everywhere, so there is nothing to fit. Repair or record them again."
        )
    quiet = np.asarray(used.any(axis=1) & ~heard.any(axis=1))
    found = []
    for shot in range(len(heard)):
        if not heard[shot].any() and used[shot].any():
            found.append(f"shot {shot}, all traces")
        elif heard.ndim == 3 and quiet[shot].any():
            found.append(f"shot {shot}, traces {', '.join(str(i) for i in np.flatnonzero(quiet[shot]))}")
    if found:
        listed = "; ".join(found[:LISTED]) + (f"; and {len(found) - LISTED} more shots" if len(found) > LISTED else "")
        warnings.warn(
            f"Observed data are zero throughout in {listed}. Misfits that normalize traces leave them out, the others "
            "fit them as they are; if they were not recorded, leave them out with `weights` of zero.",
            SilentDataWarning,
            stacklevel=4,
        )
