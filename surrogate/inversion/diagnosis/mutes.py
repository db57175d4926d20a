"""Find samples that were muted on the observed side alone: zeros that end abruptly where something is predicted.

Recorded noise is never exactly zero, and a simulated field fades from the smallest numbers on. So zeros at an end of a
trace are a mute if the first value beside them is not among the smallest there are, and if the prediction is loud
within them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data_gen.solver.diagnosis import Finding, judge

LOUD = 0.01  # of the largest predicted amplitude of the trace
STEP = 10.0  # in smallest amplitudes of the gathers, which integers round to
ROUNDING = 1e-7  # of the largest amplitude of a trace: the field's own fading ends below
SOME, MANY = 0.02, 0.2  # parts of the traces

Mask = Bool[np.ndarray, "n_shots n_receivers"]


class Mutes(NamedTuple):
    """Hold the mutes of one end of the traces.

    Attributes:
        muted: Mask of the muted traces `(n_shots, n_receivers)`.
        samples: Number of zeros at that end `(n_shots, n_receivers)`.
    """

    muted: Mask
    samples: np.ndarray


def find_mutes(
    observed: Float[np.ndarray, "n_shots nt n_receivers"],
    predicted: Float[np.ndarray, "n_shots nt n_receivers"],
    used: Mask,
) -> tuple[Mutes, Mutes]:
    """Find what is muted at the beginning and at the end of traces.

    Args:
        observed: Observed gathers `(n_shots, nt, n_receivers)`.
        predicted: Predicted gathers, likewise.
        used: Mask of the traces that count.

    Returns:
        The mutes at the beginning (top), and at the end (bottom).
    """
    sizes = np.abs(observed)
    smallest = float(sizes[sizes > 0].min(initial=np.inf))
    return _mutes(sizes, np.abs(predicted), used, smallest), _mutes(
        sizes[:, ::-1], np.abs(predicted)[:, ::-1], used, smallest
    )


def _mutes(observed: np.ndarray, predicted: np.ndarray, used: np.ndarray, smallest: float) -> Mutes:
    heard = observed > 0
    zeros = np.where(heard.any(axis=1), np.argmax(heard, axis=1), observed.shape[1])
    first = np.take_along_axis(observed, np.minimum(zeros, observed.shape[1] - 1)[:, None], axis=1)[:, 0]
    abrupt = first > np.maximum(STEP * smallest, ROUNDING * observed.max(axis=1))
    within = np.arange(observed.shape[1])[:, None] < zeros[:, None]
    lost = (predicted * within).max(axis=1) > LOUD * predicted.max(axis=1)
    return Mutes(used & (zeros > 0) & abrupt & lost, zeros)


def judge_mute(end: str, mutes: Mutes, used: Mask, dt: float) -> Finding:
    """Judge a mute of one end.

    Args:
        end: `top` or `bottom`.
        mutes: Mutes of that end.
        used: Mask of the traces that count.
        dt: Time from one sample to the next [s].

    Returns:
        The finding.
    """
    part = float(mutes.muted.sum() / max(1, used.sum()))
    measured, remedy = f"{part:.0%} of the traces are zero on the observed side alone", ""
    if part > SOME:
        lengths = dt * mutes.samples[mutes.muted]
        where = "first" if end == "top" else "last"
        measured += f", in the {where} {lengths.min():.3g} to {lengths.max():.3g} s"
        key = "early" if end == "top" else "late"
        cut = "" if end == "top" else ", or cut the records by setup.duration"
        remedy = (
            f"Mute both sides alike by inversion.mute.{key}_velocity and {key}_start, outside of what the data lack"
            f"{cut}."
        )
    return judge(f"{end} mute", measured, f"<= {SOME:.0%}", remedy, "error" if part > MANY else "warning")
