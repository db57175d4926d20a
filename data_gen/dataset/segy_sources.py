"""Recognize sources that fire together in a SEG-Y file, whose trace headers have room for one source each.

A record of several sources is written once for each of them, with its position: the traces of one shot and one receiver
have different sources and the same samples, bit by bit. Samples that differ are records of different shots.
"""

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.segy import SegyTraces


def find_copies(file: SegyTraces, word: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the copies of every record of several sources.

    Args:
        file: Traces of the file.
        word: Header word that tells shots apart.

    Returns:
        The shot of every record `(n,)`, and the traces `(n, n_sources)` that are its copies, sources in one order in
        all records of a shot; None if the traces are no copies.

    Raises:
        InputError: If they are copies, but shots have different numbers of sources.
    """
    shots, stations = _numbers(file.words[word][:, None]), _stations(file)
    sources = _numbers(np.column_stack([file.positions("SourceX", "SourceY"), file.depths(source=True)]))
    order = np.lexsort((sources, stations, shots))
    begins = np.flatnonzero(np.diff(shots[order], prepend=-1) | np.diff(stations[order], prepend=-1))
    counts = np.diff(begins, append=len(order))
    first = order[np.repeat(begins, counts)]
    if counts.max() == 1 or not _same(file, first, order) or _repeated(shots, stations, sources, order):
        return None
    if counts.min() < counts.max():
        raise InputError(
            f"{file.path} has records of {counts.min()} to {counts.max()} sources by {word} (a record is written once "
            "for each of its sources). Every shot needs as many: write those of another number to a file of its own."
        )
    copies = order.reshape(-1, counts[0])
    shot = shots[copies[:, 0]]
    # The sources of a shot are those of all its records.
    of_shot = sources[copies][np.unique(shot, return_index=True)[1]]
    if (sources[copies] != of_shot[shot]).any():
        return None
    return shot, copies


def _numbers(rows: np.ndarray) -> np.ndarray:
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _stations(file: SegyTraces) -> np.ndarray:
    """Tell receivers apart by their positions, or by their trace numbers where they have none."""
    places = np.column_stack([file.positions("GroupX", "GroupY"), file.depths(source=False)])
    return _numbers(places if np.ptp(places, axis=0).any() else file.words["TraceNumber"][:, None])


def _same(file: SegyTraces, one: np.ndarray, other: np.ndarray) -> bool:
    """Compare the samples of traces bit by bit; silence is not the same as silence."""
    # Views of bytes, in which NaN of dead traces are equal.
    length = file.samples.shape[1] * file.samples.dtype.itemsize
    raw = np.ascontiguousarray(file.samples).view(np.uint8).reshape(-1, length)
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return all((raw[a] == raw[b]).all() for a, b in pairs) and any(
        file.samples[a].any() and not file.dead[a] for a, _ in pairs
    )


def _repeated(shots: np.ndarray, stations: np.ndarray, sources: np.ndarray, order: np.ndarray) -> bool:
    """Find out whether a source and a receiver of a shot have two traces."""
    rows = np.column_stack([shots, stations, sources])[order]
    return bool((rows[1:] == rows[:-1]).all(axis=1).any())
