"""Hold what a file says of its gathers, before it is completed by a geometry file."""

from typing import NamedTuple

import numpy as np

from data_gen.common.frame import Frame


class RawRecord(NamedTuple):
    """Hold the gathers of a file and what it says of them; what it does not say is None.

    Attributes:
        gathers: Gathers `(n_shots, nt, n_receivers)`.
        weights: Weights of the traces `(n_shots, 1, n_receivers)`.
        dt: Time from one sample to the next [s].
        delay: Time of the first sample [s].
        sources: Positions of the sources, in the file's unit unless `frame` is known.
        receivers: Positions of the receivers, likewise.
        frame: Place of the line in the world, if positions are on it, in meters and from its datum.
        notes: Sentences on what was decided.
    """

    gathers: np.ndarray
    weights: np.ndarray | None = None
    dt: float | None = None
    delay: float | None = None
    sources: np.ndarray | None = None
    receivers: np.ndarray | None = None
    frame: Frame | None = None
    notes: tuple[str, ...] = ()
