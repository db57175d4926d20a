"""Read the shots of a SEG-Y file: which traces are a shot, in which order, with the positions of sources and receivers.

Shots are told apart by the header words that differ. Words that divide the traces differently are refused until one of
them is named, because any choice would be a guess.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.segy import SegyTraces, along_line, read_segy_traces

SHOT_WORDS = ("FieldRecord", "EnergySourcePoint", "SourceX")


class SegyShots(NamedTuple):
    """Hold the shots of a SEG-Y file.

    Positions `(z, x)` are in the file's coordinates: z down from the datum, x along the line.

    Attributes:
        gathers: Gathers `(n_sources, nt, n_receivers)`, receivers in the order of their positions.
        dt: Sampling interval [s], or None if the file does not give it.
        delay: Time of the first sample [s].
        sources: Positions `(n_sources, 2)` [m], or None if the file does not give them.
        receivers: Positions `(n_receivers, 2)` of all shots or `(n_sources, n_receivers, 2)` of each [m], or None.
        notes: Sentences on what was decided.
    """

    gathers: np.ndarray
    dt: float | None
    delay: float
    sources: np.ndarray | None
    receivers: np.ndarray | None
    notes: tuple[str, ...]


def read_shots(path: Path, shot_word: str | None = None) -> SegyShots:
    """Read the shots of a SEG-Y file with one trace for each receiver.

    Args:
        path: Path of the file.
        shot_word: Header word that tells shots apart, from `SHOT_WORDS` (SourceX: the source's position); by default
            those that differ, which must then agree.

    Returns:
        Gathers, sampling, positions, and what was decided.

    Raises:
        InputError: If the shots cannot be told apart, have different numbers of traces, or do not lie along a line, or
            if receivers of a shot have one position.
    """
    file = read_segy_traces(path)
    shots, notes = _shots(file, shot_word)
    count = int(shots.max()) + 1
    traces = np.bincount(shots)
    if traces.min() < traces.max():
        raise InputError(
            f"{path} has shots of {traces.min()} to {traces.max()} traces by {notes[0].rpartition(' by ')[2]}, but "
            "every shot needs the same number. Complete them, or take only complete shots."
        )
    places = _places(file)
    order, how = _order(file, shots, places)
    samples = np.where(file.dead[:, None], np.zeros((), file.samples.dtype), file.samples) if file.dead.any() else None
    gathers = (file.samples if samples is None else samples)[order].reshape(count, -1, file.samples.shape[1])
    sources, receivers, where = _geometry(places, shots, order)
    notes += [*how, *where, *_dead(file, order, count)]
    return SegyShots(gathers.transpose(0, 2, 1), file.interval, file.delay, sources, receivers, (*file.notes, *notes))


def _divisions(file: SegyTraces) -> dict[str, np.ndarray]:
    """Return the shot of every trace by each word that is not the same for all; SourceX: by the source's position."""
    position = np.column_stack([file.positions("SourceX", "SourceY"), file.depths(source=True)])
    keys = {word: file.words[word][:, None] for word in SHOT_WORDS[:2]} | {SHOT_WORDS[2]: position}
    numbers = {word: np.unique(key, axis=0, return_inverse=True)[1].reshape(-1) for word, key in keys.items()}
    return {word: number for word, number in numbers.items() if number.any()}


def _shots(file: SegyTraces, shot_word: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the shot of every trace and a note on the words that tell."""
    if shot_word not in (None, *SHOT_WORDS):
        raise InputError(f"Shots can be told apart by {', '.join(SHOT_WORDS)}, but {shot_word!r} was given.")
    divisions = _divisions(file)
    if shot_word:
        divisions = {word: shots for word, shots in divisions.items() if word == shot_word}
    if not divisions:
        numbers = file.words["TraceNumber"]
        if not shot_word and 1 < len(np.unique(numbers)) < len(numbers):
            raise InputError(
                f"{file.path} does not tell its shots apart: {', '.join(SHOT_WORDS)} are the same for all traces, "
                "but TraceNumber repeats. Number the shots in FieldRecord."
            )
        return np.zeros(len(file.samples), int), [f"one shot of {len(file.samples)} traces by {', '.join(SHOT_WORDS)}"]
    # Two words that make the same shots may number them differently; pairs of numbers are then as many as shots.
    shots, *others = divisions.values()
    for other in others:
        if not len(np.unique(np.stack([shots, other]), axis=1).T) == shots.max() + 1 == other.max() + 1:
            counts = ", ".join(f"{division.max() + 1} by {word}" for word, division in divisions.items())
            raise InputError(
                f"The header words of {file.path} make different shots of its {len(shots)} traces: {counts} (SourceX: "
                "by the source's position). Name the right one (`--shot-word`), or correct the others."
            )
    return shots, [f"{shots.max() + 1} shots by {' and '.join(divisions)}"]


class _Places(NamedTuple):
    """Positions `(n, 2)`, as (z, x), of every trace in the file's unit; None if the file does not give them."""

    sources: np.ndarray | None
    receivers: np.ndarray | None
    unit: float | None
    notes: list[str]


def _places(file: SegyTraces) -> _Places:
    """Project the positions of all traces on one line; a kind whose words are all zero is not given."""
    flat = {True: file.positions("SourceX", "SourceY"), False: file.positions("GroupX", "GroupY")}
    depths = {source: file.depths(source=source) for source in flat}
    known = [source for source in flat if flat[source].any() or depths[source].any()]
    if not known:
        return _Places(None, None, file.unit, [])
    direction, notes = along_line(np.concatenate([flat[source] for source in known]), file.path, "positions")
    found = {source: np.stack([depths[source], flat[source] @ direction], axis=1) for source in known}
    return _Places(found.get(True), found.get(False), file.unit, notes)


def _order(file: SegyTraces, shots: np.ndarray, places: _Places) -> tuple[np.ndarray, list[str]]:
    """Return the order of the traces: by shot, then along the line or by trace number; and what was decided."""
    stored = np.argsort(shots, kind="stable")
    receivers = places.receivers
    if receivers is not None and np.ptp(receivers, axis=0).any():
        keys, by = (receivers[:, 0], receivers[:, 1]), "position (GroupX, GroupY, ReceiverGroupElevation)"
    else:
        keys, by = (file.words["TraceNumber"],), "TraceNumber"
    order = np.lexsort((*keys, shots))
    table = np.column_stack([shots, *keys])[order]
    same = (table[1:] == table[:-1]).all(axis=1)
    if same.any() and len(keys) == 1:
        return stored, ["receivers have neither positions nor trace numbers and are in the order of the file"]
    if same.any():
        shot, *where = table[np.argmax(same)]
        raise InputError(
            f"Two receivers of shot {int(shot)} in {file.path} have the same {by}: (z, x) = "
            f"({where[0]:g}, {where[1]:g}). Give each receiver one trace and a position of its own."
        )
    moved = "" if (order == stored).all() else ", which is not that of the file"
    return order, [f"receivers are in the order of {by}{moved}"]


def _geometry(
    places: _Places, shots: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Return the positions of sources and receivers [m] as far as they are known, and what was decided."""
    if places.unit is None:
        return None, None, places.notes
    count = int(shots.max()) + 1
    sources = receivers = None
    if places.sources is not None:
        of_traces = places.unit * places.sources[order].reshape(count, -1, 2)
        if np.ptp(of_traces, axis=1).any():
            return None, None, [*places.notes, "no positions are taken: sources of one shot have several"]
        sources = of_traces[:, 0]
    if places.receivers is not None:
        receivers = places.unit * places.receivers[order].reshape(count, -1, 2)
        receivers = receivers[0] if not np.ptp(receivers, axis=0).any() else receivers
    found = [name for name, value in (("sources", sources), ("receivers", receivers)) if value is not None]
    return sources, receivers, [*places.notes, f"positions of {' and '.join(found) or 'nothing'} are in its headers"]


def _dead(file: SegyTraces, order: np.ndarray, count: int) -> list[str]:
    dead = np.argwhere(file.dead[order].reshape(count, -1))
    if not len(dead):
        return []
    first = ", ".join(f"receiver {receiver} of shot {shot}" for shot, receiver in dead[:3])
    return [f"{len(dead)} traces are marked as dead and set to zero ({first}{', ...' if len(dead) > 3 else ''})"]
