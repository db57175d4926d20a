"""Predict with a trained surrogate, and validate it on a split."""

from collections.abc import Callable, Iterable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from data_gen.common.errors import InputError
from surrogate.devices import Devices, fetch
from surrogate.metrics.errors import relative_l2
from surrogate.models.surrogate import Surrogate
from surrogate.models.training_distance import warn_of_distance
from surrogate.operators.layers.recompute import compiler_options
from surrogate.protocols import Batch


@cache  # made at the first use: a question about the backend starts it
def _prediction():
    def call(graphdef: nnx.GraphDef, state: nnx.State, inputs: tuple[jax.Array, ...]) -> jax.Array:
        return nnx.merge(graphdef, state)(*inputs)

    return jax.jit(call, static_argnums=0, compiler_options=compiler_options())


def predict(model: Surrogate, *inputs: ArrayLike) -> jax.Array:
    """Predict with a trained surrogate.

    Args:
        model: Trained surrogate.
        *inputs: Arrays that the model's task reads. For wavefields: velocity models `(batch, nz, nx)` [m/s] and source
            positions `(batch, 2)` [m].

    Returns:
        Predictions `(batch, outputs, *shape)`. For wavefields: snapshots `(batch, n_snapshots, nz, nx)`.

    Raises:
        InputError: The number of arrays is wrong, or the solver would refuse them.

    Warns:
        DistanceWarning: A velocity model is unlike those that the surrogate has learned from.
    """
    names = model.task.inputs
    if len(inputs) != len(names):
        raise InputError(f"A {model.task.name} surrogate reads {', '.join(names)}, but got {len(inputs)} arrays.")
    batch = dict(zip(names, inputs, strict=True))
    prediction = predict_batch(model, batch)  # first: it refuses what is no model
    if "velocity" in batch:
        warn_of_distance(model.training_models, np.asarray(batch["velocity"]))
    return prediction


def predict_batch(model: Surrogate, batch: Batch) -> jax.Array:
    """Predict a batch of examples.

    Args:
        model: Trained surrogate.
        batch: Arrays by name, with the inputs of the model's task among them.

    Returns:
        Predictions `(batch, outputs, *shape)`.

    Raises:
        InputError: The solver would refuse the inputs.
    """
    model.task.check(batch)
    return apply_to_batch(model, batch)


def apply_to_batch(model: Surrogate, batch: Batch) -> jax.Array:
    """Predict a batch without validating its inputs; it may be distributed over many devices.

    Args:
        model: Surrogate.
        batch: Arrays by name, with the inputs of the model's task among them.

    Returns:
        Predictions `(batch, outputs, *shape)`.
    """
    return compiled(model)(*(jnp.asarray(batch[name]) for name in model.task.inputs))


def compiled(model: Surrogate) -> Callable[..., jax.Array]:
    """Take a surrogate apart once, for predictions that are timed or made many times.

    Args:
        model: Surrogate.

    Returns:
        The compiled prediction, a function of the arrays that the model's task reads, which are not validated.
    """
    graphdef, state = nnx.split(model)
    return lambda *inputs: _prediction()(graphdef, state, inputs)


@cache
def _shots():
    def call(graphdef: nnx.GraphDef, state: nnx.State, velocity: jax.Array, sources: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state).shots(velocity, sources)

    return jax.jit(call, static_argnums=0, compiler_options=compiler_options())


def compiled_shots(model: Surrogate) -> Callable[..., jax.Array]:
    """Take a surrogate apart once, for predictions of shots through one model; see `Surrogate.shots`.

    Args:
        model: Surrogate of a `ShotTask`.

    Returns:
        The compiled prediction, a function of a velocity model and sources, which are not validated.
    """
    graphdef, state = nnx.split(model)
    return lambda velocity, sources: _shots()(graphdef, state, velocity, sources)


_relative_l2 = jax.jit(relative_l2)


def sample_errors(model: Surrogate, batch: Batch) -> jax.Array:
    """Compute the relative L2 error of each example without validating the inputs.

    Args:
        model: Surrogate.
        batch: Arrays by name, with inputs and target of the model's task among them.

    Returns:
        The errors `(batch,)`.
    """
    return _relative_l2(apply_to_batch(model, batch), jnp.asarray(batch[model.task.target]))


def validate(model: Surrogate, batches: Iterable[Batch], devices: Devices) -> float:
    """Compute the mean relative L2 error over a split; every process reads all of it, and every device predicts a part.

    Args:
        model: Surrogate.
        batches: Batches of the split.
        devices: Mesh of devices.

    Returns:
        The mean error.
    """
    errors = [fetch(sample_errors(model, devices.shard(batch)))[: len(batch["index"])] for batch in batches]
    return float(np.mean(np.concatenate(errors)))
