"""Read models and gathers of one or many samples from .npy, .npz and SEG-Y files, unchecked and not resampled."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_gen.common.array_files import read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.dataset.segy_shots import read_shots
from data_gen.velocity.base.model_files import (
    VelocityFile,
    left_out,
    read_model_npz,
    read_section,
    refuse_other_property,
)


class ModelsFile(NamedTuple):
    """Hold the velocity models of a file.

    Attributes:
        velocity: Velocity models `(n, nz, nx)` [m/s]; may be mapped from disk.
        spacing: Size of the square cells [m], or None if the file does not give it.
        notes: Sentences on what the reader decided.
        first: Coordinate x of the first column in the file [m], or None if the file does not give it.
    """

    velocity: np.ndarray
    spacing: float | None
    notes: tuple[str, ...] = ()
    first: float | None = None


class GathersFile(NamedTuple):
    """Hold the gathers of a file.

    Positions `(z, x)` are in the file's coordinates: z down from the datum, x along the line.

    Attributes:
        gathers: Gathers `(n, n_sources, nt, n_receivers)`; may be mapped from disk.
        dt: Sampling interval [s], or None if the file does not give it.
        delay: Time of the first sample [s], or None if the file does not give it.
        sources: Positions `(n_sources, 2)` [m], or None if the file does not give them.
        receivers: Positions `(n_receivers, 2)` of all shots or `(n_sources, n_receivers, 2)` of each [m], or None.
        notes: Sentences on what the reader decided.
    """

    gathers: np.ndarray
    dt: float | None
    delay: float | None = None
    sources: np.ndarray | None = None
    receivers: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_models(path: Path) -> ModelsFile:
    """Read one or many velocity models, their values unchecked.

    Args:
        path: Path of a file with an array `(nz, nx)`, `(n, nz, nx)` or, as in OpenFWI, `(n, 1, nz, nx)`.

    Returns:
        Velocity models `(n, nz, nx)` [m/s], their spacing [m] if it is known, and what was decided.

    Raises:
        InputError: If the file is missing, of another kind, or holds no models.
    """
    readers = {".npy": _map_models, ".npz": read_model_npz, ".segy": read_section, ".sgy": read_section}
    found = read_by_suffix(path, "model", readers)
    velocity = found.velocity
    refuse_other_property(path, path.stem)
    if velocity.ndim == 4 and velocity.shape[1] == 1:
        velocity = velocity[:, 0]
    velocity = velocity[None] if velocity.ndim == 2 else velocity
    _expect(velocity, 3, path, "models", "(nz, nx), (n, nz, nx) or (n, 1, nz, nx), depth before width")
    return ModelsFile(velocity, found.spacing, found.notes, found.first)


def read_gathers(path: Path, shot_word: str | None = None) -> GathersFile:
    """Read the gathers of one or many models, their values unchecked.

    A .npz file holds an array named `gathers` or `data` (or a single array of any name), and optionally `dt` [s],
    `delay` [s], `sources` and `receivers`; or it is an exported data set. A SEG-Y file holds the shots of one model
    with one trace for each receiver.

    Args:
        path: Path of a file with an array `(n_sources, nt, n_receivers)` or `(n, n_sources, nt, n_receivers)`.
        shot_word: Header word of SEG-Y files that tells shots apart; by default all that differ, which must agree.

    Returns:
        Gathers `(n, n_sources, nt, n_receivers)`, what the file says about sampling and positions, and what was
        decided.

    Raises:
        InputError: If the file is missing, of another kind, or holds no gathers.
    """
    readers = {".npy": _map_gathers, ".npz": _read_gathers_npz, ".segy": read_shots, ".sgy": read_shots}
    if shot_word:
        readers |= dict.fromkeys((".segy", ".sgy"), partial(read_shots, shot_word=shot_word))
    found = GathersFile(*read_by_suffix(path, "gathers", readers))
    gathers = found.gathers[None] if found.gathers.ndim == 3 else found.gathers
    _expect(gathers, 4, path, "gathers", "(n_sources, nt, n_receivers) or (n, n_sources, nt, n_receivers)")
    return found._replace(gathers=gathers)


def _map_models(path: Path) -> VelocityFile:
    return VelocityFile(read_npy(path, memory_map=True), None)


def _map_gathers(path: Path) -> GathersFile:
    return GathersFile(read_npy(path, memory_map=True), None)


def _expect(array: np.ndarray, dimensions: int, path: Path, what: str, shapes: str) -> None:
    if array.ndim != dimensions or 0 in array.shape:
        raise InputError(f"{path} holds an array of shape {array.shape}, but {what} have the shape {shapes}.")
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{path} holds {array.dtype} values, but {what} are real numbers.")


def _read_gathers_npz(path: Path) -> GathersFile:
    arrays = read_npz(path, ("gathers", "data"), "array")
    sources, receivers = (_positions(path, name, arrays.companions.get(name)) for name in ("sources", "receivers"))
    gathers, scale = arrays.main, arrays.companions.get("gathers_scale")
    if scale is not None:
        gathers = gathers.astype(np.float32) * scale.astype(np.float32).reshape(-1, *[1] * (gathers.ndim - 1))
    return GathersFile(gathers, arrays.number("dt"), arrays.number("delay"), sources, receivers, left_out(arrays))


def _positions(path: Path, name: str, points: np.ndarray | None) -> np.ndarray | None:
    if points is not None and not (points.ndim in (2, 3) and points.shape[-1] == 2 and points.dtype.kind in "iuf"):
        raise InputError(
            f"`{name}` in {path} holds {points.dtype} values of shape {points.shape}, but positions are numbers "
            "(z, x) in meters of the shape (n, 2), or (n_sources, n, 2) where they differ from shot to shot."
        )
    return points
