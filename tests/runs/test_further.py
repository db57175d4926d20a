"""Train further: more steps of the same run, and another run from its weights; what does not fit is refused."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate.config import InitConfig, TrainConfig
from surrogate.encodings.schemas import BackgroundConfig, SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.fit import fit
from surrogate.runs.folder import is_claimed, read_run
from surrogate.runs.initialization import Start, initialize
from surrogate.runs.load import load_surrogate
from surrogate.tasks.gather import GatherConfig
from surrogate.training.config import TrainingConfig
from surrogate.training.optimizer import learning_rate, make_optimizer, take_moments
from surrogate.training.state import TrainState
from tests.helpers import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")
ONE_FAMILY = {"families": {"inclusions": {"min_velocity": 2000}}}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    config = tiny_config(tmp_path_factory.mktemp("data") / "set", train=8, **ONE_FAMILY)
    dataset.generate(config)
    return config


def run_config(data: DataConfig, run: Path, **training) -> TrainConfig:
    settings: dict[str, Any] = {
        "steps": 4,
        "batch_size": 4,
        "warmup_steps": 3,
        "validate_every": 2,
        "checkpoint_every": 2,
        "ema": 0.9,
    }
    config = TrainConfig(
        run=str(run),
        data=data,
        model=FNOConfig(width=4, depth=1, modes=[2, 2], mlp_ratio=2, drop_path=0.3),
        encoding=SourceMapConfig(),
        training=TrainingConfig(**{**settings, "verify": False, **training}),
    )
    config.tracking.mode = "disabled"
    return config


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> TrainConfig:
    config = run_config(data, tmp_path_factory.mktemp("runs") / "short")
    fit(config)
    return config


def weights(run: str) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_surrogate(run)))]


def test_more_steps_train_a_finished_run_further(trained, data, tmp_path):
    """Up to the end of a warm-up of three steps, runs of 4 and of 6 steps have the same learning rates; so the run of 4
    that is trained to 6 ends bit for bit as the one of 6. The sentence names the steps and the learning rates."""
    short, said = replace(trained, run=str(tmp_path / "short")), []
    shutil.copytree(trained.run, short.run)
    assert fit(short) == 4
    longer = replace(short, training=replace(short.training, steps=6))
    assert fit(longer, announce=said.append) == 6
    assert read_run(short.run).training.steps == 6
    assert json.loads((tmp_path / "short" / "provenance.json").read_text())["steps"] == [4, 6]
    (story,) = said
    ended, resumed = (float(jnp.asarray(learning_rate(c.training)(4))) for c in (short, longer))
    assert "from step 4 to 6 instead of 4" in story and f"changes there from {ended:.2g} to {resumed:.2g}" in story
    whole = replace(longer, run=str(tmp_path / "whole"))
    fit(whole)
    for ours, theirs in zip(weights(short.run), weights(whole.run), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match=r"training.steps: 6 -> 4\).*More training.steps alone train the run further"):
        fit(short)


def test_another_run_starts_from_the_best_weights(trained, tmp_path):
    """With kept statistics it is the same function before its first step; fresh ones are those of the new data."""
    other = tiny_config(tmp_path / "set", seed=5, train=8, **ONE_FAMILY)
    dataset.generate(other)
    config = replace(run_config(other, tmp_path / "run", steps=2, warmup_steps=1), init=InitConfig(run=trained.run))
    model = config.create()
    start, best = initialize(config, model), load_surrogate(trained.run)
    assert isinstance(start, Start) and start.statistics and start.optimizer is None
    assert "init.statistics=keep, init.optimizer=fresh" in start.text
    for ours, theirs in zip(
        *(jax.tree.leaves(nnx.state(m, nnx.Not(nnx.RngState))) for m in (model, best)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    kept = replace(config, init=InitConfig(run=trained.run, optimizer="keep", statistics="fresh"))
    said: list[str] = []
    seen: list[dict] = []
    first = replace(kept, training=replace(kept.training, steps=1, warmup_steps=0))
    assert fit(first, announce=said.append, on_progress=lambda step, values: seen.append(values)) == 1
    assert f"The weights are those of {trained.run} at step" in said[0] and "over 0 steps" in said[0]
    assert [v["learning_rate"] for v in seen if "learning_rate" in v] == [pytest.approx(2e-3)]
    assert f"those of {trained.run}" in json.loads((tmp_path / "run" / "provenance.json").read_text())["start"]
    assert not np.array_equal(load_surrogate(first.run).statistics.medium_mean, best.statistics.medium_mean)


def test_moments_are_taken_but_no_schedule(trained, data, tmp_path):
    config = replace(run_config(data, tmp_path / "run"), init=InitConfig(run=trained.run, optimizer="keep"))
    start = initialize(config, config.create())
    assert start is not None and start.optimizer is not None
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(start.optimizer)}
    assert any("mu" in name for name in leaves)
    model = config.create()
    _, state = TrainState.create(model, make_optimizer(model, config.training))
    fresh = state.to_dict()["optimizer"]["opt_state"]
    taken = take_moments(fresh, start.optimizer["opt_state"])
    assert jax.tree.structure(taken) == jax.tree.structure(fresh)
    counts = [int(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(taken) if "count" in str(path[-1])]
    assert sorted(counts) == [0, 4]  # of the schedule, and of the moments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": FNOConfig(width=6, depth=1, modes=[2, 2], mlp_ratio=2, drop_path=0.3)}, r"model.width: 6 -> 4"),
        ({"encoding": SourceMapConfig(radius=3.0)}, r"encoding.radius: 3.0 -> 2.0"),
        ({"encoding": BackgroundConfig()}, r"encoding.name: background -> source_map"),
        ({"task": GatherConfig()}, r"task.name: gather -> wavefield"),
        ({"init": InitConfig(run="nowhere")}, "nowhere is not a run: there is no such folder"),
        ({"init": InitConfig(optimizer="keep")}, "need init.run=RUN"),
        ({"init": InitConfig(run="x", statistics="old")}, "init.statistics must be one of keep, fresh"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_values(trained, data, tmp_path, changes, message):
    config = replace(run_config(data, tmp_path / "run"), init=InitConfig(run=trained.run))
    with pytest.raises(InputError, match=message):
        fit(replace(config, **changes))
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_start_from_itself_or_other_outputs(trained, data, tmp_path):
    with pytest.raises(InputError, match="is the folder of this run itself"):
        initialize(replace(trained, init=InitConfig(run=trained.run + "/")), trained.create())
    fewer = replace(trained, run=str(tmp_path), data=replace(data, snapshot_times=[0.1]), init=InitConfig(trained.run))
    with pytest.raises(InputError, match="outputs: 1 -> 3"):
        initialize(fewer, fewer.create())


def test_short_runs_have_a_short_warm_up(tmp_path, data):
    """A twentieth of the steps; runs of a version whose default was 50 of 1000 steps still have the same config."""
    for steps, warmup in ((1, 0), (20, 1), (1000, 50)):
        config = TrainingConfig(steps=steps)
        config.check()
        assert config.warmup == warmup
    stored = run_config(data, tmp_path / "run", steps=1000, warmup_steps=50)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(asdict(stored)))
    assert is_claimed(tmp_path / "run", replace(stored, training=replace(stored.training, warmup_steps=None)))
    with pytest.raises(InputError, match="warmup_steps: 50 -> 100"):
        now = replace(stored.training, warmup_steps=None, steps=2000)
        is_claimed(tmp_path / "run", replace(stored, training=now))
