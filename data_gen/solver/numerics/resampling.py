"""Make sampling in time finer or coarser by an integer factor: band-limited interpolation and decimation.

    y(t) = sum_j x_j h(t / T - j),    h(u) = c sinc(c u) I0(beta sqrt(1 - (u / r)^2)) / I0(beta),    |u| <= r

T is the step of the coarser axis and c the cutoff as a fraction of its Nyquist frequency. Source: J. F. Kaiser,
"Nonrecursive digital filter design using the I0-sinh window function", Proc. IEEE ISCAS (1974), 20-23; in polyphase
form as in R. E. Crochiere and L. R. Rabiner, "Interpolation and decimation of digital signals", Proc. IEEE 69 (1981),
300-331. With the width and beta below, pass and stop band ripple by -70 dB (3e-4), and the band between them spans
0.2 of the coarser Nyquist frequency.

A trace is at rest before its first sample. It may be cut while it moves: beyond its last sample, at time e, it
continues as its own image turned by half a turn, x(e + s) = 2 x(e) - x(e - s), which keeps value and slope; a symmetric
filter then leaves the last sample as it is. The jump in curvature remains: within r coarse samples of the end,
a tone of angular frequency w is wrong by up to 0.04 (w T)^2 of its amplitude interpolated and 0.011 (w T)^2 decimated
(3e-2 and 7e-3 at a quarter of the Nyquist frequency); continuing by zeros would give 0.14 and 0.5 however slow the
tone. Only there, too, can something above the Nyquist frequency fold back.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.special import i0

from data_gen.common.errors import InputError

HALF_WIDTH = 22  # of the window, in samples of the coarser axis: Kaiser's formula for 70 dB and a band of 0.2
BETA = 0.1102 * (70 - 8.7)
# Between 0.8 (passed) and 1 (stopped) of the coarser Nyquist frequency: nothing above that one folds back.
LOW_PASS = 0.9
# Half amplitude at the Nyquist frequency itself: the sinc's zeros then fall on the samples, which are kept exactly.
INTERPOLATE = 1.0


def windowed_sinc(distance: Float[np.ndarray, "*shape"], cutoff: float) -> Float[np.ndarray, "*shape"]:
    """Evaluate a Kaiser-windowed sinc.

    Args:
        distance: Distances from its center, in samples of the coarser axis.
        cutoff: Cutoff as a part of the coarser axis's Nyquist frequency.

    Returns:
        Its values, of the same shape.
    """
    inside = 1 - (distance / HALF_WIDTH) ** 2
    window = np.where(inside >= 0, i0(BETA * np.sqrt(np.maximum(inside, 0))) / i0(BETA), 0.0)
    return cutoff * np.sinc(cutoff * distance) * window


@partial(jax.jit, static_argnames="stride")
def _filter(
    traces: Float[Array, "*batch nt"], kernels: Float[Array, "channels 1 taps"], stride: int
) -> Float[Array, "*batch channels n_out"]:
    """Apply kernels of an odd number of taps along the last axis, at each `stride`-th sample."""
    nt, reach = traces.shape[-1], kernels.shape[-1] // 2
    flat = traces.reshape(math.prod(traces.shape[:-1]), 1, nt)
    # Zeros first: they also give the reflection enough samples where a trace is shorter than the filter.
    flat = jnp.pad(flat, ((0, 0), (0, 0), (reach, 0)))
    flat = jnp.pad(flat, ((0, 0), (0, 0), (0, reach)), mode="reflect", reflect_type="odd")
    # By default a GPU may multiply in TF32, whose ten bits (5e-4) are above the filter's own error.
    out = lax.conv_general_dilated(flat, kernels, (stride,), "VALID", precision=lax.Precision.HIGHEST)
    return out.reshape(*traces.shape[:-1], *out.shape[1:])


def _check_factor(factor: int) -> None:
    if factor != int(factor) or factor < 1:
        raise InputError(f"A resampling factor must be a whole number, 1 or more, but got {factor}.")


def upsample(traces: Float[Array, "*batch nt"], factor: int) -> Float[Array, "*batch nt_fine"]:
    """Interpolate traces to `(nt - 1) * factor + 1` samples, `factor` to each old step; exact on the old samples.

    The new axis ends on the last old sample: steps beyond it would only extrapolate. Tones up to 0.9 of the old
    Nyquist frequency are interpolated to within 1e-3, away from the end (see the module); a start from other than
    rest is taken for a jump. Linear in `traces`; `jit`, `vmap` and derivatives of any order apply.

    Args:
        traces: Traces `(..., nt)`.
        factor: Number of new steps in each old one.

    Returns:
        Traces `(..., (nt - 1) * factor + 1)`.

    Raises:
        InputError: If the factor is not a positive whole number.
    """
    _check_factor(factor)
    if factor == 1:
        return traces
    shifts = np.arange(factor)[:, None] / factor
    kernels = windowed_sinc(np.arange(-HALF_WIDTH, HALF_WIDTH + 1) - shifts, INTERPOLATE)
    kernels /= kernels.sum(axis=1, keepdims=True)  # a constant stays one, without a ripple of period `factor`
    *batch, nt = traces.shape
    phases = _filter(traces, jnp.asarray(kernels[:, None], traces.dtype), 1)
    return jnp.swapaxes(phases, -1, -2).reshape(*batch, nt * factor)[..., : (nt - 1) * factor + 1]


def decimate(traces: Float[Array, "*batch nt_fine"], factor: int) -> Float[Array, "*batch nt"]:
    """Keep each `factor`-th of `(nt - 1) * factor + 1` samples, after a zero-phase low-pass: nothing folds back.

    Tones up to 0.8 of the new Nyquist frequency pass to within 1e-3, and tones above it are suppressed by 60 dB and
    more, away from the end (see the module). Linear in `traces`; `jit`, `vmap` and derivatives of any order apply.
    Traces that are band-limited already, such as those of an upsampled wavelet, need no filter: take
    `traces[..., ::factor]`.

    Args:
        traces: Traces `(..., (nt - 1) * factor + 1)`.
        factor: Number of old steps in each new one.

    Returns:
        Traces `(..., nt)`.

    Raises:
        InputError: If the factor is not a positive whole number, or does not divide the steps.
    """
    _check_factor(factor)
    if factor == 1:
        return traces
    steps = traces.shape[-1] - 1
    if steps % factor:
        raise InputError(
            f"Traces of {steps + 1} samples cannot be decimated by {factor}: the first and the last sample are kept, "
            f"so {steps} steps must be a multiple of it. Cut them to {steps - steps % factor + 1} samples."
        )
    kernel = windowed_sinc(np.arange(-HALF_WIDTH * factor, HALF_WIDTH * factor + 1) / factor, LOW_PASS)
    return _filter(traces, jnp.asarray((kernel / kernel.sum())[None, None], traces.dtype), factor)[..., 0, :]


def substeps(dt: float, largest: float) -> int:
    """Find the smallest number n of equal steps with `dt / n <= largest`.

    Args:
        dt: Time step to divide [s].
        largest: Largest step allowed, such as a CFL limit [s].

    Returns:
        The number n.

    Raises:
        InputError: If one of them is not positive and finite.
    """
    if not (0 < dt < math.inf and 0 < largest < math.inf):
        raise InputError(f"Time steps must be positive and finite, in seconds, but dt = {dt} and the limit {largest}.")
    count = max(1, math.floor(dt / largest))
    # Settled in the arithmetic of the CFL check, so that rounding neither adds a step nor breaks the limit.
    while dt / count > largest:
        count += 1
    return count
