"""The records of a data set: their fields, their checksum, and the samples of a range of indices, batch by batch.

A record depends on (config, split, index) alone. On a CPU the native time loop gives every shot the same arithmetic
whatever its batch, and samples are drawn one at a time (velocity/isolated.py). XLA, which runs the time loop elsewhere,
may round differently for another batch shape: there one shape is compiled for the whole data set, and sample i is
always row `i mod batch` of batch `i div batch`.
"""

import platform
import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import tensorflow_datasets as tfds

from data_gen.common.errors import DatasetError
from data_gen.dataset.sample import SPLITS, DataSpec, Sample
from data_gen.solver.engines.choose import runs_natively

Fields = Mapping[str, Mapping[str, Any]]
DTYPES = ("float16", "float32", "float64", "int64")


@cache
def fields_of(spec: DataSpec) -> dict[str, dict[str, Any]]:
    """Shape and dtype of every entry of one record; `Sample` has their meaning and units."""
    leaves = jax.eval_shape(spec.make, spec.key(0, 0))._asdict()
    described = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items() if leaf is not None}
    return {"index": field_of((), "int64")} | {
        name: field_of(shape, "int64" if np.issubdtype(dtype, np.integer) else dtype)
        for name, (shape, dtype) in described.items()
    }


def field_of(shape: tuple[int, ...], dtype: Any) -> dict[str, Any]:
    """One entry of a record, as the manifest tells it."""
    return {"shape": list(shape), "dtype": np.dtype(dtype).name}


def features(entries: Fields) -> tfds.features.FeaturesDict:
    """TFDS's description of one record. Raises `DatasetError` for entries that no data set of ours has."""
    described: dict[str, Any] = {}
    for name, entry in entries.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or entry.get("dtype") not in DTYPES:
            raise DatasetError(f"The manifest names a field {name!r}: {entry}, which no data set holds. Restore it.")
        shape, dtype = tuple(int(n) for n in entry["shape"]), np.dtype(entry["dtype"])
        tensor = tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
        described[name] = tensor if shape else tfds.features.Scalar(dtype)
    return tfds.features.FeaturesDict(described)


def add_to_digest(digest: Any, record: Mapping[str, Any]) -> None:
    """Checksums are of decoded records: the bytes of a shard may differ between versions of what writes it."""
    for name in sorted(record):
        value = np.asarray(record[name])
        digest.update(f"{name}{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))


def depends_on_batch(spec: DataSpec) -> bool:
    """Whether XLA runs the time loop here, which may round differently for another shape of the batch."""
    return not runs_natively(spec.simulation, constant_density=not spec.gardner)


@cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib", "numpy")}


def made_with(spec: DataSpec, batch_size: int) -> dict[str, str]:
    """What may decide the last bits of a record beside its config."""
    batch = str(batch_size) if depends_on_batch(spec) else "any"
    return {**_packages(), "python": platform.python_version(), "backend": jax.default_backend(), "batch": batch}


@partial(jax.jit, static_argnames="spec")
def _make_batch(spec: DataSpec, split: int | jax.Array, indices: jax.typing.ArrayLike) -> Sample:
    return jax.vmap(lambda index: spec.make(spec.key(split, index)))(indices)


def sample_records(spec: DataSpec, split: str, indices: range, batch_size: int) -> Iterator[dict[str, Any]]:
    """The records of samples `indices` of a split. One shape is compiled, whatever their number.

    The next batch is dispatched before the last one is handed out: writing overlaps computing.
    """
    first = indices.start
    if depends_on_batch(spec):
        first -= first % batch_size
    starts = list(range(first, indices.stop, batch_size))

    def dispatch(start: int) -> Sample:
        return _make_batch(spec, SPLITS.index(split), np.arange(start, start + batch_size, dtype=np.int32))

    upcoming = dispatch(starts[0])
    for i, start in enumerate(starts):
        batch = upcoming
        if i + 1 < len(starts):
            upcoming = dispatch(starts[i + 1])
        arrays = {name: np.asarray(leaf) for name, leaf in batch._asdict().items() if leaf is not None}
        for index in range(max(start, indices.start), min(start + batch_size, indices.stop)):
            record = {name: array[index - start] for name, array in arrays.items()}
            integers = {name: np.int64(x) for name, x in record.items() if np.issubdtype(x.dtype, np.integer)}
            yield {"index": np.int64(index), **record, **integers}
