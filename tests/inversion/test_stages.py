"""Stages narrow data and simulation alike, and one driver runs them with the same result however it is interrupted."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from data_gen.common.errors import InputError
from data_gen.solver.problem.medium import copies_of_cells
from surrogate.inversion import descent
from surrogate.inversion.config import FLANK, InversionConfig, MuteConfig, StageConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.processing.filters import filter_gathers
from surrogate.inversion.stage import InversionProblem, make_stage
from surrogate.inversion.stage_data import StageData, narrow, stage_band
from tests.helpers import relative
from tests.inversion.toy import Toy

SHAPE = (41, 61)
DEPTH, ACROSS = np.mgrid[: SHAPE[0], : SHAPE[1]]
SMOOTH = jnp.asarray(2000.0 + 20.0 * DEPTH, jnp.float32)
TRUTH = SMOOTH + jnp.asarray(250.0 * np.exp(-((DEPTH - 22) ** 2 + (ACROSS - 30) ** 2) / 60.0), jnp.float32)
BOUNDS = [1900.0, 3200.0]


@pytest.fixture(scope="module")
def forward():
    simulation = Simulation(Grid(SHAPE, 12.5), TimeAxis(401, 2e-3), 3200.0, 10.0, widths=(12, 12, 12, 12))
    sources = np.array([[25.0, x] for x in (50.0, 250.0, 450.0, 700.0)])
    survey = make_survey(sources, surface_line(simulation.grid, 25.0, every=2), ricker(simulation.time, 10.0))
    return PhysicsForward(simulation, survey)


@pytest.fixture(scope="module")
def observed(forward):
    return jax.jit(forward.__call__)(TRUTH)


def narrowed(forward, slowest, **stage) -> PhysicsForward:
    model = narrow(forward, StageConfig(**stage), slowest).forward
    assert isinstance(model, PhysicsForward)
    return model


def problem_of(forward, observed, config, start=SMOOTH):
    return InversionProblem(config, StageData(forward, observed, None), None, start, np.zeros(SHAPE, bool))


@pytest.mark.parametrize(
    ("stage", "tolerance"),
    [
        # The same cells: what is above the band, and the correction of time.
        (StageConfig(highest_frequency=8.0, spacing=12.5), 1e-3),
        (StageConfig(highest_frequency=8.0, lowest_frequency=4.0, spacing=12.5), 1e-3),
        (StageConfig(highest_frequency=8.0), 0.02),  # the coarsest cells: 5 in the shortest wavelength, order 4
        (StageConfig(highest_frequency=8.0, spacing=17.3), 4e-3),
    ],
)
def test_a_stage_predicts_the_filtered_data(forward, observed, stage, tolerance):
    """What the narrowed simulation predicts in the true model are the true data, filtered and thinned out."""
    data = narrow(forward, stage, BOUNDS[0]).data(observed, None)
    assert isinstance(data.forward, PhysicsForward)
    assert relative(jax.jit(data.forward.__call__)(TRUTH), data.observed) < tolerance
    every = round(data.forward.simulation.time.dt / forward.simulation.time.dt)
    band = stage_band(stage, forward.simulation.time.dt)
    np.testing.assert_array_equal(data.observed, filter_gathers(observed, 2e-3, band)[:, ::every])
    assert every > 1 and 0.5 / (every * 2e-3) > FLANK * 8.0


def test_a_stage_has_the_coarsest_cells(forward):
    """Cells grow as the band shrinks, and never below the model's; the model's own grid stays."""
    spacings = []
    for highest in (2.0, 4.0, 8.0, 30.0):
        simulation = narrowed(forward, BOUNDS[0], highest_frequency=highest).simulation
        spacings.append(simulation.solved_spacing)
        assert simulation.grid == forward.simulation.grid
    np.testing.assert_allclose(np.array(spacings[:3]) * [2.0, 4.0, 8.0], BOUNDS[0] / (FLANK * 5.0), rtol=1e-6)
    assert spacings[3] == pytest.approx(BOUNDS[0] / (25.0 * 5.0))  # the wavelet itself ends at 25 Hz
    assert narrowed(forward, 1600.0, highest_frequency=30.0).simulation.solved_spacing == 12.5


def test_shots_of_a_stage(forward, observed):
    """Two of four shots: their data, weights and sources."""
    weights = jnp.arange(1.0, 5.0)[:, None, None]
    data, kept = narrow(forward, StageConfig(shots=2), BOUNDS[0]).data(observed, weights), np.array([0, 2])
    assert isinstance(data.forward, PhysicsForward) and data.weights is not None
    np.testing.assert_array_equal(data.observed, observed[kept])
    np.testing.assert_array_equal(data.forward.survey.sources, forward.survey.sources[kept])
    assert data.weights.ravel().tolist() == [1.0, 3.0]


@pytest.mark.parametrize("source", ["fixed", "one"])
def test_gradient_of_a_stage(forward, observed, source):
    """On other cells, in a band, with mutes, regularizers and slowness, the gradient is that of the misfit."""
    config = InversionConfig(
        bounds=BOUNDS,
        stages=[StageConfig(highest_frequency=6.0)],
        parametrization="slowness",
        source=source,
        mute=MuteConfig(early_velocity=3500.0, farthest=600.0),
        regularizers={"first_order": {"weight": 0.1}, "total_variation": {"weight": 0.1, "smoothing": 0.5}},
    )
    stage = make_stage(problem_of(forward, observed, config), 0, np.asarray(SMOOTH))
    objective, x = stage.objective, stage.x
    value, gradient = objective.value_and_gradient(x)
    direction = gradient / np.linalg.norm(gradient) + 0.5 * np.sin(np.arange(len(x))) / np.sqrt(len(x))
    # Central differences of a step of 40 m/s in all: of float32 data the misfit is right to 1e-7, its change is 6e-3.
    ahead, behind = objective.value(x + 20 * direction), objective.value(x - 20 * direction)
    assert abs((ahead - behind) / 40 / (gradient @ direction) - 1) < 2e-3
    assert value > objective.penalty(x) > 0


def test_stages_bring_the_model_nearer(forward, observed):
    """From low to high frequencies, each stage from the best model of the one before; everything is counted."""
    stages = [
        StageConfig(highest_frequency=5.0, iterations=4),
        StageConfig(optimizer="adam", iterations=3, learning_rate=5.0),
    ]
    config = InversionConfig(optimizer="lbfgs", learning_rate=40.0, bounds=BOUNDS, stages=stages)
    result = invert(forward, observed, SMOOTH, config, truth=TRUTH)
    assert result.stage.tolist() == [0.0] * 5 + [1.0] * 4
    errors = [relative(model, TRUTH) for model in (SMOOTH, *result.stage_models)]
    assert errors[1] < 0.9 * errors[0] and errors[2] < errors[1]
    np.testing.assert_array_equal(result.velocity, result.stage_models[-1])
    assert result.used[-1] == 3 * result.simulations[1] and (np.diff(result.used) >= 0).all()
    assert result.simulations[1] % 4 == 0 and result.stopped == ""


def test_budgets(forward, observed):
    """A stage ends with its simulations, and the inversion with all: whole iterations, of 3 for each of four shots."""
    stages = [StageConfig(iterations=9, simulations=30), StageConfig(iterations=9)]
    config = InversionConfig(bounds=BOUNDS, stages=stages, simulations=60)
    result = invert(forward, observed, SMOOTH, config)
    assert result.stage.tolist() == [0.0] * 3 + [1.0] * 2 and result.used[-1] == 60


CONFIG = InversionConfig(
    iterations=5, bounds=[2250.0, 2780.0], stages=[StageConfig(optimizer="lbfgs"), StageConfig(misfit="huber")]
)
TOY_START = 2500.0 + 100.0 * np.sin(np.arange(30.0)).reshape(6, 5)
TOY_TRUTH = np.clip(2500.0 + 300.0 * np.cos(np.arange(30.0)).reshape(6, 5), 2250.0, 2780.0)


@pytest.mark.parametrize("preconditioner", ["none", "gauss_newton"])
def test_resumes_in_any_stage(preconditioner, tmp_path, monkeypatch):
    """Killed in the first stage, at its end, at the start of the second one and in it: the same bits."""
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)
    config, forward = replace(CONFIG, preconditioner=preconditioner), Toy(1.0)
    observed, kills = forward(jnp.asarray(TOY_TRUTH, jnp.float32)), [2, 5, 6, 8]

    def run(path=None, listen=lambda iteration, values: None):
        return invert(forward, observed, TOY_START, config, truth=TOY_TRUTH, resume=path, on_progress=listen)

    def killed(iteration, values):
        if iteration == kills[0]:
            kills.pop(0)
            raise KeyboardInterrupt

    whole, path = run(), tmp_path / "progress.npz"
    while kills:
        with pytest.raises(KeyboardInterrupt):
            run(path, killed)
    for name, value in run(path)._asdict().items():
        np.testing.assert_array_equal(value, getattr(whole, name), err_msg=name)
    assert path.exists() and set(whole.stage) == {0.0, 1.0}


def test_an_unknown_wavelet_is_estimated_along(forward, observed):
    """Other wavelets, one for all shots or one for each: in the true model nothing is left of the misfit."""
    late = jnp.roll(forward.survey.wavelets, 5, axis=-1)
    factors = jnp.array([1.0, -2.0, 0.5, 3.0])[:, None]
    for source, wavelets in (("one", -0.7 * late), ("each", factors * late)):
        other = replace(forward, survey=forward.survey._replace(wavelets=wavelets))
        values = {}
        for kind in ("fixed", "one", "each"):
            stage = make_stage(
                problem_of(other, observed, InversionConfig(bounds=BOUNDS, source=kind)), 0, np.asarray(TRUTH)
            )
            values[kind] = stage.objective.value(stage.x)
        # 1e-4 of damping leaves 1e-4 of what is near the band's edge.
        assert values[source] < 1e-4 < 0.5 < values["fixed"]
        assert (values["one"] < 1e-3) == (source == "one")


@pytest.mark.parametrize("preconditioner", ["illumination", "gauss_newton"])
def test_preconditioners_weigh_deep_cells_up(forward, observed, preconditioner):
    """Sources and receivers lie near the top, where the data hear most: weights grow from there to below."""
    config = InversionConfig(bounds=BOUNDS, preconditioner=preconditioner)
    stage = make_stage(problem_of(forward, observed, config), 0, np.asarray(SMOOTH))
    weights = stage.preconditioner.weights.reshape(SHAPE)
    assert weights.max() == pytest.approx(1.0) and weights[35:].mean() > 1.5 * weights[1:4].mean()
    assert stage.spent.sum() in (4, 32)
    # The diagonal of Gauss and Newton has the layers in it.
    copies = 1.0 if preconditioner == "gauss_newton" else copies_of_cells(forward.simulation).ravel()
    np.testing.assert_array_equal(stage.preconditioner.copies, copies)


def refused(config, message):
    with pytest.raises(InputError, match=message):
        invert(Toy(1.0), Toy(1.0)(jnp.full(Toy.shape, 2600.0)), jnp.full(Toy.shape, 2500.0), config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [StageConfig(highest_frequency=3.0)]}, r"stages\[0\] chooses a band.*forward=physics"),
        ({"stages": [StageConfig(highest_frequency=3.0, lowest_frequency=4.0)]}, r"band of .*stages\[0\] must ascend"),
        ({"stages": [StageConfig(optimizer="sgd")]}, r"stages\[0\].optimizer must be null or one of"),
        ({"stages": [StageConfig(spacing=-1.0)]}, r"stages\[0\].spacing must be null or above 0"),
        ({"simulations": 0}, "simulations must be null or at least 1"),
        ({"regularizers": {"tikhonov": {"weight": 1.0}}}, "regularizers must be among"),
        ({"regularizers": {"distance": {}}}, "needs a weight"),
        ({"regularizers": {"distance": {"weight": 1.0, "wait": 2}}}, "does not have the right settings"),
        ({"parametrization": "spline"}, "parametrization_settings.*knot_spacing"),
        ({"mute": MuteConfig(farthest=100.0)}, "mute needs the survey"),
        ({"preconditioner": "illumination"}, "take gauss_newton"),
        ({"kind": "wavefield", "source": "one"}, "source is for gathers"),
    ],
)
def test_refusals(changes, message):
    refused(InversionConfig(**changes), message)


def test_bands_that_do_not_fit(forward, observed):
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"stages": [StageConfig(highest_frequency=240.0)]}, r"band of inversion.stages\[0\] does not fit the data"),
        ({"stages": [StageConfig(shots=5)]}, "survey has 4 shots"),
        ({"mute": MuteConfig(late_velocity=1e6, late_start=-10.0)}, "leaves nothing of the data"),
    )
    for changes, message in cases:
        with pytest.raises(InputError, match=message):
            invert(forward, observed, SMOOTH, InversionConfig(bounds=BOUNDS, **changes))


def test_mutes_follow_the_clock_of_the_records(forward, observed):
    """Records that begin at 5 s are muted by times of their own clock, as those that begin at zero are by theirs."""
    results = []
    for clock in (0.0, 5.0):
        mute = MuteConfig(early_velocity=3500.0, early_start=0.05 + clock)
        config = InversionConfig(bounds=BOUNDS, iterations=1, mute=mute)
        results.append(invert(forward, observed, SMOOTH, config, clock=clock))
    # 5.05 - 5 is 0.05 but for its last bits.
    np.testing.assert_allclose(results[1].misfit, results[0].misfit, rtol=1e-4)
    with pytest.raises(InputError, match="leaves nothing of the data"):
        invert(forward, observed, SMOOTH, config)
