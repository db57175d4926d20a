"""The surrogate: an encoding, an operator and the normalisation that both were trained with, in physical units.

prediction = baseline + residual_rms * operator((medium - mean) / std, fields / field_rms)
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.protocols import Batch, Encoding, Task


class Normaliser(nnx.Variable):
    """Statistics of the training split: saved with the weights, never trained."""


class Statistics(NamedTuple):
    """Mean and deviation of each medium; root mean square of each field, and of truth - baseline for each output."""

    medium_mean: Float[Array, " media"]
    medium_std: Float[Array, " media"]
    field_rms: Float[Array, " channels"]
    residual_rms: Float[Array, " outputs"]


class Surrogate(nnx.Module):
    """Predicts `(batch, outputs, *shape)` from what the task reads, in its order and units."""

    def __init__(self, task: Task, encoding: Encoding, operator: nnx.Module):
        self.task = task
        self.encoding = encoding
        self.operator = operator
        media, fields, outputs = encoding.media, encoding.channels, task.outputs
        blank = Statistics(jnp.zeros(media), jnp.ones(media), jnp.ones(fields), jnp.ones(outputs))
        self.medium_mean, self.medium_std, self.field_rms, self.residual_rms = map(Normaliser, blank)

    @property
    def statistics(self) -> Statistics:
        """The normalisation."""
        return Statistics(*(getattr(self, name)[...] for name in Statistics._fields))

    def set_statistics(self, statistics: Statistics) -> None:
        """Fix the normalisation."""
        for name, value in statistics._asdict().items():
            getattr(self, name)[...] = jnp.asarray(value, jnp.float32)

    def __call__(self, *inputs: Float[Array, "batch ..."]) -> Float[Array, "batch outputs h w"]:
        medium, fields, baseline = jax.vmap(self.encoding)(*inputs)
        mean, std, field_rms, residual_rms = (
            scale[...][:, None, None]
            for scale in (self.medium_mean, self.medium_std, self.field_rms, self.residual_rms)
        )
        channels = jnp.concatenate([(medium - mean) / std, fields / field_rms], axis=1)
        outputs = self.operator(jnp.moveaxis(channels, 1, -1))
        return baseline + residual_rms * jnp.moveaxis(outputs, -1, 1)

    def applications(self, batch: Batch) -> tuple[tuple[Array, ...], Array]:
        """What the operator is applied to on the way to a prediction, each time, and what it should have given."""
        return tuple(batch[name] for name in self.task.inputs), batch[self.task.target]


def training_statistics(model: Surrogate, batches: Iterable[Batch]) -> Statistics:
    """Statistics over an iterable of batches: the training split's only.

    Raises `InputError` if they are not finite.
    """
    encoding, task = model.encoding, model.task

    @jax.jit
    def moments(batch):
        inputs, target = model.applications(batch)
        medium, fields, baseline = jax.vmap(encoding)(*inputs)
        return tuple(
            jnp.mean(values, axis=(0, 2, 3)) for values in (medium, medium**2, fields**2, (target - baseline) ** 2)
        )

    def needed(batch: Batch) -> dict:
        return {name: batch[name] for name in (*task.inputs, task.target)}

    # Summed in double precision on the host: the squares of 1,000 samples of velocities exhaust float32.
    rows = [([np.asarray(m, np.float64) for m in moments(needed(batch))], len(batch[task.target])) for batch in batches]
    for number, (row, count) in enumerate(rows):
        if not all(np.isfinite(moment).all() for moment in row):
            first = sum(count for _, count in rows[:number])
            raise InputError(
                f"The training data, or what the operator is to see of them, have values that are not finite among "
                f"examples {first} to {first + count - 1}, so there is no scale to normalise them by. Verify the data "
                "set (python -m data_gen verify PATH) and generate it again, or choose another encoding."
            )
    total = sum(count for _, count in rows)
    mean, square, field, residual = (sum(row[i] * count for row, count in rows) / total for i in range(4))
    # Of a constant channel the difference may fall below zero by rounding.
    scales = (np.sqrt(np.maximum(square - mean**2, 0)), np.sqrt(field), np.sqrt(residual))
    # A scale of zero belongs to a channel that is silent throughout: it is left as it is.
    return Statistics(*(jnp.asarray(x, jnp.float32) for x in (mean, *(np.where(s > 0, s, 1.0) for s in scales))))


def count_parameters(model: Surrogate) -> int:
    """Trained numbers in the operator."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
