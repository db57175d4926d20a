"""Read the geometry of a survey from a small YAML file that stands beside its gathers.

    dt: 0.002                    # time from one sample to the next [s]
    delay: 0                     # time of the first sample [s]
    unit: m                      # of every length in the file: m, km or ft
    datum: 0                     # elevation of z = 0
    sources: {start: [5, 0], step: [0, 100], count: 20}                      # (z, x) of each shot
    receivers: {start: [0, 0], step: [0, 25], count: 96, move: [0, 100]}     # `move` from one shot to the next
    source_depth: 6              # in place of the depths of all sources; receiver_depth likewise

Positions may be lists, too, with a third number y for lines that are no axis: `[[5, 0], [5, 100]]`, with one more
level for several sources in a shot, or for the receivers of each shot.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.frame import Frame, frame_of_line
from data_gen.common.segy import METERS_PER_FOOT, along_line
from data_gen.common.yaml_files import read_yaml, yaml_number

UNITS = {"m": 1.0, "km": 1000.0, "ft": METERS_PER_FOOT}
NUMBERS = ("dt", "delay", "datum", "source_depth", "receiver_depth")
POSITIONS = ("sources", "receivers")
KEYS = (*NUMBERS, *POSITIONS, "unit")
LINE = ("start", "step", "count", "move")
CROOKED = 0.25  # of a line's length: the largest distance from it of positions that are projected on it


class Geometry(NamedTuple):
    """Hold what a geometry file says; lengths are in meters, and what it leaves out is None.

    Attributes:
        path: The file, or None for no file.
        dt: Time from one sample to the next [s].
        delay: Time of the first sample [s].
        datum: Elevation of z = 0 [m].
        sources: Positions of the sources, a line or an array [m]; see `place`.
        receivers: Positions of the receivers, likewise.
        source_depth: Depth of all sources below the datum [m].
        receiver_depth: Depth of all receivers [m].
        unit: Length of the file's unit [m].
    """

    path: Path | None = None
    dt: float | None = None
    delay: float | None = None
    datum: float | None = None
    sources: Any = None
    receivers: Any = None
    source_depth: float | None = None
    receiver_depth: float | None = None
    unit: float = 1.0


def read_geometry(path: Path) -> Geometry:
    """Read a geometry file.

    Args:
        path: Path of a YAML file with some of the keys that the module shows.

    Returns:
        The geometry.

    Raises:
        InputError: If the file is missing or no plain YAML, or a key or value cannot be used.
    """
    content = read_yaml(path, "geometry", KEYS)
    name = content.get("unit", "m")
    if name not in UNITS:
        raise InputError(f"`unit` in {path} must be one of {', '.join(UNITS)}, but is {name!r}.")
    unit = UNITS[name]
    found: dict[str, Any] = {"path": path, "unit": unit}
    for key in NUMBERS:
        if content.get(key) is not None:
            length = key not in ("dt", "delay")
            found[key] = yaml_number(content[key], f"`{key}` in {path}") * (unit if length else 1)
    for key in POSITIONS:
        if content.get(key) is not None:
            found[key] = _positions(content[key], f"`{key}` in {path}", unit)
    if (dt := found.get("dt")) is not None and not dt > 0:
        raise InputError(f"`dt` in {path} must be a positive time in seconds, but is {dt}.")
    return Geometry(**found)


def _positions(given: Any, name: str, unit: float) -> Any:
    """Return a line of points as a dictionary of numbers, or a list of them as an array."""
    if isinstance(given, Mapping):
        if (unknown := set(given) - set(LINE)) or not {"start", "step", "count"} <= set(given):
            raise InputError(
                f"{name} must be a list of [z, x], or have the keys start, step, count (and move), but "
                f"{f'has {sorted(map(str, unknown))}' if unknown else f'has only {sorted(given)}'}. A file has one "
                "unit, which stands outside of its positions."
            )
        count = given["count"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"`count` of {name} must be a whole number, 1 or more, but is {count!r}.")
        vectors = {
            key: _vector(given[key], f"`{key}` of {name}") * unit for key in LINE if key in given and key != "count"
        }
        if len({len(vector) for vector in vectors.values()}) > 1:
            raise InputError(f"start, step and move of {name} must have equally many numbers, [z, x] or [z, x, y].")
        return {**vectors, "count": count}
    return unit * _array(given, name)


def _vector(given: Any, name: str) -> np.ndarray:
    values = _array(given, name)
    if values.shape not in ((2,), (3,)):
        raise InputError(f"{name} must be [z, x] or [z, x, y], but is {given!r}.")
    return values


def _array(given: Any, name: str) -> np.ndarray:
    """Make an array of nested lists of numbers."""

    def numbers(value: Any) -> Any:
        return [numbers(item) for item in value] if isinstance(value, list) else yaml_number(value, f"Each of {name}")

    try:
        return np.array(numbers(given), float)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} must be lists of numbers of one length, [[z, x], ...].") from error


def lay_out(given: Any, what: str, shots: int, where: str) -> np.ndarray:
    """Lay out positions that are given as a line or as an array.

    Args:
        given: Line or array of positions [m].
        what: `sources` or `receivers`.
        shots: Number of shots.
        where: Name of their file in errors.

    Returns:
        Positions (z, x) or (z, x, y): of sources `(n_shots, n_sources, 2 or 3)`, and of receivers `(n_receivers, ...)`
        of all shots or `(n_shots, n_receivers, ...)` of each [m].

    Raises:
        InputError: If they have another shape, are not finite, or are not as many as there are shots.
    """
    if isinstance(given, Mapping):
        points = given["start"] + np.arange(given["count"])[:, None] * given["step"]
        if "move" in given:
            if what == "sources":
                raise InputError(f"`sources` in {where} cannot `move`: their step is that from shot to shot.")
            points = points + np.arange(shots)[:, None, None] * given["move"]
    else:
        points = np.asarray(given, float)
    if points.ndim not in (2, 3) or points.shape[-1] not in (2, 3):
        raise InputError(
            f"The {what} in {where} must be positions [z, x] of the shape (n, 2), or (n_shots, n, 2), with a third "
            f"number y for lines that are no axis, but have the shape {points.shape}."
        )
    if not np.isfinite(points).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(points))[0][:-1])
        raise InputError(f"The position of {what} {bad} in {where} is not finite. Correct it, or leave its trace out.")
    if what == "sources" and points.ndim == 2:
        points = points[:, None]
    if (what == "sources" or points.ndim == 3) and len(points) != shots:
        raise InputError(
            f"The geometry does not match the gathers: {where} has the {what} of {len(points)} shots, but there are "
            f"gathers of {shots}. Give as many, or cut the gathers."
        )
    return points


def place(
    sources: np.ndarray, receivers: np.ndarray, geometry: Geometry, path: Path
) -> tuple[np.ndarray, np.ndarray, Frame, tuple[str, ...]]:
    """Project positions with three coordinates on the line along which they lie.

    Args:
        sources: Positions (z, x) or (z, x, y) of the sources `(n_shots, n_sources, 2 or 3)` [m].
        receivers: Positions of the receivers, likewise [m].
        geometry: Geometry file, for its unit and datum.
        path: File for errors.

    Returns:
        Positions (z, x) of sources and receivers [m], the place of the line in the world, and what was decided.

    Raises:
        InputError: If only one kind has three coordinates, or they are too far from a line.
    """
    datum = geometry.datum or 0.0
    if sources.shape[-1] != receivers.shape[-1]:
        raise InputError(f"{path}: sources and receivers must both be given as [z, x], or both as [z, x, y].")
    if sources.shape[-1] == 2:
        return sources, receivers, Frame(datum, geometry.unit), ()
    flat = np.concatenate([points[..., 1:].reshape(-1, 2) for points in (sources, receivers)])
    direction, notes = along_line(flat, path, "positions", off_line=CROOKED)
    line = frame_of_line(flat, direction, 1.0)._replace(datum=datum, unit=geometry.unit)
    projected = [np.stack([p[..., 0], line.along(p[..., 1:])], axis=-1) for p in (sources, receivers)]
    if notes:
        spread = receivers if receivers.ndim == 3 else receivers[None]
        apart = np.linalg.norm(sources[:, :, None, 1:] - spread[:, None, :, 1:], axis=-1)
        along = np.abs(line.along(sources[..., 1:])[:, :, None] - line.along(spread[..., 1:])[:, None])
        notes.append(f"offsets change by up to {np.abs(apart - along).max():.3g} thereby")
    return projected[0], projected[1], line, tuple(notes)
