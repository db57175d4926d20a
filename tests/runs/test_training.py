"""Training: resume to the bit, self-describing runs, refusals before anything is lost; the entry points' configs."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.hydra_app import typed
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate import config as configs
from surrogate.commands import train
from surrogate.config import EvaluateConfig, InvertConfig, RealModelConfig, TrainConfig
from surrogate.inversion.config import InversionConfig
from surrogate.metrics.errors import relative_l2
from surrogate.models.modes_check import check_modes
from surrogate.models.surrogate import training_statistics
from surrogate.operators.fno import FNOConfig
from surrogate.runs import speedup
from surrogate.runs.checkpoints import CheckpointError
from surrogate.runs.evaluate import evaluate
from surrogate.runs.fit import fit
from surrogate.runs.folder import from_plain
from surrogate.runs.invert import run_inversion
from surrogate.runs.load import load_surrogate
from surrogate.runs.predict import predict
from surrogate.tasks.wavefield import WavefieldConfig
from surrogate.training.batches import ordered_batches, training_batches
from surrogate.training.config import TrainingConfig
from surrogate.training.mode_schedule import ModeSchedule
from surrogate.training.tracking import TrackingWarning
from tests.helpers import LOOPBACK, ROOT, encoding_config, listening, tiny_config

configs.register()
# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


def train_config(data: DataConfig, run: Path, **training) -> TrainConfig:
    settings: dict[str, Any] = {"steps": 12, "batch_size": 4, "warmup_steps": 2, "log_every": 2, "validate_every": 4}
    settings |= {"checkpoint_every": 4} | training
    config = TrainConfig(
        run=str(run),
        data=data,
        model=FNOConfig(width=8, depth=2, modes=[4, 4]),
        training=TrainingConfig(**settings),
    )
    config.tracking.mode = "disabled"
    return config


def overrides(config: TrainConfig) -> list[str]:
    """The command line that says `config`."""

    def lines(prefix: str, values: dict[str, Any]) -> list[str]:
        nested = [lines(f"{prefix}.{k}", v) for k, v in values.items() if isinstance(v, dict)]
        flat = [f"{prefix}.{k}={v}".replace(" ", "") for k, v in values.items() if not isinstance(v, dict)]
        return sum(nested, flat)

    start = [f"run={config.run}", "data=tiny", f"data.path={config.data.path}", "encoding=coarse"]
    start += [f"tracking.mode={config.tracking.mode}"]
    return start + lines("model", asdict(config.model)) + lines("training", asdict(config.training))


def weights(run) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_surrogate(run)))]


def eventful(data: DataConfig, run: Path) -> TrainConfig:
    """All that a resumed run must carry on: averages, parts of a batch, modes still off, random drops."""
    schedule = ModeSchedule(start=0.5, steps=10)
    config = train_config(data, run, batch_size=8, ema=0.5, accumulate=2, mode_schedule=schedule, checkpoint_every=5)
    config.model = FNOConfig(width=8, depth=2, modes=[4, 4], drop_path=0.2)
    return config


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Iterator[TrainConfig]:
    """A run with W&B's record offline.

    Listeners, those of W&B's service among them, and of all that the tests do with the run, are on the loopback.
    tests/network.py looks at calls of this process, and test_tracking.py at those of the service.
    """
    config = eventful(data, tmp_path_factory.mktemp("runs") / "whole")
    config.tracking.mode = "offline"
    listeners = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        fit(config, on_progress=lambda step, values: listeners.update(listening()))
    assert listeners <= set(LOOPBACK)
    yield config
    assert set(listening()) <= set(LOOPBACK)


def test_training_learns_and_logs(trained, data):
    """The best weights beat the coarse solver they start from, on validation; the curves are on disk."""
    rows = [json.loads(row) for row in (Path(trained.run) / "metrics.jsonl").read_text().splitlines()]
    validation = [row["validation"] for row in rows if "validation" in row]
    logged = [row for row in rows if "loss" in row]
    assert len(validation) == 3 and [row["step"] for row in logged] == [2, 4, 6, 8, 10, 12]
    assert {"loss", "grad_norm", "learning_rate", "samples_per_s"} <= set(logged[0])
    model = load_surrogate(trained.run)
    batch = next(ordered_batches(data.path, "validation", 4, model.task))
    error = float(
        relative_l2(predict(model, batch["velocity"], batch["source"]), jnp.asarray(batch["snapshots"])).mean()
    )
    np.testing.assert_allclose(error, min(validation), rtol=1e-5)
    (offline,) = (Path(trained.run) / "wandb").glob("offline-run-*/*.wandb")
    recorded = offline.read_bytes()
    digest = json.loads((Path(trained.run) / "provenance.json").read_text())["dataset"]["digest"]
    assert f"dataset-{digest}".encode() in recorded and b"media/images/fields" in recorded
    assert b"model-" in recorded and b"checkpoints/best/" in recorded


def test_statistics_are_of_the_training_split_alone(trained, data):
    """The saved normalization equals numpy's over the training records."""
    model = load_surrogate(trained.run)
    velocities = np.stack([record["velocity"] for record in dataset.data_source(data.path, "train")])
    np.testing.assert_allclose(model.medium_mean[0], velocities.mean(), rtol=1e-5)
    np.testing.assert_allclose(model.medium_std[0], velocities.std(), rtol=1e-4)
    once = training_statistics(model, ordered_batches(data.path, "train", 16, model.task))
    np.testing.assert_allclose(model.residual_rms[...], once.residual_rms, rtol=1e-5)


def test_resumed_bitwise_after_sigkill_and_sigterm(trained, data, tmp_path, monkeypatch, capsys):
    """Killed, then preempted in mid-training, run again by the command: the same final weights, bit for bit.

    SIGTERM comes between two checkpoints: the step under way is finished and saved.
    """
    config = eventful(data, tmp_path / "killed")
    command = ["train.py", *overrides(config)]
    last, curves = Path(config.run) / "checkpoints" / "last", Path(config.run) / "metrics.jsonl"

    def interrupt(process: int, reached: Callable[[], bool], number: signal.Signals) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if reached():
                return os.kill(process, number)
            time.sleep(0.002)

    def logged(step: int) -> bool:
        rows = curves.read_text().splitlines() if curves.exists() else []
        return any(f'"step": {step},' in row and '"loss"' in row for row in rows)

    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    interrupt(process.pid, (last / "5").exists, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not logged(8)
    # A process that is not killed can be this one, which has less to import.
    monkeypatch.setattr(sys, "argv", command)
    watcher = Thread(target=interrupt, args=(os.getpid(), lambda: logged(6), signal.SIGTERM))
    watcher.start()
    with pytest.raises(SystemExit) as ended:
        train.main()
    watcher.join()
    assert ended.value.code == 128 + signal.SIGTERM
    assert re.search(r"SIGTERM\. Interrupted at step [6-9] of 12, which is saved", capsys.readouterr().err)
    train.main()
    for ours, theirs in zip(weights(config.run), weights(trained.run), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows, whole = (
        [json.loads(row) for row in (Path(run) / "metrics.jsonl").read_text().splitlines()]
        for run in (config.run, trained.run)
    )
    for row in rows + whole:
        row.pop("samples_per_s", None)
    assert rows == whole


# `train.py`, killed by itself: as the save of a step takes its name, or between the save of its best and of its last.
DYING = """
import os, runpy, signal, sys
from surrogate.runs.checkpoints import Checkpoints

moment, step = sys.argv.pop(1), int(sys.argv.pop(1))
save = Checkpoints.save_last

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if moment == "naming" and event == "os.rename" and f"/last/{step}.orbax-checkpoint-tmp" in str(arguments[0]):
        die()

def save_last(self, reached, *rest):
    if moment == "between" and reached == step:
        die()
    save(self, reached, *rest)

sys.addaudithook(watch)
Checkpoints.save_last = save_last
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.slow
def test_resumed_bitwise_after_a_kill_in_mid_save(trained, data, tmp_path):
    """Training does not resume from a half-saved state, nor is the state in the way; W&B resumes under the same id."""
    config = eventful(data, tmp_path / "killed")
    config.tracking.mode = "offline"
    checkpoints = Path(config.run) / "checkpoints"

    def run(*command: str) -> int:
        command = (sys.executable, *command, *overrides(config))
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode

    def saved(kind: str) -> set[str]:
        return {path.name for path in (checkpoints / kind).iterdir() if path.name.isdigit()}

    assert run("-c", DYING, "naming", "10") == -signal.SIGKILL
    assert list(checkpoints.glob("last/10.orbax-checkpoint-tmp*")) and saved("last") == {"5"}
    assert run("-c", DYING, "between", "12") == -signal.SIGKILL
    assert "12" in saved("best") and saved("last") == {"5", "10"}
    assert run("train.py") == 0
    for ours, theirs in zip(weights(config.run), weights(trained.run), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    identity = json.loads((Path(config.run) / "tracking.json").read_text())["id"]
    parts = [path.name for path in (Path(config.run) / "wandb").glob("offline-run-*")]
    assert len(parts) == 1 and parts[0].endswith(f"-{identity}")


def test_a_finished_run_is_left_alone(trained):
    before = weights(trained.run)
    stamp = (Path(trained.run) / "metrics.jsonl").stat().st_mtime_ns
    fit(trained)
    assert (Path(trained.run) / "metrics.jsonl").stat().st_mtime_ns == stamp
    for a, b in zip(before, weights(trained.run), strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_are_deterministic_and_resume(data):
    """Two epochs see every sample twice; a restored state continues with the very next batch."""

    def indices(batches, count):
        return [next(batches)["source"].tobytes() + next(batches)["velocity"][0].tobytes() for _ in range(count)]

    task = WavefieldConfig().create(data.create())
    first, second = (training_batches(data, 4, 1, task) for _ in range(2))
    assert indices(first, 3) == indices(second, 3)
    state = first.get_state()
    ahead = indices(first, 2)
    third = training_batches(data, 4, 1, task)
    third.set_state(json.loads(json.dumps(state)))
    assert indices(third, 2) == ahead
    epoch = training_batches(data, 4, 2, task)
    seen = [row.tobytes() for _ in range(8) for row in next(epoch)["velocity"]]
    assert sorted(seen[:16]) == sorted(seen[16:]) and seen[:16] != seen[16:] and len(set(seen)) == 16


def test_evaluation(trained, tmp_path, monkeypatch):
    """The metrics' layout is a contract; the coarse solver's own error is stored next to the surrogate's."""
    monkeypatch.setattr(speedup, "SETTINGS", 2)  # quicker to compile
    model = tmp_path / "model.npz"
    velocity = 2000.0 + 20.0 * np.arange(40)[:, None] + np.zeros(60)
    np.savez(model, velocity=velocity, spacing=8.0)
    real = RealModelConfig(str(model))
    asked = EvaluateConfig(
        trained.run, batch_size=4, repeats=1, speedup_samples=1, gradient_samples=1, inversion_samples=0, real=real
    )
    result = evaluate(asked)
    stored = json.loads((Path(trained.run) / "metrics.json").read_text())
    assert stored == json.loads(json.dumps(result))
    for table in (stored, stored["coarse_solver"], stored["real_model"]["surrogate"]):
        assert set(table["relative_l2"]) == {"mean", "median", "p90", "per_snapshot"}
        assert set(table["bands"]) == {"low", "middle", "high"} and table["gather_misfit"]["mean"] > 0
    assert len(stored["relative_l2"]["per_snapshot"]) == 3
    assert {"surrogate", "coarse_solver", "solver"} <= set(stored["seconds_per_sample"])
    report = (Path(trained.run) / "report.html").read_text()
    for kind in ("predictions", "gradients"):
        found = stored["speedup"][kind]
        assert len(found["settings"]) == 2 and 0 < found["error"] < 2
        assert found["S"] == pytest.approx(found["solver_seconds"] / found["seconds"])
    for place in (*stored["gradients"]["path"].values(), stored["gradients"]["truth"]):
        assert set(place) == {"surrogate", "coarse_solver"} and -1 <= place["surrogate"]["cosine"]["worst"] <= 1
    assert "Gradients of a misfit, wavefield" in report
    assert "Time at an equal error, wavefield" in report and "Error over time, wavefield" in report
    # Two figures of each of three examples, the errors by snapshot, the model from a file and a shot, the curves, and
    # errors over times of predictions and of gradients.
    frames = 3 * len(result["drawn"])  # of the movies: a snapshot each
    assert report.count("data:image/png;base64") == 12 + frames and 'src="http' not in report
    with (Path(trained.run) / "errors_test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sample"], row["example"]) for row in rows] == [(str(i), "0") for i in range(stored["test_samples"])]
    for method, table in (("surrogate", stored), ("coarse_solver", stored["coarse_solver"])):
        errors = np.array([float(row[f"{method}.relative_l2"]) for row in rows])
        np.testing.assert_allclose(errors.mean(), table["relative_l2"]["mean"], rtol=1e-6)  # float32 in text
    errors = np.array([float(row["surrogate.relative_l2"]) for row in rows])
    for which, index in (("best", errors.argmin()), ("worst", errors.argmax())):
        assert stored["drawn"][which]["sample"] == index and f"sample {index}, example 0" in report
    assert len(list(Path(trained.run).glob("errors_file.csv"))) == 1
    with pytest.raises(InputError, match="looks like km/s"):
        np.save(tmp_path / "slow.npy", velocity / 1000)
        evaluate(EvaluateConfig(run=trained.run, real=RealModelConfig(str(tmp_path / "slow.npy"))))


def test_surrogate_inversion_reports_the_true_misfit(trained, tmp_path):
    config = InvertConfig(
        out=str(tmp_path / "fwi"),
        forward="surrogate",
        run=trained.run,
        data=trained.data,
        inversion=InversionConfig(kind="wavefield", iterations=4, shots=2, check_every=2, smoothing=3.0),
    )
    summary = run_inversion(config)
    assert summary["true_misfit"]["start"] > 0 and summary["true_misfit"] != summary["misfit"]
    assert not (tmp_path / "fwi" / "comparison.npz").exists()  # wavefields have no offsets
    with np.load(tmp_path / "fwi" / "result.npz") as result:
        assert np.isfinite(result["true_misfit"][[0, 2, 4]]).all() and np.isnan(result["true_misfit"][1])
    config = replace(config, out=str(tmp_path / "other"), data=tiny_config(trained.data.path, peak_frequency=14.0))
    with pytest.raises(InputError, match=r"another simulation \(peak_frequency: 15.0 -> 14.0\)"):
        run_inversion(config)
    deep = replace(config, data=trained.data, inversion=replace(config.inversion, source_depth=220.0))
    with pytest.raises(InputError, match=r"another geometry: its sources were 20 to 200 m deep, but .* is 220 m"):
        run_inversion(deep)
    assert not (tmp_path / "other").exists()


# --- bad input ------------------------------------------------------------------------------------------------


def test_a_run_of_another_config_is_refused(trained, data):
    config = train_config(data, Path(trained.run), steps=13)
    moved = replace(trained, run=trained.run + "/")
    moved.tracking = replace(moved.tracking, mode="offline")
    fit(moved)  # another spelling of the same folder is the same run
    before = sorted(file.name for file in Path(trained.run).iterdir())
    with pytest.raises(InputError, match=r"another config \(.*training.steps: 12 -> 13"):
        fit(config)
    assert sorted(file.name for file in Path(trained.run).iterdir()) == before


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"batch_size": 6}, "cannot be split over 4 devices"),
        ({"steps": 0}, "at least 1"),
        ({"warmup_steps": 99}, "warmup"),
    ],
)
def test_bad_training(data, tmp_path, training, message):
    with pytest.raises(InputError, match=message):
        fit(train_config(data, tmp_path / "bad", **training))
    assert not (tmp_path / "bad").exists()


def test_too_many_modes_leave_no_folder(data, tmp_path):
    config = replace(train_config(data, tmp_path / "bad"), model=FNOConfig(modes=[16, 16]))
    with pytest.raises(InputError, match="cannot carry 16 x 16 modes"):
        fit(config)
    assert not (tmp_path / "bad").exists()


def test_a_gradient_that_is_not_finite_keeps_the_last_good_checkpoint(data, tmp_path):
    """A learning rate that overflows float32: stopped in one paragraph, and nothing spoilt is saved."""
    config = train_config(data, tmp_path / "nan", learning_rate=1e30, log_every=1, checkpoint_every=1, warmup_steps=0)
    config.model, config.encoding = FNOConfig(width=4, depth=1, modes=[2, 2]), encoding_config("source_map")
    with pytest.raises(NumericalError, match=r"The loss is .* at step \d+\. The last good checkpoint"):
        fit(config)
    rows = [json.loads(row) for row in (tmp_path / "nan" / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_predict_checks_its_input(trained):
    model = load_surrogate(trained.run)
    velocity, source = np.full((1, 24, 20), 2500.0, np.float32), np.array([[20.0, 50.0]], np.float32)
    assert np.isfinite(predict(model, velocity, source)).all()
    with pytest.raises(InputError, match="looks like km/s"):
        predict(model, velocity / 1000, source)
    for bad in ([[20.0, 500.0]], [[np.nan, 50.0]]):
        with pytest.raises(InputError, match="source lies outside the grid"):
            predict(model, velocity, np.array(bad, np.float32))


def test_a_data_set_of_another_grid_is_refused(data, tmp_path):
    other = replace(data, nx=24)
    with pytest.raises(InputError, match=r"does not match the run's config \(nx: 20 -> 24\)"):
        fit(train_config(other, tmp_path / "bad"))
    with pytest.raises(InputError, match="no data set at"):
        fit(train_config(replace(data, path=str(tmp_path / "absent")), tmp_path / "bad"))
    assert not (tmp_path / "bad").exists()


def test_a_checkpoint_of_another_model_is_refused(trained, tmp_path):
    """The shapes are compared before anything is restored."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "checkpoints").symlink_to(Path(trained.run) / "checkpoints")
    config = replace(trained, model=FNOConfig(width=6, depth=2, modes=[4, 4]))
    (fake / "config.json").write_text(json.dumps(asdict(config)))
    with pytest.raises(CheckpointError, match="of another model: operator"):
        load_surrogate(fake)
    with pytest.raises(InputError, match="is not a run"):
        load_surrogate(tmp_path)


def test_a_run_folder_is_data_only(trained, tmp_path):
    """A config that smuggles in an interpolation or a `_target_` is refused, not run."""
    stored = json.loads((Path(trained.run) / "config.json").read_text())
    for smuggled in ({"run": "${oc.env:HOME}"}, {"_target_": "os.system"}):
        (tmp_path / "config.json").write_text(json.dumps(stored | smuggled))
        with pytest.raises(InputError):
            load_surrogate(tmp_path)


# --- the entry points' configs --------------------------------------------------------------------------------


def composed(name: str, *lines: str):
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose(name, overrides=list(lines))


@pytest.mark.parametrize("data", [file.stem for file in (ROOT / "configs/data").glob("*.yaml")])
def test_data_configs_build(data):
    config = typed(composed("train", f"data={data}"), TrainConfig)
    assert config.data.create().simulation.grid.shape == (config.data.nz, config.data.nx)


@pytest.mark.parametrize("encoding", ["source_map", "background", "coarse"])
def test_surrogates_build(encoding):
    config = typed(
        composed("train", f"encoding={encoding}", "model.width=4", "data=tiny", "model.modes=[4,4]"), TrainConfig
    )
    assert config.encoding == encoding_config(encoding)
    velocity, source = jnp.full((2, 24, 20), 2000.0), jnp.full((2, 2), 100.0)
    assert config.create()(velocity, source).shape == (2, 3, 24, 20)


@pytest.mark.parametrize("preset", ["lecture", "gathers", "transmission", "file"])
def test_inversion_presets_build(preset):
    config = typed(composed("invert", f"inversion={preset}"), InvertConfig)
    config.inversion.check()
    config.data.create()


def test_demo_experiment_builds():
    """Its operator keeps every mode that its waves have, so that the demo does not warn of its own preset."""
    config = typed(composed("train", "experiment=demo"), TrainConfig)
    config.training.check()
    task = config.task.create(config.data.create())
    with warnings.catch_warnings(action="error"):
        check_modes(config.model, task)
    assert from_plain(asdict(config), TrainConfig, "itself") == config


def test_misspelt_keys_are_refused():
    with pytest.raises(ConfigCompositionException, match="trainning"):
        composed("train", "trainning.steps=3")
    with pytest.raises(ConfigCompositionException, match="widht"):
        composed("train", "model.widht=3")


def test_errors_are_one_paragraph(tmp_path):
    """From the command line: the message and exit status 1, no traceback."""
    command = [sys.executable, "evaluate.py", f"run={tmp_path}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "Traceback" not in result.stderr
