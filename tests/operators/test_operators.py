"""Every operator of the registry: no dead weights, symmetries, transfer between grids, gradients, counts, configs."""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hydra import compose, initialize_config_dir

from data_gen.common.errors import InputError
from data_gen.common.hydra_app import typed
from surrogate import config as configs
from surrogate.config import TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.models.modes_check import ModesWarning, check_modes
from surrogate.models.surrogate import Statistics, Surrogate
from surrogate.operators.base import OperatorConfig
from surrogate.operators.deeponet import DeepONetConfig
from surrogate.operators.ffno import FFNOConfig
from surrogate.operators.fno import BLOCK_NAMES, BLOCKS, FNOConfig
from surrogate.operators.layers.drop_path import DropPath, DropState
from surrogate.operators.layers.patches import fold, unfold
from surrogate.operators.layers.pointwise import NORMS
from surrogate.operators.layers.products import Projection
from surrogate.operators.layers.spectral import SpectralMap, resample, restrict
from surrogate.operators.multiscale import Frozen, Multiscale, MultiscaleConfig
from surrogate.operators.registry import OPERATORS
from surrogate.operators.tfno import FACTORIZATION_NAMES, FACTORIZATIONS, TFNOConfig, TuckerConv
from surrogate.operators.ufno import UFNOConfig
from surrogate.operators.unet import UNetConfig
from surrogate.operators.uno import UNOConfig
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import claim_folder, from_plain
from surrogate.runs.initialization import first_stage
from surrogate.tasks.propagator import PropagatorConfig
from surrogate.tasks.wavefield import Wavefield
from surrogate.training.optimizer import Optimizer
from surrogate.training.state import TrainState
from surrogate.training.step import make_train_step
from tests.helpers import ROOT, relative, tiny_config

configs.register()

INPUTS, OUTPUTS, W, R = 2, 3, 6, 2
FOURIER: dict[str, Any] = {"width": W, "modes": [3, 2], "mlp_ratio": R, "padding": 0.0, "periodic": True}
FNO_CONFIG = FNOConfig(**FOURIER, depth=2)
ONE_BLOCK = replace(FNO_CONFIG, depth=1)
MULTISCALE = MultiscaleConfig(first=ONE_BLOCK, second=ONE_BLOCK, cutoff=[1, 1])
# All on a periodic box, where a shift has a meaning; small enough to compile in a second or two. fno_patch and deeponet
# have as many products as it takes to compute them as filters.
SMALL: dict[str, OperatorConfig] = {
    "fno": FNO_CONFIG,
    "fno_gated": FNOConfig(**FOURIER, depth=2, gated=True),
    "fno_classic": FNOConfig(**FOURIER, depth=2, block="classic", local=False, products=4),
    "fno_patch": FNOConfig(**{**FOURIER, "modes": [1, 1]}, depth=1, patch=2, products=28),
    "ffno": FFNOConfig(**FOURIER, depth=2),
    "ffno_shared": FFNOConfig(**FOURIER, depth=2, shared=True, local=True),
    "tfno_tucker": TFNOConfig(**FOURIER, depth=2, rank=0.5),
    "tfno_cp": TFNOConfig(**FOURIER, depth=2, factorization="cp", rank=0.5),
    "ufno": UFNOConfig(**FOURIER, depth=2, unet_blocks=1, unet_levels=1),
    "uno": UNOConfig(**FOURIER, depth=1, levels=1),
    "unet": UNetConfig(width=W, levels=1, periodic=True),
    "deeponet": DeepONetConfig(**FOURIER, depth=1, products=12),
    "multiscale": MULTISCALE,
}
every_operator = pytest.mark.parametrize("name", SMALL)
# Each function here runs once: what counts is the time to compile it.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
Apply = Callable[[nnx.State, jax.Array], jax.Array]


def abstract(config: OperatorConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """Structure and shapes of an operator, without making it."""
    return nnx.split(nnx.eval_shape(lambda: config.create(INPUTS, OUTPUTS, rngs=nnx.Rngs(0))))


def size(config: OperatorConfig) -> int:
    """The number of parameters."""
    return sum(prod(leaf.shape) for leaf in jax.tree.leaves(nnx.filter_state(abstract(config)[1], nnx.Param)))


def split(config: OperatorConfig, dtype: Any = np.float64) -> tuple[Apply, nnx.State]:
    """An operator as a pure function, and weights of order one over the inputs' root, none of them zero."""
    graphdef, state = abstract(config)
    random = np.random.default_rng(0)

    def draw(leaf) -> jax.Array:
        if len(leaf.shape) == 1:  # biases, and scales of norms
            return jnp.asarray(0.7 + 0.2 * random.normal(size=leaf.shape), dtype)
        return jnp.asarray(random.normal(size=leaf.shape) / np.sqrt(leaf.shape[-2]), dtype)

    return (lambda state, x: nnx.merge(graphdef, state)(x)), jax.tree.map(draw, state)


class Evaluated(NamedTuple):
    """Hold an operator's output, and the product of the output with a random field and its derivatives."""

    output: jax.Array
    product: jax.Array
    along: jax.Array
    by_input: jax.Array
    by_weights: nnx.State


@cache
def ready(name: str) -> tuple[Callable[[jax.Array], Evaluated], nnx.State]:
    """Each small operator and its derivatives in double precision, compiled once for all tests."""
    apply, state = split(SMALL[name])

    def product(state, x):
        output = apply(state, x)
        return jnp.vdot(noise(output.shape, seed=3), output), output

    def evaluate(state, x, direction):
        (value, output), (by_weights, by_input) = jax.value_and_grad(product, (0, 1), has_aux=True)(state, x)
        along = jax.jvp(lambda x: product(state, x)[0], (x,), (direction,))[1]
        return Evaluated(output, value, along, by_input, by_weights)

    compiled = quick(evaluate)
    return (lambda x: compiled(state, x, noise(seed=2))), state


def noise(shape=(2, 16, 16, INPUTS), seed=1, dtype: Any = np.float64) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


# --- what every operator must do ------------------------------------------------------------------------------


# The second operator's mean is none of its business (see `cutoff`), and these set nothing but a mean.
IDLE = {"multiscale": {("second", "norm", "bias"), ("second", "project", "bias")}}


@every_operator
def test_every_parameter_changes_the_output(name, float64):
    """No block, path or bias is dead: the output depends on each array of weights."""
    evaluated = ready(name)[0](noise())
    scale = jnp.linalg.norm(evaluated.output)
    for path, gradient in nnx.to_flat_state(evaluated.by_weights):
        sensitivity = float(jnp.abs(gradient[...]).max() / scale)
        # A connected weight contributes at least one of some 10^4 terms, a dead one only rounding: 1e-15.
        assert (sensitivity > 1e-6) == (path not in IDLE.get(name, ())), (path, sensitivity)


@every_operator
def test_translation_on_a_periodic_box(name, float64):
    """Shifting the input shifts the output, by whole cells of the coarsest level or block (2 here): rounding."""
    evaluate, _ = ready(name)
    x, shift = noise(), (4, 6)
    shifted = jnp.roll(evaluate(x).output, shift, axis=(1, 2))
    assert relative(evaluate(jnp.roll(x, shift, axis=(1, 2))).output, shifted) < 1e-11


@every_operator
def test_gradient_with_respect_to_the_input(name, float64):
    """Reverse mode agrees with forward mode and with a central difference.

    For a product of some thousand random terms, in a random direction, h^2 f^(3) / 6 and eps f / h for h = 1e-5 are
    near 1e-10 of the derivative.
    """
    evaluate, _ = ready(name)
    x, direction, h = noise(), noise(seed=2), 1e-5
    here = evaluate(x)
    central = (evaluate(x + h * direction).product - evaluate(x - h * direction).product) / (2 * h)
    assert abs(jnp.vdot(here.by_input, direction) - here.along) < 1e-10 * abs(here.along)
    assert abs(central - here.along) < 1e-7 * abs(here.along)


def band_limited(n: int) -> jax.Array:
    """The same field of up to two cycles per box on an n x n grid."""
    z, x = np.meshgrid(*(2 * np.pi * np.arange(n) / n,) * 2, indexing="ij")
    fields = np.stack([np.cos(2 * z + x) + 0.5 * np.sin(x), np.sin(z - 2 * x) + 0.3], axis=-1)
    return jnp.asarray(fields[None])


# Filters and blocks shrink with the cells: U-Net and U-FNO do not transfer; the others do, without local ones.
TRANSFER = [name for name in SMALL if name not in ("ufno", "unet", "fno_patch")]


@pytest.mark.parametrize("name", TRANSFER)
def test_resolution_transfer(name, float64):
    """One band-limited field on grids of 16, 32 and 64 cells gives one output.

    The transforms of what a grid carries, and the norms, are exact; what differs is the part of the pointwise
    nonlinearities beyond the coarse grid's highest wavenumber. GELU is entire, so that part falls exponentially: by far
    more than the factor 4 per refinement of a second-order scheme. We ask for 10, and 1 % on the coarser pair; an
    operator bound to cells would differ by order one on all grids.
    """
    config = SMALL[name]
    if isinstance(config, MultiscaleConfig):
        config = replace(config, first=replace(config.first, local=False), second=replace(config.second, local=False))
    else:
        config = replace(config, local=False, products=0)
    apply, state = split(config)
    apply = quick(apply)
    outputs = [apply(state, band_limited(n)) for n in (16, 32, 64)]
    coarse, fine = (relative(b[:, ::2, ::2], a) for a, b in pairwise(outputs))
    assert coarse < 0.01 and fine < max(0.1 * coarse, 1e-12), (coarse, fine)


def test_padding_transfers():
    """Padding is a fraction of the domain, so a padded operator converges too.

    The jump at the domain's edge is integrated to first order in the cell size: halving the cells halves the
    difference.
    """
    config = FNOConfig(width=W, depth=1, modes=[3, 3], padding=0.125, local=False)
    apply, state = split(config, np.float32)
    apply = quick(apply)
    centers = [(np.arange(n) + 0.5) / n for n in (16, 48, 144)]  # cell centers, those of each grid among the next's

    def output(x):
        z, x = np.meshgrid(x, x, indexing="ij")
        return apply(state, jnp.asarray(np.stack([np.cos(3 * z + x), x * z], axis=-1)[None], jnp.float32))

    outputs = [output(x) for x in centers]
    first, second = (relative(b[:, 1::3, 1::3], a) for a, b in pairwise(outputs))
    assert first < 0.2 and second < 0.5 * first


# The gradients of all are compared above.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name != "fno" else name for name in SMALL]
)
def test_overfits_one_batch(name):
    """Two random smooth samples are learned to 1 % of their norm in a few hundred steps: all parts train."""
    steps, graphdef = 300, abstract(SMALL[name])[0]
    # Band-limited: nothing that the modes kept could not hold.
    x, truth = (resample(noise((2, 5, 5, c), seed=c, dtype=np.float32), (8, 8)) for c in (INPUTS, OUTPUTS))
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def loss_of(state):
        return jnp.linalg.norm(nnx.merge(graphdef, state)(x) - truth) / jnp.linalg.norm(truth)

    def step(_, carry):
        state, moments = carry
        updates, moments = optimizer.update(jax.grad(loss_of)(state), moments, state)
        return optax.apply_updates(state, updates), moments

    def train():
        # A generator that compiles in no time; the operator's own initial values.
        rngs = nnx.Rngs(jax.random.key(0, impl="rbg"))
        state = nnx.state(SMALL[name].create(INPUTS, OUTPUTS, rngs=rngs))
        return loss_of(jax.lax.fori_loop(0, steps, step, (state, optimizer.init(state)))[0])

    loss = float(quick(train)())
    assert loss < 1e-2, loss


# --- counts: the formulas of the docstrings -------------------------------------------------------------------

S = 2 * (2 * 3 + 1) * (2 + 1) * W**2
M = 2 * R * W**2 + (R + 1) * W


def products(count: int, outputs: int) -> int:
    """Gate, local features, and their share of the projection."""
    return (W + 1 + 9 * INPUTS + 1 + outputs) * count


def frame(inputs: int = INPUTS, outputs: int = OUTPUTS) -> int:
    return (inputs + 1) * W + 2 * W + (W + 1) * outputs


def local(w: int = W) -> int:
    return 9 * w**2 + w


def u_of_convolutions(levels: int, w: int = W) -> int:
    widths = [2**level * w for level in range(levels + 1)]
    stages = [2 * 2 * v + 2 * local(v) for v in widths]
    pairs = pairwise(widths)
    between = sum((2 * v + 1) * v + (9 * v * u + u) + (9 * v * u + v) for v, u in pairs)
    return 2 * sum(stages[:-1]) + stages[-1] + between


def u_of_blocks(levels: int) -> int:
    widths = [2**level * W for level in range(levels + 1)]
    spectral = [(2 * (3 // 2**level) + 1) * (2 // 2**level + 1) for level in range(levels + 1)]
    stages = [
        4 * w + 2 * modes * w**2 + local(w) + 2 * R * w**2 + (R + 1) * w
        for w, modes in zip(widths, spectral, strict=True)
    ]
    pairs = pairwise(widths)
    return 2 * sum(stages[:-1]) + stages[-1] + sum((2 * w + 1) * w + (w * v + v) + (w * v + w) for w, v in pairs)


SIZES = (7, 3, W, W)
TUCKER_RANKS = [round(0.5**0.25 * n) for n in SIZES]
TUCKER = 2 * prod(TUCKER_RANKS) + sum(r * n for r, n in zip(TUCKER_RANKS, SIZES, strict=True))
CP = round(2 * 0.5 * prod(SIZES) / (2 + sum(SIZES))) * (2 + sum(SIZES))
SEPARABLE = 2 * W**2 * (3 + 1 + 2 + 1)
HIDDEN = 8  # two thirds of R W
GATED = 3 * HIDDEN * W + 2 * HIDDEN + W
RESIDUAL, FEEDFORWARD = 4 * W + M, 2 * W + M
COUNTS = {
    "fno": frame() + 2 * (S + local() + RESIDUAL),
    "fno_gated": frame() + 2 * (S + local() + RESIDUAL - M + GATED),
    "fno_classic": frame() + 2 * (S + 2 * W + W**2 + W) + M + products(4, OUTPUTS),
    "fno_patch": frame(4 * INPUTS) + (W + 1) * 4 * W + 2 * 3 * 2 * W**2 + local() + RESIDUAL + products(28, OUTPUTS),
    "ffno": frame() + 2 * (SEPARABLE + FEEDFORWARD),
    "ffno_shared": frame() + SEPARABLE + 2 * (local() + FEEDFORWARD),
    "tfno_tucker": frame() + 2 * (TUCKER + local() + RESIDUAL),
    "tfno_cp": frame() + 2 * (CP + local() + RESIDUAL),
    "ufno": frame() + 2 * (S + RESIDUAL) + local() + u_of_convolutions(1),
    "uno": frame() + u_of_blocks(1),
    "unet": frame() + u_of_convolutions(1),
    "deeponet": frame(outputs=1) + 2 * (S + local() + RESIDUAL) + 2 * W + (W + 1) * W + products(12, 1),
    "multiscale": frame() + frame(INPUTS + OUTPUTS) + 2 * (S + local() + RESIDUAL),
}


@every_operator
def test_parameter_count(name):
    """The formulas of the modules' docstrings, written out."""
    assert size(SMALL[name]) == COUNTS[name]


@every_operator
def test_products_are_computed_in_both_forms(name, monkeypatch):
    """So that all tests of operators see both: fno_patch and deeponet filter their input, fno_classic does not."""
    taken = []
    for form in ("_by_products", "_by_filters"):
        usual = getattr(Projection, form)
        monkeypatch.setattr(
            Projection, form, lambda self, h, x, form=form, usual=usual: taken.append(form) or usual(self, h, x)
        )
    operator = SMALL[name].create(INPUTS, OUTPUTS, rngs=nnx.Rngs(0))
    jax.eval_shape(operator, jnp.zeros((2, 8, 8, INPUTS)))
    assert set(taken) == {"_by_filters" if name in ("fno_patch", "deeponet") else "_by_products"}


def test_parameter_count_with_options():
    assert size(UNOConfig(**FOURIER, depth=1, levels=2)) == frame() + u_of_blocks(2)
    assert size(UNetConfig(width=W, levels=3, periodic=True)) == frame() + u_of_convolutions(3)
    assert size(replace(FNO_CONFIG, periodic=False)) == COUNTS["fno"] + 2 * W
    assert size(replace(FNO_CONFIG, norm="none")) == COUNTS["fno"] - 5 * 2 * W


# --- options --------------------------------------------------------------------------------------------------


def test_tucker_at_full_rank_holds_every_dense_weight():
    """With identities for factors the core is the weight; all shapes are those of the dense tensor."""
    conv = nnx.jit(lambda: TuckerConv(4, (2, 1), 1.0, rngs=nnx.Rngs(0)))()
    for factor in (conv.modes_z, conv.modes_x, conv.inputs, conv.outputs):
        factor[...] = jnp.eye(len(factor[...]))
    for part, core in zip(conv.weights(), conv.core[...], strict=True):
        np.testing.assert_array_equal(part, core)


def test_blocks_of_cells():
    """Folding keeps every value in its block, and unfolding takes it back; a grid of no whole blocks is filled up."""
    x = noise((2, 6, 4, 3))
    folded = fold(x, 2)
    assert folded.shape == (2, 3, 2, 12)
    np.testing.assert_array_equal(jnp.sort(folded[1, 2, 0]), jnp.sort(x[1, 4:6, 0:2].ravel()))
    np.testing.assert_array_equal(unfold(folded, 2), x)
    config = FNOConfig(width=W, depth=1, modes=[1, 1], padding=0.0, patch=2)
    apply, state = split(config, np.float32)
    y = noise((1, 7, 9, INPUTS), dtype=np.float32)
    filled = jnp.pad(y, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    assert apply(state, y).shape == (1, 7, 9, OUTPUTS)
    assert relative(apply(state, y), apply(state, filled)[:, :7, :9]) < 1e-6
    with pytest.raises(InputError, match="no whole number of blocks of 2 x 2"):
        apply, state = split(replace(config, periodic=True))
        apply(state, y)


@pytest.mark.parametrize("factorization", ["tucker", "cp"])
def test_tensorized_weights_start_like_dense_ones(factorization):
    """Their variance is 1 / (2 width), within the spread of a few hundred independent numbers (three deviations)."""
    config = TFNOConfig(width=16, modes=[6, 6], factorization=factorization, rank=0.5)
    layer = nnx.jit(lambda: config.spectral_layer(nnx.Rngs(0)))()
    assert isinstance(layer, SpectralMap)
    variance = np.mean(np.square(layer.weights()))
    assert 0.5 < variance * 2 * 16 < 2


def test_norms_and_refusals():
    """Each norm builds another operator; what makes none is refused in a paragraph."""
    x, outputs = noise(dtype=np.float32), []
    for norm in NORMS:
        apply, state = split(replace(ONE_BLOCK, norm=norm, local=False), np.float32)
        outputs.append(quick(apply)(state, x))
    assert all(relative(a, b) > 1e-3 for i, a in enumerate(outputs) for b in outputs[:i])
    for config, message in (
        (FNOConfig(norm="batch"), "norm must be one of sample"),
        (FNOConfig(periodic=True), "no sides to pad"),
        (FNOConfig(block="dense"), "block must be one of residual"),
        (FNOConfig(block="classic", drop_path=0.1), "no residual branch"),
        (FNOConfig(block="classic", gated=True), "no MLP to gate"),
        (FNOConfig(modes=[4]), "model.modes must be 2 values, each from 1 to 65536"),
        (FNOConfig(drop_path=1.0), "drop_path must be at least 0 and below 1"),
        (FNOConfig(name="unet"), "choose another operator with model=unet"),
        (TFNOConfig(rank=0.0), "model.rank must be above 0 and at most 1"),
        (UFNOConfig(unet_blocks=9), "unet_blocks must be at most model.depth"),
        (UNOConfig(levels=0), "model.levels must be from 1"),
        (UNetConfig(depth=0), "model.depth must be from 1"),
        (DeepONetConfig(branch_depth=0), "model.branch_depth must be from 1"),
        (MultiscaleConfig(cutoff=[1]), "model.cutoff must be 0 or 2 values"),
    ):
        with pytest.raises(InputError, match=message):
            config.create(INPUTS, OUTPUTS, rngs=nnx.Rngs(0))


class FieldsOnly(Surrogate):
    """An operator in the place of a surrogate, for the training step."""

    def __init__(self, operator: nnx.Module):
        self.task = Wavefield(tiny_config("x").create())
        self.operator = operator

    def __call__(self, *inputs):
        return self.operator(inputs[0])


def test_drop_path_in_training_only(tmp_path):
    """Evaluation drops no sample; training drops or scales each sample.

    The random key is part of the state: a run resumed from a stored state draws the same numbers, and the next state
    draws others.
    """
    config = FNOConfig(**FOURIER, depth=2, drop_path=0.5)
    operator = nnx.jit(lambda: config.create(INPUTS, OUTPUTS, rngs=nnx.Rngs(0)))()
    operator.project.kernel[...] = jnp.ones_like(operator.project.kernel[...])
    x = noise(dtype=np.float32)
    predict = nnx.jit(lambda operator: operator(x))
    np.testing.assert_array_equal(predict(operator), predict(operator))
    model = FieldsOnly(operator)
    optimizer = Optimizer(model, optax.sgd(0.0), decay=0.0)
    structure, state = TrainState.create(model, optimizer)
    with_checkpoint = Checkpoints(tmp_path)
    with_checkpoint.save_last(1, state.to_dict(), {})
    empty = jax.tree.map(jnp.zeros_like, state)
    restored = empty.from_dict(with_checkpoint.restore_last(empty.to_dict())[0])
    with_checkpoint.close()
    step = make_train_step(structure)
    batch = {"velocity": x, "source": jnp.zeros((2, 2)), "snapshots": noise((2, 16, 16, OUTPUTS), dtype=np.float32)}
    losses = []
    for start in (state, restored):
        run = []
        for _ in range(6):
            start, metrics = step(start, batch)
            run.append(float(metrics["loss"]))
        losses.append(run)
    assert losses[0] == losses[1] and len(set(losses[0])) > 2
    assert len(jax.tree.leaves(nnx.state(operator, DropState))) == config.depth
    assert not jax.tree.leaves(nnx.filter_state(abstract(SMALL["fno"])[1], DropState))


def test_drop_path_keeps_the_mean():
    """Samples are 0 or 1 / (1 - rate) of themselves; their mean is theirs to three deviations of 4,000 draws."""
    drop = DropPath(0.25, rngs=nnx.Rngs(0))
    drop.train()
    values = np.asarray(drop(jnp.ones((4000, 1))))
    assert set(np.unique(values)) == {0.0, np.float32(1 / 0.75)}
    assert abs(values.mean() - 1) < 3 * np.sqrt(0.25 / 0.75 / 4000)


def test_multiscale_splits_the_work_by_wavenumber(float64):
    """The second operator adds nothing on the modes left to the first."""
    evaluate, state = ready("multiscale")
    first = quick(split(MULTISCALE.first)[0])
    x = noise()
    correction = evaluate(x).output - first(state["first"], x)
    assert max(float(jnp.abs(part).max()) for part in restrict(correction, (1, 1))) < 1e-12
    assert float(jnp.abs(correction).max()) > 0.1


def test_multiscale_names_the_operator_that_is_wrong():
    with pytest.raises(InputError, match=r"model\.second\.width"):
        MultiscaleConfig(second=FNOConfig(width=0)).check()


def test_multiscale_in_stages():
    """The adopted first operator is the prediction before the second is trained, and no parameter of it."""
    dropping = replace(MULTISCALE.first, drop_path=0.5)
    config = replace(MULTISCALE, first=dropping, first_run="runs/first")
    trained = nnx.jit(lambda: config.first.create(INPUTS, OUTPUTS, rngs=nnx.Rngs(7)))()
    trained.project.kernel[...] = jnp.ones_like(trained.project.kernel[...])
    operator = nnx.jit(lambda: config.create(INPUTS, OUTPUTS, rngs=nnx.Rngs(0)))()
    assert config.warm_start(operator, lambda run, settings: trained)
    operator.train()  # the frozen one leaves out no branch
    x = noise(dtype=np.float32)
    predict = nnx.jit(lambda operator: operator(x))
    assert relative(predict(operator), predict(trained)) < 1e-6
    assert not jax.tree.leaves(nnx.state(operator.first, nnx.Param))
    weights = jax.tree.leaves(nnx.state(trained, nnx.Param))
    assert len(jax.tree.leaves(nnx.state(operator.first, Frozen))) == len(weights)


def test_a_first_stage_is_of_the_same_problem(tmp_path):
    """Shapes show neither padding nor encoding nor data: what differs is named. The statistics are the first run's."""
    data = tiny_config("unused")
    data.families = {"inclusions": data.families["inclusions"]}
    first = TrainConfig(str(tmp_path / "first"), data, model=MULTISCALE.first, encoding=SourceMapConfig())
    trained = first.create()
    trained.set_statistics(Statistics(*(2.0 + i + jnp.zeros_like(s) for i, s in enumerate(trained.statistics))))
    claim_folder(tmp_path / "first", first)
    with contextlib.closing(Checkpoints(first.run)) as checkpoints:
        checkpoints.save_best(1, nnx.to_pure_dict(nnx.state(trained)), {})
    second = replace(first, model=replace(MULTISCALE, first_run=first.run))
    model = second.create()
    assert isinstance(model.operator, Multiscale)
    second.model.warm_start(model.operator, partial(first_stage, second, model))
    found, wanted = (nnx.to_pure_dict(nnx.state(o)) for o in (model.operator.first, trained.operator))
    jax.tree.map(np.testing.assert_array_equal, (found, model.statistics), (wanted, trained.statistics))
    padded = replace(MULTISCALE.first, padding=0.5)
    for name, changed in {
        "model.first.padding: 0.5 -> 0.0": replace(second, model=replace(second.model, first=padded)),
        "encoding.radius: 3.0 -> 2.0": replace(second, encoding=SourceMapConfig(radius=3.0)),
        "data.seed: 7 -> 0": replace(second, data=replace(data, seed=7)),
        "task.name: propagator -> wavefield": replace(second, task=PropagatorConfig()),
    }.items():
        with pytest.raises(InputError, match=re.escape(name)):
            changed.model.warm_start(model.operator, partial(first_stage, changed, model))


# --- configs and checks at the start --------------------------------------------------------------------------


def composed(*lines: str) -> TrainConfig:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return typed(compose("train", overrides=list(lines)), TrainConfig)


def test_registry_and_configs_name_the_same_operators():
    presets = {file.stem for file in (ROOT / "configs/model").glob("*.yaml")}
    assert set(OPERATORS) <= presets
    assert {composed(f"model={name}").model.name for name in presets} == set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_model_configs_build(name):
    """Each preset composes to its own schema, comes back from its JSON the same, and maps a grid that carries it."""
    config = composed(f"model={name}", "data=demo")
    assert type(config.model) is OPERATORS[name] and config.model.name == name
    assert set(asdict(config.model)) == {key for key in vars(OPERATORS[name]())}
    stored = json.loads(json.dumps(asdict(config)))
    assert from_plain(stored, TrainConfig, "itself") == config
    operator = nnx.eval_shape(lambda: config.model.create(3, 8, rngs=nnx.Rngs(0)))
    assert nnx.eval_shape(lambda m, x: m(x), operator, jnp.ones((2, 64, 60, 3))).shape == (2, 64, 60, 8)


def test_run_folders_of_any_version():
    """A config from before the choice of operators is an FNO's; one that names none we know is refused."""
    stored = asdict(TrainConfig())
    for key in ("name", "norm", "drop_path", "periodic", "block"):
        del stored["model"][key]
    assert from_plain(stored, TrainConfig, "an old run") == TrainConfig()
    factorized = asdict(TrainConfig(model=TFNOConfig(factorization="cp")))
    factorized["model"]["factorisation"] = factorized["model"].pop("factorization")
    assert from_plain(factorized, TrainConfig, "an old run") == TrainConfig(model=TFNOConfig(factorization="cp"))
    for name in ("os.system", None, ["fno"]):
        with pytest.raises(InputError, match="must be one of fno, ffno"):
            from_plain(stored | {"model": {"name": name}}, TrainConfig, "a folder")
    for model in ({"name": "unet", "modes": [4, 4]}, {"name": "fno", "_target_": "os.system"}, "fno"):
        with pytest.raises(InputError, match="does not fit this version's schema"):
            from_plain(stored | {"model": model}, TrainConfig, "a folder")


def test_modes_are_compared_with_the_waves(recwarn):
    """24 x 20 cells of 10 m, 37.5 Hz at 2000 m/s: 4.5 x 3.75 cycles. Padding lengthens the domain, not the waves."""
    data = tiny_config("x")
    task = Wavefield(data.create())
    for config in (FNOConfig(modes=[5, 4], padding=0.0), FNOConfig(modes=[6, 5]), UNetConfig()):
        check_modes(config, task)
    check_modes(MultiscaleConfig(first=FNOConfig(modes=[2, 2])), task)
    assert not [w for w in recwarn if issubclass(w.category, ModesWarning)]
    small = FNOConfig(width=2, depth=1, modes=[5, 3], padding=0.0)
    with pytest.warns(ModesWarning, match=r"reach 4\.5 x 3\.8 cycles .*37\.5 Hz at 2000 m/s.* only 5\.0 x 3\.0"):
        TrainConfig(data=data, model=small, encoding=SourceMapConfig()).create()
    with pytest.warns(ModesWarning, match=r"only 4\.4 x 3\.6"):
        check_modes(replace(small, modes=[5, 4], padding=0.0625), task)


def test_ranges_name_every_kind():
    """The classes of blocks and factorizations are defined after the configs that name them."""
    assert tuple(BLOCKS) == BLOCK_NAMES and tuple(FACTORIZATIONS) == FACTORIZATION_NAMES
