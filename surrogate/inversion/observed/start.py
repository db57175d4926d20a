"""Make the model that an inversion starts from: constant, a gradient in depth, or from a file."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from data_gen.common.errors import InputError
from data_gen.common.frame import Frame
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.model_files import VelocityFile, inverted, read_density, read_velocity, resample
from surrogate.inversion.config import STARTS, InversionConfig
from surrogate.inversion.descent import starting_model

ROUNDING = 0.02  # relative: how much shorter columns may be on the line of the data than on their own


def read_start(config: InversionConfig) -> VelocityFile | None:
    """Read the file of the starting model, if it is one.

    Args:
        config: Settings of the inversion.

    Returns:
        The model, or None if the start is none of a file.

    Raises:
        InputError: If the file cannot be used.
    """
    return None if config.start in STARTS else read_velocity(config.start)


def make_start(
    config: InversionConfig,
    grid: Grid,
    *,
    file: VelocityFile | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    frame: Frame | None = None,
    truth: Float[np.ndarray, "nz nx"] | None = None,
) -> tuple[Float[np.ndarray, "nz nx"], str]:
    """Make the starting model on a grid.

    Args:
        config: Settings of the inversion.
        grid: The grid.
        file: Model of the file that `config.start` names.
        origin: Position (z, x) of the grid's first cell [m].
        frame: Place of these positions in the world; None for a grid that is nowhere.
        truth: True model `(nz, nx)` [m/s], if it is known.

    Returns:
        The starting model `(nz, nx)` [m/s], with the true velocities in fixed rows if they are known; and a
        description.

    Raises:
        InputError: If the true model that a smooth start needs is unknown, or a file does not say where it lies.
    """
    low, high = config.bounds
    rows = config.fixed_rows
    if file is not None:
        start, described = _from_file(config, file, grid, origin, frame or Frame())
    elif config.start == "gradient":
        start, described = _gradient(config, grid, origin[0])
    elif truth is not None:
        start = np.asarray(starting_model(config, jnp.asarray(truth)))
        how = f"the true model, smoothed over {config.smoothing:g} cells" if config.start == "smooth" else "constant"
        return start, how
    elif config.start == "smooth":
        raise InputError(
            "inversion.start=smooth smooths the true model, but that of observed data is unknown. Give "
            "inversion.start=gradient, inversion.start=constant, or the file of a model."
        )
    else:
        velocity = config.start_velocity or (low + high) / 2
        start, described = np.full(grid.shape, velocity, np.float32), f"constant, {velocity:g} m/s"
    if truth is not None and rows:
        start = np.concatenate([truth[:rows], start[rows:]])
    return start, described


def make_start_density(
    config: InversionConfig, grid: Grid, *, origin: tuple[float, float] = (0.0, 0.0), frame: Frame | None = None
) -> Float[np.ndarray, "nz nx"] | None:
    """Make the density that a free density starts from on a grid.

    Args:
        config: Settings of the inversion.
        grid: The grid.
        origin: Position (z, x) of the grid's first cell [m].
        frame: Place of these positions in the world; None for a grid that is nowhere.

    Returns:
        The density of the file `config.start_density` `(nz, nx)` [kg/m^3]; None where none is given.

    Raises:
        InputError: If the file cannot be used, or does not say where it lies.
    """
    if config.start_density is None:
        return None
    file = inverted(read_density(config.start_density))
    config = replace(config, start=config.start_density)
    return 1 / _from_file(config, file, grid, origin, frame or Frame())[0]


def _gradient(config: InversionConfig, grid: Grid, top: float) -> tuple[np.ndarray, str]:
    low, high = config.bounds
    first = config.start_velocity or low
    slope = config.start_gradient
    bottom = top + grid.extent[0]
    if slope is None:
        slope = (high - first) / bottom
    z = top + np.arange(grid.shape[0]) * grid.spacing
    column = np.clip(first + slope * z, low, high).astype(np.float32)
    return np.tile(column[:, None], (1, grid.shape[1])), f"{first:g} m/s + {slope:.3g} 1/s z, within the bounds"


def _from_file(
    config: InversionConfig, file: VelocityFile, grid: Grid, origin: tuple[float, float], frame: Frame
) -> tuple[np.ndarray, str]:
    """Resample the model of a file; beyond its edges it goes on with their values."""
    name, velocity = Path(config.start).name, file.velocity
    spacing, first = config.start_spacing or file.spacing, file.origin
    if file.frame is not None and first is not None and spacing is not None:
        velocity, first, spacing = _on_line(file, first, spacing, frame, name)
    if first is not None and file.datum is not None:
        first = (first[0] + frame.datum - file.datum, first[1])
    if config.start_origin is not None:
        first = (float(config.start_origin[0]), float(config.start_origin[1]))
    if spacing is None or first is None:
        if velocity.shape == grid.shape and spacing in (None, grid.spacing):
            return velocity.astype(np.float32), f"{name}, which has the grid's shape"
        needed = {"how large they are": (spacing, "start_spacing=M"), "where they lie": (first, "start_origin=[Z,X]")}
        unsaid = [what for what, (value, _) in needed.items() if value is None]
        keys = [f"inversion.{key}" for value, key in needed.values() if value is None]
        raise InputError(
            f"{name} is a model of {velocity.shape} cells that does not say {' or '.join(unsaid)}, and is not of the "
            f"grid's shape {grid.shape}. Give {' and '.join(keys)} [m], or a .npz or SEG-Y file that says so "
            "(`spacing`, `origin`)."
        )
    window = (origin[0] - first[0], origin[1] - first[1])
    size = [(n - 1) * spacing for n in velocity.shape]
    beyond = [
        max(0.0, -start) + max(0.0, start + extent - side)
        for start, extent, side in zip(window, grid.extent, size, strict=True)
    ]
    if any(lost >= extent for lost, extent in zip(beyond, grid.extent, strict=True)):
        raise InputError(
            f"{name} lies outside of the model that is inverted: it spans z = {first[0]:g} to {first[0] + size[0]:g} m "
            f"and x = {first[1]:g} to {first[1] + size[1]:g} m, the model z = {origin[0]:g} to "
            f"{origin[0] + grid.extent[0]:g} m and x = {origin[1]:g} to {origin[1] + grid.extent[1]:g} m. Check the "
            "coordinates of both (inversion.start_origin)."
        )
    further = f", continued by {beyond[0]:.3g} m in depth and {beyond[1]:.3g} m in width" if max(beyond) > 0 else ""
    return resample(velocity, spacing, grid, window), f"{name}, cells of {spacing:g} m{further}"


def _on_line(
    file: VelocityFile, first: tuple[float, float], spacing: float, frame: Frame, name: str
) -> tuple[np.ndarray, tuple[float, float], float]:
    """Project the columns of a model that has world coordinates on the line of the data."""
    assert file.frame is not None
    nx = file.velocity.shape[1]
    ends = np.array([[first[0], first[1]], [first[0], first[1] + (nx - 1) * spacing]])
    start, end = (float(x) for x in frame.along(file.frame.world(ends)[:, :2]))
    velocity = file.velocity
    if end < start:
        velocity, start, end = velocity[:, ::-1], end, start
    along = (end - start) / (nx - 1)
    if abs(along / spacing - 1) > ROUNDING:
        raise InputError(
            f"{name} runs along another line than the data: its columns are {spacing:g} m apart, but {along:g} m on "
            "the line of the data. Take a section along that line."
        )
    return velocity, (first[0], start), spacing
