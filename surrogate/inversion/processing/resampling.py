"""Put recorded gathers on another time axis by band-limited interpolation, without delay and without aliasing.

    y(t) = sum_j x_j h((t - t_0 - j dt) / T),    T the longer one of both steps

h is the Kaiser-windowed sinc of numerics/resampling.py, whose errors hold here: 1e-3 up to 0.9 of the old Nyquist
frequency where the axis becomes finer; up to 0.8 of the new one where it becomes coarser, with 60 dB and more of what
would fold back suppressed. t_0 is the time of the first recorded sample (the delay recording time). The filter is even:
an event stays at its time, the delay is zero.

A record is at rest before its first sample. Beyond its last one, it continues as its own image turned by half a turn,
as in numerics/resampling.py; an axis that leads there is refused.
"""

from functools import cache
from math import ceil

import numpy as np
from jaxtyping import Array, Float
from scipy.sparse import coo_array

from data_gen.common.errors import InputError
from data_gen.solver.numerics.resampling import HALF_WIDTH, INTERPOLATE, LOW_PASS, windowed_sinc
from data_gen.solver.numerics.temporal_dispersion import BandMatrix, band_matrix
from data_gen.solver.problem.grid import TimeAxis

ROUNDING = 1e-6  # of a step: times are as exact as that


def resample(
    gathers: Float[Array, "*shots nt_recorded n_receivers"], dt: float, time: TimeAxis, *, start: float = 0.0
) -> Float[Array, "*shots nt n_receivers"]:
    """Interpolate gathers at the times of an axis. Linear in `gathers`.

    Args:
        gathers: Recorded gathers `(n_shots, nt_recorded, n_receivers)`.
        dt: Time from one recorded sample to the next [s].
        time: Time axis of the result, which counts from the shot.
        start: Time of the first recorded sample after the shot [s]; negative if it was recorded before.

    Returns:
        Gathers `(n_shots, nt, n_receivers)`, zero before the record.

    Raises:
        InputError: If the step is not positive, or the axis ends after the record.
    """
    if not 0 < dt < np.inf:
        raise InputError(f"The step of recorded gathers must be positive, in seconds, but is dt = {dt}.")
    last, end = start + (gathers.shape[-2] - 1) * dt, float(time.times[-1])
    if end > last + ROUNDING * dt:
        fitting = int((last + ROUNDING * dt) / time.dt) + 1
        raise InputError(
            f"The record ends at {last:g} s ({gathers.shape[-2]} samples of dt = {dt:g} s from {start:g} s on), but "
            f"the time axis ends at {end:g} s. Take an axis of {max(fitting, 0)} samples of {time.dt:g} s, or check "
            "both steps: seconds are meant."
        )
    return _matrix(gathers.shape[-2], dt, time, start).apply(gathers)


@cache
def _matrix(recorded: int, dt: float, time: TimeAxis, start: float) -> BandMatrix:
    """Compute the weights of the recorded samples at each time of the axis."""
    coarse, cutoff = (time.dt, LOW_PASS) if time.dt > dt else (dt, INTERPOLATE)
    # Without rounding errors, which would decide about a weight at the very end of the window.
    positions, reach = np.round((time.times - start) / dt, 11), HALF_WIDTH * coarse / dt
    shifts = np.arange(-ceil(reach), ceil(reach) + 1)
    columns = np.round(positions).astype(int)[:, None] + shifts
    weights = windowed_sinc((positions[:, None] - columns) * (dt / coarse), cutoff)
    weights /= weights.sum(axis=1, keepdims=True)  # a constant stays one
    rows, last = np.broadcast_to(np.arange(time.nt)[:, None], columns.shape), recorded - 1
    beyond = columns > last
    # Beyond the end x(last + s) = 2 x(last) - x(last - s), and zeros before the start.
    entries = [
        (rows, np.where(beyond, 2 * last - columns, columns), np.where(beyond, -weights, weights)),
        (rows[beyond], np.full(beyond.sum(), last), 2 * weights[beyond]),
    ]
    row, column, value = (np.concatenate([np.ravel(part) for part in parts]) for parts in zip(*entries, strict=True))
    kept = (column >= 0) & (value != 0)
    summed = coo_array((value[kept], (row[kept], column[kept])), shape=(time.nt, recorded))
    summed.sum_duplicates()
    row, column = summed.coords
    return band_matrix(row, column, summed.data, (time.nt, recorded))
