"""An interrupted inversion resumes with the same bits, and takes no other inversion's progress."""

import os
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.common.interruption import ENDING, Interrupted
from surrogate.config import InvertConfig
from surrogate.inversion import descent
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.descent import StopInversion, invert
from surrogate.inversion.optimizers import OPTIMIZERS
from surrogate.inversion.optimizers.protocol import simulations
from surrogate.runs import invert as runs
from surrogate.runs.invert import PROGRESS, run_inversion
from tests.helpers import tiny_config
from tests.inversion.toy import Toy

START = 2500.0 + 100.0 * np.sin(np.arange(30.0)).reshape(6, 5)
TRUTH = 2500.0 + 300.0 * np.cos(np.arange(30.0)).reshape(6, 5)
CONFIG = InversionConfig(iterations=9, bounds=[2250.0, 2780.0], check_every=4)


class Killed(Exception):
    """Stands for a kill: nothing runs after it but what was stored before."""


@pytest.fixture(autouse=True)
def store_always(monkeypatch):
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)


def shoot(config, path=None, on_progress=lambda iteration, values: None, **changes):
    forward = Toy(1.0)
    observed = forward(jnp.asarray(TRUTH, jnp.float32))
    arguments = {"truth": jnp.clip(TRUTH, *config.bounds), "solver": Toy(1.0), "resume": path} | changes
    return invert(forward, observed, jnp.asarray(START), config, on_progress=on_progress, **arguments)


def killed_at(*iterations):
    """A listener that is killed the first time that it hears of each iteration, and the iterations it heard of."""
    left, heard = set(iterations), []

    def listen(iteration, values):
        heard.append(iteration)
        if iteration in left:
            left.remove(iteration)
            raise Killed

    return listen, heard


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_bits(optimizer, tmp_path):
    """Killed twice: every array of the result is that of an inversion that was not interrupted."""
    config, path = replace(CONFIG, optimizer=optimizer), tmp_path / "progress.npz"
    whole = shoot(config)
    listen, heard = killed_at(3, 6)
    for _ in range(2):
        with pytest.raises(Killed):
            shoot(config, path, listen)
    pieces = shoot(config, path, listen)
    assert len(whole.misfit) > 7
    assert heard == [*range(4), *range(2, 7), *range(5, len(whole.misfit))]
    for name, value in whole._asdict().items():
        np.testing.assert_array_equal(value, getattr(pieces, name), err_msg=name)


def test_stopped_by_its_listener(tmp_path):
    """The best model so far is the result, and the same call goes on to the bits of one that was never stopped."""
    stages = [StageConfig(iterations=3), StageConfig(iterations=4)]
    config, path = replace(CONFIG, optimizer="lbfgs", stages=stages), tmp_path / "progress.npz"
    whole = shoot(config)
    for last in (2, 3, 4, 6):  # within the first stage, at its end, at the start of the next one and within it

        def stop(iteration, values, last=last):
            if iteration >= last:
                raise StopInversion("enough")

        part = shoot(config, path, stop)
        assert part.stopped == "enough" and len(part.misfit) == last + 1
        np.testing.assert_array_equal(part.misfit, whole.misfit[: last + 1])
        np.testing.assert_array_equal(part.velocity, part.stage_models[-1])
        assert simulations(part.simulations)["weighted"] == part.used[-1]
    pieces = shoot(config, path)
    for name, value in whole._asdict().items():
        np.testing.assert_array_equal(value, getattr(pieces, name), err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": replace(CONFIG, learning_rate=10.0)},
        {"weights": np.array([1.0, 0.5, 1.0]).reshape(3, 1, 1)},
        {"truth": None},
        {"identity": "other weights of the surrogate"},
    ],
)
def test_progress_of_another_inversion(changes, tmp_path):
    path = tmp_path / "progress.npz"
    listen, _ = killed_at(2)
    with pytest.raises(Killed):
        shoot(CONFIG, path, listen)
    before = path.read_bytes()
    with pytest.raises(InputError, match="progress of another inversion"):
        shoot(changes.pop("config", CONFIG), path, **changes)
    assert path.read_bytes() == before


def test_a_folder_that_was_interrupted(tmp_path, monkeypatch):
    """The command's function resumes, and leaves no progress behind."""
    config = InvertConfig(
        out=str(tmp_path / "out"),
        data=tiny_config(tmp_path / "unused"),
        inversion=InversionConfig(iterations=3, shots=1, optimizer="lbfgs"),
    )
    whole = run_inversion(replace(config, out=str(tmp_path / "whole")))
    listen, heard = killed_at(2)
    with pytest.raises(Killed):
        run_inversion(config, lambda i, values: None if "predicted_peak" in values else listen(i, values))
    assert (tmp_path / "out" / PROGRESS).exists()
    summary = run_inversion(config, lambda i, values: None if "predicted_peak" in values else listen(i, values))
    assert heard == [0, 1, 2, 1, 2, 3]
    assert not (tmp_path / "out" / PROGRESS).exists()
    assert {k: v for k, v in summary.items() if k != "environment"} == {
        k: v for k, v in whole.items() if k != "environment"
    }
    results = [np.load(tmp_path / name / "result.npz")["velocity"] for name in ("whole", "out")]
    np.testing.assert_array_equal(*results)
    monkeypatch.setattr(runs, "invert", None)
    assert run_inversion(config) == summary


@pytest.mark.parametrize(
    "number", [ENDING[0], *(pytest.param(number, marks=pytest.mark.slow) for number in ENDING[1:])]
)
def test_a_signal_ends_after_the_iteration(number, tmp_path):
    """The iteration under way is finished and kept, and the same command ends with the same bits."""
    config = InvertConfig(
        out=str(tmp_path / "whole"),
        data=tiny_config(tmp_path / "unused"),
        inversion=InversionConfig(iterations=3, shots=1, optimizer="lbfgs"),
    )
    run_inversion(config)
    config, heard = replace(config, out=str(tmp_path / "out")), []

    def interrupt(iteration: int, values: dict[str, float]) -> None:
        if "misfit" in values:
            heard.append(iteration)
            if heard == [0, 1]:
                os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="Iteration 1 is saved"):
        run_inversion(config, interrupt)
    assert not (tmp_path / "out" / "inversion.json").exists()
    run_inversion(config, interrupt)
    assert heard == [0, 1, 1, 2, 3]
    results = [np.load(tmp_path / name / "result.npz")["velocity"] for name in ("whole", "out")]
    np.testing.assert_array_equal(*results)
