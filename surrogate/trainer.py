"""Training: one pure step, and the loop that feeds, logs, validates and saves.

The state is (model, optimizer); with the data iterator's state and the step it is all a resumed run needs, so a run
that was killed ends with the same weights, bit for bit, as one that was not.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from data_gen.errors import InputError, NumericalError
from surrogate.checkpoint import CheckpointError, Checkpoints
from surrogate.config import TrainConfig, TrainingConfig, claim_folder, read_run
from surrogate.metrics import relative_l2
from surrogate.model import Surrogate, training_statistics
from surrogate.pipeline import check_dataset, ordered_batches, statistics_batches, training_batches
from surrogate.task import Batch
from surrogate.tracking import Tracker

OnProgress = Callable[[int, dict[str, float]], None]


def learning_rate(config: TrainingConfig) -> optax.Schedule:
    """Linear warm-up to the peak, then a cosine down to 1 % of it."""
    return optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, config.warmup_steps, config.steps, end_value=0.01 * config.learning_rate
    )


def make_optimizer(model: Surrogate, config: TrainingConfig) -> nnx.Optimizer:
    """AdamW behind a clip of the global gradient norm."""
    transform = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(learning_rate(config), weight_decay=config.weight_decay),
    )
    return nnx.Optimizer(model, transform, wrt=nnx.Param)


def make_train_step(
    graphdef: nnx.GraphDef, config: TrainingConfig | None = None
) -> Callable[[nnx.State, Batch], tuple[nnx.State, dict[str, jax.Array]]]:
    """The compiled step `(state, batch) -> (state, metrics)`; the old state's buffers are given back.

    Metrics: loss, grad_norm, and each term of the loss.
    """
    training = config or TrainingConfig()

    def step(state: nnx.State, batch: Batch):
        model, optimizer = nnx.merge(graphdef, state)
        model.train()  # within this trace only: everywhere else a model is in evaluation

        loss, key = training.loss.create(model.task), jax.random.key(training.seed)
        # The count of steps is part of the state: a resumed run draws what it would have drawn.
        key = jax.random.fold_in(key, optimizer.step[...])
        (value, parts), gradients = nnx.value_and_grad(lambda model: loss(model, batch, key), has_aux=True)(model)
        optimizer.update(model, gradients)
        metrics = {"loss": value, "grad_norm": optax.global_norm(gradients), **parts}
        return nnx.state((model, optimizer)), metrics

    return jax.jit(step, donate_argnums=0)


@nnx.jit
def _predict(model: Surrogate, inputs: tuple[jax.Array, ...]) -> jax.Array:
    return model(*inputs)


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
    return _predict(model, tuple(jnp.asarray(batch[name]) for name in model.task.inputs))


def validate(model: Surrogate, batches: Iterable[Batch]) -> float:
    """Mean relative L2 over a split."""
    errors = [relative_l2(predict_batch(model, b), jnp.asarray(b[model.task.target])) for b in batches]
    return float(np.mean(np.concatenate(errors)))


def _device_put(config: TrainingConfig) -> tuple[Callable[[Batch], Batch], NamedSharding]:
    """How a batch is split over the local devices, and how the state is copied to all of them."""
    devices = jax.local_device_count()
    if config.batch_size % devices:
        raise InputError(
            f"training.batch_size = {config.batch_size} cannot be split over {devices} devices. "
            f"Make it a multiple of {devices}."
        )
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, P("data"))
    return (lambda batch: jax.device_put(batch, split)), NamedSharding(mesh, P())


def _picture(model: Surrogate, config: TrainConfig):
    batch = next(ordered_batches(config.data.path, "validation", 1, model.task))
    example = {name: np.asarray(values)[0] for name, values in batch.items()}
    figures = model.task.figures(example, {"surrogate": np.asarray(predict_batch(model, batch))[0]})
    return figures["fields"]


def fit(config: TrainConfig, on_progress: OnProgress = lambda step, metrics: None) -> None:
    """Train, or go on training, the run in `config.run`; a finished run is left as it is.

    on_progress: called with the step and the latest metrics. Raises `InputError` (of which `DatasetError` and
    `CheckpointError` are kinds) before anything is compiled or written if the config, the data set or the folder do
    not fit; `NumericalError` if the loss is no longer finite, the last good checkpoint being kept.
    """
    training, run = config.training, Path(config.run)
    model = config.create()
    put, replicated = _device_put(training)
    check_dataset(config.data, verify=training.verify)
    claim_folder(run, config)
    with contextlib.closing(Checkpoints(run)) as checkpoints:
        if checkpoints.last_step == training.steps:
            on_progress(training.steps, {})
            return
        state, batches, step, best = _start(config, model, checkpoints)
        optimizer_and_model = nnx.split((model, make_optimizer(model, training)))
        graphdef = optimizer_and_model[0]
        state = jax.device_put(state, replicated)
        train_step, schedule = make_train_step(graphdef, training), learning_rate(training)
        tracker = Tracker(run, config.tracking, asdict(config), step)
        with contextlib.closing(batches), contextlib.closing(tracker):
            clock, counted = time.perf_counter(), step
            while step < training.steps:
                state, metrics = train_step(state, put(next(batches)))
                step += 1
                last = step == training.steps
                intervals = (training.log_every, training.validate_every, training.checkpoint_every)
                log, check, save = (last or step % interval == 0 for interval in intervals)
                if not (log or check or save):
                    continue  # the metrics stay on the device
                values = {name: float(value) for name, value in metrics.items()}
                # A gradient that is not finite has spoilt the weights already, whatever the loss was.
                if not np.isfinite([*values.values()]).all():
                    raise NumericalError(
                        f"The loss is {values['loss']:g} and the gradient norm {values['grad_norm']:g} at step {step}. "
                        f"The last good checkpoint, of step {checkpoints.last_step}, is kept. Lower "
                        "training.learning_rate and start another run."
                    )
                if log:
                    now = time.perf_counter()
                    rate = (step - counted) * training.batch_size / (now - clock)
                    clock, counted = now, step
                    values |= {"learning_rate": float(jnp.asarray(schedule(step - 1))), "samples_per_s": rate}
                    tracker.log(step, values)
                    on_progress(step, values)
                if check:
                    model = nnx.merge(graphdef, state)[0]
                    once = ordered_batches(config.data.path, "validation", training.batch_size, model.task)
                    error = validate(model, once)
                    tracker.log(step, {"validation": error})
                    tracker.figure(step, "fields", _picture(model, config))
                    if error < best:
                        best = error
                        checkpoints.save_best(step, nnx.state(model), {"validation": error})
                    clock, counted = time.perf_counter(), step
                if save:
                    checkpoints.save_last(step, state, {"step": step, "best": best, "data": batches.get_state()})
                    clock, counted = time.perf_counter(), step


def _start(config: TrainConfig, model: Surrogate, checkpoints: Checkpoints):
    """State, data iterator, step and best validation to go on from: the last checkpoint's, or fresh ones."""
    training = config.training
    checkpoints.discard_best_after(checkpoints.last_step or 0)
    batches = training_batches(config.data, training.batch_size, training.seed, model.task, workers=training.workers)
    if checkpoints.last_step is None:
        config.model.warm_start(model.operator, lambda run: load_surrogate(run).operator)
        model.set_statistics(
            training_statistics(model, statistics_batches(config.data, training.batch_size, model.task))
        )
        return nnx.state((model, make_optimizer(model, training))), batches, 0, float("inf")
    state = nnx.state((model, make_optimizer(model, training)))
    state, progress = checkpoints.restore_last(state)
    batches.set_state(progress["data"])
    return state, batches, int(progress["step"]), float(progress["best"])


def best_step(run: str | Path) -> int | None:
    """The step of a run's best weights, or None."""
    if not (Path(run) / "checkpoints").is_dir():
        return None
    with contextlib.closing(Checkpoints(run)) as checkpoints:
        return checkpoints.best_step


def load_surrogate(run: str | Path) -> Surrogate:
    """The trained surrogate of a run: its config, its best weights and its normalisation, in one call.

    Raises `InputError` if `run` is not a run, has no checkpoint or one of another model.
    """
    config = read_run(run)
    model = config.create()
    if not (Path(run) / "checkpoints").is_dir():
        raise CheckpointError(f"There is no checkpoint in {run}. Train first: `python train.py run={run}`.")
    with contextlib.closing(Checkpoints(run)) as checkpoints:
        state, _ = checkpoints.restore_best(nnx.state(model))
    nnx.update(model, state)
    return model
