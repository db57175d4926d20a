"""Density inverted along with velocity: derivatives by both, the rule as the special case, and files of both."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from data_gen.common.errors import InputError
from data_gen.velocity.base.model_files import read_density, read_velocity
from data_gen.velocity.density import gardner
from surrogate.config import InvertConfig, RealModelConfig
from surrogate.inversion import descent
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.corrected.stages import CorrectedStages
from surrogate.inversion.density import check_density, free_density, limits
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.inversion.stage import InversionProblem, make_objective, make_stage
from surrogate.inversion.stage_data import StageData
from surrogate.runs.diagnose_inversion import run_diagnosis
from surrogate.runs.invert import run_inversion
from surrogate.runs.observed_problem import observed_problem
from tests.helpers import relative, tiny_config

SHAPE = (20, 24)
DEPTH, ACROSS = np.mgrid[: SHAPE[0], : SHAPE[1]]
BLOB = np.exp(-((DEPTH - 11.0) ** 2 + (ACROSS - 12.0) ** 2) / 12.0)
VELOCITY = 2200.0 + 20.0 * DEPTH
CONFIG = InversionConfig(density="free", bounds=[2000.0, 3000.0], optimizer="lbfgs", iterations=4)


def solver(kind="gather", steps=(), **changes) -> PhysicsForward:
    """Two shots over 20 x 24 cells of 15 m, with density by Gardner's rule."""
    options = {"order": 4, "widths": (6, 6, 6, 6), "staggered": True} | changes
    simulation = Simulation(Grid(SHAPE, 15.0), TimeAxis(141, 2e-3), 3600.0, 10.0, **options)
    sources = np.array([[30.0, 60.0], [30.0, 270.0]])
    survey = make_survey(sources, surface_line(simulation.grid, 30.0, every=2), ricker(simulation.time, 10.0))
    return PhysicsForward(simulation, survey, kind, steps, gardner)


@pytest.fixture(scope="module")
def observed():
    """Gathers of a model whose velocity and density both have an anomaly."""
    return jax.jit(free_density(solver(), CONFIG).__call__)(truth())


def truth(dtype=jnp.float32):
    """Velocity and relative density: 200 m/s faster in the middle, and 10 % lighter than the rule says."""
    velocity = jnp.asarray(VELOCITY + 200.0 * BLOB, dtype)
    return free_density(solver(), CONFIG).model(velocity, gardner(velocity) * jnp.asarray(1 - 0.1 * BLOB, dtype))


def objective_of(forward, observed, config, model):
    """What a stage minimizes."""
    held = np.zeros(model.shape, bool)
    held[:, :2] = True
    return make_objective(InversionProblem(config, StageData(forward, observed, None), None, model, held), config,
                          StageData(forward, observed, None))  # fmt: skip


def test_models_of_two_fields(float64):
    """The rule's density has the relative density v0; any density comes back to rounding."""
    forward = free_density(solver(), CONFIG)
    velocity = jnp.asarray(VELOCITY)
    np.testing.assert_array_equal(forward.model(velocity)[1], forward.reference)
    density = jnp.asarray(2100.0 + 100.0 * BLOB)
    back = forward.medium(forward.model(velocity, density))
    np.testing.assert_array_equal(back[0], velocity)
    np.testing.assert_allclose(back[1], density, rtol=1e-14)
    low, high = (np.broadcast_to(bound, (2, *SHAPE)) for bound in limits(forward, CONFIG))
    np.testing.assert_allclose(forward.medium(jnp.asarray(low))[1], 0.8 * np.asarray(gardner(jnp.float64(2000.0))))
    np.testing.assert_allclose(forward.medium(jnp.asarray(high))[1], 1.2 * np.asarray(gardner(jnp.float64(3000.0))))


def test_data_are_those_of_the_density(float64):
    """The same data as with that density as a function of the velocity, to rounding."""
    model = truth(jnp.float64)
    forward = free_density(solver(), CONFIG)
    velocity, density = forward.medium(model)
    other = replace(solver(), density=lambda v: density)(velocity)
    assert relative(forward(model), other) < 1e-13


@pytest.mark.parametrize("parametrization", ["velocity", "log"])
def test_gradient_by_both(parametrization, float64):
    """Central differences of the misfit with regularizers, along random changes of either field, agree to 1e-6.

    Steps of 0.02 m/s: the third derivative leaves a part of about (0.02 / 100)^2, for a misfit that bends over changes
    of 100 m/s, and rounding of the misfit much less. Held rows have no gradient.
    """
    config = replace(CONFIG, parametrization=parametrization, regularizers={"first_order": {"weight": 0.1}})
    forward = free_density(solver(), config)
    start = forward.model(jnp.asarray(VELOCITY))
    objective = objective_of(forward, forward(truth(jnp.float64)), config, start)
    objective = replace(objective, data=replace(objective.data, dtype="float64"))
    x = objective.unknowns(np.asarray(truth(jnp.float64) * 0.5 + start * 0.5))
    gradient = objective.value_and_gradient(x)[1].reshape(2, *SHAPE)
    np.testing.assert_array_equal(gradient[:, :2], 0.0)
    for field in range(2):
        direction = np.zeros((2, *SHAPE))
        direction[field] = np.random.default_rng(field).normal(size=SHAPE)
        values = [objective.value(x + sign * 0.02 * direction.ravel()) for sign in (1, -1)]
        difference = (values[0] - values[1]) / 0.04
        assert abs(difference - np.sum(gradient * direction)) < 1e-6 * abs(difference)


def test_adjoint_identity(float64):
    """<J d, r> = <d, J^T r> over both fields, to rounding."""
    forward = free_density(solver(), CONFIG)
    random = np.random.default_rng(0)
    model, direction = truth(jnp.float64), jnp.asarray(random.normal(size=(2, *SHAPE)))
    data, change = jax.jvp(forward, (model,), (direction,))
    residual = jnp.asarray(random.normal(size=data.shape))
    (back,) = jax.vjp(forward, model)[1](residual)
    one, other = jnp.vdot(change, residual), jnp.vdot(direction, back)
    assert abs(one - other) < 1e-12 * jnp.linalg.norm(change) * jnp.linalg.norm(residual)


@pytest.mark.slow  # bounds are those of test_bounds.py
def test_equal_bounds_are_the_rule(float64):
    """Where density cannot leave the rule, velocities are those of an inversion by the rule, to rounding.

    Rounding of 1e-16 in gradients grows by the steps' dependence on them; 1e-9 leaves six digits for that.
    """
    config = replace(CONFIG, density_bounds=[1.0, 1.0], iterations=3)
    start, forward = jnp.asarray(VELOCITY), solver()
    data = jax.jit(forward.__call__)(start + 200.0 * BLOB)
    free = invert(forward, data, start, config)
    rule = invert(forward, data, start, replace(config, density="rule"))
    assert rule.density is None and free.density is not None
    assert np.abs(rule.velocity - VELOCITY).max() > 1.0
    np.testing.assert_allclose(free.velocity, rule.velocity, rtol=1e-9)
    np.testing.assert_allclose(free.misfit, rule.misfit, rtol=1e-9)
    np.testing.assert_allclose(free.density, gardner(jnp.asarray(free.velocity)), rtol=1e-12)


@pytest.mark.slow
def test_density_is_found_where_velocity_is_known():
    """Whole wavefields of a density anomaly in a known velocity: its error falls by 88 % in 25 iterations."""
    forward = solver("wavefield", tuple(range(0, 141, 4)))
    velocity = jnp.full(SHAPE, 2500.0)
    density = gardner(velocity) * jnp.asarray(1 - 0.1 * BLOB, jnp.float32)
    data = jax.jit(replace(forward, density=lambda v: density).__call__)(velocity)
    known = {"bounds": [2499.9, 2500.1], "gradient_smoothing": 1.5}
    config = replace(CONFIG, kind="wavefield", iterations=25, **known)
    result = invert(forward, data, velocity, config, truth=velocity, true_density=density)
    assert result.density is not None
    np.testing.assert_allclose(result.velocity, velocity, rtol=1e-4)
    assert result.density_error[result.best] < 0.25 * result.density_error[0]
    error = np.linalg.norm(result.density - density) / np.linalg.norm(density)
    np.testing.assert_allclose(error, result.density_error[result.best], rtol=1e-3)  # of a rounded density


@pytest.mark.slow
def test_both_are_found():
    """Wavefields of two anomalies: 20 % of the density's error and 8 % of the velocity's are left after 40 iterations.

    By the rule alone, which is wrong there, 46 % of the velocity's error are left, and 167 times the misfit.
    """
    forward = solver("wavefield", tuple(range(0, 141, 4)))
    free = free_density(forward, CONFIG)
    velocity, density = free.medium(truth())
    data = jax.jit(free.__call__)(truth())
    config = replace(CONFIG, kind="wavefield", iterations=40, gradient_smoothing=1.5)
    both = invert(forward, data, VELOCITY, config, truth=velocity, true_density=density)
    rule = invert(forward, data, VELOCITY, replace(config, density="rule"), truth=velocity)
    assert both.density_error[both.best] < 0.4 * both.density_error[0]
    assert both.model_error[both.best] < 0.5 * rule.model_error[rule.best]
    assert both.misfit[both.best] < 0.1 * rule.misfit[rule.best]


STAGES = [StageConfig(highest_frequency=8.0, spacing=15.0, iterations=1), StageConfig(iterations=3)]


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        pytest.param("lbfgs", {"iterations": 5}, marks=pytest.mark.slow),
        pytest.param("adam", {"iterations": 5}, marks=pytest.mark.slow),
        pytest.param("lbfgs", {"stages": STAGES, "preconditioner": "illumination"}, marks=pytest.mark.slow),
    ],
)
def test_resumes_with_the_same_bits(optimizer, changes, observed, tmp_path, monkeypatch):
    """Killed, in the second of two stages or in the only one: every array is that of an uninterrupted inversion."""
    monkeypatch.setattr(descent, "STORE_EVERY", 0.0)
    config = replace(CONFIG, optimizer=optimizer, gradient_smoothing=1.0, **changes)
    forward, path, left = solver(), tmp_path / "progress.npz", [4]

    def listen(iteration, values):
        if iteration in left:
            left.remove(iteration)
            raise RuntimeError("killed")

    def run(**options):
        velocity, density = free_density(forward, CONFIG).medium(truth())
        return invert(forward, observed, VELOCITY, config, truth=velocity, true_density=density, **options)

    whole = run()
    with pytest.raises(RuntimeError, match="killed"):
        run(resume=path, on_progress=listen)
    pieces = run(resume=path)
    for name, value in whole._asdict().items():
        np.testing.assert_array_equal(value, getattr(pieces, name), err_msg=name)


def test_both_fields_are_weighed_and_held(observed):
    """One illumination weighs both fields, regularizers add up over both, and fixed cells keep both."""
    config = replace(CONFIG, preconditioner="illumination", depth_power=0.5, regularizers={"distance": {"weight": 2.0}})
    forward = free_density(solver(), config)
    start = forward.model(jnp.asarray(VELOCITY, jnp.float32))
    held = np.zeros((2, *SHAPE), bool)
    held[:, :3] = True
    stage = make_stage(InversionProblem(config, StageData(forward, observed, None), None, start, held), 0,
                       np.asarray(start))  # fmt: skip
    weights = stage.preconditioner.weights.reshape(2, -1)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.ptp(weights) > 0.1
    x = stage.x.reshape(2, *SHAPE) + np.array([30.0, 40.0])[:, None, None]
    changed = stage.objective.velocity(x.ravel()).reshape(2, *SHAPE)
    np.testing.assert_array_equal(changed[:, :3], np.asarray(start, np.float64)[:, :3])
    free = 17 / 20  # of the rows
    np.testing.assert_allclose(stage.objective.penalty(x.ravel()), 2.0 * free * (30.0**2 + 40.0**2))


@pytest.mark.parametrize(
    ("optimizer", "changes", "make"),
    [
        ("gauss_newton", {"preconditioner": "gauss_newton"}, make_stage),
        ("newton_cg", {"batch": 2}, make_stage),
        ("lbfgs", {"source": "one", "parametrization": "slowness"}, CorrectedStages()),
    ],
)
@pytest.mark.slow
def test_other_ways_lower_the_misfit(optimizer, changes, make, observed):
    """Newton methods, batches, estimated wavelets, and a corrected coarse solver: three iterations change both."""
    config = replace(CONFIG, optimizer=optimizer, iterations=3, **changes)
    result = invert(solver(), observed, VELOCITY, config, make=make)
    assert result.misfit[result.best] < 0.9 * result.misfit[0]
    rule = np.asarray(gardner(jnp.asarray(result.velocity)))
    assert result.density is not None and np.abs(result.density / rule - 1).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"parametrization": "sigmoid"}, {}, "inversion.parametrization=sigmoid cannot treat"),
        ({"density_bounds": [1.2, 0.8]}, {}, r"density_bounds must be \[lowest, highest\]"),
        ({"density": "rule", "start_density": "density.npy"}, {}, "give inversion.density=free, too"),
        ({"start_density": "density.txt"}, {}, "must be the path of a model file"),
        ({"density": "rule"}, {"density": np.full(SHAPE, 2000.0)}, "are for InversionConfig"),
        ({}, {"density": np.full(SHAPE, 2.0)}, "starting density leaves inversion.density_bounds"),
        ({}, {"density": np.full((3, 3), 2000.0)}, r"has the shape \(3, 3\)"),
        ({}, {"truth": VELOCITY, "true_density": np.full(SHAPE, 3000.0)}, "true density leaves"),
        ({}, {"solver": solver()}, "needs the solver"),
    ],
)
def test_refusals(changes, options, message):
    with pytest.raises(InputError, match=message):
        invert(solver(), np.ones((2, 141, 12)), VELOCITY, replace(CONFIG, **changes), **options)


def test_bounds_must_be_stable():
    """Samples of a model are simulated as they are: a cell many times as heavy as its neighbors is too stiff."""
    forward = solver(medium="samples")
    free_density(forward, replace(CONFIG, density_bounds=[1.0, 1.0]))
    with pytest.raises(InputError, match="allow models that the solver cannot simulate"):
        free_density(forward, replace(CONFIG, bounds=[2000.0, 3600.0], density_bounds=[0.1, 9.0]))


def test_a_rule_is_needed():
    with pytest.raises(InputError, match="needs a rule for density"):
        free_density(replace(solver(), density=None), CONFIG)


def test_densities_of_files(tmp_path):
    """Arrays and `.npz` files of densities are read as they are; velocities, grams and other shapes are refused."""
    density = 2000.0 + 100.0 * BLOB
    np.save(tmp_path / "rho.npy", density)
    np.savez(tmp_path / "rho.npz", velocity=density + 1, density=density, spacing=15.0, origin=[0.0, 30.0])
    np.testing.assert_array_equal(read_density(tmp_path / "rho.npy").velocity, density)
    found = read_density(tmp_path / "rho.npz")
    np.testing.assert_array_equal(found.velocity, density)
    assert found.spacing == 15.0 and found.origin == (0.0, 30.0)
    for values, message in (
        (density / 1000, "looks like g/cm"),
        (-density, "positive"),
        (density[0], "two dimensions"),
    ):
        np.save(tmp_path / "bad.npy", values)
        with pytest.raises(InputError, match=message):
            read_density(tmp_path / "bad.npy")


@pytest.mark.slow
def test_known_models(tmp_path):
    """The command's function reads a true density, starts from a file of one, and writes, draws and tells both."""
    grid = (24, 20)
    velocity = 2500.0 + 10.0 * np.arange(24)[:, None] + np.zeros(20)
    anomaly = np.exp(-((np.arange(24)[:, None] - 8.0) ** 2 + (np.arange(20) - 10.0) ** 2) / 10.0)
    rule = np.asarray(gardner(jnp.asarray(velocity)))
    np.save(tmp_path / "vp.npy", velocity)
    np.save(tmp_path / "rho.npy", rule * (1 + 0.1 * anomaly))
    np.save(tmp_path / "start_rho.npy", rule)
    config = InvertConfig(
        out=str(tmp_path / "out"),
        data=tiny_config("unused", density="gardner"),
        real=RealModelConfig(str(tmp_path / "vp.npy"), spacing=10.0),
        real_density=str(tmp_path / "rho.npy"),
        inversion=InversionConfig(
            density="free", start_density=str(tmp_path / "start_rho.npy"), shots=2, iterations=3, optimizer="lbfgs",
            smoothing=1.0, density_bounds=[0.9, 1.12], bounds=[2000.0, 3000.0],
        ),
    )  # fmt: skip
    summary = run_inversion(config)
    assert summary["density_error"]["end"] < summary["density_error"]["start"]
    with np.load(tmp_path / "out/result.npz") as result:
        shapes = {result[name].shape for name in ("density", "start_density", "true_density", "density_gradient")}
        assert shapes == {grid}
        np.testing.assert_allclose(result["true_density"], rule * (1 + 0.1 * anomaly), rtol=1e-5)
        np.testing.assert_allclose(result["start_density"], rule, rtol=1e-5)
    files = {file.name for file in (tmp_path / "out").rglob("*")}
    assert {"density.png", "models.png", "comparison.npz", "report.html"} <= files
    with pytest.raises(InputError, match="Give both, or leave it out"):
        run_inversion(replace(config, out=str(tmp_path / "other"), data=tiny_config("unused")))
    with pytest.raises(InputError, match="cannot be diagnosed"):
        run_diagnosis(config)


@pytest.mark.slow
def test_observed_data(tmp_path):
    """The density of observed data is written with its place, and read back as the start of a next inversion."""
    forward = solver()
    density = gardner(jnp.asarray(VELOCITY)) * (1 - 0.1 * BLOB)
    data = jax.jit(replace(forward, density=lambda v: density).__call__)(jnp.asarray(VELOCITY))
    np.savez(
        tmp_path / "survey.npz", gathers=np.asarray(data), dt=2e-3,
        sources=np.asarray(forward.survey.sources), receivers=np.asarray(forward.survey.receivers),
    )  # fmt: skip
    inversion = InversionConfig(
        density="free", start="gradient", iterations=2, optimizer="lbfgs", bounds=[2000.0, 2900.0],
        density_bounds=[0.9, 1.1],
    )  # fmt: skip
    setup = SetupConfig(peak_frequency=10.0, density="gardner", spacing=15.0, margin=45.0, depth=285.0)
    config = InvertConfig(
        out=str(tmp_path / "one"), observed=str(tmp_path / "survey.npz"), setup=setup, inversion=inversion
    )
    summary = run_inversion(config)
    assert summary["misfit"]["end"] < summary["misfit"]["start"] and "density_error" not in summary
    with np.load(tmp_path / "one/result.npz") as result:
        estimate = result["density"]
        assert np.isnan(result["density_error"]).all()
    for name in ("density.npz", "density.segy"):
        np.testing.assert_array_equal(read_density(tmp_path / "one" / name).velocity, estimate)
        with pytest.raises(InputError, match="holds a density"):
            read_velocity(tmp_path / "one" / name)
    again = replace(inversion, start_density=str(tmp_path / "one/density.segy"))
    problem = observed_problem(replace(config, inversion=again))
    assert problem.start_density is not None
    np.testing.assert_allclose(problem.start_density, estimate, rtol=1e-6)  # on the same cells, of the same line


def test_rounding_is_no_reason_to_refuse(float64):
    """A density that passes a bound by less than 1e-4 is moved to it."""
    forward, velocity = free_density(solver(), CONFIG), jnp.asarray(VELOCITY)
    held = np.zeros(SHAPE, bool)
    density = 1.2 * gardner(velocity) * (1 + 5e-5)
    model = check_density(density, velocity, forward, [0.8, 1.2], held, "The density")
    np.testing.assert_allclose(model[1], 1.2 * forward.reference, rtol=1e-14)
    with pytest.raises(InputError, match="The density leaves"):
        check_density(1.001 * density, velocity, forward, [0.8, 1.2], held, "The density")
