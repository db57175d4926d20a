"""Read velocity models from .npy, .npz and SEG-Y files, and resample them to a grid. Pickled objects are refused."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter, map_coordinates

from data_gen.common.array_files import NpzArrays, read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.common.frame import Frame, frame_of_line
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
        origin: Position (z, x) of the first cell [m], or None if the file does not give it.
        datum: Elevation of z = 0 [m], or None if the file does not give it.
        frame: Relation of such positions to the world, or None if the file does not give the line.
    """

    velocity: np.ndarray
    spacing: float | None
    notes: tuple[str, ...] = ()
    first: float | None = None
    origin: tuple[float, float] | None = None
    datum: float | None = None
    frame: Frame | None = None


PLACE = ("origin", "datum", "line")  # arrays of a .npz file that say where a model lies
DENSEST_IN_GRAMS = 30.0  # no matter on Earth has more g/cm^3, and no rock so few kg/m^3
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


def read_density(path: str | Path) -> VelocityFile:
    """Read a density model; see `read_velocity`. The array of a .npz file is named `density`.

    Args:
        path: Path of a .npy, .npz, .segy or .sgy file.

    Returns:
        Densities `(nz, nx)` [kg/m^3] in the place of velocities, their spacing [m] if it is known, and what was
        decided.

    Raises:
        InputError: If the file is missing, of another kind, has the wrong number of dimensions, or holds densities that
            are not finite, not positive or in g/cm^3.
    """
    path = Path(path)
    readers = {".npy": _read_model_npy, ".npz": _read_density_npz, ".segy": read_section, ".sgy": read_section}
    found = read_by_suffix(path, "model", readers)
    density = found.velocity
    if density.ndim != 2 or min(density.shape) < 2 or density.dtype.kind not in "iuf":
        raise InputError(
            f"{path} holds {density.dtype} values of shape {density.shape}, but a density model has two dimensions "
            "(nz, nx), depth first, of real numbers in kg/m^3."
        )
    density = density.astype(np.float64)
    if not (np.isfinite(density).all() and density.min() > 0):
        raise InputError(f"The density in {path} must be finite and positive everywhere, in kg/m^3.")
    if density.max() < DENSEST_IN_GRAMS:
        raise InputError(
            f"The density in {path} reaches {density.max():g}, which looks like g/cm^3. Kilograms per cubic meter are "
            "meant: multiply by 1000."
        )
    return found._replace(velocity=density)


def read_velocity(path: str | Path) -> VelocityFile:
    """Read a velocity model.

    A .npz file holds an array named `velocity` (or a single array of any name), and optionally `spacing` [m], `origin`
    (z, x) [m], `datum` [m] and `line` (X_0, Y_0, d_x, d_y), as in `Frame`. A SEG-Y file holds one trace for each column
    of the model, with samples in order of depth.

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
    found = read_by_suffix(path, "model", readers)
    velocity = found.velocity
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
    return found._replace(velocity=velocity)


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
    arrays = read_npz(path, ("velocity",), "model", also=PLACE)
    refuse_other_property(path, arrays.name)
    return _of_arrays(path, arrays)


def _read_density_npz(path: Path) -> VelocityFile:
    return _of_arrays(path, read_npz(path, ("density",), "model", also=PLACE))


def _of_arrays(path: Path, arrays: NpzArrays) -> VelocityFile:
    """Return the main array of a .npz file with its place."""
    origin, line = (_numbers(path, arrays, name, count) for name, count in (("origin", 2), ("line", 4)))
    datum = arrays.number("datum")
    frame = None if line is None else Frame(datum or 0.0, 1.0, line[:2], line[2:])
    return VelocityFile(arrays.main, arrays.number("spacing"), left_out(arrays), None, origin, datum, frame)


def _numbers(path: Path, arrays: NpzArrays, name: str, count: int) -> Any:
    """Return a companion of so many numbers as a tuple, None if there is none."""
    values = arrays.companions.get(name)
    if values is None:
        return None
    if values.shape != (count,) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise InputError(f"`{name}` in {path} must be {count} finite numbers, but is {values}.")
    return tuple(values.astype(float).tolist())


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
    columns = _columns(file)
    origin = datum = None
    if columns.first is not None and not np.ptp(file.starts):
        origin = float(file.starts[0]), columns.first
        elevations = np.unique(file.elevations("ReceiverDatumElevation"))
        datum = float(elevations[0]) if len(elevations) == 1 and elevations[0] else None  # zero: it was not filled in
    velocity, notes = file.samples[columns.order].T.copy(), (*file.notes, *columns.notes)
    frame = None if columns.frame is None else columns.frame._replace(datum=datum or 0.0)
    return VelocityFile(velocity, columns.spacing, notes, columns.first, origin, datum, frame)


def _refuse_volume(file: SegyTraces) -> None:
    inlines, crosslines = (np.unique(file.words[word]) for word in ("INLINE_3D", "CROSSLINE_3D"))
    traces = len(file.samples)
    if min(len(inlines), len(crosslines)) > 1 and max(len(inlines), len(crosslines)) < traces:
        raise InputError(
            f"{file.path} holds a volume of {len(inlines)} inlines and {len(crosslines)} crosslines ({traces} traces), "
            "but a model is one section. Take one, for example by "
            f"`numpy.save('section.npy', segyio.open('{file.path.name}').iline[{inlines[len(inlines) // 2]}].T)`."
        )


class _Columns(NamedTuple):
    """The columns' order along x, their spacing, first x [m] and line if these are known, and what was decided."""

    order: np.ndarray
    spacing: float | None = None
    first: float | None = None
    frame: Frame | None = None
    notes: tuple[str, ...] = ()


def _columns(file: SegyTraces) -> _Columns:
    as_stored = np.arange(len(file.samples))
    for x, y in (("CDP_X", "CDP_Y"), ("SourceX", "SourceY"), ("GroupX", "GroupY")):
        points = file.positions(x, y)
        if not np.ptp(points, axis=0).any():
            continue
        direction, notes = along_line(points, file.path, "columns")
        frame = frame_of_line(points, direction, 1.0)
        order = np.argsort(frame.along(points), kind="stable")
        along = frame.along(points)[order]
        gaps = np.diff(along)
        if gaps.min() == 0:
            several = f"{x} and {y} give several columns one position, so no order is taken"
            return _Columns(as_stored, notes=(several,))
        if (order != as_stored).any():
            notes.append(f"columns are put in the order of their positions ({x}, {y})")
        if np.ptp(gaps) > max(0.02 * gaps.mean(), 1.01 * file.resolution):
            far = f"columns are {gaps.min():g} to {gaps.max():g} apart ({x}, {y}), so no spacing is taken"
            return _Columns(order, notes=(*notes, far))
        if file.unit is None:
            return _Columns(order, notes=tuple(notes))
        spacing = f"columns are {gaps.mean():g} m apart ({x}, {y})"
        return _Columns(order, float(gaps.mean()), float(along[0]), frame, (*notes, spacing))
    return _Columns(as_stored)


def inverted(model: VelocityFile) -> VelocityFile:
    """Return the inverse of a model, so that what averages slowness averages the model itself, such as density.

    Args:
        model: Model of any unit.

    Returns:
        One over the model, in its place.
    """
    return model._replace(velocity=1 / model.velocity)


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
    where = (
        f"{velocity.shape[0]} x {velocity.shape[1]} cells of {cell:.4g} m"
        f"{'' if known else ' (not given: its shorter side is assumed to span the grid)'}, window of "
        f"{window[0]:g} x {window[1]:g} m from (z, x) = ({first[0]:.4g}, {first[1]:.4g}) m"
        f"{''.join(f'; {note}' for note in model.notes)}"
    )
    return resample(velocity, cell, grid, (first[0], first[1])), where


def resample(
    velocity: Float[np.ndarray, "nz nx"], cell: float, grid: Grid, first: tuple[float, float]
) -> Float[np.ndarray, "mz mx"]:
    """Sample a model on a grid, by its slowness; see `to_grid`. Beyond its edges it goes on with their values.

    Args:
        velocity: Velocities `(nz, nx)` [m/s].
        cell: Size of their cells [m].
        grid: The grid to sample on.
        first: Position (z, x) of the grid's first cell in the model [m].

    Returns:
        Velocities on the grid `(mz, mx)` [m/s].
    """
    slowness = gaussian_filter(1 / velocity, max(0.0, 0.5 * (grid.spacing / cell - 1)), mode="nearest")
    axes = [(f + np.arange(n) * grid.spacing) / cell for f, n in zip(first, grid.shape, strict=True)]
    sampled = map_coordinates(slowness, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
    return (1 / sampled).astype(np.float32)
