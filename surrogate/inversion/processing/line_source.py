"""Turn records of point sources in three dimensions into those of line sources, which a 2-D solver predicts.

    3-D    p(t) = w(t - r / v) / (4 pi r)
    2-D    p(t) = int w(t - s) H(s - r / v) / (2 pi sqrt(s^2 - r^2 / v^2)) ds

With s^2 - r^2 / v^2 = (s - r / v) (s + r / v), and s near r / v where a wavelet is short, the latter is the former,
convolved with 1 / sqrt(t), times a factor in m / sqrt(s). Each law writes it for another part of the data:

    offset    sqrt(2 r v)       straight waves of one velocity
    direct    r sqrt(2 / t)     v = r / t: straight waves of any velocity
    path      v sqrt(2 t)       r = v t: the length of the path in place of the offset, for reflected waves

All agree at t = r / v, where t counts from the time of the wavelet. The error of `offset` is that of the Hankel
function's first term, 1 / (8 k r); the factors that change with t distort the wavelet, four to five times as much.
`python -m benchmarks.line_source` measures all against both Green's functions. No factor is right for a whole record:
waves that arrive together on paths of different kinds need different ones. Source: T. Forbriger, L. Groos, M. Schaefer,
"Line-source simulation for shallow-seismic data. Part 1: theoretical background", Geophysical Journal International
198 (2014), 1387-1404, where `direct` is the direct-wave and `offset` the single-velocity transformation.

The convolution is that of the band-limited function through the samples (numerics/resampling.py): its kernel is

    k_j = sqrt(dt) int_0^inf h(j - u) / sqrt(u) du = 2 sqrt(dt) int_0^inf h(j - q^2) dq

with the Kaiser-windowed sinc h, to within 1e-3 of sqrt(pi / (i w)) up to 0.9 of the Nyquist frequency.
"""

import math
from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.solver.numerics.resampling import HALF_WIDTH, INTERPOLATE, windowed_sinc
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.grid import TimeAxis
from surrogate.inversion.processing.convolution import convolve
from surrogate.inversion.processing.mutes import offsets

LAWS = ("direct", "offset", "path")
NODES = 256  # of the quadrature: 44 half waves of the sinc lie in each interval


@cache
def _kernel(nt: int) -> np.ndarray:
    """Compute k_j / sqrt(dt) for j = 1 - HALF_WIDTH to nt - 1."""
    lags = np.arange(1 - HALF_WIDTH, nt)[:, None]
    low, high = np.sqrt(np.maximum(lags - HALF_WIDTH, 0)), np.sqrt(lags + HALF_WIDTH)
    # The midpoint rule: the integrand is even at q = 0, and next to nothing at the ends of the window.
    q = low + (high - low) * (np.arange(NODES) + 0.5) / NODES
    return np.mean(windowed_sinc(lags - q**2, INTERPOLATE), axis=1) * 2 * (high - low)[:, 0]


def half_integral(data: Float[Array, "*shape"], dt: float, axis: int = -1) -> Float[Array, "*shape"]:
    """Convolve traces with 1 / sqrt(t), t > 0. Linear in `data`.

    Args:
        data: Traces, which are at rest before their first sample.
        dt: Time from one sample to the next [s].
        axis: Axis of time.

    Returns:
        The convolved traces, in units of theirs times sqrt(s).
    """
    kernel = math.sqrt(dt) * _kernel(data.shape[axis])
    return convolve(data, kernel, before=HALF_WIDTH - 1, axis=axis)


def line_source(
    gathers: Float[Array, "n_shots nt n_receivers"],
    survey: Survey,
    time: TimeAxis,
    *,
    law: str = "direct",
    velocity: float | None = None,
    onset: float = 0.0,
) -> Float[Array, "n_shots nt n_receivers"]:
    """Turn gathers of point sources into those of line sources of the same wavelets. Linear in `gathers`.

    Args:
        gathers: Gathers of point sources in three dimensions `(n_shots, nt, n_receivers)`.
        survey: The survey, for the offsets.
        time: Time axis of the gathers.
        law: Factor of amplitudes, one of `LAWS`.
        velocity: Velocity v of the law [m/s]. The law `direct` needs none; with one, its factor is not larger
            than that of the law `offset`, so that noise before all waves stays small.
        onset: Time of the wavelet [s], from which t counts: that of its center, or of its first break.

    Returns:
        Gathers of line sources `(n_shots, nt, n_receivers)`.

    Raises:
        InputError: If there is no such law, or it needs a positive velocity.
    """
    if law not in LAWS:
        raise InputError(f"The law of a line source must be one of {', '.join(LAWS)}, but is {law!r}.")
    if not (velocity is None and law == "direct") and not (velocity is not None and 0 < velocity < math.inf):
        raise InputError(
            f"The law {law!r} of a line source needs a positive velocity in m/s, but got {velocity}. Only 'direct' can "
            "do without."
        )
    distance = offsets(survey)[:, None].astype(gathers.dtype)
    # Up to the first step after the onset, only a receiver at the source hears anything.
    since = jnp.maximum(jnp.asarray(time.times - onset, gathers.dtype), time.dt)[:, None]
    return _factor(law, distance, since, velocity) * half_integral(gathers, time.dt, axis=1)


def _factor(law: str, distance: Array, since: Array, velocity: float | None) -> Array:
    """Compute the factor of a law [m / sqrt(s)]."""
    if velocity is None:
        return distance * jnp.sqrt(2 / since)
    if law == "path":
        return velocity * jnp.sqrt(2 * since)
    arrival = distance / velocity
    if law == "direct":
        return distance * jnp.sqrt(2 / jnp.maximum(since, arrival))
    return velocity * jnp.sqrt(2 * arrival)
