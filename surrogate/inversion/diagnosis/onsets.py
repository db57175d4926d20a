"""Pick the onset of the first strong wave in traces that may be noisy: where the variance changes most.

    AIC(k) = k log(var(x_0..k) + f^2) + (n - k) log(var(x_k..n) + f^2)

is least where two pieces of a trace are told apart best. The trace ends half a period after its envelope first exceeds
a part of its largest value, so that later waves do not count. f is a floor of amplitude: what is weaker is silence.
With the floor of one side's noise on both sides, their picks are late alike. Source: N. Maeda, "A method for reading
and checking phase times in auto-processing system of seismic wave data", Zisin 38 (1985), 365-379.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import hilbert

STRONG = 0.3  # of the largest envelope of a trace
SILENCE = 0.02  # of the largest amplitude of a trace: the tails of filtered wavelets are below
CLEAR = 4.0  # mean square after a pick, in mean squares before it


class Onsets(NamedTuple):
    """Hold picks.

    Attributes:
        times: Time of the onset after the first sample `(n_shots, n_receivers)` [s]; NaN for silent traces.
        clear: Whether the trace is much louder after the onset than before it `(n_shots, n_receivers)`.
    """

    times: Float[np.ndarray, "n_shots n_receivers"]
    clear: Bool[np.ndarray, "n_shots n_receivers"]


def pick_onsets(
    gathers: Float[np.ndarray, "n_shots nt n_receivers"],
    dt: float,
    period: float,
    floor: Float[np.ndarray, "n_shots n_receivers"] | float = 0.0,
) -> Onsets:
    """Pick the onset of each trace.

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
    analytic: Any = hilbert(traces, axis=1)  # SciPy's own annotation says Dispatchable
    envelope = np.abs(analytic)
    strong = np.argmax(envelope >= STRONG * envelope.max(axis=1, keepdims=True), axis=1)
    end = np.minimum(strong + max(2, round(period / (2 * dt))), nt)[:, None]

    energy = np.cumsum(traces**2, axis=1)
    count = np.arange(1, nt + 1)[:, None]  # samples before the onset
    whole = np.take_along_axis(energy, end - 1, axis=1)
    silence = np.maximum(SILENCE, floor / unit)[:, None] ** 2
    before = energy / count
    after = np.maximum(whole - energy, 0) / np.maximum(end - count, 1)
    criterion = count * np.log(before + silence) + (end - count) * np.log(after + silence)
    criterion = np.where(count < end, criterion, np.inf)
    onset = np.argmin(criterion, axis=1)[:, None]
    ratio = (np.take_along_axis(after, onset, axis=1) + silence) / (np.take_along_axis(before, onset, axis=1) + silence)
    heard = largest > 0
    return Onsets(np.where(heard, (onset[:, 0] + 1) * dt, np.nan), heard & (ratio[:, 0] > CLEAR))
