"""Read velocity models from .npy, .npz and SEG-Y files, and resample them to a grid. Pickled objects are refused."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from data_gen.common.array_files import NpzArrays, read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.common.segy import SegyTraces, along_line, read_segy_traces
from data_gen.solver.problem.checks import check_velocity
from data_gen.solver.problem.grid import Grid


class VelocityFile(NamedTuple):
    """Hold a velocity model as it was read from a file.

    Attributes:
        velocity: Velocities `(nz, nx)` [m/s].
        spacing: Size of the square cells [m], or None if the file does not give it.
        notes: Sentences on what the reader decided.
        first: Coordinate x of the first column in the file [m], or None if the file does not give it.
    """

    velocity: np.ndarray
    spacing: float | None
    notes: tuple[str, ...] = ()
    first: float | None = None


# Names of files and arrays that say that they hold no P-wave velocity.
OTHER_PROPERTIES = {
    "a density": r"(?<![a-z])(density|rho)(?![a-z])",
    "an S-wave velocity": r"(?<![a-z])(s[-_ ]?wave|s[-_ ]?velocity|shear)(?![a-z])|^vs(?![a-z])|(?<![a-z])vs$",
    "a ratio of velocities": r"vp[-_ ]?(to[-_ ]?)?vs",
    "a slowness": r"(?<![a-z])slowness(?![a-z])",
    "an impedance": r"(?<![a-z])impedance(?![a-z])",
    "a reflectivity": r"(?<![a-z])reflectivity(?![a-z])",
}


def other_property(name: str) -> str | None:
    """Tell which property other than the P-wave velocity a name stands for.

    Args:
        name: Name of a file without its suffix, of a folder or of an array.

    Returns:
        The property, or None if the name says nothing of the kind.
    """
    found = (what for what, pattern in OTHER_PROPERTIES.items() if re.search(pattern, name.lower()))
    return next(found, None)


def refuse_other_property(path: Path, name: str) -> None:
    """Refuse a model whose name says that it is no P-wave velocity.

    Args:
        path: Path of the file.
        name: Its name without the suffix, or that of an array in it.

    Raises:
        InputError: If the name stands for another property.
    """
    if what := other_property(name):
        raise InputError(
            f"{path} holds {what} by its name ({name}), but a model is the P-wave velocity in m/s. Give the file of "
            "that velocity, or rename this one if its name is wrong."
        )


def read_velocity(path: str | Path) -> VelocityFile:
    """Read a velocity model.

    A .npz file holds an array named `velocity` (or a single array of any name), and optionally `spacing` [m]. A SEG-Y
    file holds one trace for each column of the model, with samples in order of depth.

    Args:
        path: Path of a .npy, .npz, .segy or .sgy file.

    Returns:
        Velocities `(nz, nx)` [m/s], their spacing [m] if it is known, and what was decided.

    Raises:
        InputError: If the file is missing, of another kind or another property by its name, has the wrong number of
            dimensions, or holds velocities that are not finite, not positive or in km/s.
    """
    path = Path(path)
    readers = {".npy": _read_model_npy, ".npz": read_model_npz, ".segy": read_section, ".sgy": read_section}
    velocity, spacing, notes, first = read_by_suffix(path, "model", readers)
    refuse_other_property(path, path.stem)
    if velocity.ndim != 2 or min(velocity.shape) < 2:
        raise InputError(
            f"{path} holds an array of shape {velocity.shape}, but a velocity model has two dimensions (nz, nx), depth "
            "first. Take a 2-D section of it."
        )
    if velocity.dtype.kind not in "iuf":
        raise InputError(f"{path} holds {velocity.dtype} values, but velocities are real numbers in m/s.")
    velocity = velocity.astype(np.float64)
    check_velocity(velocity, f"The model in {path}")
    return VelocityFile(velocity, spacing, notes, first)


def _read_model_npy(path: Path) -> VelocityFile:
    return VelocityFile(read_npy(path), None)


def read_model_npz(path: Path) -> VelocityFile:
    """Read the array `velocity` of a .npz file, its values unchecked.

    Args:
        path: Path of the file.

    Returns:
        The array [m/s], its spacing [m] or None if the file does not give it, and what was left out.

    Raises:
        InputError: If no array fits, or the only one is another property by its name.
    """
    arrays = read_npz(path, ("velocity",), "model")
    refuse_other_property(path, arrays.name)
    return VelocityFile(arrays.main, arrays.number("spacing"), left_out(arrays))


def left_out(arrays: NpzArrays) -> tuple[str, ...]:
    """Name the arrays of a .npz file that mean nothing here.

    Args:
        arrays: Content of the file.

    Returns:
        One sentence, or none.
    """
    unknown = [name for name in arrays.others if name not in ("velocity", "gathers", "data")]
    return (f"left out the arrays {', '.join(unknown)}",) if unknown else ()


def read_section(path: Path) -> VelocityFile:
    """Read a SEG-Y file with one trace for each column of a model, its values unchecked.

    The columns are put in the order of their positions, which also give the spacing if they are even.

    Args:
        path: Path of the file.

    Returns:
        Velocities `(nz, nx)` [m/s], their spacing [m] if the columns have positions, and what was decided.

    Raises:
        InputError: If the file is a volume, has dead traces or units other than meters, or cannot be read.
    """
    file = read_segy_traces(path)
    if file.dead.any():
        raise InputError(
            f"{path} marks {file.dead.sum()} traces as dead, the first at index {np.argmax(file.dead)}, but every "
            "column of a model needs velocities. Interpolate them, and set their TraceIdentificationCode to 1."
        )
    if file.unit not in (None, 1.0):
        raise InputError(
            f"{path} has lengths in feet (MeasurementSystem 2 in its binary header), so its velocities are in feet per "
            "second. Meters and meters per second are meant: multiply both by 0.3048, and set that word to 1."
        )
    _refuse_volume(file)
    order, spacing, first, notes = _columns(file)
    return VelocityFile(file.samples[order].T.copy(), spacing, (*file.notes, *notes), first)


def _refuse_volume(file: SegyTraces) -> None:
    inlines, crosslines = (np.unique(file.words[word]) for word in ("INLINE_3D", "CROSSLINE_3D"))
    traces = len(file.samples)
    if min(len(inlines), len(crosslines)) > 1 and max(len(inlines), len(crosslines)) < traces:
        raise InputError(
            f"{file.path} holds a volume of {len(inlines)} inlines and {len(crosslines)} crosslines ({traces} traces), "
            "but a model is one section. Take one, for example by "
            f"`numpy.save('section.npy', segyio.open('{file.path.name}').iline[{inlines[len(inlines) // 2]}].T)`."
        )


def _columns(file: SegyTraces) -> tuple[np.ndarray, float | None, float | None, list[str]]:
    """Return the columns' order along x, their spacing and first x [m] if these are known, and what was decided."""
    as_stored = np.arange(len(file.samples))
    for x, y in (("CDP_X", "CDP_Y"), ("SourceX", "SourceY"), ("GroupX", "GroupY")):
        points = file.positions(x, y)
        if not np.ptp(points, axis=0).any():
            continue
        direction, notes = along_line(points, file.path, "columns")
        order = np.argsort(points @ direction, kind="stable")
        along = (points @ direction)[order]
        gaps = np.diff(along)
        if gaps.min() == 0:
            return as_stored, None, None, [f"{x} and {y} give several columns one position, so no order is taken"]
        if (order != as_stored).any():
            notes.append(f"columns are put in the order of their positions ({x}, {y})")
        if np.ptp(gaps) > max(0.02 * gaps.mean(), 1.01 * file.resolution):
            far = f"columns are {gaps.min():g} to {gaps.max():g} apart ({x}, {y}), so no spacing is taken"
            return order, None, None, [*notes, far]
        if file.unit is None:
            return order, None, None, notes
        return order, float(gaps.mean()), float(along[0]), [*notes, f"columns are {gaps.mean():g} m apart ({x}, {y})"]
    return as_stored, None, None, []


def to_grid(
    model: VelocityFile, grid: Grid, *, spacing: float | None = None, origin: tuple[float, float] | None = None
) -> tuple[np.ndarray, str]:
    """Resample a window of a model to a grid.

    Slowness is averaged over a cell of the grid (by a Gaussian) before it is sampled more coarsely, and interpolated
    linearly, which keeps travel times.

    Args:
        model: Velocities `(nz, nx)` [m/s] and their spacing [m], if known.
        grid: The grid to sample on.
        spacing: Cell size of the model [m]; takes precedence over the file's value. If neither is known, the model's
            shorter side is assumed to span the grid.
        origin: Position `(z, x)` [m] of the window's first cell in the model; by default the window is centered.

    Returns:
        Velocities on the grid [m/s] and a description of the window and of what the reader decided.

    Raises:
        InputError: If the window leaves the model.
    """
    velocity = model.velocity
    known = spacing or model.spacing
    cell = known or max(side * grid.spacing / cells for side, cells in zip(grid.shape, velocity.shape, strict=True))
    size = [(cells - 1) * cell for cells in velocity.shape]
    window = [(cells - 1) * grid.spacing for cells in grid.shape]
    centered = [max(0.0, (s - w) / 2) for s, w in zip(size, window, strict=True)]
    first = centered if origin is None else list(origin)
    # Half a cell is allowed on each side: the outermost half cells belong to the model.
    slack = max(cell, grid.spacing) / 2 + 1e-6
    if any(f < -slack or f + w > s + slack for f, w, s in zip(first, window, size, strict=True)):
        raise InputError(
            f"The window leaves the model: it spans {window[0]:g} x {window[1]:g} m from (z, x) = ({first[0]:g}, "
            f"{first[1]:g}) m, but the model, with cells of {cell:g} m, has {size[0]:g} x {size[1]:g} m. Move the "
            "origin, give the true spacing, or use a smaller grid."
        )
    slowness = gaussian_filter(1 / velocity, max(0.0, 0.5 * (grid.spacing / cell - 1)), mode="nearest")
    axes = [(f + np.arange(n) * grid.spacing) / cell for f, n in zip(first, grid.shape, strict=True)]
    sampled = map_coordinates(slowness, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
    where = (
        f"{velocity.shape[0]} x {velocity.shape[1]} cells of {cell:.4g} m"
        f"{'' if known else ' (not given: its shorter side is assumed to span the grid)'}, window of "
        f"{window[0]:g} x {window[1]:g} m from (z, x) = ({first[0]:.4g}, {first[1]:.4g}) m"
        f"{''.join(f'; {note}' for note in model.notes)}"
    )
    return (1 / sampled).astype(np.float32), where
