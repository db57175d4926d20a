"""Dry runs: nothing is written, what is there is counted, and times are those of the parts times their numbers."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_gen.commands import generate
from data_gen.common.errors import DatasetError, InputError
from data_gen.common.interruption import Interrupted
from data_gen.dataset.forecast import forecast_generation
from data_gen.dataset.generation import make_shard
from data_gen.dataset.manifest import claim, generated_manifest, shards_of
from surrogate.commands import evaluate, invert, train
from surrogate.config import InvertConfig, RealModelConfig, TrainConfig
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.shot_sharding import ShotsConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs import forecast as forecasts
from surrogate.runs.fit import fit
from surrogate.runs.forecast import forecast_inversion, forecast_training
from surrogate.runs.invert import run_inversion
from surrogate.training.config import TrainingConfig
from surrogate.training.tracking import TrackingConfig
from tests.helpers import tiny_config


def call(monkeypatch, command, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["wave", *arguments])
    command.main()


def test_a_generation_counts_what_is_missing(tmp_path):
    """Of four shards of four, four, one and one samples one is there: six are missing, in four batches of two."""
    config = tiny_config(tmp_path / "set", train=8, validation=1, test=1, shard_size=4, batch_size=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        before = forecast_generation(config)
        assert list(tmp_path.iterdir()) == []
    assert (before.shards, before.samples, before.missing) == (4, 10, 10)
    assert before.seconds == pytest.approx(before.compiling + 6 * before.of_batch)
    assert before.of_batch > 0
    manifest = claim(Path(config.path), generated_manifest(config))
    make_shard(config, shards_of(manifest)[0])
    after = forecast_generation(config)
    assert (after.shards, after.samples, after.missing) == (3, 10, 6) and after.seconds == pytest.approx(
        after.compiling + 4 * after.of_batch
    )
    with pytest.raises(DatasetError, match="another config"):
        forecast_generation(replace(config, seed=9))


def test_a_generation_that_is_finished_takes_no_time(data):
    assert forecast_generation(data)[2:] == (0, data.batch_size, 0.0, 0.0, 0.0)


def test_the_command_makes_nothing(tmp_path, monkeypatch, capsys):
    """Wherever the option stands."""
    monkeypatch.chdir(tmp_path)
    call(monkeypatch, generate, "data=tiny", "--dry-run", "data.path=mine", "data.train=2")
    assert "in 4 shards, are still to be made" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "sweep"), [(evaluate, False), (train, True)])
def test_other_commands_and_sweeps_have_none(command, sweep, monkeypatch):
    """They refuse it rather than do what they are asked to foretell."""
    with pytest.raises(SystemExit, match="--dry-run is for one run of generate, train or invert"):
        call(monkeypatch, command, "--dry-run", *["-m"] * sweep, "run=a,b")


def test_a_training_counts_what_is_left(data, tmp_path, monkeypatch):
    """Of 20 steps that validate at 10 and 20 and save at 15 and 20, with 15 in the folder, 5 are left."""
    monkeypatch.chdir(tmp_path)
    training = TrainingConfig(steps=20, batch_size=4, validate_every=10, checkpoint_every=15)
    model = FNOConfig(width=4, modes=[6, 6], depth=1)
    tracking = TrackingConfig(mode="disabled")
    config = TrainConfig(run="run", data=data, model=model, training=training, tracking=tracking)
    before = forecast_training(config)
    assert list(tmp_path.iterdir()) == []
    work = 20 * before.of_step + 2 * (before.of_validation + before.of_checkpoint)
    assert before.begun == 0 and before.seconds >= work > 0
    fit(replace(config, training=replace(training, steps=15)))
    after = forecast_training(config)
    assert (after.begun, after.earlier, after.parameters) == (15, 15, before.parameters)
    work = 5 * after.of_step + after.of_validation + after.of_checkpoint
    assert after.seconds >= work > 0
    fit(config)
    assert forecast_training(config).seconds == 0.0
    with pytest.raises(InputError, match="exists with another config"):
        forecast_training(replace(config, model=replace(model, width=6)))


def test_an_inversion_keeps_to_its_budgets(data, tmp_path, monkeypatch):
    """A gradient of two shots counts 6: the first stage may make 4, and both together 5 in 30 simulations."""
    monkeypatch.chdir(tmp_path)
    stages = [StageConfig(iterations=50, simulations=24), StageConfig(iterations=7)]
    inversion = InversionConfig(shots=2, stages=stages, simulations=30)
    config = InvertConfig(out="result", data=data, inversion=inversion, parallel=ShotsConfig(devices=1))
    clock = iter(float(10 * second) for second in range(1000))
    monkeypatch.setattr(forecasts, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = forecast_inversion(config)
    assert list(tmp_path.iterdir()) == []
    assert [(stage.iterations, stage.simulations) for stage in found.stages] == [(4, 6.0), (1, 6.0)]
    # This clock goes on by 10 s at each look: at begin and end, and at the four entries of each of two stages.
    assert found.seconds == 90.0 + (4 - 3) * 10.0


def test_the_inversion_that_is_finished(data, tmp_path, monkeypatch, capsys):
    """Says so."""
    monkeypatch.chdir(tmp_path)
    given = f"data.path={data.path}", "data=tiny", "inversion.shots=1", "inversion.iterations=1", "out=result"
    call(monkeypatch, invert, *given)
    call(monkeypatch, invert, *given, "--dry-run")
    assert "nothing is left to do" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_keeps_nothing(number, data, tmp_path, monkeypatch):
    """And says so; the training itself would speak of a folder that is gone."""
    monkeypatch.chdir(tmp_path)
    model = FNOConfig(width=4, modes=[6, 6], depth=1)
    config = TrainConfig(run="run", data=data, model=model, tracking=TrackingConfig(mode="disabled"))
    first = forecasts.fit

    def interrupted(config, watch):
        def send(step, values):
            watch(step, values)
            if step == 1:
                os.kill(os.getpid(), number)

        return first(config, send)

    monkeypatch.setattr(forecasts, "fit", interrupted)
    with pytest.raises(Interrupted, match=f"{number.name}. A dry run keeps nothing"):
        forecast_training(config)
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_not_finished(data, tmp_path, monkeypatch):
    """A folder that holds an inversion of another true model is refused, as by the inversion itself."""
    monkeypatch.chdir(tmp_path)
    np.save("model.npy", np.full((24, 20), 2500.0, np.float32))
    inversion = InversionConfig(shots=1, iterations=1, start="constant", start_velocity=2400.0)
    config = InvertConfig(
        out="result",
        data=data,
        inversion=inversion,
        real=RealModelConfig(path="model.npy", spacing=10.0),
        parallel=ShotsConfig(devices=1),
    )
    run_inversion(config)
    assert forecast_inversion(config).finished
    np.save("model.npy", np.full((24, 20), 2600.0, np.float32))
    with pytest.raises(InputError, match="another true model"):
        forecast_inversion(config)
