"""The tasks `gather` and `harmonic`: examples, encodings, errors, training, evaluation, inversion."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hydra import compose, initialize_config_dir

from data_gen.common.errors import InputError
from data_gen.common.hydra_app import typed
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.dataset.sample import SPLITS
from surrogate import config as configs
from surrogate.config import EvaluateConfig, RealModelConfig, TrainConfig
from surrogate.encodings.gather import direct_times, medium_sections, stored_times
from surrogate.encodings.harmonic import spectrum
from surrogate.encodings.registry import make_encoding
from surrogate.encodings.schemas import BackgroundConfig, CoarseConfig, LogConfig, SourceMapConfig
from surrogate.inversion.forward import PhysicsForward, SurrogateForward, spread_sources
from surrogate.metrics.errors import relative_l2
from surrogate.metrics.ssim import ssim
from surrogate.models.surrogate import Surrogate, training_statistics
from surrogate.operators.fno import FNOConfig
from surrogate.runs.evaluate import evaluate
from surrogate.runs.export import through_xla
from surrogate.runs.fit import fit
from surrogate.runs.other_data import read_other
from surrogate.tasks.gather import Gather, GatherConfig, waveform_ssim
from surrogate.tasks.harmonic import HarmonicConfig
from surrogate.tasks.inverse import InverseConfig
from surrogate.training.batches import ordered_batches
from surrogate.training.config import TrainingConfig
from tests.helpers import ROOT, encoding_config, relative, task_config, tiny_config

configs.register()
# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

TASKS = ("gather", "harmonic")
ENCODINGS = ("source_map", "background", "coarse")
SMALL = FNOConfig(width=6, depth=1, modes=[4, 4], mlp_ratio=2)
FAMILIES: dict[str, Any] = {
    "rough": {"family": "gaussian_random_field", "min_velocity": 2000},
    "blobs": {"family": "inclusions", "min_velocity": 2000},
}


def field_config(path, **changes) -> DataConfig:
    """The tiny grid with two shots a model, gathers and time-harmonic fields, no snapshots."""
    changes = {"records": ["gathers", "harmonic"], "frequencies": [12.0, 20.0], "sources": 2} | changes
    changes = {"train": 6, "validation": 2, "test": 2, "snapshot_times": [], "source_depths": [20, 60]} | changes
    return tiny_config(path, families=FAMILIES, **changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    config = field_config(tmp_path_factory.mktemp("data") / "set")
    dataset.generate(config)
    return config


def batch_of(data: DataConfig, name: str, size: int = 4) -> tuple[Any, dict[str, Any]]:
    task = task_config(name).create(data.create())
    return task, next(ordered_batches(data.path, "train", size, task))


def surrogate_of(task, encoding: str, batch) -> Surrogate:
    made = make_encoding(encoding_config(encoding), task)
    operator = SMALL.create(made.media + made.channels, task.outputs, rngs=nnx.Rngs(0))
    model = Surrogate(task, made, operator)
    model.set_statistics(training_statistics(model, [batch]))
    return model


# --- examples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_reading_is_making(data, name):
    """A stored example is the one that the solver makes of the same sample: float32 rounding, and nothing else."""
    task = task_config(name).create(data.create())
    records = dataset.data_source(data.path, "test")
    make = jax.jit(task.make)
    for number, index in ((0, 0), (1, task.examples - 1)):
        stored, made = task.read(records[number], index), make(task.spec.key(SPLITS.index("test"), number), index)
        assert set(stored) == set(made) == {*task.inputs, task.target, "family"}
        for key, values in made.items():
            assert stored[key].shape == values.shape and stored[key].dtype == values.dtype, key
            assert np.abs(stored[key] - values).max() <= 2e-5 * np.abs(values).max(), key
        assert stored[task.target].shape == (task.outputs, *task.shape)


def test_examples_of_a_record(data):
    """A gather of each shot; the fields of each shot, frequency by frequency."""
    gather, harmonic = (task_config(name).create(data.create()) for name in TASKS)
    record = dataset.data_source(data.path, "train")[0]
    assert (gather.examples, harmonic.examples, harmonic.outputs) == (2, 2, 4)
    for shot in range(2):
        example = harmonic.read(record, shot)
        np.testing.assert_array_equal(example["source"], record["sources"][shot])
        for f in range(2):
            # The stored field is that of the wavelet: W(f) times that of a unit source.
            real, imaginary = example["harmonic"][2 * f : 2 * f + 2]
            field = (real + 1j * imaginary) * spectrum(harmonic.spec)[f]
            assert relative(np.stack([field.real, field.imag]), record["harmonic"][shot, f]) < 1e-6


def test_half_precision(data):
    """A record in half precision is decoded: its rounding, 2^-11 of each value, is all that changes."""
    task, record = Gather(data.create()), dataset.data_source(data.path, "train")[0]
    encoded = replace(task.spec.recording, precision="float16").encode({"gathers": jnp.asarray(record["gathers"])})
    half = record | {name: np.asarray(values) for name, values in encoded.items()}
    assert half["gathers"].dtype == np.float16
    assert relative(task.read(half, 1)["gathers"], task.read(record, 1)["gathers"]) < 2**-11


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gather", {"records": ["harmonic"]}, "data.records must hold gathers"),
        ("harmonic", {"records": ["gathers"]}, "must hold harmonic"),
        ("gather", {"peak_frequency": 13.0, "peak_frequency_spread": 2.0}, "peak_frequency_spread=0"),
    ],
)
def test_data_that_a_task_cannot_use(name, changes, message):
    with pytest.raises(InputError, match=message):
        task_config(name).create(field_config("x", **changes).create())


# --- encodings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", TASKS)
def test_encodings_and_their_gradients(data, name, encoding):
    """Shapes as promised; reverse mode, forward mode and a central difference agree in one direction, in float64."""
    task, batch = batch_of(data, name, 1)
    with jax.enable_x64(True):
        made = make_encoding(encoding_config(encoding), task)
        inputs = [jnp.asarray(batch[key][0], jnp.float64) for key in task.inputs]

        @jax.jit
        def encode(velocity):
            return made(velocity, *inputs[1:])

        encoded = encode(inputs[0])
        assert encoded.medium.shape == (made.media, *task.shape) and encoded.fields.shape[0] == made.channels
        assert encoded.fields.shape[1:] == task.shape and encoded.baseline.shape == (task.outputs, *task.shape)
        assert all(part.dtype == jnp.float64 and jnp.isfinite(part).all() for part in encoded)
        # Smooth in z and x, and the model too: the interpolants used have kinks, which a difference must not cross.
        smooth = 2500 + 300 * jnp.sin(jnp.arange(24.0) / 5)[:, None] * jnp.cos(jnp.arange(20.0) / 4)
        direction = jnp.cos(jnp.arange(24.0) / 7)[:, None] + jnp.sin(jnp.arange(20.0) / 3)
        weights = [jax.random.normal(jax.random.key(i), part.shape) for i, part in enumerate(encoded)]

        def score(velocity):
            return sum(jnp.vdot(w, part) / jnp.std(part + w) for w, part in zip(weights, encode(velocity), strict=True))

        @jax.jit
        def derivatives(velocity):
            return jax.jvp(score, (velocity,), (direction,))[1], jax.grad(score)(velocity)

        tangent, gradient = derivatives(smooth)
        step = 1e-4
        central = (score(smooth + step * direction) - score(smooth - step * direction)) / (2 * step)
        assert abs(jnp.vdot(gradient, direction) - tangent) < 1e-9 * abs(tangent)
        assert abs(central - tangent) < 1e-4 * abs(tangent)


def test_sections_of_the_medium(data):
    """In a medium of constant velocity both are that; below an interface the time section shows the lower velocity
    from the two-way time on, one row of time and one cell of depth being the resolution."""
    spec = data.create()
    np.testing.assert_allclose(medium_sections(jnp.full((24, 20), 2500.0), spec), 2500.0, rtol=1e-6)
    velocity = jnp.where(jnp.arange(24)[:, None] < 5, 2000.0, 3000.0) * jnp.ones(20)
    section = np.asarray(medium_sections(velocity, spec)[1])
    two_way = spec.peak_time + 2 * (4.5 - spec.receiver_row) * 10.0 / 2000.0
    rows = np.argmax(section > 2500.0, axis=0)
    row = spec.recording.gather_every * spec.simulation.time.dt
    assert np.abs(stored_times(spec)[rows] - two_way).max() < row + 10.0 / 2000.0


def test_direct_wave(data):
    """Straight rays in a constant medium take distance / velocity; the pulse peaks there on each trace."""
    task = GatherConfig().create(data.create())
    velocity, source = jnp.full((24, 20), 2500.0), jnp.array([60.0, 40.0])
    away = np.hypot(*(task.spec.receivers - np.array([60.0, 40.0])).T)
    np.testing.assert_allclose(direct_times(velocity, source, task.spec), away / 2500.0, rtol=1e-5)
    encoded = make_encoding(SourceMapConfig(), task)(velocity, source)
    peaks = stored_times(task.spec)[np.argmax(encoded.fields[0], axis=0)]
    arrivals = task.spec.peak_time + away / 2500.0
    heard = arrivals < stored_times(task.spec)[-1]
    # Half a stored step of 4 ms.
    assert heard.sum() > 5 and np.abs(peaks - arrivals)[heard].max() <= 2.01e-3


@pytest.mark.parametrize("name", TASKS)
def test_background_is_the_field_of_a_homogeneous_medium(name):
    """Where the model is that medium, the closed form is the solver's field: within 3 % (order 8 and the time step err
    by some 0.5 %; the absorbing layer, and for the harmonic field the cells next to the source, by the rest)."""
    config = field_config("x", nz=32, nx=32, order=8, nt=301, absorbing_width=16, frequencies=[8.0, 12.0])
    task = task_config(name).create(config.create())
    velocity = jnp.full((32, 32), 2500.0)
    batch: dict[str, Any] = {"velocity": velocity[None].repeat(2, 0), "source": jnp.array([[60.0, 100.0]] * 2)}
    encoding = make_encoding(BackgroundConfig(velocity=2500.0), task)
    truth = task.methods()["solver"](batch)
    closed = jax.vmap(encoding)(*(batch[key] for key in task.inputs)).fields[:, -task.outputs :]
    assert float(relative_l2(closed, truth).max()) < 0.03


@pytest.mark.parametrize("every", [4, 3])
def test_coarse_gather_is_near_the_solvers(every):
    """With 8 coarse points a wavelength the coarse gather errs by under 10 %; source, receivers or times off by half a
    cell or step would err by 15 % and more."""
    config = field_config(
        "x", nz=48, nx=48, order=8, peak_frequency=8.0, nt=322, gather_every=every, records=["gathers"]
    )
    task = GatherConfig().create(config.create())
    velocity = 3200.0 + 100 * jnp.sin(jnp.arange(48) / 8.0)[:, None] * jnp.ones(48)
    batch = {"velocity": velocity[None], "source": jnp.array([[20.0, 170.0]])}
    methods = task.methods()
    truth, coarse = methods["solver"](batch), methods["coarse_solver"](batch)
    assert truth.shape == coarse.shape == (1, 1, -(-322 // every), 24)
    assert float(relative_l2(coarse, truth)[0]) < 0.1


@pytest.mark.parametrize("name", ["wavefield", *TASKS])
def test_compared_with_the_coarse_solver_of_the_encoding(name):
    """What a surrogate is compared with is its baseline, bit for bit, whatever the ratio of its encoding is."""
    config = field_config("x", records=["snapshots", "gathers", "harmonic"], snapshot_times=[0.1, 0.12])
    task = task_config(name).create(config.create())
    encoding = make_encoding(CoarseConfig(ratio=1.5), task)
    operator = SMALL.create(encoding.media + encoding.channels, task.outputs, rngs=nnx.Rngs(0))
    model = Surrogate(task, encoding, operator)
    assert model.coarse_ratio == 1.5
    batch = {
        "velocity": jnp.full((1, *config.create().simulation.grid.shape), 2500.0),
        "source": jnp.array([[60.0, 100.0]]),
    }
    found = task.methods(model.coarse_ratio)["coarse_solver"](batch)
    np.testing.assert_array_equal(found, jax.jit(jax.vmap(encoding))(batch["velocity"], batch["source"]).baseline)
    assert float(relative_l2(found, task.methods()["coarse_solver"](batch))[0]) > 1e-3


def test_coarse_harmonic_is_near_the_solvers():
    """12 and more coarse points a wavelength: under 10 %, the cells around the source, where the field is singular,
    left out. Half a fine cell's shift of the source alone would be a phase of 2 pi h / 2 lambda, 13 % at 16 Hz."""
    config = field_config("x", nz=48, nx=48, order=8, frequencies=[10.0, 16.0], nt=401, absorbing_width=16)
    task = HarmonicConfig().create(config.create())
    velocity = 3800.0 + 100 * jnp.sin(jnp.arange(48) / 8.0)[:, None] * jnp.ones((1, 1, 48))
    batch = {"velocity": velocity, "source": jnp.array([[60.0, 170.0]])}
    methods = task.methods()
    truth, coarse = methods["solver"](batch), methods["coarse_solver"](batch)
    z, x = jnp.meshgrid(jnp.arange(48), jnp.arange(48), indexing="ij")
    away = jnp.hypot(z - 6, x - 17) > 3
    assert truth.shape == (1, 4, 48, 48)
    for f in (slice(0, 2), slice(2, 4)):
        assert float(relative_l2((coarse * away)[:, f], (truth * away)[:, f]).max()) < 0.1


def test_encodings_that_a_task_has_not(data):
    task = HarmonicConfig().create(data.create())
    with pytest.raises(InputError, match="encoding must be one of source_map, background, coarse"):
        make_encoding(LogConfig(), task)


# --- errors ---------------------------------------------------------------------------------------------------


def test_ssim():
    """Identities of the index; and its value where every window has the same moments: a constant shift."""
    image = jax.random.uniform(jax.random.key(0), (3, 24, 30))
    noise = jax.random.normal(jax.random.key(1), image.shape)
    np.testing.assert_allclose(ssim(image, image), 1.0, rtol=1e-5)
    np.testing.assert_allclose(ssim(image, image + noise), ssim(image + noise, image), rtol=1e-5)
    falling = [float(ssim(image + level * noise, image).mean()) for level in (0.0, 0.1, 0.3, 1.0)]
    assert falling == sorted(falling, reverse=True) and -1 <= falling[-1] < 0.3 < falling[1] < 1
    assert float(ssim(-(image - 0.5) + 0.5, image).mean()) < -0.5
    # The whole map by hand: moments under the Gaussian, the image continued by zeros.
    a, b = (np.pad(np.asarray(image[k, :12, :9], float), 5) for k in (0, 1))
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(kernel, kernel) / kernel.sum() ** 2
    values = []
    for window in np.ndindex(12, 9):
        x, y = (padded[window[0] :, window[1] :][:11, :11] for padded in (a, b))
        m, n = (weights * x).sum(), (weights * y).sum()
        xx, yy, xy = ((weights * u * v).sum() - p * q for u, v, p, q in ((x, x, m, m), (y, y, n, n), (x, y, m, n)))
        values.append((2 * m * n + 1e-4) * (2 * xy + 9e-4) / ((m * m + n * n + 1e-4) * (xx + yy + 9e-4)))
    np.testing.assert_allclose(ssim(image[:1, :12, :9], image[1:2, :12, :9])[0], np.mean(values), rtol=1e-3)


def test_errors(data):
    """Perfect for the truth; a scaled gather errs by the scale; the SSIM does not depend on the unit of pressure."""
    task, batch = batch_of(data, "gather")
    truth = jnp.asarray(batch["gathers"])
    errors = task.errors(1.1 * truth, batch)
    np.testing.assert_allclose(errors["relative_l2"], 0.1, rtol=1e-4)
    assert errors["mae"].shape == (4,) and (errors["mae"] > 0).all() and (errors["mae"] <= 0.1).all()
    np.testing.assert_allclose(task.errors(truth, batch)["ssim"], 1.0, rtol=1e-5)
    assert (errors["ssim"] < 1).all()
    np.testing.assert_allclose(waveform_ssim(1.1e3 * truth[:, 0], 1e3 * truth[:, 0], 4), errors["ssim"], rtol=1e-3)
    names = task.groups(batch)["family"]
    assert set(names) <= set(FAMILIES) and names == [task.spec.mixture.names[i] for i in batch["family"]]


# --- training, evaluation, inversion ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_training_lowers_the_loss(data, name):
    """From the source alone, on one batch: the error falls by half within 60 steps, and starts at one, as the first
    prediction is the silent baseline."""
    task, batch = batch_of(data, name)
    batch = jax.tree.map(jnp.asarray, batch)
    model = surrogate_of(task, "source_map", batch)
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss_of(model):
            return jnp.mean(relative_l2(model(*(batch[given] for given in task.inputs)), batch[task.target]))

        loss, gradients = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradients)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(60)]
    np.testing.assert_allclose(losses[0], 1.0, rtol=1e-4)
    assert losses[-1] < 0.5, losses[::10]


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> DataConfig:
    families = {"lens": {"family": "gaussian_lens", "min_velocity": 2000, "max_velocity": 4500}}
    config = field_config(tmp_path_factory.mktemp("other") / "lenses")
    config = replace(config, families=families, train=0, validation=1, test=2)
    dataset.generate(config)
    return config


@pytest.mark.parametrize("name", ["gather", pytest.param("harmonic", marks=pytest.mark.slow)])
def test_a_run_and_its_evaluation(data, other, name, tmp_path):
    """Trained by `fit`, evaluated in family, across and on a file: every table is written, by group too."""
    training = TrainingConfig(steps=4, batch_size=4, warmup_steps=1, validate_every=4, checkpoint_every=4, log_every=4)
    config = TrainConfig(run=str(tmp_path / "run"), data=data, task=task_config(name), model=SMALL, training=training)
    config.tracking.mode = "disabled"
    if name == "harmonic":  # quicker to compile; the gather's is the default, which takes the coarse solver
        config.encoding = encoding_config("source_map")
    fit(config)
    np.save(tmp_path / "model.npy", np.full((24, 20), 2500.0) + 5.0 * np.arange(24)[:, None])
    real = RealModelConfig(str(tmp_path / "model.npy") if name == "harmonic" else None, spacing=10.0)
    asked = EvaluateConfig(
        run=config.run,
        batch_size=4,
        repeats=1,
        speedup_samples=0,
        gradient_samples=0,
        inversion_samples=0,
        other=other.path,
        real=real,
    )
    result = evaluate(asked)
    stored = json.loads((Path(config.run) / "metrics.json").read_text())
    assert stored == json.loads(json.dumps(result)) and stored["task"] == name
    for table in (stored, stored["coarse_solver"], stored["other"], stored["other"]["coarse_solver"]):
        assert 0 < table["relative_l2"]["mean"] < 2
        groups = table["per_family"]
        total = sum(group["examples"] * group["relative_l2"] for group in groups.values())
        count = sum(group["examples"] for group in groups.values())
        np.testing.assert_allclose(total / count, table["relative_l2"]["mean"], rtol=1e-5)
    assert set(stored["per_family"]) <= set(FAMILIES) and stored["test_samples"] == 4
    assert stored["other"]["families"] == ["lens"] and set(stored["other"]["per_family"]) == {"lens"}
    if name == "harmonic":
        assert stored["real_model"]["shots"] == 16
        assert set(stored["real_model"]["surrogate"]["frequencies"]) == {"12 Hz", "20 Hz"}
    else:
        assert 0 < stored["ssim"]["mean"] <= 1
    report = (Path(config.run) / "report.html").read_text()
    assert (
        f"By family, {name}" in report
        and ("20 Hz" in report) == (name == "harmonic")
        and "On other data: lenses" in report
        and "FNO" in report
    )
    before = (Path(config.run) / "metrics.json").stat().st_mtime_ns
    evaluate(replace(asked, other=None))  # less than was asked before
    assert (Path(config.run) / "metrics.json").stat().st_mtime_ns == before


def test_other_data_of_another_simulation(data):
    """Another grid too: what a gather or a harmonic surrogate predicts belongs to its own (test_other_grid.py)."""
    task = GatherConfig()
    with pytest.raises(InputError, match=r"another simulation than the run \(nx: 20 -> 24\)"):
        read_other(data.path, TrainConfig(data=replace(data, nx=24), task=task))
    with pytest.raises(InputError, match=r"largest velocity: 4500\.0 -> 4400\.0"):
        slower = {"rough": FAMILIES["rough"] | {"max_velocity": 4400}}
        read_other(data.path, TrainConfig(data=replace(data, families=slower), task=task))


def test_other_data_that_the_task_cannot_use(data, tmp_path):
    """Missing records, and sources that an inverse operator has not learned, are refused before any computation."""
    manifest = dataset.read_manifest(data.path)
    manifest["recipe"]["records"] = ["gathers"]
    (tmp_path / dataset.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="harmonic"):
        read_other(str(tmp_path), TrainConfig(data=data, task=HarmonicConfig()))
    deeper = replace(data, placement="line", source_depths=[40.0, 40.0])
    with pytest.raises(InputError, match=r"source_depths: .* -> \[40\.0, 40\.0\]"):
        read_other(data.path, TrainConfig(data=deeper, task=InverseConfig()))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", TASKS)
def test_shots_through_one_model_are_its_examples(data, name, encoding):
    """Predicted together they are to rounding what they are one by one, in the same order, for no more work."""
    task, batch = batch_of(data, name)
    model = surrogate_of(task, encoding, batch)
    operator: Any = model.operator
    kernel = operator.project.kernel
    kernel[...] = jax.random.normal(jax.random.key(0), kernel.shape)
    velocity, sources = jnp.asarray(batch["velocity"][0]), jnp.array([[20.0, 40.0], [60.0, 130.0]])
    inputs = task.shot_inputs(velocity, sources)
    each = nnx.jit(type(model).__call__)(model, *(inputs[key] for key in task.inputs))
    together = nnx.jit(type(model).shots)(model, velocity, sources)
    assert together.shape == each.shape
    assert relative(together, each) < 1e-5

    encode = through_xla(model.encoding)  # XLA counts no loop but its own

    def flops(encode) -> float:
        counted: Any = jax.jit(encode).lower(velocity, sources).compile().cost_analysis()
        return counted["flops"]

    def one_by_one(velocity, sources):
        inputs = task.shot_inputs(velocity, sources)
        return jax.vmap(encode)(*(inputs[key] for key in task.inputs))

    assert flops(lambda v, s: task.encode_shots(encode, v, s)) <= flops(one_by_one)


def test_a_surrogate_of_no_shots_says_so(data):
    task, batch = batch_of(data, "gather")
    model = surrogate_of(task, "source_map", batch)
    model.task = InverseConfig().create(replace(data, placement="line", source_depths=[20.0, 20.0]).create())
    with pytest.raises(InputError, match="task=inverse reads gathers, not a velocity model and sources"):
        model.shots(jnp.asarray(batch["velocity"][0]), jnp.array([[20.0, 40.0]]))


def test_inversion_through_a_gather_surrogate(data):
    """It stands where the solver does, at the stored steps, is differentiable, and refuses what it cannot predict."""
    config = TrainConfig(data=data, task=GatherConfig(), model=SMALL)
    model, spec = config.create(), data.create()
    sources = spread_sources(spec.simulation.grid, 2, 20.0)
    surrogate = SurrogateForward(model, sources, "gather")
    assert surrogate.steps == tuple(range(0, 121, 4))
    physics = PhysicsForward(spec.simulation, spec.survey(sources), "gather", surrogate.steps)
    velocity = jnp.full((24, 20), 2500.0)
    true = jax.jit(physics.__call__)(velocity)

    def misfit(v):
        data = surrogate(v)
        return jnp.sum((data - true) ** 2), data

    (_, predicted), gradient = jax.jit(jax.value_and_grad(misfit, has_aux=True))(velocity)
    assert predicted.shape == true.shape == (2, 31, 10)
    chosen = jax.jit(lambda shots: surrogate.select(shots)(velocity))(jnp.array([1]))
    assert relative(chosen, predicted[1:]) < 1e-5
    # Untrained it predicts the coarse solver's gather, on 2.7 coarse cells a wavelength at the highest frequency.
    assert relative(predicted, true) < 0.6
    assert jnp.isfinite(gradient).all() and jnp.abs(gradient).max() > 0
    with pytest.raises(InputError, match="trained for task=gather, which cannot predict wavefield data"):
        SurrogateForward(model, sources, "wavefield")


# --- presets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["gather_reference", "gather_small", "harmonic_reference", "harmonic_medium", "harmonic_small"]
)
@pytest.mark.filterwarnings("error::surrogate.models.modes_check.ModesWarning")
def test_experiments_build(name):
    """Each preset makes an untrained surrogate that keeps as many modes as its waves have."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = typed(compose("train", overrides=[f"experiment={name}"]), TrainConfig)
    assert config.task.name == name.split("_")[0] and config.run == f"runs/{name}"
    model = nnx.eval_shape(config.create)
    assert model.task.outputs == {"gather": 1, "harmonic": 8}[config.task.name]
