"""Training losses: zero for the data, one for silence, finite gradients, and each against what theory says of it."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.dataset.sample import DataSpec
from data_gen.dataset.verification import rebuild
from data_gen.solver.problem.medium import project_medium, projected_compressibility
from surrogate.config import TrainConfig
from surrogate.encodings.registry import make_encoding
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.losses.loss import LossConfig
from surrogate.losses.terms import FLOOR, Judged, Term, bands, relative_l2, sobolev, traces
from surrogate.losses.wave_residual import (
    away_from,
    check_snapshots,
    helmholtz_terms,
    inner,
    residual,
    wave_terms,
)
from surrogate.metrics.errors import BANDS, band_errors
from surrogate.metrics.errors import relative_l2 as metric
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import Equation, Task
from surrogate.tasks.propagator import Propagator
from surrogate.tasks.registry import TASKS
from surrogate.tasks.wavefield import Wavefield
from surrogate.training.batches import Examples, ordered_batches
from surrogate.training.config import TrainingConfig
from surrogate.training.optimizer import Optimizer
from surrogate.training.state import TrainState
from surrogate.training.step import make_train_step
from tests.helpers import encoding_config, task_config, tiny_config

# One family, which compiles in a third of the time.
ONE_FAMILY = {"families": {"inclusions": {"min_velocity": 2000}}}
# 4 ms apart: 2 pi f D = 0.94 at the highest frequency, 37.5 Hz.
CLOSE = [0.112, 0.116, 0.12]
UNIT = {"low": 1.0, "middle": 1.0, "high": 1.0}


@dataclass(frozen=True)
class Harmonic(Wavefield):
    """Time-harmonic fields in the place of snapshots."""

    target: ClassVar[str] = "harmonic"
    equation: ClassVar[Equation | None] = "helmholtz"

    def __post_init__(self):
        """Gathers do not need what snapshots need."""


class Solver(nnx.Module):
    """The solver in the place of an operator."""

    def __init__(self, spec: DataSpec):
        self.spec = spec

    def __call__(self, velocity, source):
        return jax.vmap(lambda v, s: self.spec.fields(v, s[None])[0])(velocity, source)


class Scaled(nnx.Module):
    """The solver times a number."""

    def __init__(self, spec: DataSpec):
        self.solver = Solver(spec)
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, velocity, source):
        return self.scale[...] * self.solver(velocity, source)


def spec_of(**changes) -> DataSpec:
    return tiny_config("unused", **ONE_FAMILY | changes).create()


@pytest.fixture(scope="module")
def spec() -> DataSpec:
    return spec_of(snapshot_times=CLOSE)


@pytest.fixture(scope="module")
def every_task() -> DataSpec:
    """Data that each task can be learned from: close snapshots of a silent source, and all else on one line."""
    return spec_of(
        nt=151,
        absorbing_width=0,
        snapshot_times=[0.138, 0.142, 0.146, 0.150],
        records=["snapshots", "gathers", "harmonic"],
        frequencies=[12.0, 20.0],
        placement="line",
        source_depths=[20.0, 20.0],
    )


@pytest.fixture(scope="module")
def batch(spec) -> dict[str, jax.Array]:
    """Two shots, as training reads them."""
    make = Wavefield(spec).make
    return jax.jit(jax.vmap(lambda i: make(spec.key(0, i), jnp.int32(0))))(jnp.arange(2))


def errors(term: Term):
    """A term as a compiled function of prediction and truth."""

    def judge(prediction, truth):
        many = len(prediction)
        batch = {"velocity": jnp.full((many, 24, 20), 2500.0), "source": jnp.full((many, 2), 100.0)}
        return term(Judged(lambda *inputs: prediction, prediction, truth, batch, jax.random.key(0)))

    return jax.jit(judge)


def noise(*shape: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def field_terms(spec: DataSpec) -> dict[str, Term]:
    return {
        "relative_l2": relative_l2,
        "sobolev": sobolev(1),
        "sobolev2": sobolev(2),
        "bands": bands({"low": 1.0, "middle": 4.0, "high": 16.0}),
        "traces": traces(Wavefield(spec)),
    }


# --- the terms that compare fields ------------------------------------------------------------------------------


def test_zero_for_the_truth_and_one_for_silence(spec):
    """Each is N(error) / N(truth): 0 for the truth, |c - 1| for c times it, and blind to units and to order."""
    truth = noise(3, 2, 24, 20)
    for name, term in field_terms(spec).items():
        error = errors(term)
        np.testing.assert_array_equal(error(truth, truth), np.zeros(3), err_msg=name)
        for factor in (0.0, 1.5, -1.0):
            # Sums of 1e3 squares in float32.
            np.testing.assert_allclose(error(factor * truth, truth), abs(factor - 1), rtol=1e-5, err_msg=name)
        other = noise(3, 2, 24, 20, seed=1)
        plain = error(other, truth)
        np.testing.assert_allclose(error(1e6 * other, 1e6 * truth), plain, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(error(other[::-1], truth[::-1]), plain[::-1], rtol=1e-5, err_msg=name)


def test_the_default_is_the_mean_relative_l2(batch, spec):
    """To the bit, value and gradient, in a compiled step; no other term is in the program."""
    truth = batch["snapshots"]
    other = truth + 0.3 * jnp.std(truth) * noise(*truth.shape)

    class Given(nnx.Module):
        def __init__(self):
            self.field = nnx.Param(other)

        def __call__(self, velocity, source):
            return self.field[...]

    loss = LossConfig().create(Wavefield(spec))
    assert [name for name, _, _ in loss.terms] == ["relative_l2"]
    ours = nnx.jit(nnx.value_and_grad(lambda model: loss(model, batch, jax.random.key(0)), has_aux=True))
    plain = nnx.jit(nnx.value_and_grad(lambda model: jnp.mean(metric(model(None, None), truth))))
    (value, parts), gradient = ours(Given())
    expected, direction = plain(Given())
    assert value == expected == parts["relative_l2"]
    np.testing.assert_array_equal(gradient["field"][...], direction["field"][...])


def test_weights_add_up(batch, spec):
    """The loss is the weighted sum of its parts, and the mean of what it says of each sample."""
    weights: dict[str, Any] = {"relative_l2": 0.5, "sobolev": 0.1, "bands": 2.0, "traces": 0.25}
    loss = LossConfig(**weights).create(Wavefield(spec))
    model = Scaled(spec)
    model.scale[...] = 0.7
    value, parts = nnx.jit(lambda model: loss(model, batch, jax.random.key(0)))(model)
    each, _ = nnx.jit(lambda model: loss.per_sample(model, batch, jax.random.key(0)))(model)
    np.testing.assert_allclose(value, sum(weights[name] * part for name, part in parts.items()), rtol=1e-6)
    np.testing.assert_allclose(value, each.mean(), rtol=1e-6)
    # The operator is 0.7 times the solver: every term is 0.3.
    np.testing.assert_allclose(list(parts.values()), 0.3, rtol=1e-4)
    assert parts.keys() == weights.keys()


@pytest.mark.parametrize("silent", ["one", "all"])
def test_gradients_are_finite_without_error_or_sound(spec, silent):
    """d sqrt(x) is infinite at 0: at the truth the gradient is 0, for silence it is that of the batch's scale."""
    truth = noise(3, 3, 24, 20)
    truth = truth.at[0].set(0.0) if silent == "one" else jnp.zeros_like(truth)
    terms = field_terms(spec) | {"residual": residual(Wavefield(spec))}
    for name, term in terms.items():
        error = errors(term)
        gradient = jax.jit(jax.grad(lambda field, truth, error=error: jnp.sum(error(field, truth))))
        if name != "residual":
            np.testing.assert_array_equal(gradient(truth, truth), 0.0, err_msg=name)
        assert np.isfinite(gradient(jnp.zeros_like(truth), truth)).all(), name
        assert np.isfinite(gradient(truth + noise(*truth.shape, seed=1), truth)).all(), name
    error = errors(relative_l2)(truth + 1.0, truth)
    if silent == "one":
        scale = float(jnp.sqrt(jnp.mean(jnp.sum(truth**2, axis=(1, 2, 3)))))
        np.testing.assert_allclose(error[0], np.sqrt(3 * 24 * 20) / (FLOOR * scale), rtol=1e-5)


def test_sobolev_weighs_wavenumbers():
    """An error of wavenumber k on a truth of k0: (sin(k h / 2) / sin(k0 h / 2))^s times the relative L2."""
    n = 240
    x = 2 * np.pi * jnp.arange(n) / n

    def wave(cycles: int) -> jax.Array:
        return jnp.broadcast_to(jnp.cos(cycles * x + 0.3), (1, 1, 12, n))

    for order in (1, 2):
        error = errors(sobolev(order))(wave(4) + 0.1 * wave(20), wave(4))[0]
        expected = 0.1 * (np.sin(20 * np.pi / n) / np.sin(4 * np.pi / n)) ** order
        # Whole cycles, but a window's differences miss the last `order` of n terms.
        np.testing.assert_allclose(error, expected, rtol=order * 2 / n)


def test_sobolev_sees_no_jump_at_the_sides():
    """A ramp, whose periodic image jumps, has the derivative it has: an error of 10 % of the slope is 0.1."""
    ramp = jnp.broadcast_to(jnp.arange(40.0), (1, 1, 30, 40))
    np.testing.assert_allclose(errors(sobolev(1))(1.1 * ramp + 5.0, ramp), 0.1, rtol=1e-5)


def test_bands(spec):
    """With unit weights the relative L2, by Parseval; with one band alone that band's error in the reports."""
    truth, other = noise(2, 3, 40, 36), noise(2, 3, 40, 36, seed=1)
    np.testing.assert_allclose(errors(bands(UNIT))(other, truth), metric(other, truth), rtol=1e-5)
    reported = jax.jit(band_errors)(other, truth)
    for name in BANDS:
        alone = errors(bands({band: float(band == name) for band in BANDS}))(other, truth)
        np.testing.assert_allclose(alone, reported[name], rtol=1e-5)


def test_traces(spec):
    """Only receivers count: an error elsewhere is none, and the truth's traces are the gathers' samples."""
    rows, columns = spec.receiver_cells
    truth = noise(2, 3, 24, 20)
    elsewhere = jnp.ones((24, 20)).at[rows, columns].set(0.0)
    error = errors(traces(Wavefield(spec)))
    np.testing.assert_array_equal(error(truth + elsewhere, truth), 0.0)
    np.testing.assert_allclose(error(truth + 0.5 * (1 - elsewhere) * truth, truth), 0.5, rtol=1e-5)


# --- the Jacobian -----------------------------------------------------------------------------------------------


def test_directions(spec):
    """One per cent of the velocity, correlated over v_min / (4 f), and direction i whatever their number."""
    velocity = jnp.full((24, 20), 3000.0)
    draw = jax.jit(lambda seed: spec.directions(jax.random.key(seed), velocity, 3))
    fields = np.stack([draw(seed) for seed in range(40)]).reshape(-1, 24, 20) / 3000
    # 120 fields of some 10 x 10 independent cells each: the deviation to 1 % of itself, and some leeway.
    np.testing.assert_allclose(fields.std(), 0.01, rtol=0.05)
    length = spec.slowest / (4 * spec.simulation.peak_frequency)
    for shift in (1, 3):
        correlation = np.mean(fields[:, shift:] * fields[:, :-shift]) / 1e-4
        np.testing.assert_allclose(correlation, np.exp(-((10.0 * shift / length) ** 2)), atol=0.05)
    one = spec.directions(jax.random.key(0), velocity, 1)
    np.testing.assert_allclose(one[0], draw(0)[0], rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_solver_has_the_solvers_jacobian():
    """Zero to rounding where the operator is the solver; where its slope is off by a part, that part."""
    spec = spec_of()
    velocity = 2500.0 + 100 * noise(2, 24, 20)
    batch: dict[str, Any] = {"velocity": velocity, "source": jnp.array([[50.0, 100.0], [80.0, 60.0]])}
    batch["snapshots"] = Solver(spec)(**batch)
    loss = LossConfig(relative_l2=0.0, jacobian=1.0, directions=2).create(Wavefield(spec))
    model = Scaled(spec)
    run = nnx.jit(lambda model: loss(model, batch, jax.random.key(3)))
    assert run(model)[0] < 1e-12
    model.scale[...] = 0.9
    np.testing.assert_allclose(run(model)[0], 0.1, rtol=1e-9)


@pytest.fixture(scope="module")
def with_tangents(tmp_path_factory) -> DataConfig:
    path = tmp_path_factory.mktemp("tangents") / "set"
    sizes = {"train": 3, "validation": 1, "test": 1, "sources": 2, "shard_size": 3, "batch_size": 3}
    config = tiny_config(path, **ONE_FAMILY | sizes | {"records": ["snapshots", "tangents"], "directions": 2})
    dataset.generate(config)
    dataset.verify(path, contents=True)
    return config


def test_stored_tangents(with_tangents):
    """Those of the solver along the stored directions, shot by shot; the loss takes them, and finds what it would make.

    Rebuilt alone, a sample is bitwise that of the batch it was made in; online training gets them too.
    """
    config = with_tangents
    spec = config.create()
    task = Wavefield(spec)
    pair = Examples(config.path, "train", task)[3]
    assert pair["direction"].shape == (2, 24, 20) and pair["tangents"].shape == (2, 3, 24, 20)
    tangents = spec.tangents(jnp.asarray(pair["velocity"]), pair["source"][None], jnp.asarray(pair["direction"]))[0]
    # Two programs' rounding.
    np.testing.assert_allclose(pair["tangents"], tangents, atol=1e-5 * np.abs(tangents).max())
    h = 0.5
    ahead, behind = (
        spec.fields(pair["velocity"] + s * h * pair["direction"][0], pair["source"][None])[0] for s in (1, -1)
    )
    # A central difference of fields in float32, over half a per cent of the velocity.
    np.testing.assert_allclose((ahead - behind) / (2 * h), tangents[0], atol=2e-2 * np.abs(tangents).max())
    batch = {name: jnp.asarray(value[None]) for name, value in pair.items()}
    loss = LossConfig(relative_l2=0.0, jacobian=1.0).create(task)
    assert nnx.jit(lambda model: loss(model, batch, jax.random.key(0)))(Solver(spec))[0] < 1e-5
    changes, _ = rebuild(config.path, "train", 1)
    assert not any(changes.values())
    online = jax.eval_shape(lambda: task.make(spec.key(3, 0), jnp.int32(0)))
    shapes = {name: value.shape for name, value in pair.items() if name != "index"}
    assert {name: leaf.shape for name, leaf in online.items()} == shapes


@pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")
def test_training_with_stored_tangents(with_tangents):
    """A surrogate, blocks dropped at random: its slopes come nearer, and what is drawn is drawn from the state."""
    loss = LossConfig(sobolev=0.1, bands=0.1, traces=0.1, jacobian=1.0)
    training, task = TrainingConfig(loss=loss), Wavefield(with_tangents.create())
    model = TrainConfig(
        data=with_tangents,
        encoding=SourceMapConfig(),
        model=FNOConfig(width=8, depth=1, modes=[4, 4], drop_path=0.1),
        training=training,
    ).create()
    batch = next(ordered_batches(with_tangents.path, "train", 2, task))
    model.medium_std[...] = jnp.full_like(model.medium_std[...], 500.0)
    model.residual_rms[...] = jnp.full_like(model.residual_rms[...], np.std(batch["snapshots"]))
    structure, state = TrainState.create(model, Optimizer(model, optax.adam(0.02), decay=0.0))
    step, start = make_train_step(structure, training), jax.tree.map(jnp.copy, state)
    run = []
    for _ in range(40):
        state, metrics = step(state, batch)
        run.append({name: float(value) for name, value in metrics.items()})
    assert run[0].keys() == {"loss", "grad_norm", *loss.weights()}
    assert np.isfinite([[*metrics.values()] for metrics in run]).all()
    # The operator starts at zero, slopes included; two samples are soon learned.
    np.testing.assert_allclose(run[0]["jacobian"], 1.0, rtol=1e-5)
    assert np.mean([metrics["jacobian"] for metrics in run[-10:]]) < 0.9
    assert {name: float(value) for name, value in step(start, batch)[1].items()} == run[0]


def test_tangents_leave_everything_else_as_it_was(with_tangents):
    """The other entries of a record are bitwise those of a data set without, whose identity knows of no directions."""
    config = with_tangents
    plain = replace(config, records=["snapshots"])
    assert "directions" not in plain.identity() and plain.identity() == replace(plain, directions=5).identity()
    assert config.identity() != replace(config, directions=5).identity()
    record, spec = dataset.data_source(config.path, "train")[1], plain.create()
    made = jax.jit(jax.vmap(lambda i: spec.make(spec.key(0, i))))(jnp.arange(3))
    for name, leaf in made._asdict().items():
        if leaf is not None:
            np.testing.assert_array_equal(record[name], leaf[1], err_msg=name)


def test_bad_tangents():
    with pytest.raises(InputError, match=r"data\.records must contain snapshots"):
        spec_of(records=["tangents"])
    with pytest.raises(InputError, match=r"data\.directions must be from 1 to 1024, but is 0"):
        spec_of(records=["snapshots", "tangents"], directions=0)


# --- the wave equation ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("float64")
def test_the_solvers_fields_fulfil_the_wave_equation():
    """Differences in time leave a residual of (omega D)^2 / 12: a quarter at half the interval.

    Cells of 2500 m/s with noise of 100 m/s: their own 1 / v^2 in the place of what the solver's grid holds of it would
    leave some 4 % of the inertia at either interval.
    """
    left = []
    for interval in (0.004, 0.002):
        spec = spec_of(snapshot_times=[0.12 - 2 * interval, 0.12 - interval, 0.12], nt=241, dt=5e-4)
        batch = {"velocity": 2500.0 + 100 * noise(1, 24, 20), "source": jnp.array([[50.0, 100.0]])}
        loss = LossConfig(relative_l2=0.0, residual=1.0).create(Wavefield(spec))

        def run(batch, loss=loss, spec=spec):
            fields = Solver(spec)(**batch)
            return loss(Solver(spec), batch | {"snapshots": fields}, jax.random.key(0))[0]

        left.append(float(jax.jit(run)(batch)))
    # The highest frequencies, omega D = 1, have 8 % of the next order.
    np.testing.assert_allclose(left[0] / left[1], 4.0, rtol=0.1)
    assert left[0] < 1 / 12


@pytest.mark.usefixtures("float64")
def test_the_medium_of_the_residual_is_the_solvers():
    """On the solver's own grid to rounding; on larger cells a constant stays one, and samples are as they are."""
    simulation, velocity = spec_of().simulation, 2500.0 + 100 * noise(1, 24, 20)[0]
    (top, _, left, _), dt = simulation.widths, simulation.step_length
    stiffness = project_medium(velocity, None, simulation).stiffness[top : top + 24, left : left + 20]
    np.testing.assert_allclose(projected_compressibility(velocity, simulation), dt**2 / stiffness, rtol=1e-12)
    larger = replace(simulation, internal_spacing=17.0)
    constant = projected_compressibility(jnp.full((24, 20), 2500.0), larger)
    np.testing.assert_allclose(constant, 2500.0**-2, rtol=1e-12)
    sampled = projected_compressibility(velocity, replace(simulation, medium="samples"))
    np.testing.assert_allclose(sampled, velocity**-2, rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_the_residual_of_a_plane_wave():
    """cos(k x - omega t), omega = v k: (omega D)^2 / 12 of the inertia, next to which the Laplacian's error is 1e-6."""
    x, v, omega = 10.0 * np.arange(64), 2000.0, 2 * np.pi * 10.0
    terms = jax.jit(partial(wave_terms, spacing=10.0, order=8), static_argnames="interval")
    for interval in (0.004, 0.002):
        t = 0.1 + interval * np.arange(3)
        waves = np.cos(omega / v * x - omega * t[:, None])[:, None] * np.ones((16, 1))
        inertia, curvature = terms(waves, np.full((16, 64), v**-2), interval=interval)
        share = np.linalg.norm(inertia - curvature) / np.linalg.norm(curvature)
        np.testing.assert_allclose(share, (omega * interval) ** 2 / 12, rtol=0.01)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("order", [2, 4, 8])
def test_the_helmholtz_residual_has_the_laplacians_order(order):
    """A plane wave at 30 degrees leaves only the error of differences in space: 2^-order of it on half the cells."""
    k = 2 * np.pi * 15.0 / 2000.0
    terms, shares = jax.jit(partial(helmholtz_terms, order=order), static_argnames="spacing"), []
    for spacing in (20.0, 10.0):
        z, x = np.meshgrid(np.arange(0, 600, spacing), np.arange(0, 800, spacing), indexing="ij")
        phase = k * (0.5 * z + np.sqrt(0.75) * x)
        field = np.stack([np.cos(phase), np.sin(phase)])
        inertia, curvature = terms(field, np.full(z.shape, 2000.0**-2), np.full((1, 1, 1), 15.0), spacing=spacing)
        shares.append(np.linalg.norm(inertia - curvature) / np.linalg.norm(inertia))
    assert abs(np.log2(shares[0] / shares[1]) - order) < 0.1 * order


def test_a_propagators_residual_begins_with_its_state(every_task):
    """That of one step from two snapshots is that of the three snapshots."""
    truth, fields = noise(2, 3, 24, 20), noise(2, 3, 24, 20, seed=1).at[:, :2].set(noise(2, 3, 24, 20)[:, :2])
    batch = {"velocity": jnp.full((2, 24, 20), 2500.0), "source": jnp.full((2, 2), 50.0), "state": truth[:, :2]}

    def error(task: Task, given: int) -> jax.Array:
        prediction = fields[:, given:]
        return residual(task)(Judged(lambda *_: prediction, prediction, truth[:, given:], batch, jax.random.key(0)))

    # Sums of 1e3 squares in float32.
    np.testing.assert_allclose(error(Propagator(every_task, unroll=1), 2), error(Wavefield(every_task), 0), rtol=1e-5)


def test_the_solvers_time_harmonic_fields():
    """The remaining residual is rounding, and the energy that has not left when the record ends.

    At frequencies f' that are not theirs, it is |k'^2 - k^2| / k'^2.
    """
    spec = spec_of(records=["harmonic"], frequencies=[12.0, 18.0], nt=401, order=8)
    sample = jax.jit(spec.make)(spec.key(0, 0))
    assert sample.harmonic is not None
    truth = sample.harmonic.reshape(1, 4, *sample.velocity.shape)

    def error(*factors: float) -> float:
        frequencies = [12.0 * factors[0], 18.0 * factors[-1]]
        term = residual(Harmonic(spec_of(records=["harmonic"], frequencies=frequencies, nt=401, order=8)))
        batch = {"velocity": sample.velocity[None], "source": sample.sources}
        return float(term(Judged(lambda *_: truth, truth, truth, batch, jax.random.key(0)))[0])

    assert error(1.0) < 0.01
    np.testing.assert_allclose(error(13 / 12), 1 - (12 / 13) ** 2, rtol=0.05)
    # With one of them wrong, it counts as its field does, and not by the square of its frequency.
    held = projected_compressibility(sample.velocity, simulation=spec.simulation)
    mask = away_from(sample.sources[0], (24, 20), spacing=10.0, order=8)
    low, high = (jnp.linalg.norm(mask * inner(held * parts, 8)) for parts in (truth[0, :2], truth[0, 2:]))
    for factors, part in (((13 / 12, 1.0), low), ((1.0, 13 / 12), high)):
        share = float(part / jnp.hypot(low, high))
        np.testing.assert_allclose(error(*factors), (1 - (12 / 13) ** 2) * share, rtol=0.07)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relative_l2": 0.0}, "one of the loss's terms at least must be positive"),
        ({"sobolev": -1.0}, "training.loss.sobolev must be at least 0"),
        ({"sobolev_order": 0}, "sobolev_order must be from 1 to 4"),
        ({"band_weights": {"low": 1.0}}, "for each of low, middle, high"),
        ({"band_weights": dict.fromkeys(BANDS, 0.0)}, "not all 0"),
    ],
)
def test_bad_losses(settings, message):
    with pytest.raises(InputError, match=message):
        LossConfig(**settings).check()  # pyright: ignore[reportArgumentType]


# Terms that each task refuses; it can be trained by all others.
REFUSED = {
    "wavefield": set(),
    "propagator": {"jacobian"},
    "gather": {"traces", "residual"},
    "harmonic": set(),
    "inverse": {"traces", "jacobian", "residual"},
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_refuses_a_term_or_can_be_trained_by_it(every_task, name):
    """Whatever `create` lets through is finite in a compiled step, with a finite gradient that is not 0."""
    task, accepted = task_config(name).create(every_task), {}
    for term in ("relative_l2", "sobolev", "bands", "traces", "jacobian", "residual"):
        only: dict[str, Any] = {"relative_l2": 0.0, term: 1.0}
        if term in REFUSED[name]:
            with pytest.raises(InputError, match=rf"`{term}` .*predicts {task.target}.*training\.loss\.{term}=0"):
                LossConfig(**only).create(task)
        else:
            accepted[term] = 1.0
    shapes = jax.eval_shape(lambda: task.make(every_task.key(0, 0), jnp.int32(0)))
    random = np.random.default_rng(0)
    batch = {key: random.normal(size=(2, *leaf.shape)).astype(np.float32) for key, leaf in shapes.items()}
    batch |= {"velocity": np.float32(2500 + 100 * random.normal(size=(2, 24, 20)))}
    batch |= {"source": np.full((2, 2), 50, np.float32)}
    encoding = make_encoding(encoding_config("none" if name in ("propagator", "inverse") else "source_map"), task)
    operator = nnx.Conv(encoding.media + encoding.channels, task.outputs, (3, 3), rngs=(rngs := nnx.Rngs(0)))
    model = task.model(encoding, operator, rngs=rngs)
    model.train()
    loss = LossConfig(**accepted).create(task)
    graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiled quickly, not well
    @partial(jax.value_and_grad, has_aux=True)
    def step(parameters, rest, batch):
        return loss(nnx.merge(graphdef, parameters, rest), batch, jax.random.key(0))

    (_, parts), gradient = step(parameters, rest, batch)
    assert parts.keys() == accepted.keys() and np.isfinite(list(parts.values())).all()
    norm = float(optax.tree.norm(nnx.to_pure_dict(gradient)))
    assert np.isfinite(norm) and norm > 0


def test_data_whose_residual_says_little():
    for times in ([0.08, 0.10, 0.12], [0.112, 0.116], [0.110, 0.112, 0.116]):
        with pytest.raises(InputError, match=r"at most 0\.00424 s apart.*or training\.loss\.residual=0"):
            check_snapshots(spec_of(snapshot_times=times))
    dense = spec_of(snapshot_times=CLOSE, density="gardner")
    with pytest.raises(InputError, match="constant density"):
        LossConfig(residual=1.0).create(Wavefield(dense))


@pytest.mark.parametrize("unit", [2.0**66, 2.0**-66])
@pytest.mark.parametrize("term", [relative_l2, sobolev(1), bands(UNIT)], ids=["relative_l2", "sobolev", "bands"])
def test_losses_and_metrics_have_no_unit(term, unit):
    """Data times one power of two: the same loss to the bit, the gradient over it, and the same errors in reports.

    1e20 and 1e-20 are beyond float32's range when squared.
    """
    truth, prediction = jax.random.normal(jax.random.key(0), (2, 3, 2, 8, 9))

    def loss(prediction, truth):
        return jnp.mean(term(Judged(lambda: truth, prediction, truth, {}, jax.random.key(0))))

    value, slope = jax.value_and_grad(loss)(prediction, truth)
    scaled_value, scaled_slope = jax.value_and_grad(loss)(unit * prediction, unit * truth)
    np.testing.assert_allclose(scaled_value, value, rtol=1e-6)
    np.testing.assert_allclose(unit * scaled_slope, slope, rtol=1e-5, atol=1e-8)
    for errors in (metric, lambda p, t: band_errors(p, t)["middle"]):
        np.testing.assert_allclose(errors(unit * prediction, unit * truth), errors(prediction, truth), rtol=1e-5)
