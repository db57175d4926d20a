"""A data set is known by its fingerprint: a run finds its own from any working directory, and wherever it was moved."""

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from data_gen.common.errors import DatasetError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate.commands import train
from surrogate.config import DataPlaceConfig, EvaluateConfig, TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.evaluation_request import earlier_answer, read_request
from surrogate.runs.fit import fit
from surrogate.runs.load import last_step, load_surrogate
from surrogate.training.config import TrainingConfig
from tests.helpers import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a data set `set` and an untrained run `run` that was started there, with relative paths."""
    folder, before = tmp_path_factory.mktemp("home").resolve(), Path.cwd()
    os.chdir(folder)
    try:
        data = made("set")
        dataset.generate(data)
        fit(run_config(data))
    finally:
        os.chdir(before)
    return folder


def made(path: str) -> DataConfig:
    families = {"inclusions": {"min_velocity": 2000}}
    return tiny_config(path, train=4, validation=1, test=1, records=["snapshots"], families=families)


def run_config(data, **changes) -> TrainConfig:
    training = TrainingConfig(steps=2, batch_size=4, warmup_steps=0, validate_every=2, verify=False)
    model = FNOConfig(width=2, depth=1, modes=[2, 2], padding=0.0)
    config = TrainConfig("run", data, model=model, encoding=SourceMapConfig(), training=training)
    config.tracking.mode = "disabled"
    return replace(config, **changes)


@pytest.fixture
def moved(home, tmp_path, monkeypatch) -> Path:
    """A copy of that folder at another place, and a working directory elsewhere."""
    shutil.copytree(home, tmp_path / "copy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "copy"


def test_found_again(home, moved, tmp_path):
    """The data by their absolute path, or else next to the run; the run by a path that ends in a slash."""
    assert read_request(EvaluateConfig(f"{home / 'run'}/")).run.data.path == str(home / "set")
    provenance = json.loads((moved / "run" / "provenance.json").read_text())
    provenance["places"]["absolute"] = str(tmp_path / "gone")
    (moved / "run" / "provenance.json").write_text(json.dumps(provenance))
    assert Path(read_request(EvaluateConfig(str(moved / "run"))).run.data.path).samefile(moved / "set")
    data = made("set")
    for path in ("set", str(moved / "set"), f"{moved / 'set'}/", "../copy/set"):
        assert fit(run_config(replace(data, path=path), run=str(moved / "run"))) == 2
        assert train.find_dataset(moved / "run", path)
    load_surrogate(f"{moved / 'run'}/")


def test_given_by_hand(moved, tmp_path):
    """Data that were moved to where nobody knows: training and evaluation accept the fingerprint, and no other."""
    shutil.move(moved / "set", tmp_path / "away")
    provenance = json.loads((moved / "run" / "provenance.json").read_text())
    (moved / "run" / "provenance.json").write_text(json.dumps(provenance | {"places": {}}))
    question = EvaluateConfig(str(moved / "run"))
    with pytest.raises(DatasetError, match=r"of fingerprint \w{16}, is at none of set\. Give data\.path=FOLDER"):
        read_request(question)
    with pytest.raises(DatasetError, match="is at none of"):
        train.find_dataset(moved / "run", "set")
    given = replace(question, data=DataPlaceConfig("../away"))
    assert read_request(given).run.data.path == "../away"
    data = made("../away")
    assert fit(run_config(data, run=str(moved / "run"))) == last_step(moved / "run") == 2
    file = tmp_path / "away" / dataset.MANIFEST
    manifest = dataset.read_json(file)
    file.write_text(json.dumps(manifest | {"recipe": manifest["recipe"] | {"seed": 1}}))
    with pytest.raises(DatasetError, match=r"does not match the run's config .*seed: 1 -> 0"):
        read_request(given)


def test_an_evaluation_is_known_by_what_was_evaluated(home, moved):
    """Neither the place of the run nor that of the data is part of it; other weights, data or settings are."""
    run = moved / "run"
    asked = EvaluateConfig(str(home / "run"), other="old/place")
    evaluated = {"step": 2, "trained": 2, "file": None, "other": "a fingerprint"}
    (run / "metrics.json").write_text(json.dumps({"config": asdict(asked), "evaluated": evaluated}))
    (run / "errors_test.csv").touch()
    again = EvaluateConfig(str(run), other="new/place", data=DataPlaceConfig("elsewhere"))
    assert earlier_answer(again, evaluated) and earlier_answer(replace(again, other=None), evaluated)
    assert not earlier_answer(again, evaluated | {"other": "another"})
    assert not earlier_answer(again, evaluated | {"step": 1}) and not earlier_answer(
        replace(again, repeats=2), evaluated
    )
