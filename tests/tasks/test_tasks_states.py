"""The tasks of states, propagator and inverse, and the structural similarity: identities and invariants."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hydra import compose, initialize_config_dir

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.hydra_app import typed
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate import config as configs
from surrogate.config import EvaluateConfig, RealModelConfig, TrainConfig
from surrogate.encodings.folded_gathers import fold, middle, spread
from surrogate.encodings.registry import make_encoding
from surrogate.encodings.schemas import CoarseConfig, LogConfig, NoneConfig
from surrogate.metrics.ssim import ssim
from surrogate.models.rollout import Rollout
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.drop_path import DropState
from surrogate.protocols import Task
from surrogate.runs import inverse_speedup
from surrogate.runs.evaluate import evaluate
from surrogate.runs.fit import fit
from surrogate.runs.load import load_surrogate
from surrogate.runs.predict import predict_batch
from surrogate.tasks.base import TaskConfig
from surrogate.tasks.inverse import Inverse
from surrogate.tasks.propagator import Propagator, PropagatorConfig
from surrogate.tasks.registry import TASKS
from surrogate.training.batches import Examples, ordered_batches
from surrogate.training.config import TrainingConfig
from tests.helpers import ROOT, encoding_config, spoil, tiny_config

configs.register()
# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")
OPERATOR = FNOConfig(width=6, depth=1, modes=[4, 4], mlp_ratio=1, padding=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    """Two shots in a line, and five snapshots after the source has fallen silent: for both tasks."""
    config = tiny_config(
        tmp_path_factory.mktemp("states") / "set",
        train=4,
        validation=4,
        test=2,
        nt=181,
        snapshot_times=[0.14, 0.15, 0.16, 0.17, 0.18],
        sources=2,
        placement="line",
        source_depths=[20.0, 20.0],
    )
    dataset.generate(config)
    return config


def train_config(
    data: DataConfig, run: Path | str, task: TaskConfig, encoding: str = "none", **training
) -> TrainConfig:
    settings = {"steps": 30, "batch_size": 4, "warmup_steps": 2, "learning_rate": 1e-2, "log_every": 1}
    settings |= {"validate_every": 30, "checkpoint_every": 30} | training
    config = TrainConfig(str(run), data, task, OPERATOR, encoding_config(encoding), training=TrainingConfig(**settings))
    config.tracking.mode = "disabled"
    return config


def propagator(data: DataConfig, scale: float = 0.3, **settings) -> Rollout:
    """Unrolled over two steps in training and three in evaluation; the operator is one convolution, which is enough."""
    task = Propagator(data.create(), unroll=2, **settings)
    rngs = nnx.Rngs(0)
    operator = nnx.Conv(3, 1, (3, 3), kernel_init=nnx.initializers.normal(scale), rngs=rngs)
    return task.model(make_encoding(NoneConfig(), task), operator, rngs=rngs)


def assert_read_equals_made(data: DataConfig, task: Task) -> None:
    """An example from disk is the one the solver makes: float32 rounding of a differently compiled program."""
    examples = Examples(data.path, "train", task)
    index = task.examples + task.examples // 2
    made = jax.jit(task.make)(task.spec.key(0, 1), jnp.array(index % task.examples))
    read = {name: values for name, values in examples[index].items() if name != "index"}
    assert read.keys() == made.keys() and {*task.inputs, task.target} <= read.keys()
    for name, values in read.items():
        np.testing.assert_allclose(values, made[name], rtol=1e-4, atol=1e-5 * np.abs(values).max())


# --- the propagator -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def propagation(data):
    """A model and a batch of windows."""
    model = propagator(data)
    batch = jax.tree.map(jnp.asarray, next(ordered_batches(data.path, "train", 4, model.task)))
    return model, batch


def test_propagator_examples_are_windows_in_training_and_whole_shots_elsewhere(data, propagation):
    model, batch = propagation
    assert model.task.examples == 2 * 2 and model.task.for_evaluation().examples == 2
    assert_read_equals_made(data, model.task)
    held_out = next(ordered_batches(data.path, "validation", 8, model.task))
    assert batch["snapshots"].shape == (4, 2, 24, 20) and held_out["snapshots"].shape == (8, 3, 24, 20)
    # The second window of a shot begins one snapshot later.
    np.testing.assert_array_equal(batch["state"][1, 0], batch["state"][0, 1])
    np.testing.assert_array_equal(batch["snapshots"][1, 0], batch["snapshots"][0, 1])
    shot = next(ordered_batches(data.path, "train", 1, replace(model.task, unroll=3)))
    np.testing.assert_array_equal(shot["snapshots"][0, :2], batch["snapshots"][0])
    np.testing.assert_array_equal(shot["snapshots"][0, 1:], batch["snapshots"][1])


def test_rollout_is_single_steps_and_so_is_its_gradient(propagation):
    """n steps at once are n calls; the gradient through the scan is that of the calls composed: float32 rounding."""
    model, batch = propagation
    graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)

    def composed(model):
        state, fields = batch["state"], []
        for _ in range(3):
            fields.append(model.step(batch["velocity"], state))
            state = jnp.concatenate([state[:, 1:], fields[-1]], axis=1)
        return jnp.concatenate(fields, axis=1)

    @partial(jax.jit, static_argnums=1)
    def fields_and_gradient(parameters, whole):
        def energy(parameters):
            model = nnx.merge(graphdef, parameters, rest)
            fields = model(batch["velocity"], batch["state"]) if whole else composed(model)
            return jnp.sum((fields / model.field_rms[0]) ** 2), fields

        (_, fields), gradient = jax.value_and_grad(energy, has_aux=True)(parameters)
        return fields, gradient

    (rolled, ours), (called, theirs) = (fields_and_gradient(parameters, whole) for whole in (True, False))
    assert rolled.shape == (4, 3, 24, 20)
    np.testing.assert_allclose(rolled, called, atol=1e-5 * float(jnp.abs(called).max()))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(b).max()))


def test_an_operator_that_is_zero_leaves_the_recurrence(data, propagation):
    """p_{n+1} = 2 cos(w D) p_n - p_{n-1} carries a field that oscillates with the peak frequency for ever, exactly."""
    model = propagator(data, scale=0.0)
    velocity, shape = propagation[1]["velocity"][:1], jax.random.normal(jax.random.key(0), (24, 20))
    phases = 2 * np.pi * 15.0 * 0.01 * np.arange(22)
    field = jnp.cos(jnp.asarray(phases) + 0.3)[:, None, None] * shape
    rolled = model.roll(velocity, field[None, :2], 20)
    np.testing.assert_allclose(rolled[0], field[2:], atol=1e-4)  # float32 rounding, over 20 steps


def test_noise_is_of_training_alone_and_kept_in_the_state(data, propagation):
    """Noise has the given strength, is drawn anew each time, and repeats from the same state; evaluation adds none."""
    _, batch = propagation
    noisy = propagator(data, noise=0.1)
    np.testing.assert_array_equal(noisy.noise(batch["state"]), batch["state"])
    before = jax.tree.map(jnp.copy, nnx.state(noisy, DropState))
    noisy.train()
    first, second = (noisy(batch["velocity"], batch["state"]) for _ in range(2))
    assert first.shape[1] == 2 and not np.allclose(first, second)
    nnx.update(noisy, before)
    np.testing.assert_array_equal(noisy(batch["velocity"], batch["state"]), first)
    added = noisy.noise(batch["state"]) - batch["state"]
    ratio = jnp.std(added, axis=(1, 2, 3)) / jnp.sqrt(jnp.mean(batch["state"] ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(ratio, 0.1, rtol=0.1)  # 960 draws: a standard error of 2.3 %
    noisy.eval()
    assert noisy(batch["velocity"], batch["state"]).shape[1] == 3


def test_pushforward_cuts_the_gradient_between_steps(data, propagation):
    """The last step does not depend, for the gradient, on the state before it; the prediction is the same."""
    model, batch = propagation
    cut = propagator(data, pushforward=True)
    cut.train()
    model.train()
    state = batch["velocity"], batch["state"]
    np.testing.assert_array_equal(cut(*state), model(*state))
    model.eval()
    graphdef, rest = nnx.split(cut)

    def last(state):
        return jnp.sum(nnx.merge(graphdef, rest)(batch["velocity"], state)[:, -1] ** 2)

    np.testing.assert_array_equal(jax.grad(last)(batch["state"]), 0.0)


def test_statistics_are_of_single_steps(propagation):
    """Each from the true state: as many applications as steps, of windows and of whole shots alike."""
    model, batch = propagation
    (velocity, state), target = model.applications(batch)
    assert velocity.shape == (8, 24, 20) and state.shape == (8, 2, 24, 20) and target.shape == (8, 1, 24, 20)
    np.testing.assert_array_equal(state[1], jnp.stack([batch["state"][0, 1], batch["snapshots"][0, 0]]))
    np.testing.assert_array_equal(target[1, 0], batch["snapshots"][0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snapshot_times": [0.14, 0.15, 0.17]}, "all the same time apart"),
        ({"snapshot_times": [0.14, 0.16]}, "three or more"),
        ({"snapshot_times": [0.08, 0.10, 0.12]}, "only where no source fires"),
        ({"peak_frequency_spread": 1.0, "snapshot_times": [0.16, 0.17, 0.18]}, "peak_frequency_spread=0"),
    ],
)
def test_propagator_refuses_data_it_cannot_learn(data, changes, message):
    with pytest.raises(InputError, match=message):
        Propagator(replace(data, **changes).create(), unroll=1)


def test_propagator_refuses_settings_and_inputs(data, propagation):
    model, batch = propagation
    refused: list[dict[str, Any]] = [{"unroll": 4}, {"unroll": 0}, {"noise": -0.1}]
    for settings in refused:
        with pytest.raises(InputError, match="unrolled over 1 to 3 steps"):
            Propagator(data.create(), **settings)
    with pytest.raises(InputError, match=r"encoding=coarse cannot be had with task=propagator.*must be one of none\.$"):
        make_encoding(CoarseConfig(), model.task)
    with pytest.raises(InputError, match="must be finite pressures"):
        predict_batch(model, {**batch, "state": batch["state"] * np.nan})


# --- inversion ------------------------------------------------------------------------------------------------------


def test_inverse_examples(data):
    task = Inverse(data.create())
    assert_read_equals_made(data, task)
    assert Examples(data.path, "train", task)[0]["velocities"].shape == (1, 24, 20)
    assert len(Examples(data.path, "train", task)) == 4


def test_folding_keeps_all_samples_in_order_of_time():
    """Row by row and within a row channel by channel, the samples of a shot come back in order; silence follows."""
    gathers = np.arange(2 * 46 * 10, dtype=np.float32).reshape(2, 46, 10)
    folded = np.asarray(jax.jit(fold, static_argnums=1)(gathers, 24))
    assert folded.shape == (2 * 2, 24, 10)
    for shot in range(2):
        unfolded = np.stack([folded[2 * shot + k, j] for j in range(24) for k in range(2)])
        np.testing.assert_array_equal(unfolded[:46], gathers[shot])
        np.testing.assert_array_equal(unfolded[46:], 0.0)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_receivers_stand_at_their_columns(every):
    """Their own columns hold what they recorded, others what lies between: a line in x stays a line."""
    at = np.arange(0, 20, every)
    matrix = spread(20, at)
    np.testing.assert_array_equal(matrix[:, at], np.eye(len(at)))
    np.testing.assert_allclose(at @ matrix, np.minimum(np.arange(20), at[-1]))


@pytest.mark.parametrize("name", ["none", "log"])
def test_inverse_encoding_loses_nothing(data, name):
    """The gathers come back from the features at the receivers' columns and the medium, which holds the peak."""
    task = Inverse(data.create())
    encoding = make_encoding(encoding_config(name), task)
    gathers = Examples(data.path, "train", task)[1]["gathers"]
    medium, fields, baseline = encoding(jnp.asarray(gathers))
    assert medium.shape == baseline.shape == (1, 24, 20) and fields.shape == (encoding.channels, 24, 20)
    np.testing.assert_allclose(medium, np.log(np.abs(gathers).max()), rtol=1e-5)
    values = np.asarray(fields[..., ::2], np.float64)
    if name == "log":
        values = np.sign(values) * np.expm1(np.abs(values)) / 1000 * np.exp(float(medium[0, 0, 0]))
    folded = np.asarray(fold(jnp.asarray(gathers), 24))
    np.testing.assert_allclose(values, folded, atol=1e-5 * np.abs(gathers).max())  # float32 rounding
    silent = encoding(jnp.zeros_like(gathers))
    assert all(np.isfinite(part).all() for part in silent) and not silent.fields.any()


def test_inverse_errors_are_on_the_scales_they_say(data):
    """The truth errs by nothing and explains its gathers; a shift by a tenth of the range is 0.2 of -1 .. 1."""
    task = Inverse(data.create())
    batch = jax.tree.map(jnp.asarray, next(ordered_batches(data.path, "test", 2, task)))
    errors = jax.jit(task.errors)
    exact = errors(batch["velocities"], batch)
    for name in ("relative_l2", "mae", "rmse"):
        np.testing.assert_allclose(exact[name], 0.0, atol=1e-6)  # float32 rounding
    np.testing.assert_allclose(exact["ssim"], 1.0, atol=1e-5)
    assert (exact["data_misfit"] < 1e-4).all()  # float32 rounding of another program
    span = task.spec.mixture.max_velocity - task.spec.slowest
    shifted = errors(batch["velocities"] + 0.1 * span, batch)
    np.testing.assert_allclose(shifted["mae"], 0.2, rtol=1e-4)
    np.testing.assert_allclose(shifted["rmse"], 0.2, rtol=1e-4)
    assert (shifted["data_misfit"] > 0.01).all() and (shifted["ssim"] < 1).all()
    # However wild a prediction is, its data are of a model the solver can take.
    wild = errors(task.methods()["constant"](batch) * 100, batch)
    assert np.isfinite(wild["data_misfit"]).all()


def test_inverse_starts_from_the_constant_model(data):
    task = Inverse(data.create())
    encoding, rngs = make_encoding(LogConfig(), task), nnx.Rngs(0)
    channels, zeros = encoding.media + encoding.channels, nnx.initializers.zeros
    operator = nnx.Conv(channels, 1, (3, 3), kernel_init=zeros, rngs=rngs)
    model = task.model(encoding, operator, rngs=rngs)
    batch = next(ordered_batches(data.path, "test", 2, task))
    np.testing.assert_array_equal(model(jnp.asarray(batch["gathers"])), middle(task.spec))
    with pytest.raises(InputError, match="must be finite and of the survey"):
        predict_batch(model, {"gathers": batch["gathers"][:, :1]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"records": ["snapshots"]}, "must hold gathers"),
        ({"placement": "random"}, "does not read where the sources are"),
        ({"source_depths": [20.0, 60.0]}, "does not read where the sources are"),
        ({"peak_frequency_spread": 1.0}, "peak_frequency_spread=0"),
    ],
)
def test_inverse_refuses_data_it_cannot_learn(data, changes, message):
    with pytest.raises(InputError, match=message):
        Inverse(replace(data, **changes).create())


# --- training and evaluation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["propagator", "inverse"])
def test_trained_and_evaluated(data, tmp_path, name, monkeypatch):
    """The loss falls, the run loads and is judged by whole examples; the methods that it is compared with are there."""
    task = PropagatorConfig(unroll=2, noise=0.01) if name == "propagator" else TASKS[name]()
    config = train_config(data, tmp_path / "run", task)
    fit(config)
    rows = [json.loads(row) for row in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]), losses
    model = load_surrogate(config.run)
    batch = next(ordered_batches(data.path, "validation", 4, model.task))
    truth = jnp.asarray(batch[model.task.target])
    best = min(row["validation"] for row in rows if "validation" in row)
    assert best > 0 and predict_batch(model, batch).shape == truth.shape
    np.save(tmp_path / "model.npy", np.full((24, 20), 2500.0))
    with pytest.raises(InputError, match="cannot be evaluated on a model from a file"):
        evaluate(EvaluateConfig(run=config.run, real=RealModelConfig(str(tmp_path / "model.npy"))))
    for setting in ("SIZES", "ITERATIONS"):
        monkeypatch.setattr(inverse_speedup, setting, 1)  # quicker to compile
    result = evaluate(EvaluateConfig(run=config.run, batch_size=4, repeats=1, speedup_samples=1, inversion_samples=0))
    assert result["test_samples"] == {"propagator": 4, "inverse": 2}[name]
    beside, measure = {"propagator": ("coarse_solver", "one_step"), "inverse": ("constant", "data_misfit")}[name]
    assert result[measure]["mean"] > 0 and result[beside][measure]["mean"] > 0
    assert ("solver" in result["seconds_per_sample"]) == (name == "propagator")
    if name == "inverse":
        assert "not_measured" not in result["speedup"], result["speedup"]
        found = result["speedup"]["inverse"]
        (way,), (path,) = found["inversions"], found["inversions"][0]["paths"]
        assert len(path["seconds"]) == len(path["errors"]) and list(path["seconds"]) == sorted(path["seconds"])
        assert path["errors"][0] == pytest.approx(found["start"], rel=1e-5)
        # It ends with the operator's error, or after an iteration in each stage; nobody is charged for more.
        assert found["reached"] == way["reached"] == (path["errors"][-1] <= found["error"])
        assert found["reached"] or len(path["errors"]) == 4
        assert found["solver_seconds"] == path["seconds"][-1] and found["data_seconds"] > 0
        assert found["S"] == pytest.approx(found["solver_seconds"] / found["seconds"])
        assert "Time at an equal error, inverse" in (tmp_path / "run/report.html").read_text()
        assert sum(group["examples"] for group in result["per_family"].values()) == 2
    else:
        assert len(result["relative_l2"]["per_snapshot"]) == 3
        np.testing.assert_allclose(result["relative_l2"]["per_snapshot"][0], result["one_step"]["mean"], rtol=1e-5)
    assert (tmp_path / "run/report.html").exists() and (tmp_path / "run/figures/worst_fields.png").exists()


def test_the_sample_that_a_propagator_diverged_at_is_named(data, tmp_path, monkeypatch):
    """As in training, window by window and in parts: not as in evaluation, which is of whole shots."""
    spoil(monkeypatch, lambda snapshots: np.full_like(snapshots, np.nan))
    task = PropagatorConfig(unroll=2, noise=0.01)
    config = train_config(data, tmp_path / "run", task, steps=3, batch_size=8, accumulate=2)
    with pytest.raises(NumericalError, match="1 of 8 samples are not finite, the first of them record 1, example 1"):
        fit(config)


@pytest.mark.parametrize("experiment", ["propagator_small", "inverse_small", "inverse_reference"])
def test_experiments_build(experiment):
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        composed = compose("train", overrides=[f"experiment={experiment}"])
    config = typed(composed, TrainConfig)
    task = config.task.create(config.data.create())
    make_encoding(config.encoding, task)
    config.training.check()
    config.model.check()
    assert task.name == experiment.split("_")[0]


# --- structural similarity ------------------------------------------------------------------------------------------


def test_ssim_identities():
    """1 for equal images, symmetric, and falling with noise: float32 rounding."""
    image = jax.random.uniform(jax.random.key(0), (2, 12, 24))
    noise = jax.random.normal(jax.random.key(1), image.shape)
    similarity = jax.jit(ssim)
    np.testing.assert_allclose(similarity(image, image), 1.0, atol=1e-5)
    np.testing.assert_allclose(similarity(image, image + noise), similarity(image + noise, image), atol=1e-5)
    by_noise = np.stack([similarity(image, image + strength * noise) for strength in (0.01, 0.1, 0.5, 2.0)])
    assert (np.diff(by_noise, axis=0) < 0).all() and (np.abs(by_noise) <= 1).all()
