"""A memory budget holds for every stage, of the shots that it simulates at once on its own cells."""

import weakref
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from data_gen.common.errors import InputError
from surrogate.config import InvertConfig
from surrogate.inversion import descent
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.shot_sharding import ShotsConfig
from surrogate.inversion.stage import InversionProblem, check_stages, make_stage
from surrogate.inversion.stage_data import StageData
from surrogate.runs.invert import run_inversion
from tests.helpers import relative, tiny_config
from tests.inversion.toy import Toy

SHAPE = (21, 31)
HELD = np.zeros(SHAPE, bool)
START = np.full(SHAPE, 2400.0, np.float32)
TRUTH = START + 200.0 * np.exp(-((np.mgrid[:21, :31] - [[[10]], [[15]]]) ** 2).sum(axis=0) / 20.0).astype(np.float32)
BOUNDS = [1900.0, 3200.0]
COARSE, FINE = StageConfig(highest_frequency=6.0), StageConfig(highest_frequency=20.0, spacing=10.0)


@pytest.fixture(scope="module")
def forward():
    """Return a line of six shots."""
    simulation = Simulation(Grid(SHAPE, 12.5), TimeAxis(151, 2e-3), 3200.0, 10.0, widths=(8, 8, 8, 8))
    sources = np.array([[25.0, 12.5 * column] for column in (2, 7, 12, 17, 22, 27)])
    return PhysicsForward(
        simulation, make_survey(sources, surface_line(simulation.grid, 25.0), ricker(simulation.time, 10.0))
    )


@pytest.fixture(scope="module")
def observed(forward):
    return jax.jit(forward.__call__)(jnp.asarray(TRUTH))


def plans(forward, budget=None, **settings):
    return check_stages(InversionConfig(bounds=BOUNDS, **settings), forward, START, HELD, None, memory_budget=budget)


def stage_within(forward, observed, budget=None, **settings) -> Any:
    config = InversionConfig(bounds=BOUNDS, **settings)
    data = StageData(forward, observed, None)
    return make_stage(InversionProblem(config, data, None, jnp.asarray(START), HELD, memory_budget=budget), 0, START)


def test_smaller_budgets_take_smaller_groups(forward, observed):
    """Predicted peaks are within each budget, and gradients are the same but for the order of float32 sums."""
    stages = {"stages": [COARSE]}
    ((whole,),) = plans(forward, **stages)
    assert whole.at_once is None
    stage = stage_within(forward, observed, **stages)
    gradient, groups = stage.objective.value_and_gradient(stage.x)[1], []
    assert plans(forward, float(whole.peak), **stages)[0][0].at_once in (None, 6)
    for part in (0.6, 0.3):
        ((plan,),) = plans(forward, part * whole.peak, **stages)
        assert plan.peak <= part * whole.peak
        stage = stage_within(forward, observed, part * whole.peak, **stages)
        model = stage.objective.data.forward
        assert (model.simulation.memory, model.at_once) == (plan.memory, plan.at_once)
        assert relative(stage.objective.value_and_gradient(stage.x)[1], gradient) < 1e-5
        groups.append(plan.at_once)
    assert 6 > groups[0] > groups[1]


def test_each_stage_has_its_own_cells(forward):
    """Waves of 6 Hz need fewer cells and steps than the inversion's own: a budget that is small for these fits them."""
    ((coarse,), (fine,)) = plans(forward, stages=[COARSE, FINE])
    assert coarse.peak < 0.6 * forward.peak() < 0.6 * fine.peak
    ((first,), (second,)) = plans(forward, float(coarse.peak), stages=[COARSE, FINE])
    assert first == coarse and second.at_once is not None and second.peak <= coarse.peak


def test_a_batch_counts_its_own_shots(forward, observed):
    """A batch of four evaluates two shots at a time, and super-shots have several sources: plans are of these.

    The true misfit simulates all shots, without keeping their past; probes of the preconditioner take their gradients.
    """
    pair, single = (replace(forward, survey=forward.survey.select(np.arange(count))) for count in (2, 1))
    fitted, checked = plans(forward, batch=4)[0]
    assert (fitted.peak, checked.peak) == (pair.peak(), forward.peak(None))
    assert plans(forward, batch=5)[0][0].peak == replace(forward, survey=forward.survey.select(np.arange(3))).peak()
    assert plans(forward, encoding=1)[0][0].peak > single.peak()
    assert [plan.peak for plan in plans(forward, batch=4, preconditioner="gauss_newton")[0]] == [
        pair.peak(),
        forward.peak(None),
        forward.peak(),
    ]
    budget = float(max(pair.peak(), forward.peak(None)))
    stage = stage_within(forward, observed, budget, batch=4)
    assert stage.objective.data.forward.at_once is None and stage.check.forward.survey.n_shots == 6
    # All shots at once do not fit, and would be taken in groups.
    assert stage_within(forward, observed, budget).objective.data.forward.at_once is not None


def test_a_stage_that_does_not_fit_is_refused_before_anything_runs(forward, observed):
    """The budget holds one shot of the first stage, but none of the second one."""

    def make(problem, number, velocity):
        raise AssertionError("nothing is to be made")

    ((single,), _) = plans(replace(forward, at_once=1), stages=[COARSE, FINE])
    config = InversionConfig(bounds=BOUNDS, stages=[COARSE, FINE])
    with pytest.raises(InputError, match=r"memory_budget = .* stage 1: 6 shots do not fit.*one at a time"):
        invert(forward, observed, START, config, memory_budget=float(single.peak), make=make)


def test_progress_is_of_the_same_groups(forward, observed, tmp_path, monkeypatch):
    """An inversion in groups resumes with the same bits; one in other groups, which round otherwise, does not."""
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)
    config, path = InversionConfig(bounds=BOUNDS, iterations=3, stages=[COARSE]), tmp_path / "progress.npz"
    ((plan,),) = plans(forward, stages=[COARSE])

    def run(part, **options):
        return invert(forward, observed, START, config, memory_budget=part * plan.peak, **options)

    def killed(iteration, values):
        if iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(0.6, resume=path, on_progress=killed)
    with pytest.raises(InputError, match="progress of another inversion"):
        run(0.3, resume=path)
    resumed = run(0.6, resume=path)
    for name, value in run(0.6)._asdict().items():
        np.testing.assert_array_equal(value, getattr(resumed, name), err_msg=name)


def test_an_earlier_stage_leaves_nothing_behind():
    """Its data and compiled functions are gone when the next one is made."""
    seen = []

    def make(problem, number, velocity):
        assert all(data() is None for data in seen)
        stage = make_stage(problem, number, velocity)
        seen.append(weakref.ref(stage.objective.data))
        return stage

    toy, start = Toy(1.0), np.full(Toy.shape, 2500.0)
    config = InversionConfig(iterations=1, stages=[StageConfig(), StageConfig(), StageConfig()])
    invert(toy, toy(jnp.asarray(start + 100.0, jnp.float32)), start, config, make=make)
    assert len(seen) == 3


def test_the_predicted_peak_is_that_of_the_largest_stage(tmp_path, capsys):
    """It is predicted within the budget, on the cells of that stage, before anything is compiled."""
    data, stages = tiny_config(tmp_path / "unused"), [StageConfig(iterations=1), StageConfig(batch=2, iterations=1)]
    inversion, parallel = InversionConfig(shots=4, stages=stages), ShotsConfig(devices=1)
    config, seen = InvertConfig(data=data, inversion=inversion, parallel=parallel), []

    def listen(iteration, values):
        if "predicted_peak" in values:
            seen.append(values["predicted_peak"])
            raise KeyboardInterrupt

    for number, part in enumerate((None, 0.6)):
        budget = None if part is None else part * seen[0]
        with pytest.raises(KeyboardInterrupt):
            run_inversion(replace(config, memory_budget=budget, out=str(tmp_path / str(number))), listen)
    assert 0.3 * seen[0] < seen[1] <= 0.6 * seen[0]
    printed = capsys.readouterr().out
    assert "stage 0: gradient by" in printed and "stage 1: gradient by" in printed
