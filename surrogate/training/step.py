"""Compile the training step: one function from a state and a batch to the next state and the metrics.

    gradient = mean over the parts of a batch of d loss / d weights;    weights <- weights + AdamW(clip(gradient))

The buffers of the state are reused; the metrics stay on the device until they are read.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from data_gen.common.errors import InputError
from surrogate.operators.layers.recompute import compiler_options, recompute_blocks
from surrogate.protocols import Batch
from surrogate.training.config import TrainingConfig
from surrogate.training.precision import set_precision
from surrogate.training.state import Structure, TrainState

Metrics = dict[str, jax.Array]
Loss = Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def in_parts(batch: Batch, parts: int) -> Batch:
    """Split a batch into parts; part p holds every parts-th sample from p on.

    The parts are strided, since a batch is split over devices in runs of samples: each device then holds an equal
    number of samples of every part.

    Args:
        batch: Arrays `(b, ...)`.
        parts: Number of parts.

    Returns:
        Arrays `(parts, b / parts, ...)`.

    Raises:
        InputError: The batch cannot be split into parts of one size.
    """
    size = len(next(iter(batch.values())))
    if size % parts:
        raise InputError(f"A batch of {size} samples cannot be taken in {parts} parts (training.accumulate).")
    return {k: jnp.swapaxes(jnp.reshape(x, (size // parts, parts, *x.shape[1:])), 0, 1) for k, x in batch.items()}


def step_key(config: TrainingConfig, step: jax.Array) -> jax.Array:
    """Derive the random key of a training step.

    Args:
        config: Settings of the training.
        step: Number of steps before this one.

    Returns:
        The key of the random numbers that the loss draws in this step.
    """
    return jax.random.fold_in(jax.random.key(config.seed), step)


def in_training(copy: Any, step: jax.Array, config: TrainingConfig) -> Any:
    """Put the copy of a model with which a step is traced into training mode; all other models are in evaluation mode.

    Args:
        copy: Copy of the model, changed in place.
        step: Number of steps before this one.
        config: Settings of the training.

    Returns:
        The copy.
    """
    copy.train()
    config.mode_schedule.apply(copy.operator, step)
    set_precision(copy.operator, config.precision)
    if config.remat:
        recompute_blocks(copy.operator)
    return copy


def mean_gradients(
    model: nnx.Module, batch: Batch, key: jax.Array, step: jax.Array, loss: Loss, config: TrainingConfig
):
    """Compute the loss of a batch and its gradients, part by part.

    Args:
        model: Model to train.
        batch: Training examples.
        key: Random key of the step.
        step: Number of steps before this one.
        loss: Function `(model, batch, key) -> (loss, terms)`.
        config: Settings of the training.

    Returns:
        The loss, its terms, the gradients of the weights, and the model's other state after the step.
    """
    definition, weights, others = nnx.split(model, nnx.Param, ...)

    def scalar(weights: nnx.State, others: nnx.State, batch: Batch, key: jax.Array):
        copy = in_training(nnx.merge(definition, weights, others, copy=True), step, config)
        value, parts = loss(copy, batch, key)
        return value, (parts, nnx.state(copy, nnx.Not(nnx.Param)))

    differentiated = jax.value_and_grad(scalar, has_aux=True)
    if config.accumulate == 1:
        (value, (parts, others)), gradients = differentiated(weights, others, batch, key)
        return value, parts, gradients, others

    def add(carry, part):
        others, total = carry
        (value, (parts, others)), gradients = differentiated(weights, others, *part)
        return (others, jax.tree.map(jnp.add, total, gradients)), (value, parts)

    start = others, jax.tree.map(jnp.zeros_like, weights)
    xs = in_parts(batch, config.accumulate), jax.random.split(key, config.accumulate)
    (others, total), means = jax.lax.scan(add, start, xs)
    value, parts = jax.tree.map(jnp.mean, means)
    return value, parts, jax.tree.map(lambda x: x / config.accumulate, total), others


def sample_losses(model: nnx.Module, batch: Batch, step: int, config: TrainingConfig) -> jax.Array:
    """Compute the loss of each sample in a step, as `mean_gradients` computes it.

    Args:
        model: Model before the step.
        batch: Training examples.
        step: Number of steps before this one.
        config: Settings of the training.

    Returns:
        The losses `(batch,)`.
    """
    definition, weights, others = nnx.split(model, nnx.Param, ...)

    def add(others: nnx.State, part: tuple[Batch, jax.Array], weights: nnx.State):
        copy = in_training(nnx.merge(definition, weights, others, copy=True), jnp.array(step), config)
        losses, _ = config.loss.create(copy.task).per_sample(copy, *part)
        return nnx.state(copy, nnx.Not(nnx.Param)), losses

    @partial(jax.jit, compiler_options=compiler_options())
    def call(weights: nnx.State, others: nnx.State, batch: Batch) -> jax.Array:
        key, parts = step_key(config, jnp.array(step)), config.accumulate
        keys = jax.random.split(key, parts) if parts > 1 else key[None]
        _, losses = jax.lax.scan(partial(add, weights=weights), others, (in_parts(batch, parts), keys))
        return losses.T.reshape(-1)  # part p has every parts-th sample

    return call(weights, others, batch)


def make_train_step(
    structure: Structure,
    config: TrainingConfig | None = None,
    loss: Loss | None = None,
    shardings: TrainState | None = None,
) -> Step:
    """Build the compiled step `(state, batch) -> (state, metrics)`; it reuses the buffers of the old state.

    Args:
        structure: Static structure of the model and its optimizer.
        config: Settings of the training; None: the defaults.
        loss: Function `(model, batch, key) -> (loss, terms)` to minimize; None: the loss of the config.
        shardings: Placement of every array of the new state (see `Devices.shardings`); None: the compiler chooses.

    Returns:
        The step. Its metrics are `loss`, the mean since the last log; `grad_norm`, of this step; and, if the loss has
        several terms, each of them, of this step.
    """
    training = config or TrainingConfig()

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        model, _ = state.merge(structure)
        key, minimized = step_key(training, state.step), loss or training.loss.create(model.task)
        value, parts, gradients, others = mean_gradients(model, batch, key, state.step, minimized, training)
        grad_norm = optax.tree.norm(gradients)
        accepted = state.monitor.accepts(value, grad_norm, training.divergence_factor)
        # A branch, not a choice between two states: weights and moments are read and written once, in place.
        new = jax.lax.cond(accepted, updated, lambda state, *_: state, state, gradients, others)
        monitor = state.monitor.record(state.step, accepted, value, grad_norm, training.log_every)
        metrics = {"loss": monitor.mean_loss(), "grad_norm": grad_norm} | (parts if len(parts) > 1 else {})
        return new._replace(step=state.step + 1, monitor=monitor), metrics

    def updated(state: TrainState, gradients: nnx.State, others: nnx.State) -> TrainState:
        model, optimizer = state.merge(structure)
        nnx.update(model, others)
        optimizer.update(model, gradients)
        return state.updated(model, optimizer)

    out_shardings = None if shardings is None else (shardings, None)
    return jax.jit(step, donate_argnums=0, out_shardings=out_shardings, compiler_options=compiler_options())
