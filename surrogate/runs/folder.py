"""Keep the config of a run in its folder as plain JSON, and decide which config may write into a folder.

The file holds a digest of its other values, which tells damage from what was written. Checkpoints hold those of its
values that decide what weights mean (checkpoints.py).
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_gen.common.errors import InputError
from data_gen.common.files import (
    differences,
    flatten,
    holds_files,
    make_folder,
    read_json,
    refuse_links,
    write_json,
    write_json_once,
)
from data_gen.common.hydra_app import Schema, typed
from data_gen.common.sealed import DIGEST, opened, sealed
from data_gen.dataset.config import with_solver_of_its_time
from data_gen.dataset.manifest import MANIFEST
from data_gen.velocity.registry import drawn_families
from surrogate.config import InvertConfig, TrainConfig, schemas
from surrogate.encodings.schemas import CoarseConfig
from surrogate.inversion.config import STARTS
from surrogate.inversion.observed.wavelet import ESTIMATED, RICKER
from surrogate.operators.registry import with_current_keys
from surrogate.schemas import schema_of

CONFIG = "config.json"
DIAGNOSIS = "diagnosis"  # folder of the diagnosis of an inversion, which may come before the inversion
UNREADABLE = "[\\"  # Orbax and TensorStore take these for parts of a pattern: what they write there is not found again
STEPS, WARMUP = "training.steps", "training.warmup_steps"
STORAGE = ("data.path", "data.shard_size", "data.batch_size", "data.truth_samples")
# Configs of runs that are older than the choice have no name in these groups.
FIRST = {"task": "wavefield", "encoding": "coarse", "model": "fno"}
# In earlier versions, one schema held the settings of all tasks, and one those of all encodings. Settings of other
# tasks or encodings than the run's are left out; a key that none of them had is refused.
OF_ALL = {"task": {"unroll", "noise", "pushforward"}, "encoding": {"radius", "velocity"}, "model": set()}

# Every config with encoding=coarse has the ratio since that solver is a setting of the solver.
OTHER_COARSE_SOLVER = (
    "is of a run with encoding=coarse from an earlier version: there is no encoding.ratio in it. Its operator has "
    "learned to correct the field of another coarse solver, which this version does not have, and would be wrong on "
    "any other field. Train it again, in another folder, or use it with the version that trained it. Runs with other "
    "encodings are not affected."
)


def from_plain(values: dict[str, Any], schema: type[Schema], where: str) -> Schema:
    """Make the dataclass that plain values describe.

    Args:
        values: Content of a config file.
        schema: Class of the config.
        where: Name of the file, for errors.

    Returns:
        The config.

    Raises:
        InputError: If a key is unknown, a value has a wrong type, or there is an interpolation; or the run reads the
            field of a coarse solver that no longer exists.
    """
    if "${" in json.dumps(values):
        raise InputError(f"{where} holds an interpolation; a resolved config has plain values only. Restore the file.")
    try:
        if isinstance(data := values.get("data"), dict):
            values = values | {"data": with_solver_of_its_time(data)}
        start = OmegaConf.structured(schema)
        if schema is TrainConfig:
            if isinstance(model := values.get("model"), dict):
                values = values | {"model": with_current_keys(model)}
            for group, known in schemas().items():
                given = values.get(group, {})
                if isinstance(given, dict):
                    start[group] = schema_of(group, known, given.get("name", FIRST[group]))
                    if group == "encoding" and start[group].name == CoarseConfig.name and "ratio" not in given:
                        raise InputError(f"{where} {OTHER_COARSE_SOLVER}")
                    foreign = OF_ALL[group] - set(start[group])
                    values = values | {group: {key: value for key, value in given.items() if key not in foreign}}
        return typed(OmegaConf.merge(start, values), schema, stored=True)  # pyright: ignore[reportArgumentType]
    except OmegaConfBaseException as error:
        raise InputError(f"{where} does not fit this version's schema: {error}. Restore it, or run anew.") from error


def is_claimed(folder: Path, config: TrainConfig | InvertConfig) -> bool:
    """Find out whether a folder belongs to a config already.

    A run also belongs to the config that differs from its own in more training steps alone, which trains it further.

    Args:
        folder: Folder of a run or of an inversion.
        config: Config of it.

    Returns:
        Whether the folder holds this config.

    Raises:
        InputError: If the folder belongs to another config, or holds something else.
    """
    file = folder / CONFIG
    if file.exists():
        # Through the schema: a key that is newer than the folder has its default there.
        stored = from_plain(read_config(file), type(config), str(file))
        ours, theirs = identity_of(config), identity_of(stored)
        if isinstance(config, TrainConfig) and isinstance(stored, TrainConfig):
            if (config.training.warmup_steps is None) != (stored.training.warmup_steps is None):
                ours[WARMUP], theirs[WARMUP] = config.training.warmup, stored.training.warmup
            if ours[STEPS] > theirs[STEPS] and ours == theirs | {STEPS: ours[STEPS]}:
                return True
        if theirs == ours:
            return True
        further = (
            " (More training.steps alone train the run further; init.run starts another run from its weights.)"
            if isinstance(config, TrainConfig)
            else ""
        )
        raise InputError(
            f"{folder} exists with another config ({differences(ours, theirs)}). "
            f"Choose another folder, set the same values, or remove it.{further}"
        )
    if holds_files(folder, besides=DIAGNOSIS):
        if file.exists():  # another process has claimed the folder meanwhile
            return is_claimed(folder, config)
        raise InputError(f"{folder} exists and holds something else. Choose another folder, or empty it.")
    return False


def identity_of(config: TrainConfig | InvertConfig) -> dict[str, Any]:
    """Find what decides a result: not its folder, its tracking, the devices, and the places of its data.

    Families that are not drawn do not count either.

    Args:
        config: Config of a run or of an inversion.

    Returns:
        The values that decide, by their keys, such as `data.nz`.
    """
    values = json.loads(json.dumps(asdict(config)))
    values["data"]["families"] = drawn_families(values["data"]["families"])
    if isinstance(config, TrainConfig) and config.init.run is not None:
        values["init"]["run"] = str(Path(config.init.run).resolve())
    if isinstance(config, InvertConfig):
        values["observed"] = config.observed is not None
        if values["wavelet"] not in (None, RICKER, ESTIMATED):
            values["wavelet"] = "file"
        if values["inversion"]["start"] not in STARTS:
            values["inversion"]["start"] = "file"
    flat = flatten({key: value for key, value in values.items() if key not in ("tracking", "parallel")})
    # The contents of what a run or an inversion reads decide (runs/provenance.py, runs/invert.py), not where they lie.
    places = ("run",) if isinstance(config, TrainConfig) else ("out", "run", "real.path", "geometry")
    return {key: value for key, value in flat.items() if key not in places + STORAGE}


def claim_folder(folder: Path, config: TrainConfig | InvertConfig) -> bool:
    """Claim a folder for a config, by writing the config into it.

    Args:
        folder: Folder of a run or of an inversion.
        config: Config of it.

    Returns:
        Whether the folder belonged to this config already.

    Raises:
        InputError: If the folder belongs to another config, or holds something else, or links; raised before anything
            is written.
    """
    if isinstance(config, TrainConfig):
        _check_path(folder)
    refuse_links(folder)
    claimed = is_claimed(folder, config)
    if not claimed:
        make_folder(folder)
        if not write_json_once(folder / CONFIG, sealed(asdict(config))):  # another process was faster
            return is_claimed(folder, config)
    return claimed


def write_more_steps(run: Path, config: TrainConfig) -> None:
    """Write the config of a run that is trained further than its own config says; the caller holds the run's lock.

    Args:
        run: Folder of the run.
        config: Config, which has claimed the folder.
    """
    if config.training.steps > read_run(run).training.steps:
        # A run of an earlier version has checkpoints without digests, which stay readable.
        values = asdict(config)
        write_json(run / CONFIG, sealed(values) if announces_digests(run) else values)


def _check_path(run: Path) -> None:
    """Refuse a run whose checkpoints could not be read again."""
    if found := sorted(set(UNREADABLE) & set(str(run.absolute()))):
        raise InputError(
            f"Checkpoints in {run.absolute()} could not be read again, because of {' and '.join(found)} in the path. "
            "Choose another folder for the run, such as run='${hydra:sweep.dir}/${hydra:job.num}' in a sweep."
        )


def read_config(file: Path) -> dict[str, Any]:
    """Read the config of a run or of an inversion.

    Args:
        file: Its file.

    Returns:
        Its values.

    Raises:
        InputError: If the file is missing or damaged.
    """
    return opened(read_json(file), file)


def announces_digests(run: str | Path) -> bool:
    """Find out whether a run was claimed by a version that writes digests.

    Args:
        run: Folder of the run.

    Returns:
        Whether its config has a digest, and so its checkpoints have to have one.
    """
    file = Path(run) / CONFIG
    return file.is_file() and DIGEST in read_json(file)


def read_run(run: str | Path) -> TrainConfig:
    """Read the config of a trained run.

    Args:
        run: Folder of the run.

    Returns:
        The config.

    Raises:
        InputError: If the folder is not one of a run.
    """
    folder, file = Path(run), Path(run) / CONFIG
    if str(run) and file.is_file():
        values = read_config(file)
        if "inversion" in values and "training" not in values:
            raise InputError(f"{run} is an inversion, not a run. Give the folder of a run that `train.py` has trained.")
        return from_plain(values, TrainConfig, str(file))
    if not str(run):
        raise InputError("No run is given. Set run=FOLDER, the folder that `train.py` wrote.")
    hint = f"{CONFIG} is missing"
    if folder.is_file():
        hint = "it is a file"
    elif not folder.exists():
        hint = "there is no such folder"
    elif (folder / MANIFEST).is_file():
        hint = "it is a data set"
    elif inside := sorted(path.parent for path in folder.glob(f"*/{CONFIG}")):
        hint = f"there are several results in it: {', '.join(map(str, inside[:5]))}"
    raise InputError(f"{run} is not a run: {hint}. Give run=FOLDER, the folder that `train.py` wrote.")
