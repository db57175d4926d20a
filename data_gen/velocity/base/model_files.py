"""Velocity models and gathers from files: .npy, .npz and SEG-Y; a model resampled to a grid. Nothing is unpickled."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import segyio
from scipy.ndimage import gaussian_filter, map_coordinates

from data_gen.common.errors import InputError
from data_gen.common.files import read_by_suffix
from data_gen.solver.problem.checks import check_velocity
from data_gen.solver.problem.grid import Grid


class VelocityFile(NamedTuple):
    """velocity `(nz, nx)` [m/s]; spacing of its square cells [m], None where the file does not say."""

    velocity: np.ndarray
    spacing: float | None


def read_velocity(path: str | Path) -> VelocityFile:
    """Read a model. .npz: an array named `velocity` (or the only one), and optionally `spacing` [m]. SEG-Y: one trace
    for each column, its samples going down.

    Raises `InputError` if the file is missing, of another kind, has the wrong number of dimensions, or holds
    velocities that are not finite, not positive or in km/s.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".npz": read_npz, ".segy": read_segy, ".sgy": read_segy}
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


def _read_npy(path: Path) -> VelocityFile:
    return VelocityFile(np.load(path, allow_pickle=False), None)


def read_npz(path: Path) -> VelocityFile:
    return VelocityFile(*named_array(path, ("velocity",), "spacing", "model"))


def named_array(path: Path, names: tuple[str, ...], step: str, what: str) -> tuple[np.ndarray, float | None]:
    """The array of a .npz with one of these names, or the only one; and its step, if it says."""
    with np.load(path, allow_pickle=False) as arrays:
        others = [name for name in arrays.files if name not in ("spacing", "dt")]
        found = [name for name in names if name in others] or others
        if len(found) != 1:
            raise InputError(f"{path} holds the arrays {others}: name the {what} `{names[0]}`.")
        return arrays[found[0]], float(arrays[step]) if step in arrays.files else None


def read_segy(path: Path) -> VelocityFile:
    with segyio.open(path, ignore_geometry=True) as file:
        return VelocityFile(file.trace.raw[:].T.copy(), None)


def to_grid(
    model: VelocityFile, grid: Grid, *, spacing: float | None = None, origin: tuple[float, float] | None = None
) -> tuple[np.ndarray, str]:
    """Resample a window of a model to a grid, and say in words which.

    spacing: of the model's cells [m], before the file's own; where neither is known, the shorter side is taken to span
    the grid. origin: `(z, x)` [m] of the window's first cell, by default centred. Slowness is averaged over a cell of
    the grid (by a Gaussian) before a coarser sampling, and interpolated linearly: travel times are kept.

    Raises `InputError` if the window leaves the model.
    """
    velocity = model.velocity
    known = spacing or model.spacing
    cell = known or max(side * grid.spacing / cells for side, cells in zip(grid.shape, velocity.shape, strict=True))
    size = [(cells - 1) * cell for cells in velocity.shape]
    window = [(cells - 1) * grid.spacing for cells in grid.shape]
    centred = [max(0.0, (s - w) / 2) for s, w in zip(size, window, strict=True)]
    first = centred if origin is None else list(origin)
    # Half a cell of grace on each side: the outermost half cells belong to the model.
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
        f"{'' if known else ' (not given: its shorter side was taken to span the grid)'}, window of "
        f"{window[0]:g} x {window[1]:g} m from (z, x) = ({first[0]:.4g}, {first[1]:.4g}) m"
    )
    return (1 / sampled).astype(np.float32), where
