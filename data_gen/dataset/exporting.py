"""Copy a data set for other programs: to .npz (NumPy), .h5 (h5py) or .zarr (zarr), one array for each field and split.

Arrays are named `split/field` and have samples as their first axis; the text `manifest` holds the manifest. `spacing`,
`dt` (of the gathers) and, for imported data, `delay`, `sources` and `receivers` stand without a split. `import` reads
the .npz file again. In .h5 and .zarr files each array has its `units`. Records are written as they are read, so that a
copy needs no more memory than one shard. The copy gets its name when it is complete.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import explain_full_disk, temporary_name
from data_gen.dataset.description import UNITS
from data_gen.dataset.manifest import shards_of
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import read_shard
from data_gen.dataset.verification import verify

# Creates an array `(samples, ...)` of a name, shape and dtype, and returns a function that appends samples.
Create = Callable[[str, tuple[int, ...], np.dtype], AbstractContextManager[Callable[[np.ndarray], None]]]


def export(path: str | Path, to: str | Path) -> int:
    """Copy a data set to a file for other programs.

    Args:
        path: Folder of the data set.
        to: File to make: .npz, .h5, .hdf5 or .zarr.

    Returns:
        Number of samples.

    Raises:
        InputError: If `to` exists or is of another kind, if its library is missing, or if the data set is unfinished
            or damaged.
    """
    path, to = Path(path), Path(to)
    formats = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5, ".zarr": _zarr}
    if to.suffix.lower() not in formats:
        raise InputError(f"A data set is exported to one of {', '.join(formats)}, but --to is {to}.")
    if to.exists():
        raise InputError(f"{to} exists. Choose another name, or remove it.")
    if not to.parent.is_dir():
        raise InputError(f"There is no folder {to.parent} to export to. Make it first.")
    manifest = verify(path)
    temporary = temporary_name(to)
    try:
        with explain_full_disk(to.parent):
            with formats[to.suffix.lower()](temporary, json.dumps(manifest)) as create:
                for split in SPLITS:
                    _copy(path, manifest, split, create)
                for name, value in _about(manifest).items():
                    with create(name, value.shape, value.dtype) as append:
                        append(value)
            temporary.replace(to)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
    return sum(manifest["splits"].values())


def _about(manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what all samples share: cell size [m], sampling of the gathers [s], and positions that are no fields."""
    recipe = manifest["recipe"]
    values = {"spacing": recipe.get("spacing")}
    if "gathers" in manifest["fields"]:
        dt = recipe.get("dt")
        values |= {"dt": dt and dt * recipe.get("gather_every", 1), "delay": recipe.get("delay")}
        values |= {name: recipe.get(name) for name in ("sources", "receivers") if name not in manifest["fields"]}
    return {name: np.atleast_1d(np.array(value, np.float64)) for name, value in values.items() if value is not None}


def _units(name: str) -> str:
    """Return the unit of an array by its name in the file; empty for numbers without one."""
    return UNITS.get(name.rpartition("/")[2], "")


def _copy(path: Path, manifest: Mapping[str, Any], split: str, create: Create) -> None:
    """Copy one split field by field, because a .npz file needs the samples of a field one after the other."""
    samples = manifest["splits"].get(split, 0)
    shards = [shard for shard in shards_of(manifest) if shard.split == split]
    for name, field in manifest["fields"].items() if samples else ():
        shape, dtype = tuple(field["shape"]), np.dtype(field["dtype"])
        with create(f"{split}/{name}", (samples, *shape), dtype) as append:
            for shard in shards:
                records = [
                    np.asarray(record[name], dtype) for record in read_shard(path / shard.name, manifest["fields"])
                ]
                append(np.stack(records))


@contextmanager
def _npz(file: Path, manifest: str) -> Iterator[Create]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        @contextmanager
        def create(name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Callable[[np.ndarray], None]]:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)

                def append(part: np.ndarray) -> None:
                    member.write(np.ascontiguousarray(part).tobytes())

                yield append

        yield create
        with archive.open("manifest.npy", "w") as member:
            np.lib.format.write_array(member, np.array(manifest), allow_pickle=False)


def _missing(library: str, error: ImportError) -> InputError:
    return InputError(
        f"This export needs {library}, which cannot be imported here ({error}). Install it with `pip install "
        "-e '.[export]'`, or export to .npz."
    )


def _appender(array: Any) -> Callable[[np.ndarray], None]:
    filled = 0

    def append(part: np.ndarray) -> None:
        nonlocal filled
        array[filled : filled + len(part)] = part
        filled += len(part)

    return append


@contextmanager
def _hdf5(file: Path, manifest: str) -> Iterator[Create]:
    try:
        import h5py
    except ImportError as error:
        raise _missing("h5py", error) from error
    with h5py.File(file, "w") as root:
        root["manifest"] = manifest

        @contextmanager
        def create(name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Callable[[np.ndarray], None]]:
            chunks = (1, *shape[1:]) if len(shape) > 1 else None
            array = root.create_dataset(name, shape, dtype, chunks=chunks)
            array.attrs["units"] = _units(name)
            yield _appender(array)

        yield create


@contextmanager
def _zarr(folder: Path, manifest: str) -> Iterator[Create]:
    try:
        import zarr
    except ImportError as error:
        raise _missing("zarr", error) from error
    root = zarr.open_group(str(folder), mode="w-")
    root.attrs["manifest"] = manifest

    @contextmanager
    def create(name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Callable[[np.ndarray], None]]:
        chunks = (1, *shape[1:]) if len(shape) > 1 else shape
        array = root.create_array(name, shape=shape, dtype=dtype, chunks=chunks, attributes={"units": _units(name)})
        yield _appender(array)

    yield create
