"""The manifest: what a data set is, from which it can be rebuilt, and TFDS's own metadata beside it.

    PATH/manifest.json                       format, source, fingerprint, config, layout, fields, versions, checksums
    PATH/dataset_info.json, features.json    written last: `tfds.builder_from_directory(PATH)` reads them

No worker writes any of these: whoever started the making claims the folder with an unfinished manifest, and at the end
gathers the shards' receipts into the finished one.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters, naming
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tensorflow_datasets.core.splits import SplitDict

from data_gen.common.errors import DatasetError
from data_gen.common.files import differences, exclusive, full_disk_is_told, holds_files, read_json, write_json
from data_gen.dataset.config import DataConfig
from data_gen.dataset.records import Fields, features
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import NAME, RECEIPTS, Shard, read_receipt, receipt_file, shard_layout

FORMAT = 2
MANIFEST = "manifest.json"
KEYS = {"source", "complete", "fingerprint", "recipe", "splits", "layout", "fields", "versions", "shards"}


def fingerprint(config: DataConfig | Mapping[str, Any]) -> str:
    """Hash of everything that decides the records."""
    decisive = config.identity() if isinstance(config, DataConfig) else config
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def new_manifest(
    source: str, decisive: Mapping[str, Any], splits: Mapping[str, int], layout: Mapping[str, int], fields: Fields
) -> dict[str, Any]:
    """An unfinished manifest. source: "generated" or "imported"; decisive: config, or origin, of the records."""
    return {
        "format": FORMAT,
        "source": source,
        "complete": False,
        "fingerprint": fingerprint(decisive),
        "recipe": json.loads(json.dumps(decisive)),
        "splits": dict(splits),
        "layout": dict(layout),
        "fields": {name: dict(entry) for name, entry in fields.items()},
        "versions": {},
        "shards": {},
    }


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of the data set at `path`. Raises `DatasetError` if there is none, or of another format."""
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise DatasetError(f"There is no data set at {path}: {MANIFEST} is missing. Run `python -m data_gen` first.")
    manifest = read_json(file)
    if manifest.get("format") != FORMAT or not manifest.keys() >= KEYS:
        raise DatasetError(
            f"{file} has format {manifest.get('format')}, but this version reads format {FORMAT}. Make the data set "
            "anew, or use the version that made it."
        )
    return manifest


def config_of(manifest: Mapping[str, Any], path: str | Path) -> DataConfig:
    """The config that rebuilds the data set of a manifest. Raises `DatasetError` if there is none, or none we know."""
    if manifest["source"] != "generated":
        raise DatasetError(
            f"The data set at {path} was {manifest['source']}: its records came from files and have no recipe, so they "
            "cannot be made again. Its manifest names the files and their checksums under `recipe`."
        )
    try:
        return DataConfig(path=str(path), **manifest["layout"], **manifest["recipe"])
    except TypeError as error:
        raise DatasetError(
            f"The manifest at {path} does not fit this version: {error}. Generate the set anew."
        ) from error


def shards_of(manifest: Mapping[str, Any]) -> list[Shard]:
    """Every shard of a data set. Their names are made here, not read: a manifest cannot lead out of its folder."""
    return shard_layout(manifest["splits"], int(manifest["layout"]["shard_size"]))


def claim(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest to go on from: that of `path`, or `manifest` if the folder is new.

    A folder keeps the layout it was begun with. Raises `DatasetError` if it holds something else; nothing is touched.
    """
    if not (path / MANIFEST).exists() and holds_files(path):
        raise DatasetError(f"{path} exists and is not a data set. Choose another data.path, or empty that folder.")
    with full_disk_is_told(path.parent if path.parent.exists() else Path()):
        path.mkdir(parents=True, exist_ok=True)
        with exclusive(path / f"{MANIFEST}.lock"):
            if not (path / MANIFEST).exists():
                write_json(path / MANIFEST, manifest)
                return manifest
            found = read_manifest(path)
            if found["recipe"] != manifest["recipe"]:
                raise DatasetError(
                    f"{path} already holds a data set of another config "
                    f"({differences(manifest['recipe'], found['recipe'])}). Choose another data.path, or remove that "
                    "folder."
                )
            _restore_receipts(path, found)
            return found


def _restore_receipts(path: Path, manifest: dict[str, Any]) -> None:
    """A finished data set may have been copied without its receipts: the manifest has all that they say."""
    for shard in shards_of(manifest) if manifest["complete"] else ():
        if shard.name in manifest["shards"] and read_receipt(path, shard) is None:
            (path / RECEIPTS).mkdir(exist_ok=True)
            receipt = manifest["shards"][shard.name] | {"versions": manifest["versions"]}
            write_json(receipt_file(path, shard), receipt)


def finish(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Gather the receipts into the finished manifest and write TFDS's metadata; nothing, if that is done.

    Raises `DatasetError` if a shard is missing, or if not all were made by the same software.
    """
    receipts = {shard.name: read_receipt(path, shard) for shard in shards_of(manifest)}
    missing = [name for name, receipt in receipts.items() if receipt is None or not (path / name).is_file()]
    if missing:
        raise DatasetError(f"{path} lacks {len(missing)} shards, the first {missing[0]}. Run the same command again.")
    made = {name: receipt for name, receipt in receipts.items() if receipt is not None}
    versions = next(iter(made.values()))["versions"]
    for name, receipt in made.items():
        if receipt["versions"] != versions:
            raise DatasetError(
                f"Shard {name} was made with other software than {next(iter(made))} "
                f"({differences(receipt['versions'], versions)}). Delete one of the two and its receipt, and make it "
                "again where the others were made."
            )
    shards = {name: {key: receipt[key] for key in ("split", "samples", "sha256")} for name, receipt in made.items()}
    finished = manifest | {"complete": True, "versions": versions, "shards": shards}
    with full_disk_is_told(path), exclusive(path / f"{MANIFEST}.lock"):
        if finished != read_json(path / MANIFEST) or not (path / "features.json").is_file():
            _write_tfds_metadata(path, finished)
            write_json(path / MANIFEST, finished)
        for leftover in path.glob(f"{MANIFEST}*.tmp"):
            leftover.unlink()
    for lock in (path / RECEIPTS).glob("*.lock"):  # of who was killed between a receipt and the end of its lock
        with exclusive(lock):
            pass
    return finished


def _write_tfds_metadata(path: Path, manifest: Mapping[str, Any]) -> None:
    identity = DatasetIdentity(
        name=NAME, version=tfds.core.Version("1.0.0"), data_dir=str(path), module_name="data_gen.dataset"
    )
    infos = []
    for split in SPLITS:
        shards = [shard for shard in shards_of(manifest) if shard.split == split]
        if not shards:
            continue
        template = naming.ShardedFileTemplate(
            data_dir=tfds.core.Path(path), dataset_name=NAME, split=split, filetype_suffix="array_record"
        )
        sizes = [(path / shard.name).stat().st_size for shard in shards]
        lengths = [len(shard.indices) for shard in shards]
        infos.append(
            tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=sum(sizes), filename_template=template)
        )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"Velocity models and acoustic wavefields, {manifest['source']}; see manifest.json.",
        features=features(manifest["fields"]),
        metadata=tfds.core.MetadataDict(fingerprint=manifest["fingerprint"]),
        split_dict=SplitDict(infos),
        disable_shuffling=True,
    )
    info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD)
    info.write_to_directory(path)
