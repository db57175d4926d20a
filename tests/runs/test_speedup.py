"""S, the time of the solver over that of a surrogate at an equal error against the wave equation."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.dataset.truth import far_from
from data_gen.solver.reference import converged
from surrogate.config import TrainConfig
from surrogate.encodings.coarse_solver import coarse_simulation
from surrogate.encodings.registry import make_encoding
from surrogate.models.surrogate import Surrogate
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import ForwardTask, SolvedTask
from surrogate.runs import speedup as module
from surrogate.runs.inverse_speedup import charged, fastest
from surrogate.runs.speedup import equal_error_seconds, read_cases, reason_against, solver_settings, speedup
from surrogate.runs.timing import training_seconds
from tests.helpers import encoding_config, task_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

SMALL = FNOConfig(width=4, depth=1, modes=[3, 3], mlp_ratio=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    """One model with two shots in the test split, and every kind of record.

    The record is long enough for waves to leave: a Fourier sum that ends earlier depends on where it ends.
    """
    config = tiny_config(
        tmp_path_factory.mktemp("data") / "set",
        records=["snapshots", "gathers", "harmonic"],
        frequencies=[12.0, 20.0],
        nt=401,
        sources=2,
        source_depths=[20, 60],
        train=2,
        validation=1,
        test=1,
    )
    dataset.generate(config)
    return config


def settings(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"error": error, "seconds": seconds} for error, seconds in pairs]


@pytest.mark.parametrize("error", [0.08, 0.03, 0.011])
def test_a_power_law_is_read_off_exactly(error):
    """Log t is linear in log e between settings: t = e^(-3/4) comes back within rounding."""
    law = settings(*((e, e**-0.75) for e in (0.1, 0.04, 0.02, 0.01)))
    assert equal_error_seconds(law, error) == pytest.approx(error**-0.75, rel=1e-12)


def test_the_cheapest_setting_counts():
    """A setting that errs less and takes less makes the others useless; beyond the ends the times of the ends hold."""
    found = settings((0.1, 1.0), (0.05, 3.0), (0.02, 2.0), (0.01, 8.0))
    assert equal_error_seconds(found, 0.05) == pytest.approx(2.0)
    assert equal_error_seconds(found, 0.5) == pytest.approx(1.0)
    assert equal_error_seconds(found, 0.001) == pytest.approx(8.0)
    assert equal_error_seconds(found[::-1], 0.05) == pytest.approx(2.0)


def test_settings_end_with_the_data_and_keep_its_records(data):
    """Cells from the largest that the error's law knows down to the data's own, all of the same records."""
    spec = data.create()
    found = solver_settings(spec)
    spacings = [simulation.solved_spacing for simulation in found]
    assert found[-1] == spec.simulation and len(found) == module.SETTINGS
    assert spacings == sorted(spacings, reverse=True) and len(set(spacings)) == len(spacings)
    assert spacings[0] == pytest.approx(module.COARSEST * spec.slowest / data.peak_frequency, rel=1e-2)
    for name in ("grid", "time", "snapshot_steps", "frequencies"):
        assert {getattr(simulation, name) for simulation in found} == {getattr(spec.simulation, name)}


@pytest.mark.parametrize("name", ["wavefield", pytest.param("gather", marks=pytest.mark.slow), "harmonic"])
def test_a_surrogate_without_a_correction_errs_as_its_coarse_solver_does(data, name, monkeypatch):
    """With a correction of zero, predictions and gradients are those of the coarse solver, whose setting is timed too.

    Rounding in float32 is 1e-4 of an error of some percent.
    """
    run = TrainConfig(data=data, task=task_config(name), model=SMALL, encoding=encoding_config("coarse"))
    task = run.task.create(data.create())
    assert isinstance(task, SolvedTask)
    encoding = make_encoding(run.encoding, task)
    operator = SMALL.create(encoding.media + encoding.channels, task.outputs, rngs=nnx.Rngs(0))
    model = Surrogate(task, encoding, operator)
    model.set_statistics(model.statistics._replace(residual_rms=jnp.zeros_like(model.statistics.residual_rms)))
    own = task.spec.simulation
    pair = [coarse_simulation(own, task.spec.slowest, 2.0), own]
    monkeypatch.setattr(module, "solver_settings", lambda spec: pair)

    result = speedup(model, run, 120.0, samples=3, repeats=1)

    assert (result["samples"], result["shots"]) == (1, 2)
    kinds = ["predictions", *(["gradients"] if isinstance(task, ForwardTask) else [])]
    assert [kind for kind in result if kind in ("predictions", "gradients")] == kinds
    for kind in kinds:
        found = result[kind]
        coarse, fine = (setting["error"] for setting in found["settings"])
        assert found["error"] == pytest.approx(coarse, rel=1e-4)
        assert fine < 0.5 * coarse
        assert found["S"] == pytest.approx(found["solver_seconds"] / found["seconds"])
    found = result["predictions"]
    assert found["S_of_no_operator"] == pytest.approx(found["solver_seconds"] / found["encoding_seconds"])
    assert found["encoding_seconds"] > 0
    assert "S_of_no_operator" not in result.get("gradients", {})

    # The error by another way: both simulations at once, all but what is near the source.
    ((velocity, sources),) = read_cases(data.path, task, 1)
    solve = jax.jit(task.solve, static_argnums=2)
    near, truth = (np.asarray(solve(velocity, sources, s), float) for s in (pair[0], converged(own)))
    far = far_from(task.points, sources, module.NEAR * own.grid.spacing)
    errors = []
    for k, (a, b) in enumerate(zip(near, truth, strict=True)):
        mask = far[k]
        errors.append(np.linalg.norm((a - b) * mask) / np.linalg.norm(b * mask))
    assert result["predictions"]["error"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_what_training_and_data_have_cost(data, tmp_path):
    """Steps are timed by the curves: 10 of 16 samples at 2 a second, then 10 at 4; four models of two shots."""
    rows = [{"step": 10, "samples_per_s": 2.0}, {"step": 10, "validation": 0.1}, {"step": 20, "samples_per_s": 4.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = training_seconds(tmp_path, 16)
    found = {"solver_seconds": 2.0, "seconds": 1.0}
    cost = module._cost(TrainConfig(data=data), training, 6.0, found)
    assert cost == {"training_seconds": 120.0, "data_seconds": 24.0, "simulations": 72.0, "break_even": 144.0}
    assert module._cost(TrainConfig(data=data), training, 6.0, found | {"seconds": 2.0})["break_even"] is None


def test_tasks_that_do_not_replace_the_solver_say_so(data):
    """A propagator starts from states that somebody has to simulate first."""
    late = tiny_config("unused", snapshot_times=[0.2, 0.22, 0.24], nt=401)
    assert "does not solve" in reason_against(task_config("propagator").create(late.create()))
    assert reason_against(task_config("gather").create(data.create())) == ""


def test_silent_examples_and_answers_without_a_size():
    """An example whose truth is zero has no relative error; an answer that is not finite is a reason, not a number."""
    truth = np.stack([np.zeros((3, 2)), np.ones((3, 2))])
    errors = module._errors(truth + 0.1, truth, np.ones_like(truth, bool))
    assert errors == pytest.approx([0.1])
    bad: dict[str, Any] = {"0": lambda: truth, module.OURS: lambda: truth * np.nan}
    with pytest.raises(InputError, match="not finite"):
        module._measured(bad, [], [()], [truth], [np.ones_like(truth, bool)], shots=2, repeats=1)


def test_an_inversion_is_charged_for_its_simulations_by_stage():
    """A gradient counts as three simulations of each shot; each stage has a price of its own."""
    used, stages = np.array([12.0, 24.0, 36.0, 42.0]), np.array([0.0, 0.0, 1.0, 1.0])
    assert charged(used, stages, 2, [1.0, 5.0]).tolist() == [2.0, 4.0, 14.0, 19.0]


def test_the_fastest_inversion_with_the_error_counts():
    """Of each model the cheapest inversion that has the operator's error, and else the cheapest of all, as a bound."""

    def path(seconds: float, error: float) -> dict[str, list[float]]:
        return {"seconds": [1.0, seconds], "errors": [0.3, error]}

    one, other = [path(7.0, 0.05), path(2.0, 0.2)], [path(4.0, 0.2), path(3.0, 0.2)]
    assert fastest([one, other], [0.1, 0.1]) == ((7.0 + 2.0) / 2, 1)
    assert fastest([one, other], [0.2, 0.2]) == ((4.0 + 2.0) / 2, 2)
    assert fastest([one, other], [0.01, 0.1]) == ((4.0 + 2.0) / 2, 0)
