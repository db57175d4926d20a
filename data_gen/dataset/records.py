"""Make the records of a data set, batch by batch, and define their fields and checksums.

A record depends on (config, split, index) only. On a CPU the native time loop gives every shot the same arithmetic in
any batch, and samples are drawn one at a time (`data_gen.velocity.base.reproducible`). Elsewhere XLA runs the time
loop and may round differently for another batch shape. One shape is therefore compiled for the entire data set, and
sample i is always row `i mod batch` of batch `i div batch`.
"""

import platform
import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from data_gen.common.errors import DatasetError
from data_gen.dataset.sample import SPLITS, DataSpec, Sample
from data_gen.solver.engines.choose import runs_natively

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

Fields = Mapping[str, Mapping[str, Any]]
DTYPES = ("float16", "float32", "float64", "int64")


@cache
def fields_of(spec: DataSpec) -> dict[str, dict[str, Any]]:
    """Compute the shape and dtype of every field of a record; `Sample` documents their meaning and units.

    Args:
        spec: Description of the data set.

    Returns:
        Shape and dtype by name, as the manifest stores them.
    """
    leaves = jax.eval_shape(spec.make, spec.key(0, 0))._asdict()
    described = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items() if leaf is not None}
    return {"index": field_of((), "int64")} | {
        name: field_of(shape, "int64" if np.issubdtype(dtype, np.integer) else dtype)
        for name, (shape, dtype) in described.items()
    }


def field_of(shape: tuple[int, ...], dtype: Any) -> dict[str, Any]:
    """Describe one field of a record as the manifest stores it.

    Args:
        shape: Shape of the field.
        dtype: NumPy dtype of the field.

    Returns:
        Entries `shape` and `dtype`.
    """
    return {"shape": list(shape), "dtype": np.dtype(dtype).name}


def features(entries: Fields) -> "tfds.features.FeaturesDict":
    """Describe a record for TFDS.

    Args:
        entries: Shape and dtype of every field by name.

    Returns:
        The features of TFDS.

    Raises:
        DatasetError: If no data set of this project has such a field.
    """
    import tensorflow_datasets as tfds

    described: dict[str, Any] = {}
    for name, entry in entries.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or entry.get("dtype") not in DTYPES:
            raise DatasetError(f"The manifest has an unknown field {name!r}: {entry}. Restore the manifest.")
        shape, dtype = tuple(int(n) for n in entry["shape"]), np.dtype(entry["dtype"])
        tensor = tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
        described[name] = tensor if shape else tfds.features.Scalar(dtype)
    return tfds.features.FeaturesDict(described)


def add_to_digest(digest: Any, record: Mapping[str, Any]) -> None:
    """Add a decoded record to a checksum.

    Checksums cover decoded records because the bytes of a shard may differ between versions of the writing software.

    Args:
        digest: Hash object of `hashlib`, which is updated.
        record: Values by field.
    """
    for name in sorted(record):
        value = np.asarray(record[name])
        digest.update(f"{name}{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))


def depends_on_batch(spec: DataSpec) -> bool:
    """Tell whether XLA runs the time loop here, which may round differently for another shape of the batch.

    Args:
        spec: Description of the data set.

    Returns:
        False if the native time loop runs the simulations, else True.
    """
    return not runs_natively(spec.simulation, constant_density=not spec.gardner)


@cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib", "numpy")}


def made_with(spec: DataSpec, batch_size: int) -> dict[str, str]:
    """List the software and hardware that may affect the last bits of a record.

    Args:
        spec: Description of the data set.
        batch_size: Number of samples simulated together.

    Returns:
        Version or kind by name, as the manifest stores them.
    """
    batch = str(batch_size) if depends_on_batch(spec) else "any"
    return {**_packages(), "python": platform.python_version(), "backend": jax.default_backend(), "batch": batch}


@partial(jax.jit, static_argnames="spec")
def _make_batch(spec: DataSpec, split: int | jax.Array, indices: jax.typing.ArrayLike) -> Sample:
    return jax.vmap(lambda index: spec.make(spec.key(split, index)))(indices)


def sample_records(spec: DataSpec, split: str, indices: range, batch_size: int) -> Iterator[dict[str, Any]]:
    """Make the records of a range of samples; one batch shape is compiled for any number of samples.

    Each batch is dispatched before the previous one is yielded, so that writing overlaps computing.

    Args:
        spec: Description of the data set.
        split: Name of the split.
        indices: Indices of the samples in the split.
        batch_size: Number of samples simulated together.

    Yields:
        Values by field of each sample, in order.
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
