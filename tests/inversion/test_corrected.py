"""A corrected cheap model agrees with the misfit at its center; it may slow a minimization down, but not mislead it."""

import json
import sys
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from data_gen.common.errors import InputError
from surrogate.commands import invert as command
from surrogate.inversion import descent
from surrogate.inversion.batches import Batches
from surrogate.inversion.config import CorrectedConfig, InversionConfig, StageConfig
from surrogate.inversion.corrected.corrected_objective import rank_ones
from surrogate.inversion.corrected.stages import CorrectedStages, check_corrected
from surrogate.inversion.corrected.trust_region import ACCEPT, ACCEPTED, MISLED, REJECT, Corrected
from surrogate.inversion.descent import Result, invert
from surrogate.inversion.drawn_misfit import DrawnMisfit
from surrogate.inversion.forward import PhysicsForward, coarser
from surrogate.inversion.kept_data import KeptData
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers.lbfgs import LBFGS
from surrogate.inversion.optimizers.precondition import make_preconditioner
from surrogate.inversion.parametrizations.elementwise import Velocity
from surrogate.inversion.regularizers.tikhonov import FirstOrder
from surrogate.inversion.stage import InversionProblem, check_stages
from surrogate.inversion.stage_data import StageData
from tests.inversion.test_batches import ToyShots
from tests.inversion.toy import Toy

SHAPE, SHOTS, SAMPLES = (3, 4), 2, 9
LOW, HIGH = 1500.0, 4500.0
RANDOM = np.random.default_rng(0)
START = np.full(SHAPE, 2500.0)
TRUTH = START + 300.0 * RANDOM.normal(size=SHAPE)
MATRIX = RANDOM.normal(size=(SHOTS * SAMPLES, START.size))
PLAIN_STEPS = 60


class Forward:
    """Predict `sinh(M u)`, u the change of the model in km/s: not linear, and not convex far from the truth."""

    steps = tuple(range(SAMPLES))

    def __init__(self, matrix):
        self.matrix = jnp.asarray(matrix)

    def __call__(self, velocity):
        inside = self.matrix.astype(velocity.dtype) @ ((velocity.ravel() - 2500.0) / 1000.0)
        return jnp.sinh(inside).reshape(SHOTS, SAMPLES, 1)


FINE = Forward(MATRIX)
CHEAP = {
    "itself": FINE,
    "near": Forward(MATRIX + 0.1 * RANDOM.normal(size=MATRIX.shape)),
    "far": Forward(0.5 * MATRIX + 0.5 * RANDOM.normal(size=MATRIX.shape)),
    "random": Forward(RANDOM.normal(size=MATRIX.shape)),
    "zero": Forward(0 * MATRIX),
    "opposite": Forward(-MATRIX),
}


def objective(forward, kept=False, regularizers=()):
    observed = FINE(jnp.asarray(TRUTH))
    data = DataMisfit(forward, observed, None, MISFITS["l2"], SHAPE, jnp.float64)
    held = np.zeros(SHAPE, bool)
    data = KeptData(data) if kept else data
    return ModelObjective(data, Velocity(), regularizers, START, held, LOW, HIGH, 10.0)


def optimizer(low, **settings):
    preconditioner = make_preconditioner(SHAPE)
    lbfgs = LBFGS(50.0, preconditioner)
    return Corrected(low, lbfgs, lbfgs, preconditioner, **settings)


def run(method, fine, steps):
    states = [method.start(fine, fine.unknowns(START), fine.bounds)]
    while len(states) <= steps and not states[-1]["done"]:
        states.append(method.step(fine, states[-1], fine.bounds))
    return states


def test_rank_ones():
    """B s = y for all pairs where they belong to one symmetric matrix without negative curvature, which B never has."""
    root = RANDOM.normal(size=(5, 5))
    matrix = root @ root.T
    steps = RANDOM.normal(size=(3, 5))
    found = rank_ones(5, [(step, matrix @ step) for step in steps])
    for step in steps:
        np.testing.assert_allclose(found.product(step), matrix @ step, rtol=1e-10)
    for none in (0.0, -1.0):
        assert len(rank_ones(5, [(steps[0], none * steps[0])]).scales) == 0


@pytest.mark.parametrize("shifts", [True, False])
@pytest.mark.parametrize("cheap", ["near", "random", "zero"])
def test_agrees_at_the_center(float64, cheap, shifts):
    """Value and gradient are those of J to 1e-12; its gradient is that of its values, by central differences."""
    penalty = ((1e-6, FirstOrder()),)
    fine, low = objective(FINE, kept=True, regularizers=penalty), objective(CHEAP[cheap], regularizers=penalty)
    method, x = optimizer(low), fine.unknowns(START) + 50.0 * RANDOM.normal(size=START.size)
    state = method.start(fine, x, fine.bounds)
    past = x + 30.0 * RANDOM.normal(size=x.size)
    state |= {"centers": past[None], "slopes": fine.value_and_gradient(past)[1][None]}
    found = method._corrected(fine, state, shifts=shifts)
    assert found.bend is not None
    value, gradient = fine.value_and_gradient(x)
    near = x + 1e-9 * np.ones_like(x)  # not the center itself, whose value is known
    assert found.value_and_gradient(near)[0] == pytest.approx(value, rel=1e-10)
    # Shifted, the data at the center are those of the fine model, so that both misfits are the same there.
    assert (abs(found.constant) <= 1e-12 * abs(value)) == shifts
    low_gradient = found.low.value_and_gradient(x)[1]
    np.testing.assert_allclose(low_gradient + found.linear, gradient, rtol=1e-12, atol=1e-12 * np.abs(gradient).max())
    at, direction = x + 20.0 * RANDOM.normal(size=x.size), RANDOM.normal(size=x.size)
    ahead, behind = (found.value_and_gradient(at + h * direction)[0] for h in (1e-3, -1e-3))
    slope = found.value_and_gradient(at)[1] @ direction
    assert (ahead - behind) / 2e-3 == pytest.approx(slope, rel=1e-6)
    # B makes both gradients equal at the past center where J bends more than J_k, as it does where that is linear.
    bent = len(found.bend.scales) == 1
    if bent:
        np.testing.assert_allclose(
            found.value_and_gradient(past)[1], fine.value_and_gradient(past)[1], rtol=1e-9, atol=1e-12
        )
    assert bent or cheap != "zero"


@pytest.mark.parametrize("cheap", ["far", "random", "opposite"])
def test_the_correction_that_was_nearer_is_kept(float64, cheap, monkeypatch):
    """After a poor trial that of data and gradient is compared with that of the gradient alone, at the same model."""
    asked = []

    def compare(self, objective, state, corrected, new, value):
        kept = self.found(objective, state, corrected, new, value)
        values = [
            self._corrected(objective, state, shifts=shifts).value_and_gradient(new.x)[0] for shifts in (True, False)
        ]
        errors = np.abs(np.array(values) - new.value)
        asked.append(bool(kept[0]["shifts"]))
        assert asked[-1] == (errors[0] <= errors[1])
        assert (kept[1] is corrected) == (asked[-1] == bool(state["shifts"]))
        return kept

    monkeypatch.setattr(Corrected, "found", Corrected._nearer, raising=False)
    monkeypatch.setattr(Corrected, "_nearer", compare)
    run(optimizer(objective(CHEAP[cheap])), objective(FINE, kept=True), PLAIN_STEPS)
    assert asked and (False in asked or cheap != "random")


def test_progress_of_an_earlier_version_goes_on(float64):
    """It does not say whether data are corrected: they were."""
    fine, method = objective(FINE, kept=True), optimizer(objective(CHEAP["near"]))
    states = run(method, fine, 2)
    earlier = {name: value for name, value in states[1].items() if name != "shifts"}
    np.testing.assert_array_equal(method.step(fine, earlier, fine.bounds)["x"], states[2]["x"])


def test_the_model_itself_is_the_plain_optimizer(float64):
    """With F_low = F and no radius one center walks as L-BFGS does, and its trial confirms what it predicted."""
    fine, steps = objective(FINE, kept=True), 7
    plain = run(LBFGS(50.0, make_preconditioner(SHAPE)), objective(FINE), steps)
    state = run(optimizer(objective(FINE), iterations=steps), fine, 1)[-1]
    np.testing.assert_allclose(state["x"], plain[-1]["x"], rtol=1e-9)
    assert state["trials"][0, 2] == pytest.approx(1.0, rel=1e-6)
    assert int(state["gradients"]) == 2 * SHOTS


@pytest.mark.parametrize("secants", [0, 1, 4])
def test_past_centers(float64, secants):
    """As many past centers are kept as B may know, the newest ones."""
    states = run(optimizer(objective(CHEAP["itself"]), iterations=1, secants=secants), objective(FINE, kept=True), 6)
    for number, state in enumerate(states):
        first = max(0, number - secants)
        np.testing.assert_array_equal(state["centers"], np.reshape([s["x"] for s in states[first:number]], (-1, 12)))


@pytest.mark.parametrize("cheap", CHEAP)
def test_never_misleads(float64, cheap):
    """Every cheap model ends where L-BFGS ends, falls at every step, and costs at most 40 % more gradients of J.

    Twelve unknowns are the worst case: plain L-BFGS is near its end before a useless model is known to be one.
    """
    plain = run(LBFGS(50.0, make_preconditioner(SHAPE)), objective(FINE), PLAIN_STEPS)
    states = run(optimizer(objective(CHEAP[cheap])), objective(FINE, kept=True), PLAIN_STEPS)
    values = [float(state["value"]) for state in states]
    assert (np.diff(values[:-1]) < 0).all()
    enough = 1e-8 * values[0]
    reached = [next(s for s in one if float(s["value"]) <= enough) for one in (plain, states)]
    gradients = [int(state["gradients"]) for state in reached]
    assert gradients[1] <= 1.4 * gradients[0]
    np.testing.assert_allclose(states[-1]["x"], plain[-1]["x"], atol=1.0)
    for before, after in pairwise(states):
        if after["trials"][-1, 0] == ACCEPT:  # the data changed as they should, more or less
            assert surprise(CHEAP[cheap], before["x"], after["x"]) <= MISLED + 1e-9


def surprise(cheap, before, after):
    """The relative error of the change of the data by a cheap model."""
    true, predicted = (
        (model(jnp.asarray(after.reshape(SHAPE))) - model(jnp.asarray(before.reshape(SHAPE))))
        for model in (FINE, cheap)
    )
    return float(jnp.linalg.norm(predicted - true) / jnp.linalg.norm(true))


def test_a_lower_misfit_is_not_enough(float64):
    """A trial that lowers J, but changes the data otherwise than its cheap model says, is not taken."""
    states = run(optimizer(objective(CHEAP["random"])), objective(FINE, kept=True), PLAIN_STEPS)
    kinds, ratios = states[-1]["trials"][:, (0, 2)].T
    assert (ratios[kinds == REJECT] > ACCEPTED).any()


TOY_START = 2500.0 + 100.0 * np.sin(np.arange(30.0)).reshape(6, 5)
TOY_TRUTH = 2500.0 + 300.0 * np.cos(np.arange(30.0)).reshape(6, 5)
CONFIG = InversionConfig(
    optimizer="lbfgs", iterations=8, bounds=[2150.0, 2850.0], corrected=CorrectedConfig(low="surrogate", iterations=3)
)


def shoot(config, cheap, path=None, on_progress=lambda iteration, values: None):
    forward = ToyShots(1.0)
    observed, truth = (
        forward(jnp.asarray(TOY_TRUTH, jnp.float32)),
        np.clip(TOY_TRUTH, config.bounds[0], config.bounds[1]),
    )
    options = {"truth": truth, "resume": path, "make": CorrectedStages(cheap), "on_progress": on_progress}
    return invert(forward, observed, jnp.asarray(TOY_START), config, **options)


@pytest.mark.parametrize("batch", [None, 2])
def test_the_same_bits(batch, tmp_path, monkeypatch):
    """Killed after two of its iterations, an inversion by a cheap model resumes, and ends as if it had not been."""
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)
    path, left = tmp_path / "progress.npz", [2, 5]
    cheap, config = ToyShots(0.9), replace(CONFIG, batch=batch)

    def killed(iteration, values):
        if left and iteration == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    whole = shoot(config, cheap)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            shoot(config, cheap, path, killed)
    part = shoot(config, cheap, path, killed)
    for name in Result._fields:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name), err_msg=name)
    assert len(whole.trials) and whole.low_simulations[1] > 0
    assert batch or (np.diff(whole.misfit) < 0).all()


def test_batches_of_all_shots():
    """The misfit of draws that hold every shot is that of all, and so is the way of an inversion."""
    config = replace(CONFIG, iterations=4, corrected=replace(CONFIG.corrected, secants=0))
    whole, drawn = (shoot(replace(config, batch=batch), ToyShots(0.9)) for batch in (None, 3))
    assert list(whole.trials[:, 1]) == list(drawn.trials[:, 1]) and ACCEPT in whole.trials[:, 1]
    np.testing.assert_allclose(drawn.velocity, whole.velocity, rtol=1e-4)  # shots are summed up in another order
    np.testing.assert_array_equal(drawn.low_simulations, whole.low_simulations)


def test_a_batch_agrees_at_its_center(float64):
    """J_k of some of the shots has their part of J, and its gradient, to the rounding of float32 data."""
    forward, cheap, start = ToyShots(), ToyShots(0.7), TOY_START.ravel()
    data = forward(jnp.asarray(TOY_TRUTH, jnp.float32))
    fine, low = (DataMisfit(model, data, None, MISFITS["l2"], Toy.shape) for model in (forward, cheap))
    groups = Batches((0,), 3, 2, shared=True).groups(1)
    drawn = DrawnMisfit(KeptData(fine), groups, {})
    shift = drawn.data(start) - DrawnMisfit(low, groups, {}).data(start)
    (value, gradient), found = drawn.value_and_gradient(start), DrawnMisfit(low, groups, {}).shifted(shift)
    assert found.value(start) == pytest.approx(value, rel=1e-5)
    # F_low = 0.7 F: so is its gradient, of the same residuals.
    np.testing.assert_allclose(found.value_and_gradient(start)[1], 0.7 * gradient, rtol=1e-4, atol=1e-5 * value)


def test_none_is_the_plain_optimizer():
    """`low=none`: every number is that of an inversion without a cheap model."""
    config = replace(CONFIG, corrected=CorrectedConfig(low="none"))
    found, plain = shoot(config, None), shoot(replace(CONFIG, corrected=CorrectedConfig(low="none")), Toy(0.9))
    observed = Toy(1.0)(jnp.asarray(TOY_TRUTH, jnp.float32))
    alone = invert(
        Toy(1.0), observed, jnp.asarray(TOY_START), config, truth=np.clip(TOY_TRUTH, config.bounds[0], config.bounds[1])
    )
    for one in (found, plain):
        np.testing.assert_array_equal(one.velocity, alone.velocity)
        np.testing.assert_array_equal(one.simulations, alone.simulations)
    assert len(found.trials) == 0


def test_a_stage_names_its_cheap_model():
    """`low=none` in the first stage is the plain optimizer, to the bit; the second one is led from its end."""
    stages = [StageConfig(iterations=3, low="none"), StageConfig(iterations=2)]
    config = replace(CONFIG, stages=stages)
    check_corrected(config, Toy(), Toy(0.9))
    found = shoot(config, Toy(0.9))
    plain = shoot(replace(CONFIG, corrected=CorrectedConfig(low="none"), iterations=3), None)
    first = found.stage == 0
    np.testing.assert_array_equal(found.misfit[first], plain.misfit)
    assert set(found.trials[:, 0]) == {1} and (found.low_used[first] == 0).all() and found.low_used[-1] > 0
    assert found.misfit[-1] < plain.misfit[-1]
    assert config.lows == {"none", "surrogate"}


@pytest.mark.slow  # test_by_the_command takes coarser cells, too
def test_coarser_cells():
    """On cells of twice the side, three iterations end lower than nine of L-BFGS, by fewer gradients of the solver.

    The solver's cells are finer than the band needs. The model is nearer to the truth, too: no step goes along the
    scales that the coarser cells do not see.
    """
    simulation = Simulation(Grid((24, 36), 20.0), TimeAxis(251, 3e-3), 3000.0, 8.0, widths=(10, 10, 10, 10))
    sources, line = [[40.0, x] for x in (60.0, 360.0, 640.0)], surface_line(simulation.grid, 40.0)
    forward = PhysicsForward(simulation, make_survey(sources, line, ricker(simulation.time, 8.0)))
    z, x = np.mgrid[:24, :36]
    start = jnp.asarray(2000.0 + 20.0 * z, jnp.float32)
    truth = start + jnp.asarray(200.0 * np.exp(-((z - 13) ** 2 + (x - 18) ** 2) / 30.0), jnp.float32)
    observed = jax.jit(forward.__call__)(truth)
    stages = [StageConfig(highest_frequency=6.0, spacing=20.0, iterations=count) for count in (3, 9)]
    config = InversionConfig(optimizer="lbfgs", bounds=[1900.0, 3000.0], learning_rate=50.0, stages=stages[:1])
    check_corrected(config, forward)
    led = invert(forward, observed, start, config, truth=truth, make=CorrectedStages())
    plain = invert(forward, observed, start, replace(config, stages=stages[1:]), truth=truth)
    assert led.simulations[1] < plain.simulations[1]
    assert led.misfit[-1] < 0.1 * plain.misfit[-1]
    assert led.model_error[-1] < plain.model_error[-1]
    assert led.low_simulations[1] > led.simulations[1] and led.low_used[-1] >= 3 * led.low_simulations[1]


def test_the_cheap_model_has_groups_of_shots_of_its_own():
    """Within a budget that holds all shots on the coarser cells, but on the solver's only some of them."""
    simulation = Simulation(Grid((48, 48), 20.0), TimeAxis(101, 3e-3), 3000.0, 8.0)
    sources = [[40.0, x] for x in (60.0, 360.0, 640.0, 800.0)]
    line = surface_line(simulation.grid, 40.0)
    forward = PhysicsForward(simulation, make_survey(sources, line, ricker(simulation.time, 8.0)))
    cheap = coarser(forward, 2.0)

    def at_once(model: PhysicsForward, budget: float) -> int | None:
        try:
            return model.within(budget)[1].at_once
        except InputError:
            return 0

    budgets = np.geomspace(1e6, 3e7, 24)
    budget = next(float(b) for b in budgets if at_once(cheap, b) is None and (at_once(forward, b) or 0) > 0)
    config = InversionConfig(bounds=[1900.0, 3000.0], corrected=CorrectedConfig(coarser=2.0))
    observed, start = jnp.zeros((4, 101, len(line))), np.full((48, 48), 2000.0, np.float32)
    data, held = StageData(forward, observed, None), np.zeros(start.shape, bool)
    problem = InversionProblem(config, data, None, jnp.asarray(start), held, memory_budget=budget)
    stage = CorrectedStages()(problem, 0, start)
    assert isinstance(stage.optimizer, Corrected) and isinstance(stage.objective.data, KeptData)
    assert isinstance(stage.optimizer.low.data, DataMisfit)
    fine, low = stage.objective.data.misfit.forward, stage.optimizer.low.data.forward
    assert isinstance(fine, PhysicsForward) and isinstance(low, PhysicsForward)
    assert fine.at_once == at_once(forward, budget) and low.at_once is None
    assert low.simulation.internal_spacing == 40.0
    # Its plan is checked with the others, before a stage runs, and tells inversions of other groups apart.
    planned = check_stages(config, forward, start, held, None, memory_budget=budget, led=True)
    assert [(plan.memory, plan.at_once) for plan in planned[0]] == [
        (model.simulation.memory, model.at_once) for model in (fine, low)
    ]


def test_by_the_command(tmp_path, monkeypatch):
    """One trial on coarser cells: the solver's own misfit falls, and the folder counts both kinds of simulations."""
    # A model of a file and rigid walls are quick to compile.
    z, x = np.mgrid[:24, :20]
    np.save(tmp_path / "model.npy", 2500.0 + 300.0 * np.exp(-((z - 12) ** 2 + (x - 9) ** 2) / 20.0))
    out = tmp_path / "out"
    keys = ["data=tiny", "data.absorbing_width=0", f"real.path={tmp_path / 'model.npy'}", "real.spacing=10"]
    keys += ["inversion.shots=2", "inversion.iterations=1", "inversion.optimizer=lbfgs", "inversion.smoothing=3"]
    keys += ["forward=corrected", "inversion.corrected.iterations=2", f"out={out}"]
    monkeypatch.setattr(sys, "argv", ["wave invert", *keys])
    command.main()
    summary = json.loads((out / "inversion.json").read_text())
    assert summary["forward"] == "physics, corrected coarse"
    assert summary["misfit"]["end"] < summary["misfit"]["start"]
    # The comparison simulates start and estimate by the solver: the misfit of both shots lies between theirs.
    with np.load(out / "comparison.npz") as compared:
        low, high = np.sort(compared["misfit_by_shot"], axis=1).T
    fine = np.array([summary["misfit"]["start"], summary["misfit"]["end"]])
    assert (low <= 1.001 * fine).all() and (fine <= 1.001 * high).all()
    with np.load(out / "result.npz") as result:
        (trial,) = result["trials"]
        kind, _, _, _, gradients, low_gradients = trial[1:]
        np.testing.assert_array_equal(result["low_simulations"], list(summary["low_simulations"].values())[:3])
    # The solver takes a gradient of two shots in the start and one for the trial; the others are on coarser cells.
    assert kind == ACCEPT and summary["simulations"]["gradients"] == gradients == 4
    assert summary["low_simulations"]["gradients"] == low_gradients > 4


@pytest.mark.parametrize(
    ("changes", "surrogate", "message"),
    [
        ({"encoding": 2}, None, "sees their sums"),
        ({"corrected": CorrectedConfig(low="surrogate")}, None, "needs a surrogate that predicts the solver's data"),
        (
            {"corrected": CorrectedConfig(low="surrogate"), "stages": [StageConfig(highest_frequency=5.0)]},
            Toy(),
            "knows those of its training only",
        ),
        ({"corrected": CorrectedConfig(low="coarse")}, None, "must be the solver"),
        (
            {"corrected": CorrectedConfig(gradient_smoothing=1.0), "parametrization": "spline"},
            None,
            "smooths over cells, but the unknowns of parametrization=spline are none",
        ),
    ],
)
def test_refused(changes, surrogate, message):
    with pytest.raises(InputError, match=message):
        check_corrected(replace(CONFIG, **changes), Toy(), surrogate)


def test_a_cheap_model_of_a_stage_is_not_left_out():
    """`invert` without corrected stages would minimize something else than was asked for."""
    config = replace(CONFIG, stages=[StageConfig(low="coarse")])
    with pytest.raises(InputError, match=r"make=CorrectedStages\(\)"):
        invert(Toy(), np.zeros(1), START, config)
