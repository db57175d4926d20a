"""What a trained surrogate is used for: prediction, and validation against a split; loaded from its run's folder."""

import contextlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from data_gen.errors import InputError
from data_gen.sample import DataConfig
from surrogate.checkpoint import CheckpointError, Checkpoints
from surrogate.config import read_run
from surrogate.execution import compiler_options
from surrogate.metrics import relative_l2
from surrogate.model import Surrogate
from surrogate.other_grid import on_grid_of, warn_of_cells
from surrogate.parallel import Devices
from surrogate.task import Batch


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
    errors = [devices.fetch(sample_errors(model, devices.spread(batch)))[: len(batch["index"])] for batch in batches]
    return float(np.mean(np.concatenate(errors)))


def best_validation(run: str | Path) -> float:
    """The validation error of a run's best weights; infinite, which is the worst there is, if it has none."""
    if best_step(run) is None:
        return float("inf")
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        return float(checkpoints.best_progress()["validation"])


def best_step(run: str | Path) -> int | None:
    """The step of a run's best weights, or None."""
    return _newest_step(run, "best")


def last_step(run: str | Path) -> int | None:
    """The step of a run's last checkpoint, or None."""
    return _newest_step(run, "last")


def _newest_step(run: str | Path, series: Literal["best", "last"]) -> int | None:
    if not (Path(run) / "checkpoints" / series).is_dir():
        return None
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        return checkpoints.best_step if series == "best" else checkpoints.last_step


def load_surrogate(run: str | Path, data: DataConfig | None = None) -> Surrogate:
    """The trained surrogate of a run: its config, its best weights and its normalisation, in one call.

    data: of the same waves, on whose grid it is to predict (none: on the run's own); see other_grid.py.

    Raises `InputError` if `run` is not a run, has no checkpoint or one of another model, or cannot predict on that
    grid; warns with `GridWarning` if it does not mean the same there.
    """
    config = read_run(run)
    model = (config if data is None else on_grid_of(config, data)).create()
    if best_step(run) is None:
        raise CheckpointError(
            f"There are no best weights in {run}: no validation of it was finite, or it has not come to one yet "
            f"({run}/metrics.jsonl says which). Repeat the command that began it to train it further; or, if its "
            "validations are not finite, start another run with a lower training.learning_rate, or look at the "
            "validation split."
        )
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        state, _ = checkpoints.restore_best(nnx.state(model))
    nnx.update(model, state)
    if data is not None:
        warn_of_cells(model.operator, config, data)
    return model
