"""`train.py data.path=X` takes the config of the data set at X, and refuses what the command line sets otherwise."""

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from data_gen.common.files import write_json
from data_gen.dataset.config import EARLIER_SOLVER, DataConfig
from data_gen.dataset.manifest import claim, config_of, new_manifest
from surrogate.commands import train
from surrogate.config import TrainConfig
from tests.helpers import tiny_config


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> DataConfig:
    """A data set of which only the manifest exists; the preset `tiny` has another seed."""
    config = tiny_config(tmp_path_factory.mktemp("data") / "set", train=2, validation=1, test=1, seed=5)
    splits, layout = {"train": 2, "validation": 1, "test": 1}, {"shard_size": 4, "batch_size": 2}
    claim(Path(config.path), new_manifest("generated", config.identity(), splits, layout, {}))
    return config


@pytest.fixture
def asked(monkeypatch):
    """Return the config of the data that a command line trains on."""
    configs = []
    monkeypatch.setattr(train, "_fit", lambda config: configs.append(config) or config.training.steps)
    monkeypatch.setattr(train, "best_validation", lambda run: 0.0)

    def ask(*arguments: str) -> DataConfig:
        monkeypatch.setattr(sys, "argv", ["wave train", *arguments])
        train.main()
        return configs[-1].data

    return ask


def test_the_manifest_says_what_is_trained_on(made, asked):
    """Whatever the preset says; a value that the command line repeats is accepted, reading online is its own choice."""
    path = f"data.path={made.path}"
    assert asked(f"{path}/", "experiment=gather_small").identity() == made.identity()
    assert asked(path, "data.seed=5", "data.dt=1e-3", "data.families.inclusions.min_velocity=2e3") == made
    online = asked(path, "data.source=online", "data.train=0")
    assert online.source == "online" and online.train == 0


def test_a_run_on_files_keeps_its_solver(asked, tmp_path):
    """Files say nothing of a solver: a new run has the one of now, and one that began earlier the one of its time."""
    fields = {
        "velocity": {"shape": [24, 20], "dtype": "float32"},
        "gathers": {"shape": [2, 121, 9], "dtype": "float32"},
    }
    splits, layout = {"train": 2, "validation": 1, "test": 1}, {"shard_size": 4, "batch_size": 2}
    manifest = new_manifest("imported", {"spacing": 10.0, "dt": 1e-3}, splits, layout, fields)
    manifest |= {"measured": {"velocities": [1500.0, 3000.0], "peak_frequency": 0.015}}
    claim(tmp_path / "set", manifest)
    path, run = f"data.path={tmp_path / 'set'}", tmp_path / "run"
    assert asked(path, f"run={run}").time_correction
    stored: dict[str, Any] = asdict(TrainConfig(data=config_of(manifest, tmp_path / "set"))) | {"run": str(run)}
    stored["data"] = {key: value for key, value in stored["data"].items() if key not in EARLIER_SOLVER} | {
        "substeps": 2
    }
    run.mkdir()
    write_json(run / "config.json", stored)
    resumed = asked(path, f"run={run}")
    assert not resumed.time_correction and resumed.substeps == 2
    assert resumed.identity() == config_of(manifest, tmp_path / "set").identity()


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("data.seed=6", "data.seed is 6 on the command line, but 5 in the data set at"),
        ("data.snapshot_times=[0.1]", "[0.1] on the command line, but [0.08, 0.1, 0.12]"),
        ("+data.families.salt.weight=1", "data.families.salt.weight is 1 on the command line, but None"),
        ("~data.families.inclusions", "data.families.inclusions is None on the command line, but {"),
    ],
)
def test_another_value_is_refused(made, asked, override, values):
    with pytest.raises(SystemExit, match=re.escape(values)):
        asked(f"data.path={made.path}", "data=tiny", override)


def test_no_data_set(asked, tmp_path):
    with pytest.raises(SystemExit, match="There is no data set at"):
        asked(f"data.path={tmp_path / 'none'}")
