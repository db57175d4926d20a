"""Inversion: forward models behind one protocol, and models that are recovered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import segyio

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.smoothing import gaussian_smooth
from data_gen.dataset.sample import SPLITS, DataSpec
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.model_files import VelocityFile, read_velocity, to_grid
from surrogate.config import InvertConfig, TrainConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.descent import DivergenceWarning, invert, starting_model
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward, spread_sources
from surrogate.inversion.optimizers import OPTIMIZERS
from surrogate.inversion.optimizers.precondition import depth_weights
from surrogate.operators.fno import FNOConfig
from surrogate.runs.invert import run_inversion
from tests.helpers import tiny_config
from tests.inversion.toy import Toy

# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")


@pytest.fixture(scope="module")
def spec():
    return tiny_config("unused").create()


def physics_of(spec: DataSpec, shots: int, *data) -> PhysicsForward:
    """The solver for shots at the surface of a data set's survey; data: kind and steps."""
    sources = spread_sources(spec.simulation.grid, shots, 20.0)
    return PhysicsForward(spec.simulation, spec.survey(sources), *data)


def test_gaussian_smooth():
    """A constant stays, a line stays inside, an impulse becomes the Gaussian of the stated width."""
    np.testing.assert_allclose(gaussian_smooth(jnp.full((9, 11), 3.0), 2.0), 3.0, rtol=1e-6)
    impulse = jnp.zeros((41, 41)).at[20, 20].set(1.0)
    blurred = np.asarray(gaussian_smooth(impulse, 3.0))
    offsets = np.arange(41) - 20
    variance = (blurred.sum(axis=1) * offsets**2).sum() / blurred.sum()
    # Truncation at three deviations takes about 3 % off the variance.
    assert abs(variance - 9.0) < 0.3


@pytest.mark.parametrize("kind", [pytest.param("wavefield", marks=pytest.mark.slow), "gather"])
def test_forward_models_are_interchangeable(spec, kind):
    """Solver and surrogate predict data of one shape at the same steps, and both are differentiable."""
    config = TrainConfig(data=tiny_config("unused"), model=FNOConfig(width=4, depth=1, modes=[3, 3]))
    sources = spread_sources(spec.simulation.grid, 2, 20.0)
    surrogate = SurrogateForward(config.create(), sources, kind)
    physics = PhysicsForward(spec.simulation, spec.survey(sources), kind, surrogate.steps)
    velocity = jnp.full((24, 20), 2500.0)
    assert isinstance(surrogate, ForwardModel) and isinstance(physics, ForwardModel)
    predicted, true = surrogate(velocity), physics(velocity)
    assert predicted.shape == true.shape == ((2, 3, 24, 20) if kind == "wavefield" else (2, 3, 10))
    # Untrained, the coarse encoding predicts the coarse field: already near the truth.
    assert jnp.linalg.norm(predicted - true) < 0.5 * jnp.linalg.norm(true)
    for forward in (surrogate, physics):
        gradient = jax.jit(jax.grad(lambda v, f=forward: jnp.sum(f(v) ** 2)))(velocity)
        assert jnp.isfinite(gradient).all() and jnp.abs(gradient).max() > 0


def test_inversion_recovers_the_model(spec):
    """Whole wavefields over-determine the model: in 60 steps the misfit falls by over 95 %, the error by half."""
    truth = 2500.0 + 300.0 * jnp.exp(-((jnp.arange(24)[:, None] - 12.0) ** 2 + (jnp.arange(20) - 9.0) ** 2) / 20.0)
    forward = physics_of(spec, 2, "wavefield", tuple(range(0, 121, 4)))
    config = InversionConfig(kind="wavefield", start="constant", iterations=60, learning_rate=20.0)
    result = invert(forward, forward(truth), starting_model(config, truth), config, truth=truth)
    assert result.misfit.shape == result.true_misfit.shape == result.model_error.shape == (61,)
    assert result.misfit[-1] < 0.05 * result.misfit[0]
    assert result.model_error[-1] < 0.5 * result.model_error[0]
    np.testing.assert_array_equal(result.misfit, result.true_misfit)


def test_lbfgs_needs_fewer_steps_than_adam(spec):
    """At equal iterations L-BFGS ends with a tenth of Adam's misfit: its steps know the curvature."""
    truth = 2500.0 + 300.0 * jnp.exp(-((jnp.arange(24)[:, None] - 12.0) ** 2 + (jnp.arange(20) - 9.0) ** 2) / 20.0)
    forward = physics_of(spec, 2, "wavefield", tuple(range(0, 121, 4)))
    observed, results = forward(truth), {}
    for optimizer in ("adam", "lbfgs"):
        config = InversionConfig(kind="wavefield", start="constant", optimizer=optimizer, iterations=30)
        results[optimizer] = invert(forward, observed, starting_model(config, truth), config, truth=truth)
    assert results["lbfgs"].misfit[-1] < 0.1 * results["adam"].misfit[-1]
    assert results["lbfgs"].model_error[-1] < results["adam"].model_error[-1]


def test_lbfgs_stops_where_there_is_nothing_to_fit(spec):
    """At the true model the gradient vanishes: the start is the estimate."""
    truth = jnp.full((24, 20), 2500.0)
    forward = physics_of(spec, 1)
    result = invert(forward, jax.jit(forward.__call__)(truth), truth, InversionConfig(optimizer="lbfgs"), truth=truth)
    assert result.misfit.shape == (1,) and result.misfit[0] < 1e-10
    np.testing.assert_array_equal(result.velocity, truth)


def test_depth_weights():
    """One at the bottom, the power of depth above, and no change at all with a power of 0."""
    np.testing.assert_allclose(depth_weights(4, 2.0)[:, 0], [1 / 16, 1 / 4, 9 / 16, 1.0])
    np.testing.assert_array_equal(depth_weights(4, 0.0), 1.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bounds_hold_and_the_gradient_points_down(spec, optimizer):
    truth = jnp.full((24, 20), 2500.0)
    forward = physics_of(spec, 1)
    config = InversionConfig(optimizer=optimizer, iterations=3, learning_rate=500.0, bounds=[2300.0, 2600.0])
    result = invert(forward, forward(truth), jnp.full_like(truth, 2400.0), config, truth=truth)
    assert result.velocity.min() >= 2300.0 and result.velocity.max() <= 2600.0
    # A start that is too slow everywhere must be sped up on the whole.
    assert result.gradient.sum() < 0


def test_a_misfit_that_is_not_finite_stops_and_keeps_the_best_model():
    """Beyond a velocity, as beyond the CFL limit, this forward model predicts NaN."""
    observed, start = Toy(scale=1.0)(jnp.full(Toy.shape, 2800.0)), jnp.full(Toy.shape, 2500.0)
    with pytest.raises(NumericalError, match="of the start is not finite"):
        invert(Toy(scale=1.0, limit=2000.0), observed, start, InversionConfig(iterations=20))
    with pytest.warns(DivergenceWarning, match=r"at iteration [1-9]\d* of stage 0.*Lower inversion.learning_rate"):
        result = invert(Toy(scale=1.0, limit=2550.0), observed, start, InversionConfig(iterations=20))
    assert "iteration" in result.stopped and 1 < len(result.misfit) < 21 and np.isfinite(result.misfit).all()
    assert result.best == np.argmin(result.misfit) and result.velocity.max() <= 2550.0


def test_run_inversion_writes_everything_once(tmp_path):
    config = InvertConfig(
        out=str(tmp_path / "fwi"),
        data=tiny_config("unused"),
        inversion=InversionConfig(iterations=4, shots=2, check_every=2, smoothing=3.0),
    )
    summary = run_inversion(config)
    assert summary["misfit"]["end"] < summary["misfit"]["start"]
    # Two shots, the start and four iterations of Adam, of which each takes a gradient of weight 3.
    counted = {"forwards": 0, "gradients": 10, "hessian_products": 0, "weighted": 30, "checks": 0}
    assert summary["simulations"] == counted
    files = {file.name for file in (tmp_path / "fwi").rglob("*") if file.is_file()}
    assert {"config.json", "inversion.json", "result.npz", "models.png", "curves.png", "report.html"} <= files
    # The misfit of all shots, `l2` here, lies between those of the two, at the start and at the end.
    with np.load(tmp_path / "fwi" / "comparison.npz") as compared:
        low, high = np.sort(compared["misfit_by_shot"], axis=1).T
        assert compared["gathers"].shape[:2] == (3, 2) and "wavelets" not in compared
    whole = np.array([summary["misfit"]["start"], summary["misfit"]["end"]])
    assert (low <= 1.001 * whole).all() and (whole <= 1.001 * high).all()
    stamp = (tmp_path / "fwi" / "inversion.json").stat().st_mtime_ns
    run_inversion(config)
    assert (tmp_path / "fwi" / "inversion.json").stat().st_mtime_ns == stamp
    config.inversion.iterations = 5
    with pytest.raises(InputError, match=r"another config \(inversion.iterations: 4 -> 5\)"):
        run_inversion(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "trace"}, "inversion.kind must be one of"),
        ({"misfit": "l3"}, "inversion.misfit must be one of"),
        ({"optimizer": "newton"}, "inversion.optimizer must be one of"),
        ({"index": -1}, "inversion.index must be from 0 to"),
        ({"index": 99999999999}, "inversion.index must be from 0 to"),
        ({"depth_power": -1.0}, "inversion.depth_power must be at least 0"),
        ({"bounds": [3000.0, 2000.0]}, "lowest, highest"),
        ({"start": "constant", "start_velocity": 2.5}, "lies outside .*in km/s, multiply by 1000"),
        (
            {"bounds": [1500.0, 9000.0]},
            "allow models that the solver cannot simulate.*above 4725 m/s would be cut off",
        ),
        ({"source_depth": 500.0}, "source lies outside the grid"),
    ],
)
def test_bad_inversions(tmp_path, changes, message):
    config = InvertConfig(out=str(tmp_path / "x"), data=tiny_config("unused"), inversion=InversionConfig(**changes))
    with pytest.raises(InputError, match=message):
        run_inversion(config)
    assert not (tmp_path / "x").exists()


# --- models from files ----------------------------------------------------------------------------------------


def write_model(path, velocity):
    if path.suffix == ".npy":
        np.save(path, velocity)
    elif path.suffix == ".npz":
        np.savez(path, velocity=velocity, spacing=25.0)
    else:
        segyio.tools.from_array2D(str(path), np.ascontiguousarray(velocity.T, dtype=np.float32))
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".sgy"])
def test_reading_models(tmp_path, suffix):
    """A model that was written is read back, depth first, in every format."""
    velocity = np.linspace(1500.0, 4000.0, 30 * 50).reshape(30, 50).astype(np.float32)
    model = read_velocity(write_model(tmp_path / f"model{suffix}", velocity))
    np.testing.assert_allclose(model.velocity, velocity, rtol=1e-6)
    assert model.spacing == (25.0 if suffix == ".npz" else None)


def test_resampling_keeps_travel_times():
    """A slowness that is linear in position is sampled exactly, at the stated place."""
    slowness = 1 / 4000.0 + 1e-6 * np.arange(60)[:, None] + 2e-6 * np.arange(80)
    model = VelocityFile(1 / slowness, 25.0)
    sampled, _ = to_grid(model, Grid((32, 40), 10.0), origin=(100.0, 200.0))
    z, x = 100.0 + 10.0 * np.arange(32)[:, None], 200.0 + 10.0 * np.arange(40)
    np.testing.assert_allclose(1 / sampled, 1 / 4000.0 + 1e-6 * z / 25.0 + 2e-6 * x / 25.0, rtol=1e-5)
    whole, where = to_grid(VelocityFile(1 / slowness, None), Grid((30, 30), 10.0))
    assert whole.shape == (30, 30) and "not given" in where


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 5, 6), 2000.0), r"shape \(4, 5, 6\).*two dimensions"),
        (np.full((30, 30), 2.5), "looks like km/s"),
        (np.full((30, 30), -2000.0), "positive everywhere"),
        (np.where(np.eye(30) > 0, np.nan, 2000.0), "30 values that are not finite"),
        (np.zeros((30, 30)), "positive everywhere"),
    ],
)
def test_bad_models(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        read_velocity(write_model(tmp_path / "model.npy", array))


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(InputError, match="no model file"):
        read_velocity(tmp_path / "absent.npy")
    (tmp_path / "model.txt").write_text("1500")
    with pytest.raises(InputError, match=r"expected \.npy, \.npz"):
        read_velocity(tmp_path / "model.txt")
    (tmp_path / "model.npy").write_bytes(b"\x93NUMPY\x01\x00 nonsense")
    with pytest.raises(InputError, match="could not be read"):
        read_velocity(tmp_path / "model.npy")
    np.save(tmp_path / "pickled.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="a pickle is never loaded"):
        read_velocity(tmp_path / "pickled.npy")
    with pytest.raises(InputError, match="window leaves the model"):
        to_grid(VelocityFile(np.full((10, 10), 2000.0), 10.0), Grid((32, 32), 10.0))


def test_true_models_come_from_the_test_stream(tmp_path):
    spec = tiny_config("unused").create()
    config = InvertConfig(
        out=str(tmp_path / "x"), data=tiny_config("unused"), inversion=InversionConfig(iterations=1, shots=1)
    )
    run_inversion(config)
    with np.load(tmp_path / "x" / "result.npz") as result:
        drawn = jax.jit(spec.draw)(spec.key(SPLITS.index("test"), 0))[0]
        np.testing.assert_array_equal(result["true"], drawn)
