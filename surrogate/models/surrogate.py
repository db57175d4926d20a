"""Join an encoding, an operator and the normalization of its training data to a model in physical units.

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
from surrogate.encodings.coarse_solver import RATIO
from surrogate.metrics.errors import norm
from surrogate.models.training_distance import TrainingModels
from surrogate.protocols import Batch, Encoded, Encoding, ShotTask, Task


class Normalizer(nnx.Variable):
    """Hold statistics of the training split, which are saved with the weights and never trained."""


class Statistics(NamedTuple):
    """Hold the normalization: one number per channel, in the physical units of that channel.

    Attributes:
        medium_mean: Mean of each medium `(media,)`.
        medium_std: Standard deviation of each medium `(media,)`.
        field_rms: Root mean square of each field `(channels,)`.
        residual_rms: Root mean square of data - baseline for each output `(outputs,)`.
    """

    medium_mean: Float[Array, " media"]
    medium_std: Float[Array, " media"]
    field_rms: Float[Array, " channels"]
    residual_rms: Float[Array, " outputs"]


class Surrogate(nnx.Module):
    """Predict `(batch, outputs, *shape)` from the task's inputs, in their order and physical units.

    Args:
        task: Task that the surrogate solves.
        encoding: Map from the task's inputs to the operator's input and the baseline.
        operator: Map `(batch, h, w, channels) -> (batch, h, w, outputs)`.

    Attributes:
        training_models: Description of the velocity models that it has learned from; None if there is none.
    """

    training_models: TrainingModels | None = None

    def __init__(self, task: Task, encoding: Encoding, operator: nnx.Module):
        self.task = task
        self.encoding = encoding
        self.operator = operator
        media, fields, outputs = encoding.media, encoding.channels, task.outputs
        blank = Statistics(jnp.zeros(media), jnp.ones(media), jnp.ones(fields), jnp.ones(outputs))
        self.medium_mean, self.medium_std, self.field_rms, self.residual_rms = map(Normalizer, blank)

    @property
    def statistics(self) -> Statistics:
        """The normalization."""
        return Statistics(*(getattr(self, name)[...] for name in Statistics._fields))

    @property
    def coarse_ratio(self) -> float:
        """Side of a cell of the coarse solver that it is compared with, in cells of the data's grid: its encoding's."""
        return getattr(self.encoding, "ratio", RATIO)

    def set_statistics(self, statistics: Statistics) -> None:
        """Set the normalization.

        Args:
            statistics: Statistics of the training split, as of `training_statistics`.
        """
        for name, value in statistics._asdict().items():
            getattr(self, name)[...] = jnp.asarray(value, jnp.float32)

    def __call__(self, *inputs: Float[Array, "batch ..."]) -> Float[Array, "batch outputs h w"]:
        """Predict the target of a batch.

        Args:
            *inputs: The arrays that `Task.inputs` names, each `(batch, ...)`.

        Returns:
            Prediction `(batch, outputs, h, w)` in physical units.
        """
        return self._corrected(jax.vmap(self.encoding)(*inputs))

    def shots(self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]) -> Float[Array, "many outputs h w"]:
        """Predict shots through one model: what `__call__` predicts from `ShotTask.shot_inputs`, at less cost.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            sources: Positions `(n, 2)` [m].

        Returns:
            Prediction of each example `(many, outputs, h, w)` in physical units.

        Raises:
            InputError: If the task does not read a model and a shot.
        """
        if not isinstance(self.task, ShotTask):
            raise InputError(
                f"A surrogate of task={self.task.name} reads {', '.join(self.task.inputs)}, not a velocity model and "
                "sources: call it with these."
            )
        return self._corrected(self.task.encode_shots(self.encoding, velocity, sources))

    def _corrected(self, encoded: Encoded) -> Float[Array, "batch outputs h w"]:
        """Add what the operator makes of encoded examples, which have a leading axis, to their baselines."""
        medium, fields, baseline = encoded
        mean, std, field_rms, residual_rms = (
            scale[...][:, None, None]
            for scale in (self.medium_mean, self.medium_std, self.field_rms, self.residual_rms)
        )
        channels = jnp.concatenate([(medium - mean) / std, fields / field_rms], axis=1)
        outputs = self.operator(jnp.moveaxis(channels, 1, -1))
        return baseline + residual_rms * jnp.moveaxis(outputs, -1, 1)

    def applications(self, batch: Batch) -> tuple[tuple[Array, ...], Array]:
        """Return inputs and targets of every application of the operator.

        Args:
            batch: Batch of training examples.

        Returns:
            The inputs, as `__call__` takes them, and the target `(n, outputs, h, w)` of each application.
        """
        return tuple(batch[name] for name in self.task.inputs), batch[self.task.target]


def training_statistics(model: Surrogate, batches: Iterable[Batch]) -> Statistics:
    """Compute the normalization from batches of the training split.

    Args:
        model: Surrogate whose encoding and task define the channels.
        batches: Batches of training examples; read once.

    Returns:
        The statistics, in float32.

    Raises:
        InputError: If a value in the data or the encoding is not finite.
    """
    encoding, task = model.encoding, model.task

    @jax.jit
    def moments(batch):
        inputs, target = model.applications(batch)
        medium, fields, baseline = jax.vmap(encoding)(*inputs)
        axes = (0, 2, 3)
        mean = jnp.mean(medium, axes, keepdims=True)
        spreads = (
            norm(values, axes) / np.sqrt(values[:, 0].size) for values in (medium - mean, fields, target - baseline)
        )
        return mean[0, :, 0, 0], *spreads

    def needed(batch: Batch) -> dict:
        return {name: batch[name] for name in (*task.inputs, task.target)}

    # Squares are in double precision on the host: float32 holds none of an amplitude of 1e20, and the sum of 1,000
    # samples of velocities exhausts it.
    rows = [([np.asarray(m, np.float64) for m in moments(needed(batch))], len(batch[task.target])) for batch in batches]
    for number, (row, count) in enumerate(rows):
        if not all(np.isfinite(moment).all() for moment in row):
            first = sum(count for _, count in rows[:number])
            raise InputError(
                f"The training data, or the encoding's output for them, contain values that are not finite among "
                f"examples {first} to {first + count - 1}, so they cannot be normalized. Verify the data set "
                "(python -m data_gen verify PATH) and generate it again, or choose another encoding."
            )
    total = sum(count for _, count in rows)
    mean = sum(row[0] * count for row, count in rows) / total
    # The variance over all is that within the batches, and that of their means.
    square = sum((row[1] ** 2 + (row[0] - mean) ** 2) * count for row, count in rows) / total
    field, residual = (sum(row[i] ** 2 * count for row, count in rows) / total for i in (2, 3))
    scales = map(np.sqrt, (square, field, residual))
    # A scale of zero belongs to a channel that is zero throughout: that channel is not scaled.
    return Statistics(*(jnp.asarray(x, jnp.float32) for x in (mean, *(np.where(s > 0, s, 1.0) for s in scales))))


def count_parameters(model: Surrogate) -> int:
    """Count the trainable numbers of a surrogate.

    Args:
        model: Surrogate.

    Returns:
        Number of parameters; frozen weights and the normalization are not counted.
    """
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
