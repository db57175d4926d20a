"""Hold observed data as an inversion needs them, and check them once."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_gen.common.digest import digest_of
from data_gen.common.errors import InputError
from data_gen.common.frame import Frame

LISTED = 5  # traces that a note lists
NEAR = 1e-6  # [m] above the datum that is rounding


class KnownModel(NamedTuple):
    """Hold the true model of simulated data, and how they were simulated.

    Attributes:
        velocity: Velocity model `(nz, nx)` [m/s], whose first cell is at (0, 0).
        spacing: Side of a cell [m].
        gardner: Whether density follows velocity by Gardner's rule; otherwise it is constant.
        free_surface: Whether the first row is a free surface.
        wavelet: Wavelet on the time axis of the gathers, from a time of zero on `(n,)`; None if it is unknown.
    """

    velocity: np.ndarray
    spacing: float
    gardner: bool
    free_surface: bool
    wavelet: np.ndarray | None


class Observed(NamedTuple):
    """Hold observed gathers with all that is known of them.

    Positions are (z, x) [m], z down from the datum of `frame` and x along its line.

    Attributes:
        gathers: Gathers `(n_shots, nt, n_receivers)`.
        weights: Weights of the traces `(n_shots, 1, n_receivers)`, zero for traces that are dead or missing.
        sources: Positions of the sources `(n_shots, n_sources, 2)` [m].
        receivers: Positions of the receivers of all shots `(n_receivers, 2)`, or of each `(n_shots, n_receivers, 2)`
            [m]. A missing trace of a moving spread has a position of its shot.
        dt: Time from one sample to the next [s].
        delay: Time of the first sample after a time of zero [s], at which sources fire.
        frame: Place of the line in the world.
        notes: Sentences on what was decided.
        known: True model, where the data were simulated.
    """

    gathers: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    receivers: np.ndarray
    dt: float
    delay: float
    frame: Frame
    notes: tuple[str, ...] = ()
    known: KnownModel | None = None

    @property
    def positions(self) -> np.ndarray:
        """All positions of sources and receivers `(n, 2)` [m]."""
        return np.concatenate([self.sources.reshape(-1, 2), self.receivers.reshape(-1, 2)])

    @property
    def duration(self) -> float:
        """Time of the last sample [s]."""
        return self.delay + (self.gathers.shape[1] - 1) * self.dt

    @property
    def longest_offset(self) -> float:
        """Longest distance along the line from a source to a receiver that recorded it [m]."""
        receivers = np.broadcast_to(self.receivers, (len(self.gathers), *self.receivers.shape[-2:]))
        apart = np.abs(self.sources[:, :, None, 1] - receivers[:, None, :, 1]).max(axis=1)
        return float(np.max(apart[self.weights[:, 0] > 0]))

    def digest(self) -> str:
        """Hash what decides an inversion.

        Returns:
            The first 16 hexadecimal digits of the SHA-256.
        """
        settings = repr((self.dt, self.delay, self.frame))
        return digest_of(settings, self.gathers, self.weights, self.sources, self.receivers)


def check_record(observed: Observed, path: Path) -> Observed:
    """Check samples, positions and weights, and take traces that are zero throughout for dead.

    Args:
        observed: Observed data.
        path: File or folder that they come from.

    Returns:
        The data, zero wherever a trace has no weight.

    Raises:
        InputError: If a sample of a live trace is not finite, no trace is live, a position is above the datum, or two
            units are mixed.
    """
    gathers, live = observed.gathers, np.broadcast_to(observed.weights > 0, observed.gathers.shape)
    bad = live & ~np.isfinite(gathers)
    if bad.any():
        shot, sample, trace = (int(i) for i in np.argwhere(bad)[0])
        traces = int(np.any(bad, axis=1).sum())
        raise InputError(
            f"{path} has {bad.sum()} samples that are not finite, in {traces} traces: the first in shot {shot}, trace "
            f"{trace}, at sample {sample} (counted from 0). Repair these traces, or mark them as dead: "
            "TraceIdentificationCode 2 in SEG-Y, `weights` of zero in .npz."
        )
    gathers = np.where(live, gathers, np.zeros((), gathers.dtype))
    silent = (observed.weights[:, 0] > 0) & ~gathers.any(axis=1)
    weights = np.where(silent[:, None], 0, observed.weights).astype(np.float32)
    if not weights.any():
        raise InputError(f"{path} holds no trace that is not zero throughout or dead, so there is nothing to fit.")
    notes = observed.notes
    if silent.any():
        first = ", ".join(f"receiver {r} of shot {s}" for s, r in np.argwhere(silent)[:LISTED])
        more = ", ..." if silent.sum() > LISTED else ""
        notes += (f"{silent.sum()} traces are zero throughout and taken for dead ({first}{more})",)
    _check_positions(observed, path)
    return observed._replace(gathers=gathers, weights=weights, notes=notes)


def _check_positions(observed: Observed, path: Path) -> None:
    for what, points in (("source", observed.sources), ("receiver", observed.receivers)):
        z, x = points.reshape(-1, 2)[np.argmin(points[..., 0])]
        if z < -NEAR:
            raise InputError(
                f"{path}: a {what} lies {-z:g} m above the datum, at x = {x:g} m; z counts down from an elevation of "
                f"{observed.frame.datum:g} m. Models begin at the datum: state one that is as high as the highest "
                "source and receiver (`setup.datum`, or `datum` in the geometry file) [m]."
            )
    spans = [(float(np.min(p[..., 1])), float(np.max(p[..., 1]))) for p in (observed.sources, observed.receivers)]
    short, long = sorted(spans, key=lambda span: span[1] - span[0])
    low, high = 1000 * short[0], 1000 * short[1]
    common = min(high, long[1]) - max(low, long[0])
    size, length, apart = high - low, long[1] - long[0], max(long[0] - short[1], short[0] - long[1])
    # Two kinds of points rarely differ by a factor of 1000, and even more rarely lie on each other once it is applied.
    alike = high > low and 0.5 < size / length < 2 and common > 0.5 * size
    # A spread beside its sources overlaps less; as they are, both lie farther apart than either is long.
    beside = high > low and common >= 0 and apart > length
    if alike or beside:
        names = ("sources", "receivers") if short == spans[0] else ("receivers", "sources")
        raise InputError(
            f"{path} seems to have two units: its {names[0]} span x = {short[0]:g} to {short[1]:g} m, its {names[1]} "
            f"{long[0]:g} to {long[1]:g} m, which is a thousand times as much. Give all positions in one unit."
        )
