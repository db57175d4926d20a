"""Find traces that hold no signal, or much more noise than the others.

    dead      nothing, or next to nothing, or noise alone where a signal is predicted
    noisy     three times the usual noise, so that less than 10 dB of signal are left

The expected signal of a trace is what is predicted, times the usual ratio of observed to predicted amplitudes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data_gen.solver.diagnosis import Finding, judge
from surrogate.inversion.diagnosis.noise import signal_to_noise

NOTHING = 1e-3  # of the expected amplitude
WEAK = 0.4  # of the expected amplitude: the signal of a trace of noise alone is below it
ALONE = 1.5  # power in units of the noise's, up to which a trace may be noise alone
OUTLIER, WANTED = 3.0, 10.0  # in usual noise, and in dB
LISTED = 12  # traces that a finding lists

PerTrace = Float[np.ndarray, "n_shots n_receivers"]
Mask = Bool[np.ndarray, "n_shots n_receivers"]


class TraceFaults(NamedTuple):
    """Mark traces `(n_shots, n_receivers)`.

    Attributes:
        dead: Traces of weight zero, and others without signal.
        noisy: Traces with much more noise than the others.
    """

    dead: Mask
    noisy: Mask


def find_faults(rms: PerTrace, noise: PerTrace, predicted: PerTrace, used: Mask) -> TraceFaults:
    """Find dead and noisy traces.

    Args:
        rms: Root mean square of each observed trace `(n_shots, n_receivers)`.
        noise: Root mean square of its noise.
        predicted: Root mean square of the predicted trace.
        used: Mask of the traces whose weight is not zero.

    Returns:
        The marks.
    """
    expected = predicted * usual_ratio(rms, predicted, used)
    signal = np.sqrt(np.maximum(rms**2 - noise**2, 0))
    alone = (signal < WEAK * expected) & (rms**2 < ALONE * noise**2)
    dead = ~used | (rms <= NOTHING * expected) | alone
    usual = np.median(noise[~dead]) if (~dead).any() else 0.0
    noisy = ~dead & (noise > OUTLIER * usual) & (signal_to_noise(rms, noise) < WANTED)
    return TraceFaults(dead, noisy)


def usual_ratio(rms: PerTrace, predicted: PerTrace, used: Mask) -> float:
    """Find the usual ratio of observed to predicted amplitudes.

    Args:
        rms: Root mean square of each observed trace `(n_shots, n_receivers)`.
        predicted: Root mean square of the predicted trace.
        used: Mask of the traces that count.

    Returns:
        The median of the ratios; one where nothing is recorded or predicted.
    """
    known = used & (predicted > 0) & (rms > 0)
    return float(np.median(rms[known] / predicted[known])) if known.any() else 1.0


def listed(mask: Mask) -> str:
    """List traces by shot and receiver, counted from 0.

    Args:
        mask: Marked traces `(n_shots, n_receivers)`.

    Returns:
        The list, cut off after `LISTED` traces.
    """
    parts, left = [], LISTED
    for shot in np.flatnonzero(mask.any(axis=1)):
        receivers = np.flatnonzero(mask[shot])
        if left <= 0:
            break
        if len(receivers) == mask.shape[1]:
            parts.append(f"shot {shot}: all")
            left -= 1
            continue
        parts.append(f"shot {shot}: {', '.join(map(str, receivers[:left]))}")
        left -= len(receivers)
    return "; ".join(parts) + ("; ..." if left < 0 or mask.any(axis=1).sum() > len(parts) else "")


def judge_traces(name: str, mask: Mask, remedy: str, few: float = 0.0) -> Finding:
    """Judge whether traces are marked.

    Args:
        name: Name of the fault: dead, noisy or reversed.
        mask: Marked traces `(n_shots, n_receivers)`.
        remedy: Remedy of the fault.
        few: Part of all traces that may be marked by chance.

    Returns:
        The finding.
    """
    count = int(mask.sum())
    measured = f"{count} of {mask.size}" + (f" (receivers of {listed(mask)})" if count else "")
    wanted = f"at most {few:.1%}" if few else "none"
    return judge(f"{name} traces", measured, wanted, remedy if count > few * mask.size else "")
