"""Data sets on disk: array_record shards, a manifest that can rebuild them, and TFDS's own metadata.

    PATH/manifest.json                                  config, versions, checksum of every finished shard
    PATH/wave_data-train.array_record-00000-of-00016    shards, each written whole or not at all
    PATH/dataset_info.json, features.json               written last: `tfds.builder_from_directory(PATH)` reads them

A shard is a pure function of (config, split, shard index). It is written under a temporary name, renamed, and only
then entered in the manifest: an interrupted generation repeats at most one shard. Checksums are taken of decoded
records, since the bytes of a compressed shard may differ between machines.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from google.protobuf import json_format
from tensorflow_datasets.core import file_adapters, naming
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tensorflow_datasets.core.splits import SplitDict

from data_gen.errors import InputError
from data_gen.sample import SPLITS, DataConfig, DataSpec, Sample

NAME = "wave_data"
FORMAT = 2
MANIFEST = "manifest.json"


class DatasetError(InputError):
    """A data set that cannot be used as it is; the message says which file and what to do."""


def features(spec: DataSpec) -> tfds.features.FeaturesDict:
    """TFDS's description of one record; `Sample` has the meaning and units of each entry."""
    shapes = jax.eval_shape(spec.make, spec.key(0, 0))._asdict()
    described: dict[str, Any] = {
        name: tfds.features.Tensor(shape=leaf.shape, dtype=leaf.dtype, encoding="bytes")
        for name, leaf in shapes.items()
        if name != "family" and leaf is not None
    }
    return tfds.features.FeaturesDict(
        {"index": tfds.features.Scalar(np.int64), "family": tfds.features.Scalar(np.int64), **described}
    )


def fingerprint(config: DataConfig) -> str:
    """Hash of everything that decides the records."""
    return hashlib.sha256(json.dumps(config.identity(), sort_keys=True).encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    return {**packages, "python": platform.python_version(), "backend": jax.default_backend()}


def write_json(path: Path, content: Any) -> None:
    """Write atomically: the file is the old one or the new one, never half of either."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises `DatasetError` if the file is damaged."""
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, FileNotFoundError) as error:
        raise DatasetError(f"{path} is missing or not readable JSON ({error}). Restore it, or make it anew.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds no JSON object. Restore it, or make it anew.")
    return content


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The keys in which two configs differ, as `key: theirs -> ours`."""
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {theirs.get(key)} -> {ours.get(key)}" for key in keys)


def holds_files(folder: Path) -> bool:
    """Whether there is anything in `folder` but the half-written file of a killed `write_json`."""
    return folder.exists() and any(file.suffix != ".tmp" for file in folder.iterdir())


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of the data set at `path`. Raises `DatasetError` if there is none, or of another format."""
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise DatasetError(f"There is no data set at {path}: {MANIFEST} is missing. Run `python -m data_gen` first.")
    manifest = read_json(file)
    if manifest.get("format") != FORMAT or not {"complete", "config", "shards", "versions"} <= manifest.keys():
        raise DatasetError(f"{file} has format {manifest.get('format')}, but this version reads format {FORMAT}.")
    return manifest


def _shard_name(split: str, shard: int, shards: int) -> str:
    return f"{NAME}-{split}.array_record-{shard:05d}-of-{shards:05d}"


def shard_layout(config: DataConfig) -> list[tuple[str, str, range]]:
    """Every shard as `(file name, split, indices of its samples)`."""
    layout = []
    for split in SPLITS:
        total = getattr(config, split)
        starts = range(0, total, config.shard_size)
        layout += [
            (_shard_name(split, i, len(starts)), split, range(start, min(start + config.shard_size, total)))
            for i, start in enumerate(starts)
        ]
    return layout


def _record_digest(digest: Any, record: Mapping[str, Any]) -> None:
    for name in sorted(record):
        value = np.asarray(record[name])
        digest.update(f"{name}{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())


@partial(jax.jit, static_argnames="spec")
def _make_batch(spec: DataSpec, split: jax.Array, indices: jax.Array) -> Sample:
    return jax.vmap(lambda index: spec.make(spec.key(split, index)))(indices)


def _records(spec: DataSpec, split: str, indices: range, batch_size: int) -> Iterator[dict[str, Any]]:
    """The samples of one shard. The batch shape never changes, so neither does the compiled arithmetic.

    The next batch is dispatched before the last one is handed out: writing overlaps computing.
    """
    starts = list(range(indices.start, indices.stop, batch_size))

    def dispatch(start: int) -> Sample:
        return _make_batch(spec, jnp.array(SPLITS.index(split)), jnp.arange(start, start + batch_size))

    upcoming = dispatch(starts[0])
    for i, start in enumerate(starts):
        batch = upcoming
        if i + 1 < len(starts):
            upcoming = dispatch(starts[i + 1])
        arrays = {name: np.asarray(leaf) for name, leaf in batch._asdict().items() if leaf is not None}
        for row in range(min(batch_size, indices.stop - start)):
            record = {name: array[row] for name, array in arrays.items()}
            yield {**record, "index": np.int64(start + row), "family": np.int64(record["family"])}


def _write_shard(
    file: Path,
    records: Iterator[dict[str, Any]],
    description: tfds.features.FeaturesDict,
    on_record: Callable[[bool], None],
) -> str:
    """Write one shard under a temporary name, rename it, and return its checksum."""
    temporary = file.with_name(file.name + ".tmp")
    digest = hashlib.sha256()
    writer = ArrayRecordWriter(str(temporary), "group_size:1,zstd:3")
    for record in records:
        if not all(np.isfinite(value).all() for value in record.values()):
            raise DatasetError(f"Sample {record['index']} of {file.name} is not finite. Check the data config.")
        writer.write(description.serialize_example(record))
        _record_digest(digest, record)
        on_record(True)
    writer.close()
    temporary.replace(file)
    return digest.hexdigest()


def _begin(config: DataConfig, path: Path) -> dict[str, Any]:
    """The manifest to continue from: the one on disk, or a fresh one."""
    if (path / MANIFEST).exists():
        manifest = read_manifest(path)
        if difference := differences(config.identity(), manifest["config"]):
            raise DatasetError(
                f"{path} already holds a data set of another config ({difference}). "
                "Choose another data.path, or remove that folder."
            )
        if not manifest["complete"] and manifest["versions"] != _versions():
            raise DatasetError(
                f"{path} was begun with other software ({differences(_versions(), manifest['versions'])}), which may "
                "round differently. Finish it with those versions, or remove that folder."
            )
        return manifest
    if holds_files(path):
        raise DatasetError(f"{path} exists and is not a data set. Choose another data.path, or empty that folder.")
    path.mkdir(parents=True, exist_ok=True)
    manifest = {
        "format": FORMAT,
        "complete": False,
        "fingerprint": fingerprint(config),
        "versions": _versions(),
        "config": config.identity(),
        "shards": {},
    }
    write_json(path / MANIFEST, manifest)
    return manifest


def _write_tfds_metadata(config: DataConfig, path: Path, description: tfds.features.FeaturesDict) -> None:
    identity = DatasetIdentity(
        name=NAME, version=tfds.core.Version("1.0.0"), data_dir=str(path), module_name="data_gen.dataset"
    )
    infos = []
    for split in filter(partial(getattr, config), SPLITS):  # a data set for online training has no training split
        shards = [(name, indices) for name, owner, indices in shard_layout(config) if owner == split]
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(indices) for _, indices in shards],
                num_bytes=sum((path / name).stat().st_size for name, _ in shards),
                filename_template=naming.ShardedFileTemplate(
                    data_dir=tfds.core.Path(path),
                    dataset_name=NAME,
                    split=split,
                    filetype_suffix="array_record",
                ),
            )
        )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description="Acoustic wavefields simulated through random velocity models; manifest.json rebuilds them.",
        features=description,
        metadata=tfds.core.MetadataDict(fingerprint=fingerprint(config)),
        split_dict=SplitDict(infos),
        disable_shuffling=True,
    )
    info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD)
    info.write_to_directory(path)


def generate(config: DataConfig, on_record: Callable[[bool], None] = lambda made: None) -> dict[str, Any]:
    """Generate the data set at `config.path`, or what is missing of it, and return its manifest.

    on_record: called once for every sample: with True if it was made now, False if it was found finished.
    Raises `DatasetError` if the folder holds something else; nothing is then touched.
    """
    spec, path = config.create(), Path(config.path)
    manifest = _begin(config, path)
    description = features(spec)
    for name, split, indices in shard_layout(config):
        if name in manifest["shards"] and (path / name).is_file():
            for _ in indices:
                on_record(False)
            continue
        digest = _write_shard(path / name, _records(spec, split, indices, config.batch_size), description, on_record)
        before = manifest["shards"].get(name, {}).get("sha256", digest)
        if digest != before:
            (path / name).unlink()
            raise DatasetError(
                f"Shard {name} was made again, but its records differ from the manifest's checksum: the data set was "
                f"made with {manifest['versions']}, this is {_versions()}. Use those versions, or generate all anew."
            )
        manifest["shards"][name] = {"split": split, "samples": len(indices), "sha256": digest}
        manifest["complete"] = False
        write_json(path / MANIFEST, manifest)
    if not manifest["complete"]:
        _write_tfds_metadata(config, path, description)
        manifest["complete"] = True
        write_json(path / MANIFEST, manifest)
    return manifest


def verify(path: str | Path, *, checksums: bool = True) -> dict[str, Any]:
    """Check that the data set is whole and, by its checksums, that every shard holds what was written to it.

    Returns the manifest. Raises `DatasetError`, naming the file, if one is missing, truncated or changed, or if
    generation is unfinished.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if not manifest["complete"]:
        raise DatasetError(f"The data set at {path} is unfinished. Run `python -m data_gen` with its config again.")
    config = config_of(manifest, path)
    description = features(config.create())
    # TFDS imports the classes that features.json names: it must be the one we wrote.
    if read_json(path / "features.json") != json_format.MessageToDict(description.to_proto()):
        raise DatasetError(
            f"{path / 'features.json'} is not what the manifest's config implies. Generate the set anew."
        )
    for name, _, _ in shard_layout(config) if checksums else ():
        digest, file = hashlib.sha256(), path / name
        if not file.is_file():
            raise DatasetError(f"Shard {file} is missing. Run `python -m data_gen` with its config to make it again.")
        try:
            reader = ArrayRecordReader(str(file))
            for raw in reader.read_all():
                _record_digest(digest, cast(dict[str, Any], description.deserialize_example_np(raw)))
            reader.close()
            found = digest.hexdigest()
        except Exception as error:  # whatever the reader makes of a damaged file, the remedy is the same
            found = f"unreadable: {error}"
        expected = manifest["shards"].get(name, {}).get("sha256", "none")
        if found != expected:
            raise DatasetError(
                f"Shard {file} is damaged: its records do not match the manifest's checksum "
                f"({found[:60]} instead of {expected[:12]}...). "
                "Delete that file and run `python -m data_gen` with its config: only that shard is made again."
            )
    return manifest


def config_of(manifest: Mapping[str, Any], path: str | Path) -> DataConfig:
    """The config that rebuilds the data set of a manifest. Raises `DatasetError` if this version cannot."""
    try:
        return DataConfig(path=str(path), **manifest["config"])
    except TypeError as error:
        raise DatasetError(
            f"The manifest at {path} does not fit this version: {error}. Generate the set anew."
        ) from error


def data_source(path: str | Path, split: str):
    """Random access to the decoded records of one split: a sequence of dicts of numpy arrays."""
    return tfds.builder_from_directory(str(path)).as_data_source(split=split)  # pyright: ignore[reportCallIssue]
