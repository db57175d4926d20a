"""Predict with a trained surrogate, and validate it on a split."""

from collections.abc import Iterable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from data_gen.common.errors import InputError
from surrogate.devices import Devices
from surrogate.metrics.errors import relative_l2
from surrogate.models.surrogate import Surrogate
from surrogate.operators.layers.recompute import compiler_options
from surrogate.protocols import Batch


@cache  # made when it is first needed: asking for the backend starts it
def _prediction():
    def call(graphdef: nnx.GraphDef, state: nnx.State, inputs: tuple[jax.Array, ...]) -> jax.Array:
        return nnx.merge(graphdef, state)(*inputs)

    return jax.jit(call, static_argnums=0, compiler_options=compiler_options())


def predict(model: Surrogate, *inputs: ArrayLike) -> jax.Array:
    """Predictions `(batch, outputs, *shape)` of what the model's task reads.

    For wavefields: snapshots `(batch, n_snapshots, nz, nx)` of velocities `(batch, nz, nx)` [m/s] and sources
    `(batch, 2)` [m]. Raises `InputError` for inputs that the solver would refuse.
    """
    names = model.task.inputs
    if len(inputs) != len(names):
        raise InputError(f"A {model.task.name} surrogate reads {', '.join(names)}, but got {len(inputs)} arrays.")
    return predict_batch(model, dict(zip(names, inputs, strict=True)))


def predict_batch(model: Surrogate, batch: Batch) -> jax.Array:
    """The same of a batch of examples."""
    model.task.check(batch)
    return apply_to_batch(model, batch)


def apply_to_batch(model: Surrogate, batch: Batch) -> jax.Array:
    """The same of a batch that may be one that no model should be asked about, or spread over many devices."""
    return _prediction()(*nnx.split(model), tuple(jnp.asarray(batch[name]) for name in model.task.inputs))


_relative_l2 = jax.jit(relative_l2)


def sample_errors(model: Surrogate, batch: Batch) -> jax.Array:
    """Relative L2 `(batch,)` of each example of such a batch."""
    return _relative_l2(apply_to_batch(model, batch), jnp.asarray(batch[model.task.target]))


def validate(model: Surrogate, batches: Iterable[Batch], devices: Devices) -> float:
    """Mean relative L2 over a split, of which every process reads all and every device computes its part."""
    errors = [devices.fetch(sample_errors(model, devices.shard(batch)))[: len(batch["index"])] for batch in batches]
    return float(np.mean(np.concatenate(errors)))
