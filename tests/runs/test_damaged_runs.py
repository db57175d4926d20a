"""Flipped bits, changed digits and files of another run are named when a run is read: no result changes in silence."""

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_gen.common.errors import DatasetError, InputError
from data_gen.common.files import exclusive, explain_full_disk, read_json, read_rows, write_json
from data_gen.common.sealed import DIGEST, opened, sealed
from surrogate.config import InitConfig
from surrogate.report.trainings import Training
from surrogate.runs.checkpoints import CheckpointError, EarlierCheckpointWarning
from surrogate.runs.fit import LOCK, fit
from surrogate.runs.folder import CONFIG
from surrogate.runs.load import best_validation, load_surrogate
from tests.runs.tiny_run import config_of, train, weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder)
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy of the run, and the data set."""
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "data").symlink_to(trained / "data")
    return tmp_path


def beside(run: Path, series: str) -> Path:
    """The file of what stands beside the arrays of the newest checkpoint."""
    steps = [path for path in (run / "checkpoints" / series).iterdir() if path.name.isdigit()]
    return max(steps, key=lambda path: int(path.name)) / "progress" / "metadata"


def test_flipped_bits_of_weights_are_named(folder):
    """Of any file of the best checkpoint: either the weights are the same, or an error names the checkpoint."""
    before, random, named = weights(folder / "run"), np.random.default_rng(0), 0
    files = sorted(path for path in (folder / "run/checkpoints/best").rglob("*") if path.is_file())
    sizes = np.array([path.stat().st_size for path in files])
    for file in (files[n] for n in random.choice(len(files), 24, p=sizes / sizes.sum())):
        content = file.read_bytes()
        place = int(random.integers(len(content)))
        file.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]
        )
        try:
            assert weights(folder / "run") == before
        except InputError as error:
            assert "checkpoints/best" in str(error)
            named += 1
        file.write_bytes(content)
    assert named > 5  # the others are of files that nobody reads back


@pytest.mark.parametrize("key", ["step", "best", "rollbacks"])
def test_changed_digits_of_the_progress_are_named(folder, key):
    file = beside(folder / "run", "last")
    text = file.read_text(encoding="utf-8")
    changed = re.sub(rf'("{key}": )[^,}}]+', r"\g<1>3", text)
    assert changed != text
    file.write_text(changed, encoding="utf-8")
    with pytest.raises(InputError, match="not those that were written"):
        fit(config_of(folder, steps=8))


def test_a_validation_error_that_was_changed_is_named(folder):
    file = beside(folder / "run", "best")
    file.write_text(
        re.sub(r'("validation": )[^,}]+', r"\g<1>0.001", file.read_text(encoding="utf-8")), encoding="utf-8"
    )
    with pytest.raises(CheckpointError, match="not those that were written"):
        best_validation(folder / "run")


def test_a_changed_config_is_named(folder):
    """By its own digest; and by the checkpoint, if it has been sealed again, as where it is of another run."""
    file = folder / "run" / CONFIG
    values = read_json(file)
    values["data"]["peak_frequency"] += 1.0
    write_json(file, values)
    with pytest.raises(InputError, match=f"{CONFIG} is damaged"):
        load_surrogate(folder / "run")
    write_json(file, sealed({key: value for key, value in values.items() if key != DIGEST}))
    with pytest.raises(CheckpointError, match=r"another config \(data.peak_frequency: "):
        load_surrogate(folder / "run")


def test_a_checkpoint_without_digests_is_of_an_earlier_version_or_refused(folder):
    """Earlier versions wrote none: a warning says so. Where the config has one, it was lost."""
    before = weights(folder / "run")
    file, config = beside(folder / "run", "best"), folder / "run" / CONFIG
    stored = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({"validation": stored["validation"]}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="has no digest"):
        load_surrogate(folder / "run")
    write_json(config, opened(read_json(config), config))
    with pytest.warns(EarlierCheckpointWarning):
        assert weights(folder / "run") == before


def test_a_run_is_loaded_from_another_working_directory_than_it_began_in(folder, tmp_path, monkeypatch):
    """Also one that took over the weights of a run at a relative path."""
    monkeypatch.chdir(tmp_path)
    fit(replace(config_of(folder), run="fine", init=InitConfig(run="run")))
    before = weights(Path("fine"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert weights(tmp_path / "fine") == before


def test_more_steps_do_not_change_the_config_of_a_run_that_is_being_trained(folder):
    """The command that is refused by the lock leaves the folder as it is."""
    config = folder / "run" / CONFIG
    before = config.read_bytes()
    with exclusive(folder / "run" / LOCK), pytest.raises(InputError, match="is being written by"):
        fit(config_of(folder, steps=8))
    assert config.read_bytes() == before


def test_a_run_that_is_trained_further_keeps_its_best_weights_readable(folder):
    """More steps are no other config, also where an earlier version made the run."""
    fit(config_of(folder, steps=6))
    weights(folder / "run")
    config = folder / "run" / CONFIG
    assert read_json(config)["training"]["steps"] == 6
    write_json(config, opened(read_json(config), config))
    fit(config_of(folder, steps=8))
    assert DIGEST not in read_json(config)
    weights(folder / "run")


def test_a_full_disk_is_told_before_the_first_step_and_at_a_checkpoint(trained, tmp_path, monkeypatch):
    """In one paragraph; the same command goes on, and ends with the same weights."""
    (tmp_path / "data").symlink_to(trained / "data")
    usage, reached = shutil.disk_usage, []

    def full(place):
        return usage(place)._replace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(DatasetError, match=r"run takes no more data: .* MB are to be written"):
        fit(config_of(tmp_path), lambda step, values: reached.append(step))
    assert set(reached) == {0}
    monkeypatch.setattr(shutil, "disk_usage", usage)

    def fill(step: int, values: dict[str, float]) -> None:
        if step == 3:
            monkeypatch.setattr(shutil, "disk_usage", full)

    with pytest.raises(DatasetError, match="takes no more data"):
        fit(config_of(tmp_path), fill)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert fit(config_of(tmp_path)) == 4
    assert weights(tmp_path / "run") == weights(trained / "run")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ValueError(f"y: {os.strerror(errno.EDQUOT)} z")]
)
def test_a_full_disk_is_one_paragraph_whatever_the_library(error, tmp_path):
    with pytest.raises(DatasetError, match=r"folder takes no more data"), explain_full_disk(tmp_path / "no" / "folder"):
        raise error


def test_damaged_rows_of_the_curves_are_left_out(tmp_path):
    """Bytes that are no text, rows that are numbers, damaged keys, and steps that are texts."""
    sound = ['{"step": 1, "loss": 0.5}', '{"step": 2, "validation": 0.25}']
    file = tmp_path / "metrics.jsonl"
    damaged = [b"\xff\xfe", b"5", b'{"stdp": 3, "loss": 0.1}', b'{"step": "4"}', b'{"step": 5, "loss": "x"}', b'{"st']
    file.write_bytes(b"\n".join([sound[0].encode(), *damaged, sound[1].encode()]))
    assert [line for line, _ in read_rows(file)] == sound
    assert Training(tmp_path, {}).best == (0.25, 2)
    assert not list(read_rows(tmp_path / "none"))
