"""A folder that is not one of a run is refused with what it is."""

import contextlib
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.common.files import exclusive, read_json, refuse_folders, write_json
from data_gen.dataset.manifest import claim as claim_data
from data_gen.dataset.manifest import new_manifest
from surrogate.config import InvertConfig, TrainConfig
from surrogate.inversion.config import InversionConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import CONFIG, claim_folder, read_run
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


def test_one_of_two_configs_claims_a_folder(tmp_path):
    """Twelve races of four threads with two configs: the folder is told to be theirs of one config alone."""
    configs = [InvertConfig(data=tiny_config("unused"), inversion=InversionConfig(index=index)) for index in (0, 1)]
    for race in range(12):
        folder, barrier = tmp_path / str(race), threading.Barrier(4)

        def attempt(number: int, folder=folder, barrier=barrier) -> int | None:
            barrier.wait()
            try:
                claim_folder(folder, configs[number % 2])
            except InputError:
                return None
            return number % 2

        with ThreadPoolExecutor(4) as pool:
            winners = set(pool.map(attempt, range(4))) - {None}
        assert len(winners) == 1
        assert read_json(folder / CONFIG)["inversion"]["index"] == winners.pop()
        assert [file.name for file in folder.iterdir()] == [CONFIG]


@pytest.mark.parametrize("name", ["training.lock", "metrics.jsonl", "figures/models.png", "checkpoints"])
def test_links_in_a_folder_are_refused(name, tmp_path):
    """What is written there would change a file elsewhere. The folder itself, and those of W&B, may be links."""
    config = InvertConfig(data=tiny_config("unused"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    claim_folder(tmp_path / "folder", config)
    (tmp_path / "folder/wandb").mkdir()
    (tmp_path / "folder/wandb/latest-run").symlink_to(tmp_path)
    claim_folder(tmp_path / "folder", config)
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "folder" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "folder" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match=f"{name} is a link to .*precious"):
        claim_folder(tmp_path / "folder", config)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_lock_is_no_link(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "x.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match=r"x\.lock is a link"), exclusive(tmp_path / "x.lock"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_folders_are_claimed_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    config = InvertConfig(data=tiny_config("unused"))
    assert not claim_folder(tmp_path, config) and claim_folder(tmp_path, config)
    with pytest.raises(InputError, match="another config"):
        claim_folder(tmp_path, InvertConfig(data=tiny_config("unused"), inversion=InversionConfig(index=1)))


def test_a_folder_where_a_file_is_to_be_written_is_refused(tmp_path):
    (tmp_path / "result.npz").mkdir()
    refuse_folders(tmp_path, ["inversion.json"])
    with pytest.raises(InputError, match=r"result\.npz is a folder"):
        refuse_folders(tmp_path, ["inversion.json", "result.npz"])
