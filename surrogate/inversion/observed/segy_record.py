"""Read observed gathers from SEG-Y headers, with z counted down from a flat datum.

    z = datum - elevation + depth

On land, elevations of sources and receivers are above zero. A surface of one elevation is the datum itself. Where the
elevations differ there is topography, which the solver has not: a datum must then be stated, and rock is taken to reach
up to it. At sea nothing is above zero, which is the datum. Shots of several sources: `data_gen.dataset.segy_sources`.
"""

from pathlib import Path

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.frame import Frame
from data_gen.dataset.segy_shots import SURFACE_WORDS, SegySurvey, read_survey
from surrogate.inversion.observed.geometry import CROOKED, Geometry
from surrogate.inversion.observed.raw import RawRecord


def read_segy(path: Path, geometry: Geometry, shot_word: str | None) -> RawRecord:
    """Read the gathers of a SEG-Y file.

    Args:
        path: Path of the file.
        geometry: Content of a geometry file, of which the datum decides.
        shot_word: Header word that tells shots apart; by default all that differ, which must agree.

    Returns:
        The gathers, and what the headers say of them.

    Raises:
        InputError: If the shots cannot be told apart, coordinates are angles, or there is topography without a datum.
    """
    survey = read_survey(path, shot_word, off_line=CROOKED)
    shots, weights = survey.shots, survey.live[:, None].astype(np.float32)
    used = tuple(getattr(geometry, name) is None for name in ("sources", "receivers"))
    sources, receivers, frame, notes = shots.sources, shots.receivers, None, shots.notes
    if survey.frame is not None and survey.elevations is not None and any(used):
        sources, receivers, frame, leveled = _level(survey, survey.frame, survey.elevations, geometry, used, path)
        notes += leveled
    return RawRecord(shots.gathers, weights, shots.dt, shots.delay, sources, receivers, frame, notes)


def _level(
    survey: SegySurvey,
    frame: Frame,
    elevations: tuple[np.ndarray, np.ndarray],
    geometry: Geometry,
    used: tuple[bool, ...],
    path: Path,
) -> tuple[np.ndarray | None, np.ndarray | None, Frame, tuple[str, ...]]:
    """Count z from the datum, and find it if it is not stated."""
    kinds, notes = [survey.shots.sources, survey.shots.receivers], []
    known = [kind for kind in range(2) if used[kind] and kinds[kind] is not None]
    filled = [kind for kind in known if elevations[kind].any()]
    heights = np.concatenate([np.zeros(0), *(elevations[kind] for kind in filled)])
    datum, shifts = geometry.datum, [0.0, 0.0]
    if heights.max(initial=0) > 0:
        flat = np.ptp(heights) == 0
        if flat and len(filled) < len(known):
            (empty,) = set(known) - set(filled)
            shifts[empty] = -float(heights[0])
            notes.append(f"{SURFACE_WORDS[empty]} is zero throughout: {heights[0]:g} m is taken, as of the others")
        if datum is None:
            if not flat:
                raise InputError(_topography(path, elevations, filled))
            datum = float(heights[0])
            notes.append(f"the surface is flat, at an elevation of {datum:g} m, which is the datum")
    datum = datum or 0.0
    moved = [
        None if points is None else points + np.array([datum + shift, 0.0])
        for points, shift in zip(kinds, shifts, strict=True)
    ]
    return moved[0], moved[1], frame._replace(datum=datum), tuple(notes)


def _topography(path: Path, elevations: tuple[np.ndarray, np.ndarray], filled: list[int]) -> str:
    spans = " and ".join(
        f"{SURFACE_WORDS[kind]} is {elevations[kind].min():g} to {elevations[kind].max():g} m" for kind in filled
    )
    highest = max(elevations[kind].max() for kind in filled)
    return (
        f"{path} has topography: {spans}. Models have a flat top, and no free surface along hills is simulated. Shift "
        "the traces to a flat datum (statics), with elevations of zero; or state a datum, from which all depths then "
        f"count, as high as the highest point (setup.datum={highest:g}, or `datum` in the geometry file): rock is "
        "taken to reach up to it, and the top absorbs."
    )
