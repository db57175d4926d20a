"""Read velocity models from .npy, .npz and SEG-Y files, and resample them to a grid. Pickled objects are refused."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from data_gen.common.array_files import read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.solver.problem.checks import check_velocity
from data_gen.solver.problem.grid import Grid


class VelocityFile(NamedTuple):
    """Hold a velocity model as it was read from a file.

    Attributes:
        velocity: Velocities `(nz, nx)` [m/s].
        spacing: Size of the square cells [m], or None if the file does not give it.
    """

    velocity: np.ndarray
    spacing: float | None


def read_velocity(path: str | Path) -> VelocityFile:
    """Read a velocity model.

    A .npz file holds an array named `velocity` (or a single array of any name), and optionally `spacing` [m]. A SEG-Y
    file holds one trace for each column of the model, with samples in order of depth.

    Args:
        path: Path of a .npy, .npz, .segy or .sgy file.

    Returns:
        Velocities `(nz, nx)` [m/s] and their spacing [m], if known.

    Raises:
        InputError: If the file is missing, of another kind, has the wrong number of dimensions, or holds velocities
            that are not finite, not positive or in km/s.
    """
    path = Path(path)
    readers = {".npy": read_npy, ".npz": read_model_npz, ".segy": read_segy, ".sgy": read_segy}
    velocity, spacing = read_by_suffix(path, "model", readers)
    if velocity.ndim != 2 or min(velocity.shape) < 2:
        raise InputError(
            f"{path} holds an array of shape {velocity.shape}, but a velocity model has two dimensions (nz, nx), depth "
            "first. Take a 2-D section of it."
        )
    if not np.issubdtype(velocity.dtype, np.number):
        raise InputError(f"{path} holds {velocity.dtype} values, but velocities are numbers in m/s.")
    velocity = velocity.astype(np.float64)
    check_velocity(velocity, f"The model in {path}")
    return VelocityFile(velocity, spacing)


def read_model_npz(path: Path) -> tuple[np.ndarray, float | None]:
    """Read the array `velocity` of a .npz file, unchecked.

    Args:
        path: Path of the file.

    Returns:
        The array [m/s], and its spacing [m] or None if the file does not give it.
    """
    return read_npz(path, ("velocity",), "spacing", "model")


def read_segy(path: Path) -> tuple[np.ndarray, None]:
    """Read a SEG-Y file with one trace for each column of a model, unchecked.

    Args:
        path: Path of the file.

    Returns:
        Velocities `(nz, nx)` [m/s], and None for their spacing, which such a file does not give.
    """
    import segyio

    with segyio.open(path, ignore_geometry=True) as file:
        return file.trace.raw[:].T.copy(), None


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
        Velocities on the grid [m/s] and a description of the window.

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
    )
    return (1 / sampled).astype(np.float32), where
