"""Runs of earlier versions load in this one, with one call, and predict what they did.

`tests/checkpoints/vN` is a run of a few steps with what it predicted then. `python -m tests.runs.test_checkpoints vN`
makes one: do so when what a run's folder holds has changed, and leave the others as they are. The encoding is the
source map, so that nothing but the operator, its normalization and the folder is held to it.
"""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_gen.dataset import generation as dataset
from surrogate.config import TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.fit import fit
from surrogate.runs.folder import CONFIG
from surrogate.runs.load import best_step, load_surrogate
from surrogate.runs.predict import predict
from surrogate.runs.provenance import PROVENANCE
from surrogate.training.config import TrainingConfig
from surrogate.training.optimizer import make_optimizer
from surrogate.training.state import TrainState
from surrogate.training.tracking import TrackingConfig
from tests.helpers import tiny_config

FOLDER = Path(__file__).parents[1] / "checkpoints"
VERSIONS = sorted(path.name for path in FOLDER.glob("v*"))


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Velocities `(2, 24, 20)` [m/s] and sources `(2, 2)` [m]."""
    depth = np.arange(24, dtype=np.float32)[:, None] + np.zeros((24, 20), np.float32)
    velocity = np.stack([2000 + 40 * depth, np.where(depth > 12, 3000, 2200)]).astype(np.float32)
    return velocity, np.array([[20.0, 100.0], [60.0, 40.0]], np.float32)


@pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")
@pytest.mark.parametrize("version", VERSIONS)
def test_runs_of_earlier_versions_load(version):
    """To 1e-5 of the largest value: float32, sums in another order. Loading touches nothing in the folder."""
    run = FOLDER / version
    files = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert sum(path.stat().st_size for path in files) < 200_000
    prediction = np.asarray(predict(load_surrogate(run), *examples()))
    with np.load(run / "expected.npz") as expected:
        assert np.abs(expected["prediction"]).max() > 0
        np.testing.assert_allclose(prediction, expected["prediction"], atol=1e-5 * np.abs(prediction).max())
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == files


def test_there_is_a_run_of_an_earlier_version():
    assert VERSIONS


def test_training_states_of_earlier_versions_are_restored(tmp_path):
    """They stored (model, optimizer), with the step and the monitor inside the optimizer as its `guard`."""
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    _, fresh = TrainState.create(model, make_optimizer(model, TrainingConfig(ema=0.5)))
    monitor = fresh.monitor._replace(running=jnp.array(0.5), accepted=jnp.array(3))
    state = jax.tree.map(lambda leaf: leaf + 1, fresh)._replace(step=jnp.array(7), monitor=monitor).to_dict()
    guard = {**state["monitor"], "step": state["step"]}
    guard["count"] = guard.pop("accepted")
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save_last(7, {0: state["model"], 1: state["optimizer"] | {"guard": guard}}, {"step": 7})
        restored, progress = checkpoints.restore_last(fresh.to_dict())
    again = fresh.from_dict(restored).to_dict()
    assert progress == {"step": 7} and int(again["step"]) == 7
    jax.tree.map(np.testing.assert_array_equal, again, state)


def make(folder: Path) -> None:
    """Train a tiny surrogate and keep, in `folder`, what is needed to load it, and what it predicts."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        config = TrainConfig(
            run="runs/tiny",
            data=tiny_config("data/tiny"),
            model=FNOConfig(width=4, depth=1, modes=[2, 2], mlp_ratio=2),
            encoding=SourceMapConfig(),
            training=TrainingConfig(steps=8, warmup_steps=1, learning_rate=1e-2, validate_every=4, ema=0.5),
            tracking=TrackingConfig("disabled"),
        )
        dataset.generate(config.data)
        fit(config)
        best = Path("checkpoints/best", str(best_step(config.run)))
        # Where it was made is nobody's business, and not needed.
        shutil.copytree(config.run / best, folder / best, ignore=shutil.ignore_patterns("commit_success.txt"))
        for name in (CONFIG, PROVENANCE):
            shutil.copy(Path(config.run, name), folder)
        np.savez_compressed(folder / "expected.npz", prediction=predict(load_surrogate(folder), *examples()))


if __name__ == "__main__":
    make(FOLDER / sys.argv[1])
