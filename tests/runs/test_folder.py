"""A folder that is not one of a run is refused with what it is."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.common.files import write_json
from data_gen.dataset.manifest import claim as claim_data
from data_gen.dataset.manifest import new_manifest
from surrogate.config import InvertConfig, TrainConfig
from surrogate.inversion.config import InversionConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import claim_folder, read_run
from tests.helpers import tiny_config


def data_set(folder: Path) -> None:
    config = tiny_config(folder)
    splits, layout = {"train": 2, "validation": 1, "test": 1}, {"shard_size": 4, "batch_size": 2}
    claim_data(folder, new_manifest("generated", config.identity(), splits, layout, {}))


def inversion(folder: Path) -> None:
    claim_folder(folder, InvertConfig(out=str(folder), data=tiny_config("unused"), inversion=InversionConfig()))


def several_runs(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        write_json(folder / name / "config.json", {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (data_set, "is not a run: it is a data set"),
        (inversion, "is an inversion, not a run"),
        (lambda path: path.write_text("text"), "is not a run: it is a file"),
        (Path.mkdir, "is not a run: config.json is missing"),
        (several_runs, "is not a run: there are several results in it: .*/a, .*/b"),
        (lambda path: None, "is not a run: there is no such folder"),
    ],
)
def test_the_message_says_what_is_there(make, message, tmp_path):
    """And asks for the folder of a run."""
    make(tmp_path / "given")
    with pytest.raises(InputError, match=rf"given {message}.*[Ff]older"):
        read_run(tmp_path / "given")
    with pytest.raises(InputError, match="Set run=FOLDER"):
        read_run("")


@pytest.mark.parametrize("name", ["a b", "{x}", "q'u\"ote", "lr=1e-3,w=$W", "ünïcode", "x*y?", "#%20", "n" * 240])
def test_checkpoints_are_read_back_whatever_the_name_of_the_folder(name, tmp_path):
    weights = {"kernel": np.arange(6.0)}
    with contextlib.closing(Checkpoints(tmp_path / name)) as checkpoints:
        checkpoints.save_best(1, weights, {"validation": 0.5})
    with contextlib.closing(Checkpoints(tmp_path / name, read_only=True)) as checkpoints:
        restored, progress = checkpoints.restore_best(weights)
    np.testing.assert_array_equal(restored["kernel"], weights["kernel"])
    assert progress == {"validation": 0.5}


@pytest.mark.parametrize("name", ["model.modes=[8,8]", "back\\slash"])
def test_a_folder_whose_checkpoints_cannot_be_read_back_is_refused(name, tmp_path):
    """Before anything is written: such a run was trained to its end, and could never be loaded."""
    config = TrainConfig(run=str(tmp_path / name), data=tiny_config(tmp_path / "data"), model=FNOConfig())
    with pytest.raises(InputError, match="could not be read again, because of"):
        claim_folder(tmp_path / name, config)
    assert not any(tmp_path.iterdir())
