"""Pick first breaks, the onset of the first strong wave in traces that may be noisy: where the variance changes most.

    AIC(k) = k log(var(x_0..k) + f^2) + (n - k) log(var(x_k..n) + f^2)

is least where two pieces of a trace are told apart best; between samples it is taken for a parabola. The trace ends
half a period after its envelope first exceeds a part of its largest value, so that later waves do not count. f is a
floor of amplitude: what is weaker is silence. With the floor of one side's noise on both sides, their picks are late
alike.

Source: N. Maeda, "A method for reading and checking phase times in auto-processing system of seismic wave data",
Zisin 38 (1985), 365-379.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import hilbert

from surrogate.inversion.misfits.spectra import padded_length

STRONG = 0.3  # of the largest envelope of a trace
SILENCE = 0.02  # of the largest amplitude of a trace: the tails of filtered wavelets are below
CLEAR = 4.0  # mean square after a pick, in mean squares before it


class FirstBreaks(NamedTuple):
    """Hold picks.

    Attributes:
        times: Time of the first break after the first sample `(n_shots, n_receivers)` [s]; NaN for silent traces.
        clear: Whether the trace is much louder after the break than before it `(n_shots, n_receivers)`.
    """

    times: Float[np.ndarray, "n_shots n_receivers"]
    clear: Bool[np.ndarray, "n_shots n_receivers"]

    @property
    def known(self) -> Float[np.ndarray, "n_shots n_receivers"]:
        """Times of the clear breaks [s], NaN elsewhere."""
        return np.where(self.clear, self.times, np.nan)


def pick_first_breaks(
    gathers: Float[np.ndarray, "n_shots nt n_receivers"],
    dt: float,
    period: float,
    floor: Float[np.ndarray, "n_shots n_receivers"] | float = 0.0,
) -> FirstBreaks:
    """Pick the first break of each trace.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`, finite.
        dt: Time from one sample to the next [s].
        period: Period of the waves [s].
        floor: Amplitude of what is not to be picked, in the unit of the gathers; at least `SILENCE` is taken.

    Returns:
        The picks.
    """
    nt = gathers.shape[1]
    largest = np.abs(gathers).max(axis=1)
    unit = np.where(largest == 0, 1, largest)
    traces = gathers / unit[:, None]
    # Padded, or a wave that the record's end cuts would be loud at its start.
    analytic: Any = hilbert(traces, padded_length(nt), axis=1)  # SciPy's own annotation says Dispatchable
    envelope = np.abs(analytic[:, :nt])
    strong = np.argmax(envelope >= STRONG * envelope.max(axis=1, keepdims=True), axis=1)
    end = np.minimum(strong + max(2, round(period / (2 * dt))), nt)[:, None]

    energy = np.cumsum(traces**2, axis=1)
    count = np.arange(1, nt + 1)[:, None]  # samples before the break
    whole = np.take_along_axis(energy, end - 1, axis=1)
    silence = np.maximum(SILENCE, floor / unit)[:, None] ** 2
    before = energy / count
    after = np.maximum(whole - energy, 0) / np.maximum(end - count, 1)
    criterion = count * np.log(before + silence) + (end - count) * np.log(after + silence)
    criterion = np.where(count < end, criterion, np.inf)
    first = np.argmin(criterion, axis=1)[:, None]
    ratio = (np.take_along_axis(after, first, axis=1) + silence) / (np.take_along_axis(before, first, axis=1) + silence)
    times = dt * (first[:, 0] + 1 + _lowest(criterion, first))
    heard = largest > 0
    return FirstBreaks(np.where(heard, times, np.nan), heard & (ratio[:, 0] > CLEAR))


def _lowest(values: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return how far after the least sample the parabola through it and its neighbours is lowest, in samples."""
    nearby = np.clip(least + np.arange(-1, 2)[:, None], 0, values.shape[1] - 1)
    low, mid, high = np.moveaxis(np.take_along_axis(values, nearby, axis=1), 1, 0)
    bend = low - mid + high - mid
    inner = np.isfinite(bend) & (bend > 0)
    return np.where(inner, low - high, 0) / (2 * np.where(inner, bend, 1))
