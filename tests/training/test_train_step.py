"""The training step's options against plain mathematics, on noise and on a line."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from surrogate.config import TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.losses.loss import LossConfig
from surrogate.models.surrogate import Surrogate
from surrogate.operators.ffno import FFNOConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.drop_path import DropState
from surrogate.operators.layers.recompute import compiler_options
from surrogate.operators.layers.spectral import SpectralConv, SpectralLayer
from surrogate.operators.tfno import TFNOConfig
from surrogate.training.config import TrainingConfig
from surrogate.training.mode_schedule import ModeSchedule, limit_modes
from surrogate.training.optimizer import Average, clip, make_optimizer
from surrogate.training.precision import set_precision
from surrogate.training.state import TrainState, evaluation_model
from surrogate.training.step import make_train_step, mean_gradients, sample_losses, step_key
from tests.helpers import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

TINY = FNOConfig(width=4, depth=2, modes=[2, 2], mlp_ratio=2, drop_path=0.3)
QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}  # what runs once had better compile fast


def tiny_surrogate(model: FNOConfig = TINY) -> Surrogate:
    """A surrogate whose operator's output is not zero, as it is before training."""
    config = TrainConfig(data=tiny_config("nowhere"), model=model, encoding=SourceMapConfig())
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
    another order, some 1e-7 apart in float32. And whichever term is NaN, here by stored tangents, names the sample.
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


@pytest.mark.slow
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


@pytest.mark.parametrize("config", [FNOConfig(), FFNOConfig(), TFNOConfig(rank=0.5), TFNOConfig(factorization="cp")])
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
    structure, state = TrainState.create(model, make_optimizer(model, config))
    return config, structure, state, make_train_step(structure, config, square)


def weight_of(state: TrainState) -> float:
    return float(nnx.to_pure_dict(state.model)["operator"]["kernel"][0, 0])


def guarded(state: TrainState) -> list[jax.Array]:
    """All that a refused update leaves as it was: weights, count, moments, average."""
    return jax.tree.leaves((state.model, state.optimizer))


def good_batch() -> dict[str, Any]:
    return {"x": jnp.ones((4, 1)), "y": 3 * jnp.ones((4, 1))}


def test_the_average_follows_the_weights():
    """average <- average + (1 - d) (weights - average), and it is what is evaluated."""
    config, structure, state, step = line(ema=0.5)
    average = weight = weight_of(state)
    for t in range(6):
        state, _ = step(state, good_batch())
        weight = weight_of(state)
        average += (1 - min(0.5, (1 + t) / (10 + t))) * (weight - average)
    kept = float(evaluation_model(structure, state, config.mode_schedule).operator.kernel[...][0, 0])
    assert abs(kept - average) < 1e-6 < abs(kept - weight)
    assert weight_of(state) == weight  # evaluation leaves the state alone
    assert not jax.tree.leaves(nnx.filter_state(line()[2].optimizer, Average))


def test_a_bad_step_changes_nothing_and_is_remembered():
    """The loss is the mean since the last log; after a sample that is not finite all updates are refused: to the bit,
    weights, moments and average are what they were."""
    _, _, state, step = line(ema=0.5)
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
    divergence = state.monitor.read()
    assert divergence is not None and divergence.step == 5 and np.isnan(divergence.loss)
    assert int(state.step) == 6 and int(nnx.to_pure_dict(state.optimizer)["step"]) == 4


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
        _, _, state, step = line(divergence_factor=factor)
        for batch in (good_batch(), good_batch() | {"y": 30 * jnp.ones((4, 1))}):
            state, _ = step(state, batch)
        divergence = state.monitor.read()
        assert (divergence is not None and divergence.step == 2) == refused
