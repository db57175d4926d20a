"""An inversion with noise stops at the misfit that noise alone leaves: Morozov's discrepancy principle."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import toeplitz

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from data_gen.common.errors import InputError
from surrogate.inversion import descent
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.misfits.l2 import l2
from surrogate.inversion.noise_level import Noise, filtered_power, find_noise, measure_noise, noise_misfit
from surrogate.inversion.stage_data import StageData, narrow
from tests.inversion.toy import Toy

SHOTS, NT, DT, RECEIVERS = 8, 400, 2e-3, 100
QUIET = 160  # samples before the first waves
START = 2500.0 + 100.0 * np.sin(np.arange(30.0)).reshape(6, 5)
TRUTH = 2500.0 + 300.0 * np.cos(np.arange(30.0)).reshape(6, 5)
LEVEL = 0.1
MODEL = jnp.full((21, RECEIVERS), 2000.0)
CONFIG = InversionConfig(iterations=40, bounds=[2100.0, 2900.0], optimizer="lbfgs", noise=LEVEL)


@pytest.fixture(scope="module")
def forward():
    simulation = Simulation(Grid((21, RECEIVERS), 12.5), TimeAxis(NT, DT), 3200.0, 10.0)
    sources = [[25.0, x] for x in np.arange(100, 1100, 125)]
    survey = make_survey(sources, surface_line(simulation.grid, 25.0), ricker(simulation.time, 10.0))
    return PhysicsForward(simulation, survey)


def recorded(noise, seed=0):
    """Waves from `QUIET` on, of random amplitudes, and with noise."""
    waves = np.random.default_rng(seed).normal(size=noise.shape) * (np.arange(NT) >= QUIET)[:, None]
    return jnp.asarray(waves, jnp.float32), jnp.asarray(waves + noise, jnp.float32)


def white(nt=NT):
    return 0.3 * np.random.default_rng(1).normal(size=(SHOTS, nt, RECEIVERS))


BEFORE = np.broadcast_to((np.arange(NT) < QUIET)[:, None], (SHOTS, NT, RECEIVERS))
STAGES = [
    StageConfig(),
    StageConfig(highest_frequency=8.0, spacing=12.5),
    StageConfig(highest_frequency=20.0, lowest_frequency=10.0, spacing=12.5),
    StageConfig(highest_frequency=8.0, spacing=12.5, shots=7),
]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("measured", [False, True])
def test_filtered_white_noise_leaves_the_predicted_misfit(forward, stage, measured):
    """The misfit of least squares in the true model, with weights that differ by trace and a mute in time.

    A band of B Hz leaves N = 2 B T values in each of 90 traces of 7 shots of T = 0.8 s: 8 Hz leave 8000, whose energy
    varies by sqrt(2 / N) = 1.6 %. The mute leaves half of them, and the quiet part is 0.4: in all 3.3 %. Three
    standard deviations are allowed.
    """
    noise = white()
    truth, observed = recorded(noise)
    weights = np.where(np.arange(RECEIVERS) % 10 == 0, 0.0, np.linspace(1.0, 0.5, RECEIVERS))[None, None]
    narrowing = narrow(forward, stage, 1900.0)
    whole = StageData(forward, observed, jnp.asarray(weights))
    data = narrowing.data(observed, whole.weights)
    mute = (np.arange(data.observed.shape[1]) > 0.5 * data.observed.shape[1])[:, None]
    assert data.weights is not None
    data = data._replace(weights=data.weights * mute)
    left = float(l2(narrowing.data(truth, None).observed, data.observed, data.weights))
    if measured:
        known = measure_noise(np.asarray(observed, float), BEFORE)
    else:
        factor = np.linalg.norm(weights * noise) / np.linalg.norm(weights * observed)
        known, _ = find_noise(replace(CONFIG, noise=float(factor)), whole, MODEL)
    assert known is not None
    assert noise_misfit(known, narrowing, NT, data) == pytest.approx(left, rel=0.1)


def test_noise_of_any_spectrum_leaves_the_predicted_misfit(forward):
    """Noise that has a tenth of its energy in the band, as white noise of its strength would not."""
    noise = np.diff(white(NT + 1), axis=1)  # |H|^2 = 4 sin^2(pi f dt), 0.01 at 8 Hz
    truth, observed = recorded(noise)
    narrowing = narrow(forward, STAGES[1], 1900.0)
    whole, data = StageData(forward, observed, None), narrowing.data(observed, None)
    left = float(l2(narrowing.data(truth, None).observed, data.observed))
    known = measure_noise(np.asarray(observed, float), BEFORE)
    assert noise_misfit(known, narrowing, NT, data) == pytest.approx(left, rel=0.1)
    relative, _ = find_noise(
        replace(CONFIG, noise=float(np.linalg.norm(noise) / np.linalg.norm(observed))), whole, MODEL
    )
    assert relative is not None
    assert noise_misfit(relative, narrowing, NT, data) > 10 * left


def test_power_of_filtered_noise():
    """The variance h^T R h of each sample, with the matrix R of the covariances of all samples before it."""
    random = np.random.default_rng(0)
    response, covariance = random.normal(size=30), np.array([3.0, -1.0, 0.5])
    matrix = toeplitz(np.pad(covariance, (0, 27)))
    wanted = [response[:n] @ matrix[:n, :n] @ response[:n] for n in range(1, 31)]
    np.testing.assert_allclose(filtered_power(covariance, response), wanted, rtol=1e-12)


def test_the_level_is_the_upper_end_of_a_confidence_interval(forward):
    """A level of two standard deviations s is above the exact one where the estimate is above 1 / (1 + 2 s) of it.

    100 traces of 60 samples have N = 6000 * 2 * 9 Hz * 2 ms = 216 values in the band: s = sqrt(2 / N) = 9.6 %, so that
    this is 1.7 s below, where 4.7 % of normal errors are: of 100 draws 95 are above, give or take 2.1.
    """
    narrowing = narrow(forward, STAGES[1], 1900.0)
    data = narrowing.data(jnp.ones((2, NT, 1)), None)
    exact = noise_misfit(Noise(np.ones(1), np.zeros((0, 1))), narrowing, NT, data)
    random, quiet = np.random.default_rng(5), np.broadcast_to((np.arange(100) < 60)[:, None], (2, 100, 50))
    levels = [
        noise_misfit(measure_noise(random.normal(size=quiet.shape), quiet), narrowing, NT, data, 2.0)
        for _ in range(100)
    ]
    assert 88 <= np.sum(np.array(levels) > exact) < 100
    assert np.mean(levels) < 1.5 * exact


def shoot(config=CONFIG, scale=1.0, start=START, model=TRUTH, **more):
    """Invert data whose noise has exactly the root mean square LEVEL of the data."""
    forward = Toy(scale)
    clean = np.asarray(Toy()(jnp.asarray(model, jnp.float32)), float)
    noise = np.random.default_rng(3).normal(size=clean.shape)
    noise -= clean * np.sum(noise * clean) / np.sum(clean**2)  # |clean + c noise|^2 is the sum of both
    noise *= np.linalg.norm(clean) / np.linalg.norm(noise) * LEVEL / np.sqrt(1 - LEVEL**2)
    observed = jnp.asarray(scale * (clean + noise), jnp.float32)
    return invert(forward, observed, jnp.asarray(start), config, **more)


def test_a_stage_stops_at_the_misfit_of_its_noise():
    """J = LEVEL^2: the first model below it is the last one, and without the setting the inversion fits noise."""
    result, on = shoot(), shoot(replace(CONFIG, noise=None))
    assert result.levels == pytest.approx([LEVEL**2], rel=1e-6) and list(result.ends) == ["noise"]
    assert result.true_misfit[-1] <= LEVEL**2 < result.true_misfit[:-1].min()
    assert result.best == len(result.misfit) - 1
    assert on.misfit.min() < 0.9 * LEVEL**2 and np.isnan(on.levels).all() and list(on.ends) != ["noise"]
    np.testing.assert_array_equal(on.misfit[: len(result.misfit)], result.misfit)


SMOOTH = {"first_order": {"weight": "discrepancy"}}
BUMP = 2500.0 + 250.0 * np.outer(np.sin(np.pi * np.arange(6) / 5), np.sin(np.pi * np.arange(5) / 4))


def test_a_chosen_weight_leaves_the_misfit_of_the_noise():
    """J is the level to 1 %, and the model is the smoothest of those that have that misfit.

    There, the gradients of J and R are opposite in the free cells: J + w R has its minimum, which one with this weight
    as a number finds, too.
    """
    config = replace(CONFIG, regularizers=SMOOTH, iterations=100)
    result = shoot(config, model=BUMP, spacing=10.0)
    assert result.misfit[-1] == pytest.approx(LEVEL**2, rel=0.01)
    assert result.best == len(result.misfit) - 1 and result.weight[-1] == pytest.approx(result.weight[-10], rel=0.05)
    known = {"first_order": {"weight": float(result.weight[-1])}}
    number = shoot(replace(config, noise=None, regularizers=known), model=BUMP, spacing=10.0)
    assert number.misfit[-1] == pytest.approx(LEVEL**2, rel=0.02)
    np.testing.assert_allclose(number.velocity, result.velocity, rtol=0.01)


def test_a_weight_grows_where_the_start_fits_noise():
    """A second stage from a model that fits noise comes back to the level, from below."""
    over = shoot(replace(CONFIG, noise=None, iterations=100), model=BUMP)
    assert over.misfit[-1] < 0.8 * LEVEL**2
    config = replace(CONFIG, regularizers=SMOOTH, iterations=100)
    result = shoot(config, start=over.velocity, model=BUMP, spacing=10.0)
    assert result.misfit[0] < 0.8 * LEVEL**2 and result.misfit[-1] == pytest.approx(LEVEL**2, rel=0.01)
    assert result.weight[-1] > result.weight[0]


def test_a_start_that_fits_is_kept():
    """A stage that begins below the misfit of its noise makes no iteration."""
    result = shoot(replace(CONFIG, stages=[StageConfig(), StageConfig()]))
    assert list(result.ends) == ["noise", "noise"] and np.sum(result.stage == 1) == 1
    np.testing.assert_array_equal(*result.stage_models)


def test_a_surrogate_stops_by_the_true_misfit():
    """Its own misfit says nothing of the level: that of the solver is computed every `check_every` iterations."""
    result = shoot(replace(CONFIG, check_every=3), solver=Toy())
    assert list(result.ends) == ["noise"] and (len(result.misfit) - 1) % 3 == 0
    assert result.true_misfit[-1] <= LEVEL**2 < np.nanmin(result.true_misfit[:-1])


def test_the_unit_of_the_data_does_not_count():
    """Data of another unit, near the ends of float32's range: the same models to its rounding."""
    one = shoot()
    for scale in (1e20, 1e-20):
        other = shoot(scale=scale)
        assert len(other.misfit) == len(one.misfit) and list(other.ends) == ["noise"]
        np.testing.assert_allclose(other.levels, one.levels, rtol=1e-6)
        np.testing.assert_allclose(other.velocity, one.velocity, rtol=1e-4)
    chosen = replace(CONFIG, regularizers=SMOOTH, iterations=10)
    one, other = (shoot(chosen, scale, spacing=10.0) for scale in (1.0, 1e20))
    np.testing.assert_allclose(other.weight, one.weight, rtol=1e-3)
    np.testing.assert_allclose(other.velocity, one.velocity, rtol=1e-4)


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("regularizers", [{}, SMOOTH])
def test_an_interrupted_inversion_resumes_with_the_same_bits(regularizers, tmp_path, monkeypatch):
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)
    stages, path = [StageConfig(iterations=8), StageConfig(iterations=3)], tmp_path / "progress.npz"
    config = replace(CONFIG, stages=stages, regularizers=regularizers)
    whole = shoot(config)
    assert len(whole.misfit) > 4

    def kill(entry, values):
        if entry == 3:
            raise Killed

    with pytest.raises(Killed):
        shoot(config, resume=path, on_progress=kill)
    pieces = shoot(config, resume=path)
    for name, value in whole._asdict().items():
        np.testing.assert_array_equal(value, getattr(pieces, name), err_msg=name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise": "guessed"}, "inversion.noise must be .*estimated"),
        ({"noise": 0}, "inversion.noise must be .*estimated"),
        ({"noise": True}, "inversion.noise must be .*estimated"),
        ({"noise": float("nan")}, "inversion.noise must be .*estimated"),
        ({"misfit": "huber"}, "misfit=huber and normalize=none"),
        ({"normalize": "traces"}, "misfit=l2 and normalize=traces"),
        ({"stages": [StageConfig(), StageConfig(misfit="envelope")]}, r"stages\[1\]: .* misfit=envelope"),
        ({"noise": None, "regularizers": SMOOTH}, "It needs inversion.noise"),
        ({"regularizers": SMOOTH | {"distance": {"weight": 1.0}}}, "no other regularizer"),
        ({"regularizers": SMOOTH, "batch": 2}, "neither inversion.batch nor encoding"),
        ({"regularizers": {"distance": {"weight": "guessed"}}}, "weight: NUMBER or weight: discrepancy"),
        ({"noise": "estimated"}, "the forward model must be the solver"),
    ],
)
def test_refusals(changes, said):
    """Before anything is simulated."""
    with pytest.raises(InputError, match=said):
        shoot(replace(CONFIG, **changes))


def test_noise_is_measured_before_the_first_waves(forward):
    """Simulated waves with noise of a tenth of their root mean square, which near traces have no time to show.

    The 300 traces with 0.2 s or more before their first wave leave 300 * 0.2 s * 2 * 10 Hz = 1200 values: 4 %.
    """
    few = replace(forward, survey=forward.survey.select(np.array([0, 3, 7])))
    clean = np.asarray(jax.jit(few.__call__)(MODEL))
    noise = np.random.default_rng(0).normal(size=clean.shape)
    noise *= 0.1 * np.linalg.norm(clean) / np.linalg.norm(noise)
    data = StageData(few, jnp.asarray(clean + noise, jnp.float32), None)
    config = replace(CONFIG, noise="estimated", bounds=[1900.0, 3200.0])
    known, simulated = find_noise(config, data, MODEL)
    assert known is not None and simulated == 3
    for stage in (StageConfig(), StageConfig(highest_frequency=10.0, spacing=12.5)):
        narrowing = narrow(few, stage, 1900.0)
        narrowed = narrowing.data(data.observed, None)
        left = float(l2(narrowing.data(jnp.asarray(clean), None).observed, narrowed.observed))
        expected = noise_misfit(known, narrowing, NT, narrowed)
        assert expected == pytest.approx(left, rel=0.12)
        assert expected < noise_misfit(known, narrowing, NT, narrowed, 2.0) < 1.25 * expected


def test_no_time_before_the_first_waves(forward):
    """Receivers next to their source leave nothing to measure noise by."""
    survey = forward.survey.select(np.array([3]))
    near = forward.survey.receivers[:3] * 0 + survey.sources.reshape(-1, 2)[:1] + jnp.array([[0.0, 12.5]])
    beside = replace(forward, survey=survey._replace(receivers=near))
    data = StageData(beside, jax.jit(beside.__call__)(MODEL), None)
    with pytest.raises(InputError, match="no trace has a period"):
        find_noise(replace(CONFIG, noise="estimated"), data, MODEL)
