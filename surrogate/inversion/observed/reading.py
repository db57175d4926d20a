"""Read observed gathers with their geometry from SEG-Y, .npz and .npy files, or from a sample of a data set."""

from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.array_files import read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.common.frame import Frame
from surrogate.inversion.observed.geometry import Geometry, lay_out, place, read_geometry
from surrogate.inversion.observed.raw import RawRecord
from surrogate.inversion.observed.record import Observed, check_record
from surrogate.inversion.observed.sample import read_sample
from surrogate.inversion.observed.segy_record import read_segy

SEGY = (".segy", ".sgy")
SUFFIXES = (".npy", ".npz", *SEGY)


def read_observed(
    path: str | Path,
    *,
    geometry: str | Path | None = None,
    datum: float | None = None,
    shot_word: str | None = None,
    split: str = "test",
    index: int = 0,
) -> Observed:
    """Read observed gathers and where they were recorded.

    Args:
        path: A SEG-Y file (.sgy, .segy), whose headers say the geometry; an .npz file of `gathers`
            `(n_shots, nt, n_receivers)`, `sources`, `receivers` and `dt`, and perhaps `delay`, `weights` and `datum`; a
            .npy file of gathers; or the folder of a data set.
        geometry: YAML file of what the file lacks (`surrogate.inversion.observed.geometry`); by default the one of the
            same name beside it, if there is one. Its positions replace those of SEG-Y headers.
        datum: Elevation of z = 0 [m], where there is topography or no file says it.
        shot_word: SEG-Y header word that tells shots apart; by default all that differ, which must agree.
        split: Split of a data set.
        index: Index of the sample in its split.

    Returns:
        Gathers, weights, positions, times and the place in the world.

    Raises:
        InputError: If something is missing, is said in two ways, does not fit, or cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        if geometry is not None:
            raise InputError(f"{path} is a data set, which knows its geometry. Leave geometry={geometry} out.")
        return check_record(read_sample(path, split, index), path)
    readers: dict[str, Any] = {".npy": lambda file: RawRecord(read_npy(file)), ".npz": _read_npz}
    readers |= dict.fromkeys(SEGY, lambda file: read_segy(file, described, shot_word))
    described = _described(path, geometry, datum)
    raw = read_by_suffix(path, "observed data", readers)
    return check_record(_completed(path, raw, described), path)


def _described(path: Path, geometry: str | Path | None, datum: float | None) -> Geometry:
    """Read the geometry file that is given, or stands beside the data."""
    beside = [file for suffix in (".yaml", ".yml") if (file := path.with_suffix(suffix)).is_file()]
    file = Path(geometry) if geometry is not None else beside[0] if beside else None
    described = Geometry() if file is None else read_geometry(file)
    if datum is not None and described.datum is not None and not np.isclose(datum, described.datum):
        raise InputError(f"The datum is {described.datum:g} m in {file}, but {datum:g} m was given. Leave one out.")
    return described if datum is None else described._replace(datum=float(datum))


def _read_npz(path: Path) -> RawRecord:
    arrays = read_npz(path, ("gathers", "data"), "gathers", also=("weights", "datum"))
    given = arrays.companions
    gathers, scale = arrays.main, given.get("gathers_scale")
    if scale is not None and scale.size == 1:
        gathers = gathers.astype(np.float32) * np.float32(scale.reshape(()))
    for name in ("sources", "receivers", "weights"):
        if name in given and given[name].dtype.kind not in "iufb":
            raise InputError(f"`{name}` in {path} must be real numbers, but are {given[name].dtype} values.")
    datum = arrays.number("datum")
    frame = None if datum is None else Frame(datum)
    return RawRecord(
        gathers,
        given.get("weights"),
        arrays.number("dt"),
        arrays.number("delay"),
        given.get("sources"),
        given.get("receivers"),
        frame,
        tuple(f"left out the array {name}" for name in arrays.others),
    )


def _completed(path: Path, raw: RawRecord, geometry: Geometry) -> Observed:
    gathers = _gathers(path, raw.gathers, geometry)
    shots, _, count = gathers.shape
    dt = _agreed(path, "sampling interval [s]", raw.dt, geometry.dt, geometry)
    if dt is None:
        said = "".join(f" ({note})" for note in raw.notes if "sampling interval" in note)
        raise InputError(
            f"The sampling interval of {path} is unknown{said}. Write `dt: SECONDS` into a geometry file "
            f"(geometry=FILE.yaml, or {path.with_suffix('.yaml').name} beside it), or `dt` into the .npz file."
        )
    if not 0 < dt < np.inf:
        raise InputError(f"The sampling interval of {path} must be a positive time in seconds, but is {dt}.")
    delay = _agreed(path, "time of the first sample [s]", raw.delay, geometry.delay, geometry, override=raw.delay == 0)
    segy = path.suffix.lower() in SEGY
    points, notes = {}, list(raw.notes)
    for what, own in (("sources", raw.sources), ("receivers", raw.receivers)):
        given = getattr(geometry, what)
        if given is not None and own is not None and not segy:
            raise InputError(f"Both {path} and {geometry.path} have positions of {what}. Leave one of them out.")
        if given is None and own is None:
            raise InputError(_without_positions(path, what, raw, segy))
        if given is not None and own is not None:
            notes.append(f"{what} are those of {geometry.path}, not of the headers")
        where = str(path if given is None else geometry.path)
        points[what] = lay_out(own if given is None else given, what, shots, where)
    sources, receivers, frame, placed = _placed(path, points, raw, geometry, segy)
    if receivers.shape[-2] != count:
        raise InputError(_other_count(path, gathers.shape, receivers.shape[-2]))
    for depth, positions in ((geometry.source_depth, sources), (geometry.receiver_depth, receivers)):
        if depth is not None:
            positions[..., 0] = depth
    weights = _weights(path, raw.weights, (shots, 1, count))
    return Observed(gathers, weights, sources, receivers, dt, delay or 0.0, frame, (*notes, *placed))


def _gathers(path: Path, gathers: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Check the shape and the type of gathers, and take those of one shot for one."""
    if gathers.dtype.kind not in "iuf" or 0 in gathers.shape:
        raise InputError(f"{path} holds {gathers.dtype} values of shape {gathers.shape}, but gathers are real numbers.")
    gathers = gathers[None] if gathers.ndim == 2 else gathers
    if gathers.ndim != 3:
        several = " One survey is inverted: cut its gathers out, or give the folder of a data set." * (
            gathers.ndim == 4
        )
        raise InputError(
            f"{path} holds an array of shape {gathers.shape}, but gathers are (n_shots, nt, n_receivers).{several}"
        )
    if gathers.shape[1] < 2:
        raise InputError(f"The gathers in {path} have {gathers.shape[1]} time samples. Their shape is {gathers.shape}.")
    floating = np.promote_types(gathers.dtype, np.float32)
    return gathers.astype(np.float64 if floating == np.float64 and gathers.dtype.kind == "f" else np.float32)


def _agreed(
    path: Path, what: str, own: float | None, given: float | None, geometry: Geometry, *, override: bool = False
) -> float | None:
    """Return what the file or its geometry says; both must agree if both do, unless one stands for nothing said."""
    if own is None or given is None or override:
        return own if given is None else given
    if not np.isclose(own, given, rtol=1e-6, atol=1e-12):
        raise InputError(
            f"{path} and its geometry do not match: the {what} is {own:g} in the one, but {given:g} in "
            f"{geometry.path or 'what was given'}. Leave the wrong one out, or correct it."
        )
    return own


def _without_positions(path: Path, what: str, raw: RawRecord, segy: bool) -> str:
    why = [note for note in raw.notes if f"no positions of {what}" in note or "geographic" in note]
    words = {"sources": "SourceX, SourceY and SourceDepth", "receivers": "GroupX, GroupY and ReceiverGroupElevation"}
    lack = f"{words[what]} of its headers say nothing" if segy else f"an array `{what}` is missing"
    remedy = "" if segy or path.suffix.lower() == ".npy" else f"Save them as `{what}` (z, x) [m] with the gathers, or g"
    return (
        f"{path} has no positions of {what}: {'; '.join(why) if why else lack}. {remedy or 'G'}ive them in a geometry "
        f"file: geometry=FILE.yaml, or {path.with_suffix('.yaml').name} beside it, with `{what}` as a list of [z, x], "
        "or as start, step and count."
    )


def _placed(
    path: Path, points: dict[str, np.ndarray], raw: RawRecord, geometry: Geometry, segy: bool
) -> tuple[np.ndarray, np.ndarray, Frame, tuple[str, ...]]:
    """Put all positions on one line."""
    if not segy or raw.frame is None:
        own = None if raw.frame is None else raw.frame.datum
        datum = _agreed(path, "datum [m]", own, geometry.datum, geometry)
        sources, receivers, frame, notes = place(
            points["sources"], points["receivers"], geometry._replace(datum=datum), path
        )
        return sources.copy(), receivers.copy(), frame, notes
    frame, placed = raw.frame, []
    for what in ("sources", "receivers"):
        own = points[what]
        if getattr(geometry, what) is not None and own.shape[-1] == 3:
            own = np.stack([own[..., 0], frame.along(own[..., 1:])], axis=-1)
        placed.append(own.astype(float))
    return placed[0], placed[1], frame, ()


def _other_count(path: Path, shape: tuple[int, ...], receivers: int) -> str:
    _, nt, count = shape
    swapped = f" Its axis of times has as many: transpose it to (n_shots, {count}, {nt})." if nt == receivers else ""
    return (
        f"The geometry does not match the gathers: there are {receivers} receivers, but {path} has gathers of the "
        f"shape {shape}, which is (n_shots, nt, n_receivers): {count} receivers.{swapped or ' Give as many positions.'}"
    )


def _weights(path: Path, given: np.ndarray | None, shape: tuple[int, int, int]) -> np.ndarray:
    """Read weights of traces `(n_shots, n_receivers)` or `(n_shots, 1, n_receivers)`."""
    if given is None:
        return np.ones(shape, np.float32)
    weights = given[:, None] if given.shape == shape[::2] else given
    weights = np.asarray(weights, np.float32)
    if weights.shape != shape or not np.isfinite(weights).all() or weights.min() < 0:
        raise InputError(
            f"`weights` in {path} must be finite and not negative, of the shape {shape[::2]} (n_shots, n_receivers) or "
            f"{shape}, but have the shape {given.shape}."
        )
    return weights
