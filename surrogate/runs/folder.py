"""Keep the config of a run in its folder as plain JSON, and decide which config may write into a folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_gen.common.errors import InputError
from data_gen.common.files import differences, holds_files, make_folder, read_json, write_json
from data_gen.common.hydra_app import Schema, typed
from data_gen.velocity.registry import drawn_families
from surrogate.config import InvertConfig, TrainConfig, schemas
from surrogate.operators.registry import with_current_keys
from surrogate.schemas import schema_of

CONFIG = "config.json"
# Configs of runs that are older than the choice have no name in these groups.
FIRST = {"task": "wavefield", "encoding": "coarse", "model": "fno"}
# In earlier versions, one schema held the settings of all tasks, and one those of all encodings. Settings of other
# tasks or encodings than the run's are left out; a key that none of them had is refused.
OF_ALL = {"task": {"unroll", "noise", "pushforward"}, "encoding": {"radius", "velocity"}, "model": set()}


def from_plain(values: dict[str, Any], schema: type[Schema], where: str) -> Schema:
    """Make the dataclass that plain values describe.

    Args:
        values: Content of a config file.
        schema: Class of the config.
        where: Name of the file, for errors.

    Returns:
        The config.

    Raises:
        InputError: If a key is unknown, a value has a wrong type, or there is an interpolation.
    """
    if "${" in json.dumps(values):
        raise InputError(f"{where} holds an interpolation; a resolved config has plain values only. Restore the file.")
    try:
        start = OmegaConf.structured(schema)
        if schema is TrainConfig:
            if isinstance(model := values.get("model"), dict):
                values = values | {"model": with_current_keys(model)}
            for group, known in schemas().items():
                given = values.get(group, {})
                if isinstance(given, dict):
                    start[group] = schema_of(group, known, given.get("name", FIRST[group]))
                    foreign = OF_ALL[group] - set(start[group])
                    values = values | {group: {key: value for key, value in given.items() if key not in foreign}}
        return typed(OmegaConf.merge(start, values), schema)  # pyright: ignore[reportArgumentType]
    except OmegaConfBaseException as error:
        raise InputError(f"{where} does not fit this version's schema: {error}. Restore it, or run anew.") from error


def is_claimed(folder: Path, config: TrainConfig | InvertConfig) -> bool:
    """Find out whether a folder belongs to a config already.

    Args:
        folder: Folder of a run or of an inversion.
        config: Config of it.

    Returns:
        Whether the folder holds this config.

    Raises:
        InputError: If the folder belongs to another config, or holds something else.
    """
    place = "run" if isinstance(config, TrainConfig) else "out"

    def identity(values: dict[str, Any]) -> dict[str, Any]:
        # A result does not depend on its folder, its tracking or the devices, nor on families that are not drawn.
        kept = {key: value for key, value in values.items() if key not in (place, "tracking", "parallel")}
        return _flat(kept | {"data": kept["data"] | {"families": drawn_families(kept["data"]["families"])}})

    ours = json.loads(json.dumps(asdict(config)))
    file = folder / CONFIG
    if file.exists():
        # Through the schema: a key that is newer than the folder has its default there.
        theirs = json.loads(json.dumps(asdict(from_plain(read_json(file), type(config), str(file)))))
        if identity(theirs) == identity(ours):
            return True
        raise InputError(
            f"{folder} exists with another config ({differences(identity(ours), identity(theirs))}). "
            "Choose another folder, set the same values, or remove it."
        )
    if holds_files(folder):
        raise InputError(f"{folder} exists and holds something else. Choose another folder, or empty it.")
    return False


def claim_folder(folder: Path, config: TrainConfig | InvertConfig) -> bool:
    """Claim a folder for a config, by writing the config into it.

    Args:
        folder: Folder of a run or of an inversion.
        config: Config of it.

    Returns:
        Whether the folder belonged to this config already.

    Raises:
        InputError: If the folder belongs to another config, or holds something else; raised before anything is written.
    """
    if is_claimed(folder, config):
        return True
    make_folder(folder)
    write_json(folder / CONFIG, asdict(config))
    return False


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def read_run(run: str | Path) -> TrainConfig:
    """Read the config of a trained run.

    Args:
        run: Folder of the run.

    Returns:
        The config.

    Raises:
        InputError: If the folder is not one of a run.
    """
    file = Path(run) / CONFIG
    if not str(run) or not file.is_file():
        raise InputError(f"{str(run) or '(nothing)'} is not a run: {CONFIG} is missing. Give run=FOLDER of `train.py`.")
    return from_plain(read_json(file), TrainConfig, str(file))
