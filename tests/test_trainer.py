"""The training step's options against plain mathematics; divergence, preemption, tracking that fails, loading later."""

import json
import os
import shutil
import signal
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import wandb
from flax import nnx

from data_gen import dataset
from data_gen.errors import InputError, NumericalError
from data_gen.sample import DataConfig
from surrogate.checkpoint import CheckpointError, Checkpoints
from surrogate.config import TrainConfig, claim_folder
from surrogate.drop_path import DropState
from surrogate.encoding import EncodingConfig
from surrogate.execution import compiler_options, set_precision
from surrogate.ffno import FFNOConfig
from surrogate.fno import FNOConfig
from surrogate.guard import name_samples, read_trouble
from surrogate.losses import LossConfig
from surrogate.mode_schedule import ModeSchedule, limit_modes
from surrogate.model import Surrogate
from surrogate.multiscale import MultiscaleConfig
from surrogate.optimiser import Average, clip, evaluated, make_optimizer
from surrogate.parallel import ParallelConfig
from surrogate.pipeline import name_example
from surrogate.spectral_conv import SpectralConv, SpectralLayer
from surrogate.tasks import TaskConfig
from surrogate.tfno import TFNOConfig
from surrogate.tracking import Curves, Tracker, TrackingConfig, TrackingWarning
from surrogate.train_step import make_train_step, mean_gradients, sample_losses, step_key
from surrogate.trained import best_validation
from surrogate.trainer import RollbackWarning, ValidationWarning, best_step, fit, load_surrogate
from surrogate.training_config import TrainingConfig
from surrogate.unet import UNetConfig
from tests.conftest import spoil, tiny_config
from train import interrupted

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.modes_check.ModesWarning")

TINY = FNOConfig(width=4, depth=2, modes=[2, 2], mlp_ratio=2, drop_path=0.3)
QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}  # what runs once had better compile fast


# --- the step, on noise -----------------------------------------------------------------------------------------


def tiny_surrogate(model: FNOConfig = TINY) -> Surrogate:
    """A surrogate whose operator's output is not zero, as it is before training."""
    config = TrainConfig(data=tiny_config("nowhere"), model=model, encoding=EncodingConfig("source_map"))
    surrogate = config.create()
    operator: Any = surrogate.operator
    kernel = operator.project.kernel
    kernel[...] = jax.random.normal(jax.random.key(1), kernel.shape)
    return surrogate


def noise(samples: int = 8) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(2), 3)
    return {
        "velocity": 2500 + 500 * jax.random.normal(keys[0], (samples, 24, 20)),
        "source": jax.random.uniform(keys[1], (samples, 2), minval=20, maxval=180),
        "snapshots": jax.random.normal(keys[2], (samples, 3, 24, 20)),
    }


def gradients_of(model: Surrogate, **training):
    """A compiled `(weights' state) -> (loss, gradients, other state)` of one batch of noise, and its argument."""
    config, (graphdef, state) = TrainingConfig(**training), nnx.split(model)

    def evaluate(state):
        merged = nnx.merge(graphdef, state, copy=True)
        step = jnp.array(5)
        loss, key = config.loss.create(merged.task), step_key(config, step)
        value, _, gradients, others = mean_gradients(merged, noise(), key, step, loss, config)
        return value, gradients, others

    return jax.jit(evaluate).lower(state).compile(QUICK | compiler_options()), state


def distance(a: Any, b: Any) -> float:
    """Relative distance of two trees of arrays, all leaves together."""
    (a, b) = (np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(t)]) for t in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def plain():
    """Loss and gradients without any option, without drop-path."""
    evaluate, state = gradients_of(tiny_surrogate(replace(TINY, drop_path=0.0)))
    return evaluate(state)


def test_accumulated_gradients_are_those_of_the_batch(plain):
    """Four parts of two samples: the same sums in another order, some 1e-7 apart in float32."""
    evaluate, state = gradients_of(tiny_surrogate(replace(TINY, drop_path=0.0)), accumulate=4)
    value, gradients, _ = evaluate(state)
    assert abs(float(value) / float(plain[0]) - 1) < 1e-5
    assert distance(gradients, plain[1]) < 1e-5


def test_the_samples_losses_are_those_of_the_step():
    """In parts, with random drops and modes that are off, their mean is the step's loss: a sum of eight terms in
    another order, some 1e-7 apart in float32. And whichever term is NaN, here by stored tangents, tells the sample.
    """
    training: dict[str, Any] = {"accumulate": 4, "mode_schedule": ModeSchedule(steps=10)}
    model = tiny_surrogate()
    evaluate, state = gradients_of(model, **training)
    value, _, _ = evaluate(state)
    assert abs(float(sample_losses(model, noise(), 5, TrainingConfig(**training)).mean()) / float(value) - 1) < 1e-5
    batch = noise()
    batch |= {
        "direction": jnp.ones((8, 1, 24, 20)),
        "tangents": batch["snapshots"][:, None].at[6, 0, 0, 0, 0].set(jnp.nan),
    }
    losses = sample_losses(model, batch, 5, TrainingConfig(loss=LossConfig(jacobian=1.0)))
    assert jnp.flatnonzero(~jnp.isfinite(losses)).tolist() == [6]


def test_recomputed_blocks_give_the_same_gradients_for_less_memory():
    """Recomputed, a block draws the same drops, and the random state moves on as it would have.

    At depth 6, what all blocks compute is most of the memory: with one block's at a time it must fall below two thirds.
    """
    deep = replace(TINY, depth=6)
    results, memory = [], []
    for remat in (False, True):
        evaluate, state = gradients_of(tiny_surrogate(deep), remat=remat)
        results.append(evaluate(state))
        analysis: Any = evaluate.memory_analysis()
        memory.append(analysis.temp_size_in_bytes)
    (value, gradients, others), (value_again, gradients_again, others_again) = results
    assert abs(float(value_again) / float(value) - 1) < 1e-5 and distance(gradients_again, gradients) < 1e-5
    drops, drops_again = (jax.tree.leaves(nnx.filter_state(tree, DropState)) for tree in (others, others_again))
    assert len(drops) == 6 and all((a == b).all() for a, b in zip(drops, drops_again, strict=True))
    assert memory[1] < memory[0] * 2 / 3, memory


def test_bfloat16_is_pointwise_alone(plain):
    """Eight significant bits: rounding to 2^-9 in each of some ten layers. Weights, gradients and outputs: float32."""
    model = tiny_surrogate(replace(TINY, drop_path=0.0))
    evaluate, state = gradients_of(model, precision="bfloat16")
    value, gradients, _ = evaluate(state)
    assert value.dtype == jnp.float32 and {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    assert 0 < abs(float(value) / float(plain[0]) - 1) < 10 * 2.0**-9
    assert 1e-4 < distance(gradients, plain[1]) < 0.05
    operator: Any = model.operator
    set_precision(operator, "bfloat16")
    block = operator.blocks[0]
    x = jax.random.normal(jax.random.key(3), (1, 24, 20, 4))
    assert block.expand(x).dtype == jnp.bfloat16 and block.expand.kernel.dtype == jnp.float32
    assert operator.lift(x[..., :2].repeat(2, -1)).dtype == jnp.float32
    # The spectral layer of a bfloat16 field is that of the same field in float32, rounded once at its end.
    low = x.astype(jnp.bfloat16)
    exact = block.spectral(low.astype(jnp.float32)).astype(jnp.bfloat16)
    assert (block.spectral(low) == exact).all() and exact.dtype == jnp.bfloat16


@pytest.mark.parametrize("config", [FNOConfig(), FFNOConfig(), TFNOConfig(rank=0.5), TFNOConfig(factorisation="cp")])
def test_modes_that_are_off_are_not_there(config):
    """With the lowest half of the modes on, a layer equals one made of their weights alone; with all, itself."""
    layer, small = (replace(config, width=3, modes=modes).spectral_layer(nnx.Rngs(0)) for modes in ([4, 2], [2, 1]))
    for (_, to), (_, of) in zip(nnx.iter_modules(small), nnx.iter_modules(layer), strict=True):
        axes = of.wavenumbers() if isinstance(of, SpectralLayer) else {}
        for name, value in list(vars(of).items()):
            if isinstance(value, nnx.Param):
                kept = np.ix_(*(np.flatnonzero(k <= k.max() // 2) for k in axes.get(name, ())))
                setattr(to, name, nnx.Param(value[...][kept]))  # factors without modes: whole
    x = jax.random.normal(jax.random.key(0), (2, 12, 10, 3))
    apply = nnx.jit(lambda layer, x: layer(x))
    full = apply(layer, x)
    limit_modes(layer, jnp.array(1.0))
    np.testing.assert_array_equal(apply(layer, x), full)
    limit_modes(layer, jnp.array(0.5))
    np.testing.assert_allclose(apply(layer, x), apply(small, x), atol=1e-5)
    assert float(jnp.abs(apply(layer, x) - full).max()) > 1e-2


def test_the_schedule_is_traced():
    """One compilation for all steps; nothing is done to the weights of a frozen layer, or without a schedule."""
    traced = []
    graphdef, state = nnx.split(SpectralConv(2, 2, (4, 4), rngs=nnx.Rngs(0)))

    @jax.jit
    def modes_on(step):
        traced.append(step)
        layer = nnx.merge(graphdef, state, copy=True)
        ModeSchedule(start=0.25, steps=10).apply(layer, step)
        return jnp.sum(layer.real[...].any((2, 3)), axis=(0, 1))

    # |k_z| <= k and 0 <= k_x <= k for k = 1, 2.5 (rounded to even) and 4.
    assert [int(modes_on(step)) for step in (0, 5, 10, 99)] == [3 * 2, 5 * 3, 9 * 5, 9 * 5]
    assert len(traced) == 1


class Line(nnx.Module):
    """y = w x: the least that a training step takes."""

    def __init__(self):
        self.operator = nnx.Linear(1, 1, use_bias=False, rngs=nnx.Rngs(0))


def square(model, batch, key):
    return jnp.mean((model.operator(batch["x"]) - batch["y"]) ** 2), {}


def line(**training):
    config = TrainingConfig(**{"steps": 10, "warmup_steps": 0, "learning_rate": 0.1, "log_every": 2} | training)
    model = Line()
    graphdef, state = nnx.split((model, make_optimizer(model, config)))
    return config, graphdef, state, make_train_step(graphdef, config, square)


def weight_of(state: Any) -> float:
    return float(state[0]["operator"]["kernel"][...][0, 0])


def guarded(state: Any) -> list[jax.Array]:
    """All that a refused update leaves as it was: weights, count, moments, average."""
    return jax.tree.leaves((state[0], *(state[1][name] for name in ("step", "opt_state", "average"))))


def good_batch() -> dict[str, Any]:
    return {"x": jnp.ones((4, 1)), "y": 3 * jnp.ones((4, 1))}


def test_the_average_follows_the_weights():
    """average <- average + (1 - d) (weights - average), and it is what is evaluated."""
    config, graphdef, state, step = line(ema=0.5)
    average = weight = weight_of(state)
    for t in range(6):
        state, _ = step(state, good_batch())
        weight = weight_of(state)
        average += (1 - min(0.5, (1 + t) / (10 + t))) * (weight - average)
    kept = float(evaluated(graphdef, state, config.mode_schedule).operator.kernel[...][0, 0])
    assert abs(kept - average) < 1e-6 < abs(kept - weight)
    assert weight_of(state) == weight  # evaluation leaves the state alone
    assert not jax.tree.leaves(nnx.filter_state(line()[2], Average))


def test_a_bad_step_changes_nothing_and_is_remembered():
    """The loss is the mean since the last log; after a sample that is not finite all updates are refused: to the bit,
    weights, moments and average are what they were."""
    _, graphdef, state, step = line(ema=0.5)
    losses, means = [], []
    for _ in range(4):
        weight = weight_of(state)
        losses.append((weight - 3) ** 2)
        state, metrics = step(state, good_batch())
        means.append(float(metrics["loss"]))
    np.testing.assert_allclose(means, [losses[0], np.mean(losses[:2]), losses[2], np.mean(losses[2:])], rtol=1e-5)
    before = [np.asarray(leaf) for leaf in guarded(state)]
    for batch in (good_batch() | {"x": jnp.array([[1.0], [jnp.nan], [1.0], [1.0]])}, good_batch()):
        state, _ = step(state, batch)
        for leaf, old in zip(guarded(state), before, strict=True):
            np.testing.assert_array_equal(leaf, old)
    optimizer = nnx.merge(graphdef, state)[1]
    trouble = read_trouble(optimizer.guard)
    assert trouble is not None and trouble.step == 5 and np.isnan(trouble.loss) and int(optimizer.step[...]) == 4


def test_clipped_as_optax_does():
    """A gradient of norm 5 becomes one of 2 (float32 rounding); within the bound it is left as it is, to the bit."""
    gradient: Any = {"a": jnp.array([3.0]), "b": jnp.array([[4.0]])}
    for bound, tolerance in ((2.0, 1e-6), (6.0, 0.0)):
        transformed: Any = [
            transform.update(gradient, transform.init(gradient))[0]
            for transform in (clip(bound), optax.clip_by_global_norm(bound))
        ]
        ours, theirs = transformed
        for name in gradient:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance)


def test_a_loss_far_above_its_running_mean_is_divergence():
    """A hundred times the loss is refused at a factor of 10, and taken with the check switched off."""
    for factor, refused in ((10.0, True), (0.0, False)):
        _, graphdef, state, step = line(divergence_factor=factor)
        for batch in (good_batch(), good_batch() | {"y": 30 * jnp.ones((4, 1))}):
            state, _ = step(state, batch)
        trouble = read_trouble(nnx.merge(graphdef, state)[1].guard)
        assert (trouble is not None and trouble.step == 2) == refused


def test_the_sample_to_blame_is_named():
    """Of a data set's records, each gives two examples here; of the online stream every item is a model of its own."""
    data, indices = tiny_config("nowhere", sources=2, placement="line"), np.array([4, 7, 9])
    task = TaskConfig().create(data.create())
    for source, seventh, ninth in (
        ("disk", "record 3, example 1 of the training split", "record 4, example 1"),
        ("online", "model 7, example 1 of the online stream", "model 9, example 1"),
    ):
        name = partial(name_example, replace(data, source=source), task)
        first_bad = name_samples(np.array([0.1, np.nan, 9.0]), indices, name)
        assert f"1 of 3 samples are not finite, the first of them {seventh}" in first_bad
        assert f"the largest, 9, is that of {ninth}" in name_samples(np.array([0.1, 0.2, 9.0]), indices, name)
    assert "the learning rate" in name_samples(np.full(3, np.inf), indices, name)


# --- the loop ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    config = tiny_config(tmp_path_factory.mktemp("data") / "set")
    dataset.generate(config)
    return config


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Several runs of one config follow: only the first compiles."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (str(tmp_path_factory.mktemp("cache")), 0.0), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


def run_config(data: DataConfig, run: Path, **training) -> TrainConfig:
    settings: dict[str, Any] = {"steps": 8, "batch_size": 4, "warmup_steps": 1, "log_every": 2, "validate_every": 4}
    settings |= {"checkpoint_every": 3, "ema": 0.9, "on_divergence": "rollback", "verify": False} | training
    config = TrainConfig(
        run=str(run),
        data=data,
        model=replace(TINY, depth=1),
        encoding=EncodingConfig("source_map"),
        training=TrainingConfig(**settings),
    )
    config.tracking.mode = "disabled"
    return config


@pytest.fixture
def spoilt(monkeypatch):
    """Sample 5 of the training split has a NaN in its last snapshot, once the normalisation was taken."""
    spoil(monkeypatch, lambda snapshots: np.where(np.arange(20) == 7, np.nan, snapshots))


def test_rollback_names_the_sample_and_resumes_bitwise(data, tmp_path, spoilt):
    """Sample 5 comes once in each epoch of four batches: at least two rollbacks in eight steps.

    Ended by SIGTERM at each log and run again, the same run ends with the same weights and curves, bit for bit.
    """
    config = run_config(data, tmp_path / "whole", max_rollbacks=9)
    with pytest.warns(
        RollbackWarning, match="1 of 4 samples are not finite, the first of them record 5, example 0"
    ) as told:
        assert fit(config) == 8
    stories = [str(warning.message) for warning in told.list if warning.category is RollbackWarning]
    assert len(stories) >= 2 and "with a peak learning rate of 0.001" in stories[0]
    curves = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in curves]
    rollbacks = [row["rollback"] for row in rows if "rollback" in row]
    assert rollbacks == list(range(1, len(rollbacks) + 1)) and len(rollbacks) >= 2
    assert all(np.isfinite(list(row.values())).all() for row in rows)

    pieces, steps = replace(config, run=str(tmp_path / "pieces")), []

    def interrupt(step: int, values: dict[str, float]) -> None:
        if values:
            os.kill(os.getpid(), signal.SIGTERM)

    while not steps or steps[-1] < 8:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RollbackWarning)
            steps.append(fit(pieces, interrupt))
    assert len(steps) >= 3
    whole, parts = (weights(run) for run in (config.run, pieces.run))
    for ours, theirs in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    timeless = [
        [{k: v for k, v in json.loads(row).items() if k != "samples_per_s"} for row in rows]
        for rows in (curves, (tmp_path / "pieces" / "metrics.jsonl").read_text().splitlines())
    ]
    assert timeless[0] == timeless[1]


def weights(run: str) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_surrogate(run)))]


def test_divergence_stops_where_it_may_not_go_back(data, tmp_path, spoilt):
    config = run_config(data, tmp_path / "stop", on_divergence="stop", log_every=1, checkpoint_every=1)
    with pytest.raises(NumericalError, match=r"The loss is nan .* at step \d\. .*record 5, example 0 of the training"):
        fit(config)
    with pytest.raises(NumericalError, match="record 5, example 0"):
        fit(run_config(data, tmp_path / "none", max_rollbacks=0))


def test_other_records_are_refused(data, tmp_path):
    """A run resumes bit for bit, so not on other records of the same recipe."""
    config = run_config(data, tmp_path / "run", steps=2)
    fit(config, lambda step, values: os.kill(os.getpid(), signal.SIGUSR1) if step == 0 else None)
    file = tmp_path / "run" / "provenance.json"
    provenance = json.loads(file.read_text())
    assert provenance["versions"]["jax"] == jax.__version__ and provenance["dataset"]["fingerprint"]
    provenance["dataset"]["digest"] = "another"
    file.write_text(json.dumps(provenance))
    with pytest.raises(InputError, match=r"not those that .* was begun with"):
        fit(config)


def test_validations_that_are_not_finite_are_never_the_best(data, tmp_path, monkeypatch):
    """Each is warned of; the best is that of the others, whatever became of the curves. Interrupted before its first
    step, a run has saved nothing, and says so."""
    errors = iter([np.nan, 0.5, np.inf, 0.7])
    monkeypatch.setattr("surrogate.trainer.validate", lambda *_: float(next(errors)))
    config = run_config(data, tmp_path / "run", steps=4, validate_every=1)
    begun = fit(config, lambda step, values: os.kill(os.getpid(), signal.SIGTERM) if not values else None)
    assert begun == 0 and "starts afresh" in interrupted(begun, 4) and "step 2 of 4, which is" in interrupted(2, 4)
    assert best_validation(config.run) == np.inf
    with pytest.raises(CheckpointError, match="no validation of it was finite, or it has not come to one yet"):
        load_surrogate(config.run)
    with pytest.warns(ValidationWarning) as told:
        fit(config)
    stories = [str(warning.message)[:30] for warning in told.list if warning.category is ValidationWarning]
    assert stories == ["The validation at step 1 is na", "The validation at step 3 is in"]
    (tmp_path / "run" / "metrics.jsonl").write_text('{"st')
    assert best_validation(config.run) == 0.5 and best_step(config.run) == 2
    fit(config)  # finished: it is left alone
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "last")
    with pytest.raises(CheckpointError, match="from which training would go on, was removed"):
        fit(config)
    assert best_step(config.run) == 2


def test_one_process_at_a_time(data, tmp_path):
    """A second one is told who holds the run, and changes nothing."""
    config, run = run_config(data, tmp_path / "run", steps=2), tmp_path / "run"

    def meanwhile(step: int, values: dict[str, float]) -> None:
        before = sorted(run.rglob("*"))
        with pytest.raises(InputError, match=rf"run is being written by process {os.getpid()} on "):
            fit(config)
        assert sorted(run.rglob("*")) == before

    assert fit(config, meanwhile) == 2
    assert not list(run.glob("*.lock"))


def test_the_best_before_the_last_checkpoint_is_kept(tmp_path):
    """A killed run forgets the best models after its last checkpoint: the one from before must still be there."""
    model = Line()
    checkpoints = Checkpoints(tmp_path, every=2)
    for step in (1, 2):
        checkpoints.save_best(step, nnx.state(model), {})
    checkpoints.save_last(2, nnx.state(model), {})
    for step in (3, 5, 7):  # none of them due
        checkpoints.save_best(step, nnx.state(model), {})
        checkpoints.save_last(step, nnx.state(model), {})
    assert checkpoints.best_step == checkpoints.last_step == 7
    checkpoints.close()
    again = Checkpoints(tmp_path, every=2)
    assert again.due_step == 2
    again.forget_after(2)
    assert again.best_step == again.last_step == 2
    again.close()


def test_a_kill_in_mid_deletion_leaves_nothing_half(tmp_path, monkeypatch):
    """What is being deleted has no longer the name of a checkpoint; what is damaged is told as such."""
    model = Line()
    checkpoints = Checkpoints(tmp_path, every=2)
    for step in (2, 3):
        checkpoints.save_last(step, nnx.state(model), {"step": step})
    with monkeypatch.context() as patch:
        calls = iter([lambda: None, lambda: (_ for _ in ()).throw(KeyboardInterrupt)])  # before it, and after it
        killed = SimpleNamespace(rmtree=lambda *_, **__: next(calls)())
        patch.setattr("surrogate.checkpoint.shutil", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.forget_after(2)
    checkpoints.close()
    again = Checkpoints(tmp_path, every=2)
    assert again.last_step == 2 and again.restore_last(nnx.state(model))[1] == {"step": 2}
    again.save_last(3, nnx.state(model), {"step": 3})  # again, over what the kill left of it
    again.forget_after(2)
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "last").iterdir()) == ["2"]
    shutil.rmtree(tmp_path / "checkpoints" / "last" / "2" / "state")
    with pytest.raises(CheckpointError, match=r"last/2 is damaged .*Remove it"):
        again.restore_last(nnx.state(model))
    again.close()


# --- tracking ---------------------------------------------------------------------------------------------------


def test_a_run_needs_no_wandb(tmp_path, monkeypatch):
    """Neither the package nor its services: one warning, and the curves are written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.warns(TrackingWarning, match="W&B has failed") as told:
        tracker = Tracker(tmp_path, TrackingConfig(), {}, 0)
        tracker.log(1, {"loss": 0.5})
        tracker.figure(1, "fields", lambda: pytest.fail("drawn for nobody"))
        tracker.close()
    assert len(told.list) == 1
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 0.5}


def test_a_resumed_run_goes_on_under_its_id(tmp_path):
    """Offline too, where W&B knows of no other part of the run: both are one, once they are synchronised."""
    ids = []
    for step in (0, 4):
        tracker = Tracker(tmp_path, TrackingConfig(), {}, step)
        tracker.log(step + 1, {"loss": 0.5})
        ids.append(wandb.run and wandb.run.id)
        tracker.close()
    assert ids == [json.loads((tmp_path / "tracking.json").read_text())["id"]] * 2


def test_a_full_disk_costs_rows_not_the_run(tmp_path, monkeypatch):
    """What a full disk leaves half written is cut off before the next row."""
    curves = Curves(tmp_path / "metrics.jsonl")
    curves.append({"step": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"st')
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.warns(TrackingWarning, match="No space left") as told:
        curves.append({"step": 2})
        curves.append({"step": 3})
    assert len(told.list) == 1
    monkeypatch.setattr(Path, "open", opened)
    curves.append({"step": 4})
    assert [json.loads(row)["step"] for row in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 4]
    curves.append({"step": 1, "rollback": 1})
    curves.rewind(1, resumed=False)
    assert (tmp_path / "metrics.jsonl").read_text().endswith('"rollback": 1}\n')
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('\0\0{"step": 0}\n')  # as a power cut may leave it
    curves.rewind(1, resumed=True)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


# --- bad input --------------------------------------------------------------------------------------------------

SMALLEST = FNOConfig(width=2, depth=1, modes=[4, 4])


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"ema": 1.0}, "ema is a decay"),
        ({"accumulate": 3}, "cannot be taken in 3 parts"),
        ({"precision": "float16"}, "one of float32, bfloat16"),
        ({"mode_schedule": ModeSchedule(start=2.0)}, "0 <= start <= 1"),
        ({"on_divergence": "hope"}, "one of stop, rollback"),
        ({"divergence_factor": 0.5}, "above 1"),
        ({"rollback_factor": 0.0}, "rollback_factor"),
        ({"seed": -1}, "seed must be 0 or above"),
        ({"weight_decay": float("nan")}, "weight_decay >= 0"),
        ({"warmup_steps": 1000}, "below training.steps = 1000"),
        ({"loss": LossConfig(sobolev=1.0, sobolev_order=30)}, "from 1 to 4"),
    ],
)
def test_bad_training(training, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**training).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": FNOConfig(modes=[16])}, "modes"),
        ({"model": FNOConfig(padding=-0.5)}, "padding"),
        (
            {"model": UNetConfig(width=2, levels=1), "training": TrainingConfig(mode_schedule=ModeSchedule(steps=5))},
            "would grow",
        ),
        (
            {"data": tiny_config("nowhere", source="online"), "training": TrainingConfig(workers=2)},
            "no data set",
        ),
        (
            {"model": MultiscaleConfig(first=SMALLEST, second=SMALLEST, cutoff=[2, 2], first_run="nowhere")},
            "nowhere is not a run",
        ),
        ({"task": TaskConfig(unroll=2, pushforward=True)}, "task.unroll and task.pushforward would change nothing"),
        ({"encoding": EncodingConfig("source_map", radius=0.0)}, "positive number of cells"),
        ({"encoding": EncodingConfig("coarse", radius=3.0)}, "encoding.radius would change nothing"),
        ({"encoding": EncodingConfig("background", velocity=2.5)}, "spans 2.5 to 2.5, which looks like km/s"),
    ],
)
def test_what_would_fail_or_be_ignored_is_refused(changes, message, tmp_path):
    """Before anything is compiled or written, and in a paragraph."""
    plain = TrainConfig(str(tmp_path / "run"), tiny_config("nowhere"), encoding=EncodingConfig("source_map"))
    plain.model = SMALLEST
    with pytest.raises(InputError, match=message):
        fit(replace(plain, **changes))
    assert not list(tmp_path.iterdir())


def test_a_run_with_options_that_are_refused_today_is_loaded_as_it_was():
    """What was once ignored is ignored still: a surrogate can be made, only no new run begun."""
    data = tiny_config("nowhere", source="online")
    training = TrainingConfig(workers=2, mode_schedule=ModeSchedule(steps=5))
    old = TrainConfig(data=data, model=UNetConfig(width=2, levels=1), training=training, task=TaskConfig(unroll=2))
    old.encoding = EncodingConfig("source_map")
    with pytest.raises(InputError):
        old.check_training(old.create())


def test_what_the_devices_cannot_share_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="8 cannot be split over 4 devices in 4 parts"):
        fit(run_config(data, tmp_path / "run", batch_size=8, accumulate=4))
    odd = run_config(data, tmp_path / "run")
    odd = replace(odd, parallel=ParallelConfig(model_axis=2), model=replace(SMALLEST, width=3))
    with pytest.raises(InputError, match=r"\[3\] channels"):
        fit(odd)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_trained_by_another_config(data, tmp_path):
    """Whatever else is wrong with it, that is told first."""
    config = run_config(data, tmp_path / "run", steps=2)
    claim_folder(tmp_path / "run", config)
    with pytest.raises(InputError, match=r"another config \(training.accumulate: 1 -> 0\)"):
        fit(replace(config, training=replace(config.training, accumulate=0)))
