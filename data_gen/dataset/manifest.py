"""Write and read the manifest of a data set, from which it can be rebuilt, and the metadata of TFDS.

    PATH/manifest.json                       format, source, fingerprint, config, layout, fields, versions, checksums,
                                             and errors of the records against the wave equation (truth.py)
    PATH/dataset_info.json, features.json    written last: `tfds.builder_from_directory(PATH)` reads them

Workers write none of these files. The process that starts a generation claims the folder with an unfinished manifest.
At the end it collects the receipts of the shards into the finished manifest.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import DatasetError
from data_gen.common.files import (
    differences,
    exclusive,
    explain_full_disk,
    holds_files,
    make_folder,
    read_json,
    write_json,
)
from data_gen.dataset.config import DataConfig, with_solver_of_its_time
from data_gen.dataset.recorded import RecordedConfig
from data_gen.dataset.records import Fields, features, fields_of
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import NAME, RECEIPTS, Shard, read_receipt, receipt_file, shard_layout
from data_gen.solver.problem.wavelets import RICKER_DELAY
from data_gen.velocity.registry import drawn_families

FORMAT = 2
MANIFEST = "manifest.json"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"  # of the names of shards, as TFDS writes it
KEYS = {"source", "complete", "fingerprint", "recipe", "splits", "layout", "fields", "versions", "shards"}


def fingerprint(config: DataConfig | Mapping[str, Any]) -> str:
    """Hash everything that determines the records.

    Args:
        config: Config of a data set, or the result of its `identity()`.

    Returns:
        The first 16 hexadecimal digits of the SHA-256.
    """
    if isinstance(config, DataConfig) and config.recorded is not None:
        return config.recorded.fingerprint
    decisive = config.identity() if isinstance(config, DataConfig) else config
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def new_manifest(
    source: str, decisive: Mapping[str, Any], splits: Mapping[str, int], layout: Mapping[str, int], fields: Fields
) -> dict[str, Any]:
    """Make an unfinished manifest.

    Args:
        source: Origin of the records: generated or imported.
        decisive: Config or files that determine the records.
        splits: Number of samples in each split.
        layout: Shard size and batch size.
        fields: Shape and dtype of every field by name.

    Returns:
        The manifest.
    """
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


def generated_manifest(config: DataConfig) -> dict[str, Any]:
    """Make the unfinished manifest of a data set that is generated.

    Args:
        config: Config of the data set, settled.

    Returns:
        The manifest.
    """
    splits = {split: getattr(config, split) for split in SPLITS}
    layout = {"shard_size": config.shard_size, "batch_size": config.batch_size}
    return new_manifest("generated", config.identity(), splits, layout, fields_of(config.create()))


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read the manifest of a data set.

    Args:
        path: Folder of the data set.

    Returns:
        The manifest.

    Raises:
        DatasetError: If there is no manifest, or it has another format.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        hint = f"{MANIFEST} is missing. Run `python -m data_gen` first"
        if Path(path).is_file():
            hint = "it is a file. Give the folder of a data set"
        elif (Path(path) / "config.json").is_file():
            hint = "it is the folder of a run or an inversion. Give the folder of a data set"
        raise DatasetError(f"There is no data set at {path}: {hint}.")
    manifest = read_json(file)
    if manifest.get("format") != FORMAT or not manifest.keys() >= KEYS:
        raise DatasetError(
            f"{file} has format {manifest.get('format')}, but this version reads format {FORMAT}. Generate the "
            "data set again, or use the version that made it."
        )
    return manifest


def config_of(manifest: Mapping[str, Any], path: str | Path) -> DataConfig:
    """Make the config of a data set: one that rebuilds a generated data set, or that describes an imported one.

    Args:
        manifest: Manifest of the data set.
        path: Folder of the data set.

    Returns:
        The config.

    Raises:
        DatasetError: If the config does not fit this version, or an imported data set has no gathers or no scales.
    """
    if manifest["source"] == "imported":
        return _config_of_files(manifest, path)
    try:
        return DataConfig(path=str(path), **manifest["layout"], **with_solver_of_its_time(manifest["recipe"]))
    except TypeError as error:
        raise DatasetError(
            f"The manifest at {path} does not fit this version: {error}. Generate the data set again."
        ) from error


def _config_of_files(manifest: Mapping[str, Any], path: str | Path) -> DataConfig:
    recipe, fields, measured = manifest["recipe"], manifest["fields"], manifest.get("measured")
    missing = [f"--{name}" for name in ("spacing", "dt") if recipe[name] is None]
    if "gathers" not in fields or measured is None or missing:
        lack, remedy = "gathers, only velocity models", "with the files of their gathers"
        if "gathers" in fields:
            lack, remedy = "the range of its velocities, since an earlier version imported it", "with this one"
        if missing and "gathers" in fields:
            lack = f"the size of the cells [m] or the sampling interval [s] ({' and '.join(missing)})"
            remedy = f"with {' and '.join(missing)}"
        raise DatasetError(
            f"The data set at {path} was imported without {lack}, so no surrogate can be trained or evaluated on it. "
            f"Import the files again, to another folder, {remedy}."
        )
    (nz, nx), (shots, nt, receivers) = fields["velocity"]["shape"], fields["gathers"]["shape"]
    peak_frequency = recipe.get("peak_frequency")
    recorded = RecordedConfig(
        fingerprint=manifest["fingerprint"],
        velocities=measured["velocities"],
        receivers=receivers,
        source_positions=recipe.get("sources"),
        receiver_positions=recipe.get("receivers"),
        ricker=peak_frequency is not None and recipe.get("wavelet") is None,
        wavelet=recipe.get("wavelet"),
        peak_time=_peak_time(recipe),
        amplitude=recipe.get("amplitude", 1.0),
    )
    return DataConfig(
        path=str(path),
        **manifest["splits"],
        **manifest["layout"],
        nz=nz,
        nx=nx,
        spacing=recipe["spacing"],
        nt=nt,
        dt=recipe["dt"],
        sources=shots,
        placement="line",
        peak_frequency=peak_frequency or measured["peak_frequency"] / recipe["dt"],
        records=["gathers"],
        gather_every=1,
        precision=fields["gathers"]["dtype"],
        free_surface=recipe.get("free_surface", False),
        recorded=recorded,
    )


def _peak_time(recipe: Mapping[str, Any]) -> float | None:
    """Return the time of the wavelet's peak after the first sample of the gathers [s]; None if it is unknown."""
    peak_time, peak_frequency = recipe.get("peak_time"), recipe.get("peak_frequency")
    if recipe.get("wavelet") is not None:
        return recipe["dt"] * int(np.argmax(np.abs(recipe["wavelet"])))
    if peak_time is None and peak_frequency is not None:
        peak_time = RICKER_DELAY / peak_frequency
    return None if peak_time is None else peak_time - (recipe.get("delay") or 0.0)


def shards_of(manifest: Mapping[str, Any]) -> list[Shard]:
    """List every shard of a data set.

    The names of the shards are computed, not read, so that a manifest cannot lead out of its folder.

    Args:
        manifest: Manifest of the data set.

    Returns:
        The shards in order.
    """
    return shard_layout(manifest["splits"], int(manifest["layout"]["shard_size"]))


def claim(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Claim a folder for a data set, or resume the data set that it holds.

    A folder keeps the layout with which it was started.

    Args:
        path: Folder of the data set.
        manifest: Unfinished manifest, which is written if the folder is new.

    Returns:
        The manifest in the folder.

    Raises:
        DatasetError: If the folder holds something else, which is then left unchanged.
    """
    find_claim(path, manifest)
    with explain_full_disk(path.parent if path.parent.exists() else Path()):
        make_folder(path)
        with exclusive(path / f"{MANIFEST}.lock"):
            found = find_claim(path, manifest)
            if found is None:
                write_json(path / MANIFEST, manifest)
                return manifest
            _restore_receipts(path, found)
            return found


def find_claim(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the manifest that a folder holds of a data set of the same config; nothing is written.

    Args:
        path: Folder of the data set.
        manifest: Unfinished manifest of the data set.

    Returns:
        The manifest in the folder, or None if it holds none.

    Raises:
        DatasetError: If the folder holds something else.
    """
    if not (path / MANIFEST).exists():
        if holds_files(path):
            raise DatasetError(f"{path} exists and is not a data set. Choose another data.path, or empty that folder.")
        return None
    found = read_manifest(path)
    ours, theirs = _decisive(manifest), _decisive(found)
    if ours != theirs:
        raise DatasetError(
            f"{path} already holds a data set of another config ({differences(ours, theirs)}). Choose another "
            "data.path, or remove that folder."
        )
    return found


def _decisive(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe without families of weight 0, which manifests of earlier versions name."""
    recipe = dict(manifest["recipe"])
    return recipe | ({"families": drawn_families(recipe["families"])} if "families" in recipe else {})


def _restore_receipts(path: Path, manifest: dict[str, Any]) -> None:
    """Write the receipts of a finished data set from its manifest, where it was copied without them or they differ."""
    for shard in shards_of(manifest) if manifest["complete"] else ():
        if shard.name in manifest["shards"]:
            receipt = manifest["shards"][shard.name] | {"versions": manifest["versions"]}
            if read_receipt(path, shard) != receipt:
                (path / RECEIPTS).mkdir(exist_ok=True)
                write_json(receipt_file(path, shard), receipt)


def finish(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Collect the receipts into the finished manifest and write the metadata of TFDS, unless that is already done.

    Args:
        path: Folder of the data set.
        manifest: Unfinished or finished manifest.

    Returns:
        The finished manifest.

    Raises:
        DatasetError: If a shard is missing, or if not all shards were made by the same software.
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
                "again with the software of the others."
            )
    shards = {name: {key: receipt[key] for key in ("split", "samples", "sha256")} for name, receipt in made.items()}
    finished = manifest | {"complete": True, "versions": versions, "shards": shards}
    with explain_full_disk(path), exclusive(path / f"{MANIFEST}.lock"):
        if finished != read_json(path / MANIFEST) or tfds_fault(path, finished):
            _write_tfds_metadata(path, finished)
            write_json(path / MANIFEST, finished)
        for leftover in path.glob(f"{MANIFEST}*.tmp"):
            leftover.unlink()
    for lock in (path / RECEIPTS).glob("*.lock"):  # left by a process that was killed before it removed its lock
        with exclusive(lock):
            pass
    return finished


def tfds_fault(path: Path, manifest: Mapping[str, Any]) -> str:
    """Find out where the metadata of TFDS, by which records are read, are not those of the manifest.

    Args:
        path: Folder of the data set.
        manifest: Finished manifest.

    Returns:
        The first file that differs, and how; empty if there is none.
    """
    from google.protobuf import json_format
    from tensorflow_datasets.core.dataset_info import read_proto_from_builder_dir

    # TFDS imports the classes that features.json names, so the file must be the one that was written here.
    file = path / "features.json"
    try:
        if read_json(file) != json_format.MessageToDict(features(manifest["fields"]).to_proto()):
            return f"{file} does not match the manifest"
        file = path / "dataset_info.json"
        info = read_proto_from_builder_dir(path)
    except Exception as error:  # TFDS has many errors for a damaged file; the remedy is the same
        return f"{file} is missing or damaged ({error})"
    lengths = {split: [] for split in SPLITS}
    for shard in shards_of(manifest):
        lengths[shard.split].append(len(shard.indices))
    expected = {split: (TEMPLATE, found) for split, found in lengths.items() if found}
    found = {split.name: (split.filepath_template, list(split.shard_lengths)) for split in info.splits}
    same = found == expected and (info.name, info.file_format) == (NAME, "array_record")
    return "" if same else f"{file} names other files or records than the manifest"


def _write_tfds_metadata(path: Path, manifest: Mapping[str, Any]) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import file_adapters, naming
    from tensorflow_datasets.core.dataset_info import DatasetIdentity
    from tensorflow_datasets.core.splits import SplitDict

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
