"""Batches and super-shots have the gradient of all shots on average, and an inversion of them resumes and counts."""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from data_gen.common.errors import InputError
from surrogate.inversion import descent
from surrogate.inversion.batches import Batches, Draw, Encodings
from surrogate.inversion.config import InversionConfig, MuteConfig, StageConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.drawn_misfit import DrawnMisfit
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers import OPTIMIZERS
from surrogate.inversion.stage import make_stage
from tests.helpers import relative
from tests.inversion.toy import Toy

ROUNDING = 1e-5  # forward models are float32
BOUNDS = [1900.0, 3200.0]
SHAPE = (13, 16)
START = np.full(SHAPE, 2400.0)
TRUTH = START + 200.0 * np.exp(-((np.mgrid[:13, :16] - [[[6]], [[8]]]) ** 2).sum(axis=0) / 10.0)


class ToyShots(Toy):
    """A toy that can choose shots."""

    def select(self, shots):
        """See `SelectableForward.select`."""
        some = ToyShots(float(self.scale), self.limit)
        some.matrix = self.matrix[jnp.asarray(shots)]
        return some


TOY_START = 2500.0 + 100.0 * np.sin(np.arange(30.0))
TOY_DATA = Toy()(jnp.asarray(2500.0 + 300.0 * np.cos(np.arange(30.0)).reshape(6, 5), jnp.float32))


@pytest.fixture(scope="module")
def forward():
    """Return a tiny line of three shots."""
    simulation = Simulation(Grid(SHAPE, 12.5), TimeAxis(91, 2e-3), 3200.0, 15.0, widths=(6, 6, 6, 6))
    survey = make_survey(
        [[25.0, 12.5], [25.0, 100.0], [25.0, 175.0]], surface_line(simulation.grid, 25.0), np.zeros(91)
    )
    return PhysicsForward(simulation, survey._replace(wavelets=jnp.tile(ricker(simulation.time, 15.0), (3, 1))))


@pytest.fixture(scope="module")
def observed(forward):
    return jax.jit(forward.__call__)(jnp.asarray(TRUTH, jnp.float32))


@pytest.mark.parametrize("name", ["l2", "trace_normalized_l2", "adaptive_waveform", "huber", "envelope"])
def test_parts_of_shots_add_up(name):
    """Of any misfit; a scale or a smoothing that is taken from the shots at hand leaves them near."""
    misfit = DataMisfit(ToyShots(), TOY_DATA, None, MISFITS[name], Toy.shape)
    value, gradient = misfit.value_and_gradient(TOY_START)
    parts = [misfit.value_and_gradient(TOY_START, Draw(np.array(shots))) for shots in ([1], [2, 0])]
    near = {"huber": 0.1, "envelope": 0.01}.get(name)
    assert sum(part[0] for part in parts) == pytest.approx(value, rel=near or ROUNDING)
    assert relative(sum(part[1] for part in parts), gradient) < (near or ROUNDING)


@pytest.mark.parametrize("dead", [None, 1])
def test_the_mean_of_batches_is_all(dead):
    """Over a pass, every batch once, also where a shot has no weight and its data are not finite."""
    weights, data = (
        (None, TOY_DATA) if dead is None else (jnp.ones((3, 1, 4)).at[dead].set(0), TOY_DATA.at[dead].set(jnp.nan))
    )
    misfit = DataMisfit(ToyShots(), data, weights, MISFITS["l2"], Toy.shape)
    value, gradient = misfit.value_and_gradient(TOY_START)
    direction = np.cos(np.arange(30.0))
    for shared in (True, False):
        draws = Batches((0,), 3, 2, shared)
        batches = [DrawnMisfit(misfit, draws.groups(iteration), {}) for iteration in range(2)]
        values, gradients = zip(*(batch.value_and_gradient(TOY_START) for batch in batches), strict=True)
        assert np.mean(values) == pytest.approx(value, rel=ROUNDING) and batches[0].shots == 2
        assert np.mean([batch.value(TOY_START) for batch in batches]) == pytest.approx(value, rel=ROUNDING)
        assert relative(np.mean(gradients, axis=0), gradient) < ROUNDING
        for kind in ("hessian_product", "gauss_newton_product"):
            products = [getattr(batch, kind)(TOY_START, direction) for batch in batches]
            assert relative(np.mean(products, axis=0), getattr(misfit, kind)(TOY_START, direction)) < ROUNDING


@pytest.mark.parametrize(("n_shots", "size"), [(4, 2), (9, 4), (16, 4), (7, 7), (11, 5)])
def test_batches(n_shots, size):
    """A batch has different shots, shares a half of them with the next one, and in a pass every shot counts one."""
    draws, counted, n = Batches((3, 0), n_shots, size, shared=True), np.zeros(n_shots), 600
    for iteration in range(n):
        groups, following = draws.groups(iteration), draws.groups(iteration + 1)
        assert len(np.unique(np.concatenate([group.draw.shots for group in groups]))) == size
        assert groups[1].number == following[0].number and size // 2 <= groups[1].shots <= (size + 1) // 2
        np.testing.assert_array_equal(groups[1].draw.shots, following[0].draw.shots)
        for group in groups:
            counted[group.draw.shots] += group.weight / n
    # Where the last shots of a pass are left out, by chance: the mean of n draws of variance below 2.
    assert np.abs(counted - 1).max() < 5 * np.sqrt(2 / n)
    apart = replace(draws, shared=False)
    numbers = [group.number for iteration in range(4) for group in apart.groups(iteration)]
    assert numbers == list(range(8))
    np.testing.assert_array_equal(apart.groups(2)[0].draw.shots, draws.groups(4)[0].draw.shots)


@pytest.mark.parametrize(("n_shots", "count"), [(3, 1), (7, 3), (8, 8)])
def test_super_shots(n_shots, count):
    """Each shot fires in one super-shot, with either sign."""
    signs = []
    for iteration in range(50):
        (group,) = Encodings((0,), n_shots, count).groups(iteration)
        assert group.draw.signs is not None
        used = group.draw.signs != 0
        assert sorted(group.draw.shots[used]) == list(range(n_shots)) and group.shots == count
        signs.append(group.draw.signs[used])
    assert set(np.unique(signs)) == {-1.0, 1.0} and abs(np.mean(signs)) < 5 / np.sqrt(50 * n_shots)


def test_a_super_shot_is_a_sum(forward, observed):
    """Gathers of shots that fire at once are the sum of their gathers: the equation is linear."""
    shots, signs = np.array([[2, 0], [1, 1]]), np.array([[1.0, -1.0], [0.5, 0.0]])
    gathers = jax.jit(lambda velocity: forward.superpose(shots, signs)(velocity))(jnp.asarray(TRUTH, jnp.float32))
    expected = jnp.stack([observed[2] - observed[0], 0.5 * observed[1]])
    assert relative(gathers, expected) < ROUNDING
    np.testing.assert_array_equal(Draw(shots, signs).data(observed), expected)


def test_the_mean_of_super_shots_is_all(forward, observed):
    """Over all signs of three shots, in two super-shots or one, the crosstalk cancels."""
    misfit = DataMisfit(forward, observed, 0.5 * jnp.ones((1, 91, 1)), MISFITS["l2"], SHAPE)
    x = START.ravel()
    value, gradient = misfit.value_and_gradient(x)
    for shots, filled in (([[0, 1, 2]], [[1, 1, 1]]), ([[0, 2], [1, 0]], [[1, 1], [1, 0]])):
        found = []
        for signs in product((-1.0, 1.0), repeat=3):
            factors = np.array(filled, float)
            factors[factors > 0] = signs
            found.append(misfit.value_and_gradient(x, Draw(np.array(shots), factors)))
        values, gradients = zip(*found, strict=True)
        assert np.std(values) > 0.02 * value
        # The data are float32, and errors of 1e-7 of them are larger, the nearer predicted and observed ones are.
        assert np.mean(values) == pytest.approx(value, rel=1e-4)
        assert relative(np.mean(gradients, axis=0), gradient) < 1e-4


def shoot(forward, observed, start, config, seen=None, **changes):
    def make(problem, number, velocity):
        stage = make_stage(problem, number, velocity)
        if seen is not None:
            seen.append(stage)
        return stage

    return invert(forward, observed, start, config, make=make, **changes)


@pytest.mark.parametrize(
    ("optimizer", "draws"),
    [(optimizer, {"batch": 2}) for optimizer in OPTIMIZERS]
    + [("adam", {"encoding": 1}), pytest.param("lbfgs", {"encoding": 1}, marks=pytest.mark.slow)],
)
def test_resumes_and_counts(forward, observed, optimizer, draws, tmp_path, monkeypatch):
    """Killed, it ends with the same bits; it counts what was simulated, and compiles one gradient."""
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)
    counted, seen, start, bounds = np.zeros(3, int), [], START, BOUNDS
    if "batch" in draws:
        forward, observed, start, bounds = ToyShots(), TOY_DATA, TOY_START.reshape(6, 5), [2300.0, 2800.0]
    methods = {"value": 0, "value_and_gradient": 1, "gauss_newton_product": 2, "hessian_product": 2}
    for name, place in methods.items():
        method = getattr(DataMisfit, name)

        def counting(self, x, *given, place=place, method=method):
            draw = given[-1] if given and isinstance(given[-1], Draw) else None
            counted[place] += len(self.observed) if draw is None else len(draw.shots)
            return method(self, x, *given)

        monkeypatch.setattr(DataMisfit, name, counting)
    config = InversionConfig(
        optimizer=optimizer, iterations=4, cg_iterations=2, bounds=bounds, check_every=3, learning_rate=30.0, **draws
    )

    def killed(iteration, values):
        if iteration == 2:
            raise KeyboardInterrupt

    whole, path = shoot(forward, observed, start, config, seen), tmp_path / "progress.npz"
    np.testing.assert_array_equal(whole.simulations, counted)
    assert whole.simulations[0] == 9  # all three shots, at the start, in the third iteration and at the end
    if optimizer == "adam":
        assert whole.simulations[1] == 5 * (2 if "batch" in draws else 1)
    assert whole.used[-1] == whole.simulations @ [1, 3, 6]
    assert seen[0].objective.data._gradient._cache_size() == 1
    with pytest.raises(KeyboardInterrupt):
        shoot(forward, observed, start, config, resume=path, on_progress=killed)
    for name, value in shoot(forward, observed, start, config, resume=path)._asdict().items():
        np.testing.assert_array_equal(value, getattr(whole, name), err_msg=name)


def test_the_best_model_is_that_of_the_full_misfit():
    forward, start = ToyShots(), TOY_START.reshape(6, 5)
    config = InversionConfig(optimizer="adam", iterations=7, bounds=[2300.0, 2800.0], check_every=3, batch=2)
    result = invert(forward, TOY_DATA, start, config)
    assert np.flatnonzero(~np.isnan(result.true_misfit)).tolist() == [0, 3, 6, 7]
    assert result.best == np.nanargmin(result.true_misfit)
    misfit = DataMisfit(forward, TOY_DATA, None, MISFITS["l2"], Toy.shape)
    assert misfit.value(np.asarray(result.velocity, float).ravel()) == pytest.approx(result.true_misfit[result.best])


def test_pairs_are_of_the_same_shots():
    """The last pair of L-BFGS is the change of the gradient of one batch between two models."""
    config, seen = InversionConfig(optimizer="lbfgs", bounds=[2300.0, 2800.0], batch=2, iterations=1), []
    shoot(ToyShots(), TOY_DATA, TOY_START.reshape(6, 5), config, seen)
    (stage,) = seen
    states = [stage.optimizer.start(stage.objective, stage.x, stage.objective.bounds)]
    for _ in range(3):
        states.append(stage.optimizer.step(stage.objective, states[-1], stage.objective.bounds))
    batch = DrawnMisfit(stage.objective.data, stage.optimizer.draws.groups(2), {})
    before, after = (batch.value_and_gradient(state["x"])[1] for state in states[2:])
    np.testing.assert_array_equal(states[3]["steps"][-1], states[3]["x"] - states[2]["x"])
    np.testing.assert_array_equal(states[3]["changes"][-1], after - before)
    np.testing.assert_array_equal(states[2]["gradient"], before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "draws", "error"),
    [
        ("lbfgs", {"batch": 4}, 1.02),
        ("lbfgs", {"encoding": 4}, 1.02),
        ("adam", {"batch": 4}, 1.25),
        ("adam", {"encoding": 4}, 1.25),
    ],
)
def test_fewer_simulations(optimizer, draws, error):
    """A line of 30 shots, of which neighbors see much the same: a little more than half of the simulations will do."""
    simulation = Simulation(Grid((41, 61), 12.5), TimeAxis(401, 2e-3), 3200.0, 10.0, widths=(12, 12, 12, 12))
    across = np.round(np.linspace(25.0, 725.0, 30) / 12.5) * 12.5
    sources = np.stack([np.full(30, 25.0), across], axis=1)
    survey = make_survey(sources, surface_line(simulation.grid, 25.0, every=2), ricker(simulation.time, 10.0))
    line = PhysicsForward(simulation, survey)
    depth, x = np.mgrid[:41, :61]
    start = jnp.asarray(2000.0 + 20.0 * depth, jnp.float32)
    truth = start + jnp.asarray(250.0 * np.exp(-((depth - 22) ** 2 + (x - 30) ** 2) / 60.0), jnp.float32)
    data = jax.jit(line.__call__)(truth)
    rate = 40.0 if optimizer == "lbfgs" else 10.0
    config = InversionConfig(optimizer=optimizer, learning_rate=rate, bounds=BOUNDS, check_every=20)

    def run(simulations, **changes):
        stage = StageConfig(highest_frequency=6.0, simulations=simulations, **changes)
        return invert(line, data, start, replace(config, stages=[stage]), truth=truth)

    whole, drawn = run(630), run(300, **draws)
    assert drawn.used[-1] < 0.6 * whole.used[-1]
    assert drawn.model_error[drawn.best] < error * whole.model_error[whole.best]
    assert drawn.true_misfit[drawn.best] < 1.2 * whole.true_misfit[whole.best]


@pytest.mark.parametrize("draws", [{"batch": 2}, {"encoding": 1}])
def test_a_stage_switches_draws_off(forward, observed, draws):
    """A stage with 0 is one of all shots, to the bit; the other way to draw may take its place."""
    (name,) = draws
    common = InversionConfig(bounds=BOUNDS, iterations=2, optimizer="lbfgs")
    off = replace(common, **draws, stages=[replace(StageConfig(), **{name: 0})])
    off.check()
    found, expected = (invert(forward, observed, START, config).velocity for config in (off, common))
    np.testing.assert_array_equal(found, expected)
    exchanged = replace(common, **draws, stages=[StageConfig(batch=0, encoding=1), StageConfig(batch=2, encoding=0)])
    exchanged.check()
    assert [(stage.batch, stage.encoding) for stage in map(exchanged.of_stage, (0, 1))] == [(None, 1), (2, None)]
    assert replace(common, **{name: 0}).of_stage(0) == common.of_stage(0)


def refused(forward, observed, start, config, message, **changes):
    with pytest.raises(InputError, match=message):
        invert(forward, observed, start, config, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch must be at least 2"),
        ({"encoding": -1}, "encoding must be null or at least 0"),
        ({"batch": 2, "encoding": 1}, "Give one of them"),
        ({"encoding": 1, "misfit": "huber"}, "inversion.misfit=l2 only, but it is huber"),
        ({"encoding": 1, "source": "one"}, "inversion.source=fixed only"),
        ({"stages": [StageConfig(), StageConfig(encoding=1, misfit="huber")]}, r"stages\[1\].*misfit=l2 only"),
        ({"seed": -1}, "seed must be from 0 to 4294967295"),
        ({"batch": 2}, "a Toy cannot"),
        ({"encoding": 2}, "invert with the solver"),
    ],
)
def test_refusals(changes, message):
    refused(Toy(), TOY_DATA, TOY_START.reshape(6, 5), InversionConfig(**changes), message)


def test_shots_that_cannot_be_summed(forward, observed):
    config = InversionConfig(bounds=BOUNDS, encoding=1)
    moving = forward.survey._replace(receivers=jnp.tile(forward.survey.receivers, (3, 1, 1)))
    refused(replace(forward, survey=moving), observed, START, config, "same receivers in every shot")
    weights = np.ones((3, 1, observed.shape[2]))
    weights[1, 0, 2] = 0
    refused(forward, observed, START, config, "same weights in every shot", weights=weights)
    refused(forward, observed, START, replace(config, mute=MuteConfig(farthest=100.0)), "same weights in every shot")
    refused(forward, observed, START, replace(config, encoding=4), "stage 0 has 3 shots")
    with pytest.raises(InputError, match="each shot has receivers of its own"):
        moving.superpose([[0, 1]], [[1, 1]])
