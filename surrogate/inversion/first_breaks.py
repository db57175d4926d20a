"""Pick first breaks: when the first wave of each trace rises to half of its own largest envelope.

    e(t)^2 = d(t)^2 + H(d)(t)^2,    H the Hilbert transform along time

The first wave begins where e exceeds a small part of its largest value in the trace, so that it may be much weaker than
later ones, and ends where e has fallen to half of its peak. Its break is the last time before this peak at which e is
half of the peak: the amplitudes of later waves do not move it. Between samples e is taken to be linear.

A break is later than the arrival by the same part of the wavelet in every trace, so that differences between breaks are
differences between arrivals. Noise must stay below the part at which a wave is heard.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.envelope import envelopes
from surrogate.inversion.misfits.traces import amplitude

HEARD = 0.1  # of the largest envelope of a trace: what is weaker is no wave
RISE = 0.5  # of the peak of the first wave


def first_breaks(gathers: Float[Array, "n_shots nt n_receivers"], dt: float) -> Float[Array, "n_shots n_receivers"]:
    """Pick the first break of every trace.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`, in any unit.
        dt: Time between two samples [s].

    Returns:
        Times after the first sample `(n_shots, n_receivers)` [s]; NaN for traces that are silent, not finite, or begin
        amid a wave.
    """
    return dt * jax.lax.map(_shot, jnp.asarray(gathers))  # one shot at a time: transforms take many times its memory


def _shot(gather: Float[Array, "nt n_receivers"]) -> Float[Array, " n_receivers"]:
    """Pick the first breaks of one shot, in samples."""
    finite = jnp.isfinite(gather).all(axis=0)
    traces = jnp.where(finite, gather, 0)[None]
    silent = (traces == 0).all(axis=(0, 1))
    level = envelopes(traces / amplitude(traces, axis=1))[0]
    times = jnp.arange(len(level))[:, None]
    heard = jnp.argmax(level >= HEARD * level.max(axis=0), axis=0)
    highest = jax.lax.cummax(level, axis=0)
    over = (times > heard) & (level < RISE * highest)
    end = jnp.where(over.any(axis=0), jnp.argmax(over, axis=0), len(level))
    wave = jnp.where(times < end, level, 0)
    peak, half = jnp.argmax(wave, axis=0), RISE * wave.max(axis=0)
    below = (level < half) & (times < peak)
    before = jnp.where(below, times, -1).max(axis=0)
    low, high = (jnp.take_along_axis(level, i[None], axis=0) for i in (jnp.maximum(before, 0), before + 1))
    return jnp.where(finite & ~silent & (before >= 0), before + ((half - low) / (high - low))[0], jnp.nan)
