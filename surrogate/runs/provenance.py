"""Record what a run was made from, in addition to its config: `RUN/provenance.json`.

dataset     path, fingerprint of its recipe, digest of its records' checksums, and the software that made them
places      where the data set was: its absolute path, and its path from the folder of the run
versions    the software that the run was last trained with
steps       the numbers of steps that it was trained for, one after the other
start       what it took over from another run, if anything

The fingerprint identifies a data set, wherever it is. A run finds its own by the path that it is given, or else at one
of the places that it remembers, which serve from other working directories and after both folders were moved together.
"""

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from data_gen.common.compile_cache import processor_name
from data_gen.common.digest import digest_of
from data_gen.common.errors import DatasetError, InputError
from data_gen.common.files import differences, read_json, write_json
from data_gen.dataset.manifest import MANIFEST, read_manifest

PROVENANCE = "provenance.json"
PACKAGES = ("wave-surrogate", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def digest(manifest: dict[str, Any]) -> str:
    """Hash the content of a data set.

    Args:
        manifest: Manifest with the checksum of the decoded records of every shard.

    Returns:
        The hash, 16 hexadecimal digits.
    """
    content = {name: shard["sha256"] for name, shard in manifest["shards"].items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def weights_digest(model: nnx.Module) -> str:
    """Hash the weights of a model.

    Args:
        model: Model.

    Returns:
        The hash, 16 hexadecimal digits.
    """
    weights = nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState)))
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    named = ((f"{jax.tree_util.keystr(path)} ", np.asarray(values)) for path, values in leaves)
    return digest_of(*(part for pair in named for part in pair))


def describe(path: str | Path) -> dict[str, Any]:
    """Describe the provenance of a run.

    Args:
        path: Folder of the data set.

    Returns:
        The content of `provenance.json`.
    """
    manifest = read_manifest(path)
    dataset = {"path": str(path), "fingerprint": manifest["fingerprint"], "digest": digest(manifest)}
    versions = {name: version(name) for name in PACKAGES}
    versions |= {"python": platform.python_version(), "backend": jax.default_backend()}
    return {"dataset": dataset | {"versions": manifest["versions"]}, "versions": versions}


def record(run: Path, path: str | Path, steps: int, *, earlier: int | None = None, start: str | None = None) -> None:
    """Write the provenance of a run.

    Args:
        run: Folder of the run.
        path: Folder of the data set.
        steps: Number of steps that the run is trained for.
        earlier: Number of steps that it was trained for before, if it is trained further.
        start: Description of what it takes over from another run; None for nothing, or if it is resumed.

    Raises:
        InputError: The run was started with other records.
    """
    ours, kept = describe(path), {}
    if (run / PROVENANCE).exists():
        kept = read_json(run / PROVENANCE)
        before, now = kept["dataset"], ours["dataset"]
        if before["digest"] != now["digest"]:
            raise InputError(
                f"The records at {path} are not those that {run} was started with ({differences(now, before)}): a "
                "resumed training would mix both. Restore the data set, or start another run."
            )
    history = kept.get("steps", [earlier] if earlier else [])
    ours["steps"] = history if steps in history[-1:] else [*history, steps]
    if start := start or kept.get("start"):
        ours["start"] = start
    ours["places"] = {"absolute": str(Path(path).absolute()), "from_run": os.path.relpath(path, run)}
    write_json(run / PROVENANCE, ours)


def find_dataset(run: str | Path, path: str) -> str:
    """Find the data set of a run, wherever it is now.

    Args:
        run: Folder of the run.
        path: Folder of the data set as the config of the run has it.

    Returns:
        That folder, or one that the run remembers: the first that holds the data set of the run's fingerprint.

    Raises:
        DatasetError: It is at none of them.
    """
    file = Path(run) / PROVENANCE
    if not file.exists():
        return path
    known = read_json(file)
    places, wanted = known.get("places", {}), known["dataset"]["fingerprint"]
    candidates = [path, *([places["absolute"], str(Path(run) / places["from_run"])] if places else [])]
    for place in candidates:
        if (Path(place) / MANIFEST).is_file() and read_manifest(place)["fingerprint"] == wanted:
            return place
    raise DatasetError(
        f"The data set of {run}, of fingerprint {wanted}, is at none of {', '.join(dict.fromkeys(candidates))}. Give "
        "data.path=FOLDER: it may be anywhere."
    )


def environment() -> dict[str, str]:
    """Describe the machine and the software on which measured numbers depend."""
    device = jax.devices()[0]
    packages = {name: version(name) for name in ("jax", "jaxlib", "flax")}
    return {
        "device": f"{device.device_kind} x {jax.local_device_count()}",
        "processor": f"{processor_name()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
    } | packages
