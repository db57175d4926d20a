"""Training: one pure step, and the loop that feeds, logs, validates and saves.

The state is (model, optimizer); with the data iterator's state and the step it is all a resumed run needs, so a run
that was killed ends with the same weights, bit for bit, as one that was not.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import ArrayLike

from data_gen.checks import check_points, check_velocity
from data_gen.errors import NumericalError
from surrogate import plots
from surrogate.checkpoint import CheckpointError, Checkpoints
from surrogate.config import TrainConfig, TrainingConfig, claim_folder, read_run
from surrogate.losses import mean_relative_l2
from surrogate.metrics import relative_l2
from surrogate.model import Surrogate, training_statistics
from surrogate.parallel import Devices, gather, is_first, own, together
from surrogate.pipeline import check_dataset, ordered_batches, statistics_batches, training_batches
from surrogate.tracking import Silent, Tracker

Batch = dict[str, Any]
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
    graphdef: nnx.GraphDef, shardings: nnx.State | None = None
) -> Callable[[nnx.State, Batch], tuple[nnx.State, dict[str, jax.Array]]]:
    """The compiled step `(state, batch) -> (state, {loss, grad_norm})`; the old state's buffers are given back.

    shardings: where the new state stays (see `Devices.shardings`); none: where the compiler likes.
    """

    def step(state: nnx.State, batch: Batch):
        model, optimizer = nnx.merge(graphdef, state)
        model.train()  # within this trace only: everywhere else a model is in evaluation

        def loss_of(model: Surrogate):
            return mean_relative_l2(model(batch["velocity"], batch["source"]), batch["snapshots"])

        loss, gradients = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradients)
        return nnx.state((model, optimizer)), {"loss": loss, "grad_norm": optax.global_norm(gradients)}

    return jax.jit(step, donate_argnums=0, out_shardings=None if shardings is None else (shardings, None))


@nnx.jit
def _predict(model: Surrogate, velocity: jax.Array, source: jax.Array) -> jax.Array:
    return model(velocity, source)


def predict(model: Surrogate, velocity: ArrayLike, source: ArrayLike) -> jax.Array:
    """Snapshots `(batch, n_snapshots, nz, nx)` of velocities `(batch, nz, nx)` [m/s] and sources `(batch, 2)` [m].

    Raises `InputError` for velocities or sources that the solver would refuse.
    """
    simulation = model.encoding.spec.simulation
    check_velocity(np.asarray(velocity), "The batch of velocity models")
    check_points(np.asarray(source), "source", simulation)
    return _predict(model, jnp.asarray(velocity), jnp.asarray(source))


@nnx.jit
def _sample_errors(model: Surrogate, batch: Batch) -> jax.Array:
    return relative_l2(model(batch["velocity"], batch["source"]), batch["snapshots"])


def validate(model: Surrogate, batches: Iterator[Batch], devices: Devices) -> float:
    """Mean relative L2 over a split, of which every process reads all and every device computes its part."""
    errors = [devices.fetch(_sample_errors(model, devices.spread(b)))[: len(b["velocity"])] for b in batches]
    return float(np.mean(np.concatenate(errors)))


def _picture(model: Surrogate, config: TrainConfig, devices: Devices):
    batch = next(ordered_batches(config.data.path, "validation", 1))
    on_devices = devices.spread(batch)
    prediction = devices.fetch(_predict(model, on_devices["velocity"], on_devices["source"]))[0]
    return plots.snapshots(
        batch["snapshots"][0], {"surrogate": prediction}, config.data.snapshot_times, config.data.spacing
    )


def fit(config: TrainConfig, on_progress: OnProgress = lambda step, metrics: None) -> None:
    """Train, or go on training, the run in `config.run`; a finished run is left as it is.

    on_progress: called with the step and the latest metrics. Raises `InputError` (of which `DatasetError` and
    `CheckpointError` are kinds) before anything is compiled or written if the config, the data set or the folder do
    not fit; `NumericalError` if the loss is no longer finite, the last good checkpoint being kept.
    """
    training, run = config.training, Path(config.run)
    model = config.create()
    devices = config.parallel.create(training.batch_size)
    with together():
        check_dataset(config.data, verify=training.verify and is_first())
        if is_first():
            claim_folder(run, config)
    with contextlib.closing(Checkpoints(run)) as checkpoints:
        if checkpoints.last_step == training.steps:
            on_progress(training.steps, {})
            return
        state, batches, step, best = _start(config, model, checkpoints, devices)
        optimizer_and_model = nnx.split((model, make_optimizer(model, training)))
        graphdef = optimizer_and_model[0]
        train_step, schedule = make_train_step(graphdef, devices.shardings(state)), learning_rate(training)
        tracker = Tracker(run, config.tracking, asdict(config), step) if is_first() else Silent()
        with contextlib.closing(batches), contextlib.closing(tracker):
            clock, counted = time.perf_counter(), step
            while step < training.steps:
                state, metrics = train_step(state, devices.put(next(batches)))
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
                    error = validate(
                        model, ordered_batches(config.data.path, "validation", training.batch_size), devices
                    )
                    tracker.log(step, {"validation": error})
                    tracker.figure(step, "fields", _picture(model, config, devices))
                    if error < best:
                        best = error
                        checkpoints.save_best(step, nnx.state(model), {"validation": error})
                    clock, counted = time.perf_counter(), step
                if save:
                    progress = {"step": step, "best": best, "data": gather(batches.get_state())}
                    checkpoints.save_last(step, state, progress)
                    clock, counted = time.perf_counter(), step


def _start(config: TrainConfig, model: Surrogate, checkpoints: Checkpoints, devices: Devices):
    """State, data iterator, step and best validation to go on from: the last checkpoint's, or fresh ones."""
    training = config.training
    checkpoints.discard_best_after(checkpoints.last_step or 0)
    batches = training_batches(config.data, devices.share, training.seed, workers=training.workers)
    if checkpoints.last_step is None:
        config.model.warm_start(model.operator, lambda run: load_surrogate(run).operator)
        once = statistics_batches(config.data, training.batch_size)
        model.set_statistics(training_statistics(model.encoding, once))
        return devices.place(nnx.state((model, make_optimizer(model, training)))), batches, 0, float("inf")
    state = devices.place(nnx.state((model, make_optimizer(model, training))))
    state, progress = checkpoints.restore_last(state)
    batches.set_state(own(progress["data"]))
    return state, batches, int(progress["step"]), float(progress["best"])


def best_step(run: str | Path) -> int | None:
    """The step of a run's best weights, or None."""
    if not (Path(run) / "checkpoints").is_dir():
        return None
    with contextlib.closing(Checkpoints(run)) as checkpoints:
        return checkpoints.best_step


def best_validation(run: str | Path) -> float:
    """The best validation error that a run has logged."""
    rows = [json.loads(row) for row in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return min(row["validation"] for row in rows if "validation" in row)


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
