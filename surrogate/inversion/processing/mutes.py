"""Leave out parts of gathers by weights in time and offset with cosine tapers, made from the survey's geometry.

    early    0 up to t0 + r / v, then (1 - cos(pi (t - t0 - r / v) / taper)) / 2 up to 1
    late     1 - early: both with the same settings divide a gather into two
    offset   1 between two offsets, with the same tapers outside of them

r is the distance from a receiver to the source of its shot, or to the nearest of several. A product of weights leaves
out what any of them does. Weights are free of the data, so that both sides of a misfit get the same ones.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.grid import TimeAxis


def offsets(survey: Survey) -> Float[Array, "n_shots n_receivers"]:
    """Compute the distance from each receiver to the nearest source of its shot.

    Args:
        survey: The survey.

    Returns:
        Distances `(n_shots, n_receivers)` [m]. Their derivative at a distance of zero is taken to be zero.
    """
    sources = jnp.asarray(survey.with_source_axis().sources)
    receivers = jnp.asarray(survey.receivers).reshape(-1, survey.n_receivers, 2)
    squared = jnp.sum((receivers[:, None] - sources[:, :, None]) ** 2, axis=-1)
    nearest = jnp.min(squared, axis=1)
    return jnp.where(nearest > 0, jnp.sqrt(jnp.where(nearest > 0, nearest, 1)), 0)


def _ramp(distance: Array, taper: float) -> Array:
    """Rise from 0 at zero to 1 at `taper`."""
    if taper == 0:
        return (distance >= 0).astype(distance.dtype)
    return (1 - jnp.cos(np.pi * jnp.clip(distance / taper, 0, 1))) / 2


def _check_taper(taper: float, unit: str) -> None:
    if not 0 <= taper < math.inf:
        raise InputError(f"The taper of a mute must be a length of zero or more in {unit}, but is {taper}.")


def early_mute(
    survey: Survey, time: TimeAxis, velocity: float, *, start: float = 0.0, taper: float = 0.05
) -> Float[Array, "n_shots nt n_receivers"]:
    """Leave out what comes before a wave of one velocity, such as noise before the first breaks, or the direct wave.

    Args:
        survey: The survey.
        time: Time axis of the gathers.
        velocity: Velocity of the wave [m/s]; infinite for a time that does not depend on offset.
        start: Time of the wave at offset zero [s].
        taper: Time over which the weights rise [s].

    Returns:
        Weights `(n_shots, nt, n_receivers)` from 0 to 1.

    Raises:
        InputError: If the velocity is not positive, or the taper is negative.
    """
    if not velocity > 0:
        raise InputError(f"The velocity of a mute must be positive, in m/s, but is {velocity}.")
    _check_taper(taper, "seconds")
    arrival = start + offsets(survey)[:, None] / velocity
    return _ramp(jnp.asarray(time.times, arrival.dtype)[:, None] - arrival, taper)


def late_mute(
    survey: Survey, time: TimeAxis, velocity: float, *, start: float = 0.0, taper: float = 0.05
) -> Float[Array, "n_shots nt n_receivers"]:
    """Leave out what comes after a wave of one velocity, such as surface waves or multiples.

    Args:
        survey: The survey.
        time: Time axis of the gathers.
        velocity: Velocity of the wave [m/s]; infinite for a time that does not depend on offset.
        start: Time of the wave at offset zero [s].
        taper: Time over which the weights fall, after the wave [s].

    Returns:
        Weights `(n_shots, nt, n_receivers)` from 1 to 0.

    Raises:
        InputError: If the velocity is not positive, or the taper is negative.
    """
    return 1 - early_mute(survey, time, velocity, start=start, taper=taper)


def offset_mute(
    survey: Survey, nearest: float = 0.0, farthest: float = math.inf, *, taper: float = 0.0
) -> Float[Array, "n_shots 1 n_receivers"]:
    """Leave out receivers that are too near to their source, or too far away.

    Args:
        survey: The survey.
        nearest: Smallest offset of full weight [m].
        farthest: Largest offset of full weight [m].
        taper: Distance beyond them over which the weights fall to zero [m].

    Returns:
        Weights `(n_shots, 1, n_receivers)` from 0 to 1, which hold at all times.

    Raises:
        InputError: If the offsets do not ascend, or the taper is negative.
    """
    if not 0 <= nearest <= farthest:
        raise InputError(f"Offsets must ascend from zero or more, in meters, but are {nearest} and {farthest}.")
    _check_taper(taper, "meters")
    distance = offsets(survey)[:, None]
    weights = _ramp(distance - (nearest - taper), taper)
    return weights if math.isinf(farthest) else weights * _ramp(farthest + taper - distance, taper)
