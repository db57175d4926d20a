"""Read the shots of a SEG-Y file: which traces are a shot, in which order, with the positions of sources and receivers.

Shots are told apart by the header words that differ. Words that divide the traces differently are refused until one of
them is named, because any choice would be a guess.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.frame import Frame, frame_of_line
from data_gen.common.segy import OFF_LINE, SegyTraces, along_line, read_segy_traces
from data_gen.dataset.segy_sources import find_copies

SHOT_WORDS = ("FieldRecord", "EnergySourcePoint", "SourceX")
SURFACE_WORDS = ("SourceSurfaceElevation", "ReceiverGroupElevation")


class SegyShots(NamedTuple):
    """Hold the shots of a SEG-Y file.

    Positions `(z, x)` are in the file's coordinates: z down from the datum, x along the line.

    Attributes:
        gathers: Gathers `(n_sources, nt, n_receivers)`, receivers in the order of their positions.
        dt: Sampling interval [s], or None if the file does not give it.
        delay: Time of the first sample [s].
        sources: Positions `(n_sources, 2)` [m], or None if the file does not give them. In a `SegySurvey`, whose shots
            may have several sources: `(n_shots, n_sources, 2)`.
        receivers: Positions `(n_receivers, 2)` of all shots or `(n_sources, n_receivers, 2)` of each [m], or None.
        notes: Sentences on what was decided.
    """

    gathers: np.ndarray
    dt: float | None
    delay: float
    sources: np.ndarray | None
    receivers: np.ndarray | None
    notes: tuple[str, ...]


class SegySurvey(NamedTuple):
    """Hold the shots of a SEG-Y file, which may have different numbers of traces, and where they are in the world.

    Attributes:
        shots: The shots. A trace that a shot lacks is zero; if receivers move, its position is that of the shot's last.
        live: Which traces were recorded `(n_shots, n_receivers)`: not dead, and there.
        frame: Relation of positions to the world, None if they are unknown.
        elevations: Elevations of the surface [m] by their words in `SURFACE_WORDS`, each `(n,)` without repetitions;
            None if positions are unknown.
    """

    shots: SegyShots
    live: np.ndarray
    frame: Frame | None
    elevations: tuple[np.ndarray, np.ndarray] | None


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
    traces = np.bincount(shots)
    if traces.min() < traces.max():
        raise InputError(
            f"{path} has shots of {traces.min()} to {traces.max()} traces by {notes[0].rpartition(' by ')[2]}, but "
            "every shot needs the same number. Complete them, or take only complete shots."
        )
    found = _survey(file, shots, notes, OFF_LINE, _each_once(file)).shots
    return found if found.sources is None else found._replace(sources=found.sources[:, 0])


def read_survey(path: Path, shot_word: str | None = None, *, off_line: float = OFF_LINE) -> SegySurvey:
    """Read the shots of a SEG-Y file, each with as many traces as it has, and with one source or several.

    Several sources that fired together are recognized by records that are written once for each of them
    (`data_gen.dataset.segy_sources`).

    Args:
        path: Path of the file.
        shot_word: Header word that tells shots apart, as in `read_shots`.
        off_line: Largest distance of positions from the line on which they are projected, as a part of its length.

    Returns:
        The shots, which of their traces were recorded, and where they are.

    Raises:
        InputError: If the shots cannot be told apart, have different numbers of sources or do not lie along a line, or
            if receivers of a shot have one position.
    """
    file = read_segy_traces(path)
    shots, notes, copies = _several_sources(file, shot_word) or (*_shots(file, shot_word), _each_once(file))
    traces = np.bincount(shots)
    if traces.min() < traces.max():
        notes.append(f"shots have {traces.min()} to {traces.max()} traces: those that are missing have no weight")
    return _survey(file, shots, notes, off_line, copies)


def _each_once(file: SegyTraces) -> np.ndarray:
    return np.arange(len(file.samples))[:, None]


def _several_sources(file: SegyTraces, shot_word: str | None) -> tuple[np.ndarray, list[str], np.ndarray] | None:
    """Return the shot of every record of several sources, a note, and the traces that are its copies."""
    for word in SHOT_WORDS[:2]:
        if shot_word in (None, word) and (found := find_copies(file, word)) is not None:
            shots, copies = found
            how = f"{copies.shape[1]} sources fired together in each of {shots.max() + 1} shots by {word}"
            return shots, [f"{how}: each record is written once for every source"], copies
    return None


def _survey(file: SegyTraces, shots: np.ndarray, notes: list[str], off_line: float, copies: np.ndarray) -> SegySurvey:
    """Lay out records, whose `copies` are the traces `(n, n_sources)` in which they are written."""
    places = _places(file, off_line).of(copies)
    file = file.take(copies[:, 0])
    order, how = _order(file, shots, places)
    table = _table(file, shots, order, places)
    live = (table >= 0) & ~file.dead[table]
    gathers = file.samples[table]
    if not live.all():
        gathers[~live] = 0
    sources, receivers, where = _geometry(places, table)
    notes = [*file.notes, *notes, *how, *where, *_dead(file, table)]
    found = SegyShots(gathers.transpose(0, 2, 1), file.interval, file.delay, sources, receivers, tuple(notes))
    if places.frame is None:
        return SegySurvey(found, live, None, None)
    unit = places.frame.unit
    elevations = [unit * np.unique(file.elevations(word)) for word in SURFACE_WORDS]
    return SegySurvey(found, live, places.frame, (elevations[0], elevations[1]))


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
                "by the source's position). Name the right one (`--shot-word` of an import, setup.shot_word of an "
                "inversion), or correct the others. Sources that fire together need a copy of each trace, with the "
                "position of one of them in each."
            )
    return shots, [f"{shots.max() + 1} shots by {' and '.join(divisions)}"]


class _Places(NamedTuple):
    """Hold positions, as (z, x), in the file's unit; None if the file does not give them.

    Attributes:
        sources: Those of the sources of every trace `(n, 2)`, or of every record `(n, n_sources, 2)`.
        receivers: Those of the receivers `(n, 2)`.
        unit: Length of the unit [m].
        frame: Place of the line in the world.
        notes: Sentences on what was decided.
    """

    sources: np.ndarray | None
    receivers: np.ndarray | None
    unit: float | None
    frame: Frame | None
    notes: list[str]

    def of(self, copies: np.ndarray) -> "_Places":
        """Take the positions of records, which are written in the traces `(n, n_sources)`."""
        return self._replace(
            sources=None if self.sources is None else self.sources[copies],
            receivers=None if self.receivers is None else self.receivers[copies[:, 0]],
        )


def _places(file: SegyTraces, off_line: float) -> _Places:
    """Project the positions of all traces on one line; a kind whose words are all zero is not given."""
    flat = {True: file.positions("SourceX", "SourceY"), False: file.positions("GroupX", "GroupY")}
    depths = {source: file.depths(source=source) for source in flat}
    known = [source for source in flat if flat[source].any() or depths[source].any()]
    if not known:
        return _Places(None, None, file.unit, None, [])
    points = np.concatenate([flat[source] for source in known])
    direction, notes = along_line(points, file.path, "positions", off_line=off_line)
    frame = frame_of_line(points, direction, 1.0)
    found = {source: np.stack([depths[source], frame.along(flat[source])], axis=1) for source in known}
    if notes and len(known) == 2:
        offsets = np.hypot(*(flat[True] - flat[False]).T) - np.abs(found[True][:, 1] - found[False][:, 1])
        notes.append(f"offsets change by up to {np.abs(offsets).max():.3g} thereby")
    in_meters = None if file.unit is None else frame_of_line(points, direction, file.unit)
    return _Places(found.get(True), found.get(False), file.unit, in_meters, notes)


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


def _table(file: SegyTraces, shots: np.ndarray, order: np.ndarray, places: _Places) -> np.ndarray:
    """Lay the traces out by shot and receiver, -1 where a shot has none.

    Shots of different numbers of traces have one receiver a column if all are parts of one spread; else the traces that
    a shot lacks are its last ones.
    """
    traces = np.bincount(shots)
    if traces.min() == traces.max():
        return order.reshape(len(traces), -1)
    table = np.full((len(traces), traces.max()), -1)
    if places.receivers is not None:
        # Words that are equal: projected positions of one place are so up to rounding.
        words = np.column_stack([file.positions("GroupX", "GroupY"), file.depths(source=False)])
        _, first, station = np.unique(words, axis=0, return_index=True, return_inverse=True)
        if len(first) == traces.max():
            along = np.lexsort((*places.receivers[first].T,))
            table[shots, np.argsort(along)[station.reshape(-1)]] = np.arange(len(shots))
            return table
    within = np.arange(len(order)) - np.repeat(np.cumsum(traces) - traces, traces)
    table[shots[order], within] = order
    return table


def _geometry(places: _Places, table: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Return the positions of sources and receivers [m] as far as they are known, and what was decided."""
    if places.unit is None:
        return None, None, places.notes
    count, length = table.shape
    there = table >= 0
    # The last trace of each shot stands for those that it lacks.
    last = table[np.arange(count), length - 1 - np.argmax(there[:, ::-1], axis=1)]
    filled = np.where(there, table, last[:, None])
    sources = receivers = several = None
    if places.sources is not None:
        of_traces = places.unit * places.sources[filled]
        if np.ptp(of_traces, axis=1).any():
            several = "no positions of sources are taken: those of one shot have several"
        else:
            sources = of_traces[:, 0]
    if places.receivers is not None:
        of_traces = places.unit * places.receivers[filled]
        of_spread = places.unit * places.receivers[table.max(axis=0)]
        shared = not np.any((of_traces != of_spread) & there[..., None])
        receivers = of_spread if shared else of_traces
    found = [name for name, value in (("sources", sources), ("receivers", receivers)) if value is not None]
    said = f"positions of {' and '.join(found) or 'nothing'} are in its headers"
    return sources, receivers, [*places.notes, *([several] if several else []), said]


def _dead(file: SegyTraces, table: np.ndarray) -> list[str]:
    dead = np.argwhere((table >= 0) & file.dead[table])
    if not len(dead):
        return []
    first = ", ".join(f"receiver {receiver} of shot {shot}" for shot, receiver in dead[:3])
    return [f"{len(dead)} traces are marked as dead and set to zero ({first}{', ...' if len(dead) > 3 else ''})"]
