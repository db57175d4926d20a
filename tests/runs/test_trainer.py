"""The loop: divergence, preemption, kills, one process at a time; what is refused before it begins."""

import json
import os
import shutil
import signal
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.interruption import Interrupted
from data_gen.dataset.config import DataConfig
from surrogate.config import TrainConfig
from surrogate.devices import ParallelConfig
from surrogate.encodings.schemas import BackgroundConfig, SourceMapConfig
from surrogate.losses.loss import LossConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.multiscale import MultiscaleConfig
from surrogate.operators.unet import UNetConfig
from surrogate.runs.checkpoints import CheckpointError, Checkpoints
from surrogate.runs.fit import fit
from surrogate.runs.folder import claim_folder
from surrogate.runs.load import best_step, best_validation, load_surrogate
from surrogate.runs.rollback import RollbackWarning
from surrogate.runs.training_run import ValidationWarning
from surrogate.tasks.harmonic import HarmonicConfig
from surrogate.tasks.wavefield import WavefieldConfig
from surrogate.training.batches import name_example
from surrogate.training.config import TrainingConfig
from surrogate.training.divergence import blame_sample
from surrogate.training.mode_schedule import ModeSchedule
from tests.helpers import spoil, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


def test_the_sample_to_blame_is_named():
    """A record of the data set gives two examples here; every item of the online stream is a model of its own."""
    data, indices = tiny_config("nowhere", sources=2, placement="line"), np.array([4, 7, 9])
    task = WavefieldConfig().create(data.create())
    for source, seventh, ninth in (
        ("disk", "record 3, example 1 of the training split", "record 4, example 1"),
        ("online", "model 7, example 1 of the online stream", "model 9, example 1"),
    ):
        name = partial(name_example, replace(data, source=source), task)
        first_bad = blame_sample(np.array([0.1, np.nan, 9.0]), indices, name)
        assert f"1 of 3 samples are not finite, the first of them {seventh}" in first_bad
        assert f"the largest, 9, is that of {ninth}" in blame_sample(np.array([0.1, 0.2, 9.0]), indices, name)
    assert "the learning rate" in blame_sample(np.full(3, np.inf), indices, name)


def run_config(data: DataConfig, run: Path, **training) -> TrainConfig:
    settings: dict[str, Any] = {"steps": 8, "batch_size": 4, "warmup_steps": 1, "log_every": 2, "validate_every": 4}
    settings |= {"checkpoint_every": 3, "ema": 0.9, "on_divergence": "rollback", "verify": False} | training
    config = TrainConfig(
        run=str(run),
        data=data,
        model=FNOConfig(width=4, depth=1, modes=[2, 2], mlp_ratio=2, drop_path=0.3),
        encoding=SourceMapConfig(),
        training=TrainingConfig(**settings),
    )
    config.tracking.mode = "disabled"
    return config


@pytest.fixture
def spoilt(monkeypatch):
    """Sample 5 of the training split has a NaN in its last snapshot, once the normalization was taken."""
    spoil(monkeypatch, lambda snapshots: np.where(np.arange(20) == 7, np.nan, snapshots))


@pytest.mark.slow
def test_rollback_names_the_sample_and_resumes_bitwise(data, tmp_path, spoilt):
    """Sample 5 comes once in each epoch of four batches: at least two rollbacks in eight steps.

    Ended by SIGTERM in the second epoch and run again, the same run ends with the same weights and curves, bit for bit.
    """
    config = run_config(data, tmp_path / "whole", max_rollbacks=9, log_every=3)
    with pytest.warns(
        RollbackWarning, match="1 of 4 samples are not finite, the first of them record 5, example 0"
    ) as told:
        assert fit(config) == 8
    stories = [str(warning.message) for warning in told.list if warning.category is RollbackWarning]
    assert len(stories) >= 2 and "with a peak learning rate of 0.001" in stories[0]
    curves = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in curves]
    rollbacks = [row["rollback"] for row in rows if "rollback" in row]
    assert rollbacks == list(range(1, len(rollbacks) + 1)) and len(rollbacks) >= 2
    assert all(np.isfinite(list(row.values())).all() for row in rows)

    pieces, steps = replace(config, run=str(tmp_path / "pieces")), []

    def interrupt(step: int, values: dict[str, float]) -> None:
        if "loss" in values and step == 6 and not steps:
            os.kill(os.getpid(), signal.SIGTERM)

    while not steps or steps[-1] < 8:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RollbackWarning)
            try:
                steps.append(fit(pieces, interrupt))
            except Interrupted:
                steps.append(0)
    assert steps == [0, 8]
    whole, parts = (weights(run) for run in (config.run, pieces.run))
    for ours, theirs in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    timeless = [
        [{k: v for k, v in json.loads(row).items() if k != "samples_per_s"} for row in rows]
        for rows in (curves, (tmp_path / "pieces" / "metrics.jsonl").read_text().splitlines())
    ]
    assert timeless[0] == timeless[1]


def weights(run: str) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_surrogate(run)))]


def test_divergence_stops_where_it_may_not_go_back(data, tmp_path, spoilt):
    config = run_config(data, tmp_path / "stop", on_divergence="stop", log_every=1, checkpoint_every=1)
    with pytest.raises(NumericalError, match=r"The loss is nan .* at step \d\. .*record 5, example 0 of the training"):
        fit(config)
    with pytest.raises(NumericalError, match="record 5, example 0"):
        fit(run_config(data, tmp_path / "none", max_rollbacks=0))


def test_other_records_are_refused(data, tmp_path):
    """A run resumes bit for bit, so not on other records of the same recipe."""
    config = run_config(data, tmp_path / "run", steps=2)
    fit(config, lambda step, values: os.kill(os.getpid(), signal.SIGUSR1) if step == 0 else None)
    file = tmp_path / "run" / "provenance.json"
    provenance = json.loads(file.read_text())
    assert provenance["versions"]["jax"] == jax.__version__ and provenance["dataset"]["fingerprint"]
    provenance["dataset"]["digest"] = "another"
    file.write_text(json.dumps(provenance))
    with pytest.raises(InputError, match=r"not those that .* was started with"):
        fit(config)


def test_validations_that_are_not_finite_are_never_the_best(data, tmp_path, monkeypatch):
    """Each is warned of; the best is that of the others, whatever became of the curves. Interrupted before its first
    step, a run has saved nothing, and says so."""
    errors = iter([np.nan, 0.5, np.inf, 0.7])
    monkeypatch.setattr("surrogate.runs.training_run.validate", lambda *_: float(next(errors)))
    config = run_config(data, tmp_path / "run", steps=4, validate_every=1)
    with pytest.raises(Interrupted, match=r"Interrupted before the first step: .* starts from the beginning"):
        fit(config, lambda step, values: os.kill(os.getpid(), signal.SIGTERM) if not values else None)
    assert best_validation(config.run) == np.inf
    with pytest.raises(CheckpointError, match="none of its validations was finite, or it has not validated yet"):
        load_surrogate(config.run)
    with pytest.warns(ValidationWarning) as told:
        fit(config)
    stories = [str(warning.message)[:30] for warning in told.list if warning.category is ValidationWarning]
    assert stories == ["The validation at step 1 is na", "The validation at step 3 is in"]
    (tmp_path / "run" / "metrics.jsonl").write_text('{"st')
    assert best_validation(config.run) == 0.5 and best_step(config.run) == 2
    fit(config)  # finished: it is left alone
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "last")
    with pytest.raises(CheckpointError, match="from which training would resume, was removed"):
        fit(config)
    assert best_step(config.run) == 2


def test_one_process_at_a_time(data, tmp_path):
    """A second process is refused with the name of the one that holds the run, and changes nothing."""
    config, run = run_config(data, tmp_path / "run", steps=2), tmp_path / "run"

    def meanwhile(step: int, values: dict[str, float]) -> None:
        before = sorted(run.rglob("*"))
        with pytest.raises(InputError, match=rf"run is being written by process {os.getpid()} on "):
            fit(config)
        assert sorted(run.rglob("*")) == before

    assert fit(config, meanwhile) == 2
    assert not list(run.glob("*.lock"))


def test_the_best_before_the_last_checkpoint_is_kept(tmp_path):
    """A killed run forgets the best models after its last checkpoint: the one from before must still be there."""
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    checkpoints = Checkpoints(tmp_path, every=2)
    for step in (1, 2):
        checkpoints.save_best(step, nnx.to_pure_dict(nnx.state(model)), {})
    checkpoints.save_last(2, nnx.to_pure_dict(nnx.state(model)), {})
    for step in (3, 5, 7):  # none of them due
        checkpoints.save_best(step, nnx.to_pure_dict(nnx.state(model)), {})
        checkpoints.save_last(step, nnx.to_pure_dict(nnx.state(model)), {})
    assert checkpoints.best_step == checkpoints.last_step == 7
    checkpoints.close()
    again = Checkpoints(tmp_path, every=2)
    assert again.due_step == 2
    again.forget_after(2)
    assert again.best_step == again.last_step == 2
    again.close()


def test_a_kill_in_mid_deletion_leaves_nothing_half(tmp_path, monkeypatch):
    """A checkpoint that is being deleted has another name already; a damaged one is reported as such."""
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    checkpoints = Checkpoints(tmp_path, every=2)
    for step in (2, 3):
        checkpoints.save_last(step, nnx.to_pure_dict(nnx.state(model)), {"step": step})
    with monkeypatch.context() as patch:
        calls = iter([lambda: None, lambda: (_ for _ in ()).throw(KeyboardInterrupt)])  # before it, and after it
        killed = SimpleNamespace(rmtree=lambda *_, **__: next(calls)())
        patch.setattr("surrogate.runs.checkpoints.shutil", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.forget_after(2)
    checkpoints.close()
    again = Checkpoints(tmp_path, every=2)
    assert again.last_step == 2 and again.restore_last(nnx.to_pure_dict(nnx.state(model)))[1] == {"step": 2}
    again.save_last(3, nnx.to_pure_dict(nnx.state(model)), {"step": 3})  # again, over what the kill left of it
    again.forget_after(2)
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "last").iterdir()) == ["2"]
    shutil.rmtree(tmp_path / "checkpoints" / "last" / "2" / "state")
    with pytest.raises(CheckpointError, match=r"last/2 is damaged .*Remove it"):
        again.restore_last(nnx.to_pure_dict(nnx.state(model)))
    again.close()


# --- bad input --------------------------------------------------------------------------------------------------

SMALLEST = FNOConfig(width=2, depth=1, modes=[4, 4])


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"accumulate": 3}, "cannot be taken in 3 parts"),
        ({"precision": "float16"}, "one of float32, bfloat16"),
        ({"mode_schedule": ModeSchedule(start=2.0)}, "mode_schedule.start must be from 0 to 1"),
        ({"on_divergence": "hope"}, "one of stop, rollback"),
        ({"divergence_factor": 0.5}, "above 1"),
        ({"rollback_factor": 0.0}, "rollback_factor"),
        ({"seed": -1}, "seed must be from 0 to 4294967295"),
        ({"seed": 2**32}, "seed must be from 0 to 4294967295"),
        ({"weight_decay": float("nan")}, "weight_decay must be finite and at least 0"),
        ({"warmup_steps": 1000}, "below training.steps = 1000"),
        ({"loss": LossConfig(sobolev=1.0, sobolev_order=30)}, "from 1 to 4"),
    ],
)
def test_bad_training(training, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**training).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": FNOConfig(modes=[16])}, "modes"),
        ({"model": FNOConfig(padding=-0.5)}, "padding"),
        (
            {"model": UNetConfig(width=2, levels=1), "training": TrainingConfig(mode_schedule=ModeSchedule(steps=5))},
            "would grow",
        ),
        (
            {"data": tiny_config("nowhere", source="online"), "training": TrainingConfig(workers=2)},
            "no data set",
        ),
        (
            {"model": MultiscaleConfig(first=SMALLEST, second=SMALLEST, cutoff=[2, 2], first_run="nowhere")},
            "nowhere is not a run",
        ),
        ({"encoding": SourceMapConfig(radius=0.0)}, "encoding.radius must be above 0"),
        ({"encoding": BackgroundConfig(velocity=2.5)}, "spans 2.5 to 2.5, which looks like km/s"),
    ],
)
def test_what_would_fail_or_be_ignored_is_refused(changes, message, tmp_path):
    """Before anything is compiled or written, and in a paragraph."""
    plain = TrainConfig(str(tmp_path / "run"), tiny_config("nowhere"), encoding=SourceMapConfig())
    plain.model = SMALLEST
    with pytest.raises(InputError, match=message):
        fit(replace(plain, **changes))
    assert not list(tmp_path.iterdir())


def test_a_run_with_options_that_are_refused_today_is_loaded_as_it_was():
    """Settings that were once ignored still are: a surrogate can be made with them, but no new run begun."""
    data = tiny_config("nowhere", source="online")
    training = TrainingConfig(workers=2, mode_schedule=ModeSchedule(steps=5))
    old = TrainConfig(data=data, model=UNetConfig(width=2, levels=1), training=training)
    old.encoding = SourceMapConfig()
    with pytest.raises(InputError):
        old.check_training(old.create())


def test_what_the_devices_cannot_share_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="8 cannot be split over 4 devices in 4 parts"):
        fit(run_config(data, tmp_path / "run", batch_size=8, accumulate=4))
    odd = run_config(data, tmp_path / "run")
    odd = replace(odd, parallel=ParallelConfig(model_axis=2), model=replace(SMALLEST, width=3))
    with pytest.raises(InputError, match=r"\[3\] channels"):
        fit(odd)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_trained_by_another_config(data, tmp_path):
    """A folder of another config is reported before anything else that is wrong."""
    config = run_config(data, tmp_path / "run", steps=2)
    claim_folder(tmp_path / "run", config)
    with pytest.raises(InputError, match=r"another config \(training.accumulate: 1 -> 0\)"):
        fit(replace(config, training=replace(config.training, accumulate=0)))
    with pytest.raises(InputError, match=r"another config \(task.name: wavefield -> harmonic\)"):
        fit(replace(config, task=HarmonicConfig()))
