"""Read the models and the gathers of one or many samples from .npy, .npz and SEG-Y files, unchecked and unresampled."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import segyio

from data_gen.common.errors import InputError
from data_gen.common.files import read_by_suffix
from data_gen.velocity.base.model_files import named_array, read_npz, read_segy


class ModelsFile(NamedTuple):
    """velocity `(n, nz, nx)` [m/s], perhaps still on disk; spacing of the square cells [m], if the file says."""

    velocity: np.ndarray
    spacing: float | None


class GathersFile(NamedTuple):
    """gathers `(n, n_sources, nt, n_receivers)`, perhaps still on disk; dt [s], if the file says."""

    gathers: np.ndarray
    dt: float | None


def read_models(path: Path) -> ModelsFile:
    """Read one or many models, unchecked: `(nz, nx)`, `(n, nz, nx)` or OpenFWI's `(n, 1, nz, nx)`."""
    readers = {".npy": _map_npy, ".npz": read_npz, ".segy": read_segy, ".sgy": read_segy}
    velocity, spacing = read_by_suffix(path, "model", readers)
    if velocity.ndim == 4 and velocity.shape[1] == 1:
        velocity = velocity[:, 0]
    velocity = velocity[None] if velocity.ndim == 2 else velocity
    _expect(velocity, 3, path, "models", "(nz, nx), (n, nz, nx) or (n, 1, nz, nx), depth before width")
    return ModelsFile(velocity, spacing)


def read_gathers(path: Path) -> GathersFile:
    """Read the gathers of one or many models: `(n_sources, nt, n_receivers)`, or `(n, n_sources, nt, n_receivers)`.

    .npz: an array named `gathers` or `data` (or the only one), and optionally `dt` [s]. SEG-Y: one model's shots, one
    trace for each receiver, told apart by their field record numbers.
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
    return np.load(path, mmap_mode="r", allow_pickle=False), None


def _read_gathers_npz(path: Path) -> tuple[np.ndarray, float | None]:
    return named_array(path, ("gathers", "data"), "dt", "array")


def _read_shots(path: Path) -> tuple[np.ndarray, float | None]:
    with segyio.open(path, ignore_geometry=True) as file:
        records = file.attributes(segyio.TraceField.FieldRecord)[:]
        shots, counts = np.unique(records, return_counts=True)
        if len(set(counts.tolist())) != 1:
            raise InputError(
                f"{path} has shots of {counts.min()} to {counts.max()} traces by their field record numbers, but every "
                "shot needs as many. Complete them, or take those that are whole."
            )
        # Stable: the receivers of a shot keep their order.
        traces = file.trace.raw[:][np.argsort(records, kind="stable")]
        microseconds = segyio.tools.dt(file, fallback_dt=0.0)
        gathers = traces.reshape(len(shots), -1, traces.shape[1]).transpose(0, 2, 1)
        return gathers, microseconds / 1e6 or None
