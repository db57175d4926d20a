"""Read models and gathers of one or many samples from .npy, .npz and SEG-Y files, unchecked and not resampled."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_gen.common.array_files import read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.velocity.base.model_files import read_model_npz, read_segy


class ModelsFile(NamedTuple):
    """Hold the velocity models of a file.

    Attributes:
        velocity: Velocity models `(n, nz, nx)` [m/s]; may be mapped from disk.
        spacing: Size of the square cells [m], or None if the file does not give it.
    """

    velocity: np.ndarray
    spacing: float | None


class GathersFile(NamedTuple):
    """Hold the gathers of a file.

    Attributes:
        gathers: Gathers `(n, n_sources, nt, n_receivers)`; may be mapped from disk.
        dt: Sampling interval [s], or None if the file does not give it.
    """

    gathers: np.ndarray
    dt: float | None


def read_models(path: Path) -> ModelsFile:
    """Read one or many velocity models, unchecked.

    Args:
        path: Path of a file with an array `(nz, nx)`, `(n, nz, nx)` or, as in OpenFWI, `(n, 1, nz, nx)`.

    Returns:
        Velocity models `(n, nz, nx)` [m/s] and their spacing [m], if known.
    """
    readers = {".npy": _map_npy, ".npz": read_model_npz, ".segy": read_segy, ".sgy": read_segy}
    velocity, spacing = read_by_suffix(path, "model", readers)
    if velocity.ndim == 4 and velocity.shape[1] == 1:
        velocity = velocity[:, 0]
    velocity = velocity[None] if velocity.ndim == 2 else velocity
    _expect(velocity, 3, path, "models", "(nz, nx), (n, nz, nx) or (n, 1, nz, nx), depth before width")
    return ModelsFile(velocity, spacing)


def read_gathers(path: Path) -> GathersFile:
    """Read the gathers of one or many models.

    A .npz file holds an array named `gathers` or `data` (or a single array of any name), and optionally `dt` [s]. A
    SEG-Y file holds the shots of one model with one trace for each receiver; the field record number identifies the
    shot.

    Args:
        path: Path of a file with an array `(n_sources, nt, n_receivers)` or `(n, n_sources, nt, n_receivers)`.

    Returns:
        Gathers `(n, n_sources, nt, n_receivers)` and their sampling interval [s], if known.
    """
    readers = {".npy": _map_npy, ".npz": _read_gathers_npz, ".segy": _read_shots, ".sgy": _read_shots}
    gathers, dt = read_by_suffix(path, "gathers", readers)
    gathers = gathers[None] if gathers.ndim == 3 else gathers
    _expect(gathers, 4, path, "gathers", "(n_sources, nt, n_receivers) or (n, n_sources, nt, n_receivers)")
    return GathersFile(gathers, dt)


def _expect(array: np.ndarray, dimensions: int, path: Path, what: str, shapes: str) -> None:
    if array.ndim != dimensions or 0 in array.shape:
        raise InputError(f"{path} holds an array of shape {array.shape}, but {what} have the shape {shapes}.")
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{path} holds {array.dtype} values, but {what} are real numbers.")


def _map_npy(path: Path) -> tuple[np.ndarray, None]:
    return read_npy(path, memory_map=True)


def _read_gathers_npz(path: Path) -> tuple[np.ndarray, float | None]:
    return read_npz(path, ("gathers", "data"), "dt", "array")


def _read_shots(path: Path) -> tuple[np.ndarray, float | None]:
    import segyio

    with segyio.open(path, ignore_geometry=True) as file:
        records = file.attributes(segyio.TraceField.FieldRecord)[:]
        shots, counts = np.unique(records, return_counts=True)
        if len(set(counts.tolist())) != 1:
            raise InputError(
                f"{path} has shots of {counts.min()} to {counts.max()} traces by their field record numbers, but every "
                "shot needs the same number. Complete them, or take only complete shots."
            )
        # A stable sort keeps the order of the receivers of a shot.
        traces = file.trace.raw[:][np.argsort(records, kind="stable")]
        microseconds = segyio.tools.dt(file, fallback_dt=0.0)
        gathers = traces.reshape(len(shots), -1, traces.shape[1]).transpose(0, 2, 1)
        return gathers, microseconds / 1e6 or None
