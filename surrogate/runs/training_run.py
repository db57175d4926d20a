"""Hold a run while it is trained: its state on the devices, its data, its records, and what `fit` does with them."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_gen.dataset.manifest import MANIFEST
from surrogate.config import TrainConfig
from surrogate.devices import Devices, all_gather, barrier, fetch, is_main_process, local_entry, peak_memory
from surrogate.figures import Figure
from surrogate.models.surrogate import Surrogate, training_statistics
from surrogate.runs import provenance
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import CONFIG
from surrogate.runs.initialization import Start
from surrogate.runs.predict import apply_to_batch, validate
from surrogate.runs.training_models import write_training_models
from surrogate.training.batches import ordered_batches, statistics_batches, training_batches
from surrogate.training.optimizer import learning_rate, make_optimizer, take_moments
from surrogate.training.state import TrainState, evaluation_model
from surrogate.training.step import Metrics, make_train_step
from surrogate.training.tracking import NullTracker, Tracker

OnProgress = Callable[[int, dict[str, float]], None]
FIRST = 3  # steps of a process that are reported one by one: the first compiles, and the next two give a rate


class ValidationWarning(UserWarning):
    """Warn that a validation is not finite, and cannot be the best."""


class TrainingRun:
    """Hold a run while it is trained: restored from its last checkpoint, or at step 0.

    Args:
        config: Config of the run.
        model: Untrained surrogate.
        devices: Mesh of devices.
        checkpoints: Checkpoints of the run.
        on_progress: Function that is called with the step and what is new: the best validation at the start, the
            memory after the first steps, the metrics of a log, the validation and the best one so far.
        start: State taken over from another run; None for none, or if the run is resumed.
        earlier: Number of steps that the run was to be trained for before; None if it is new.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Surrogate,
        devices: Devices,
        checkpoints: Checkpoints,
        on_progress: OnProgress,
        *,
        start: Start | None = None,
        earlier: int | None = None,
    ):
        self.config, self.training, self.folder = config, config.training, Path(config.run)
        self.devices, self.checkpoints, self.on_progress = devices, checkpoints, on_progress
        with barrier():
            if is_main_process():
                text = start and start.text
                steps = self.training.steps
                provenance.record(self.folder, self.config.data.path, steps, earlier=earlier, start=text)
                write_training_models(self.folder, self.config.data, model.task)
            self.provenance = provenance.describe(self.config.data.path)
        self.restore(model, start)
        settings = self.config.tracking, asdict(self.config), self.step
        self.tracker = Tracker(self.folder, *settings) if is_main_process() else NullTracker()
        self.tracker.dataset(self.provenance["dataset"], Path(self.config.data.path) / MANIFEST)
        self.made = 0
        self.on_progress(self.step, {"best": self.best} if math.isfinite(self.best) else {})

    def restore(self, model: Surrogate, start: Start | None, *, rollbacks: int | None = None) -> None:
        """Stand at the last checkpoint, or at step 0.

        Args:
            model: Surrogate, with the weights that it takes over from another run, if any.
            start: State taken over from another run, in addition to weights.
            rollbacks: Number of rollbacks so far; None: the number in the checkpoint.
        """
        config, training, saved = self.config, self.training, self.checkpoints.last_step
        if saved is None and not (start and start.statistics):
            once = statistics_batches(config.data, training.batch_size, model.task)
            model.set_statistics(training_statistics(model, once))
        _, state = TrainState.create(model, make_optimizer(model, training))
        if start and start.optimizer:
            values = state.to_dict()
            fresh, kept = values["optimizer"]["opt_state"], start.optimizer["opt_state"]
            values["optimizer"] = values["optimizer"] | {"opt_state": take_moments(fresh, kept)}
            state = state.from_dict(values)
        self.state, progress = self.devices.place(state), {"step": 0, "best": math.inf, "rollbacks": 0}
        self.batches = training_batches(
            config.data, self.devices.local_batch_size, training.seed, model.task, workers=training.workers
        )
        if saved is not None:
            restored, stored = self.checkpoints.restore_last(self.state.to_dict())
            self.state, progress = self.state.from_dict(restored), progress | stored
            self.batches.set_state(local_entry(stored["data"]))
        self.step, self.best = int(progress["step"]), float(progress["best"])
        self.rollbacks = int(progress["rollbacks"]) if rollbacks is None else rollbacks
        self.checkpoints.forget_after(self.step)
        self._compile(model)

    def _compile(self, model: Surrogate) -> None:
        """Build the step; a rollback has changed its learning rate."""
        self.origin = self.step, self.batches.get_state()  # from where a bad batch is found again
        scale = self.training.rollback_factor**self.rollbacks
        self.structure, _ = TrainState.create(model, make_optimizer(model, self.training, scale))
        shardings = self.devices.shardings(self.state)
        self.train_step = make_train_step(self.structure, self.training, shardings=shardings)
        self.schedule = learning_rate(self.training, scale)
        self._restart_clock()

    def _restart_clock(self) -> None:
        self.clock, self.counted = time.perf_counter(), self.step

    def advance(self) -> Metrics:
        """Make one step.

        Returns:
            The metrics, which stay on the device.
        """
        batch = self.devices.shard_local(next(self.batches))
        self.state, metrics = self.train_step(self.state, batch)
        self.step += 1
        self.made += 1
        if self.made <= FIRST:
            jax.block_until_ready(metrics)
            self.on_progress(self.step, {"peak_memory": float(peak_memory())})
        return metrics

    def log(self, metrics: Metrics) -> None:
        """Record the metrics of the current step, its learning rate, and the samples per second since the last log.

        Args:
            metrics: Metrics of the step.
        """
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        rate = (self.step - self.counted) * self.training.batch_size / (time.perf_counter() - self.clock)
        self._restart_clock()
        values |= {"learning_rate": float(jnp.asarray(self.schedule(self.step - 1))), "samples_per_s": rate}
        self.tracker.log(self.step, values)
        self.on_progress(self.step, values)

    def validate(self) -> None:
        """Validate the current weights, and save them if they are the best so far."""
        model = evaluation_model(self.structure, self.state, self.training.mode_schedule)
        once = ordered_batches(self.config.data.path, "validation", self.training.batch_size, model.task)
        error = validate(model, once, self.devices)
        self.tracker.log(self.step, {"validation": error})
        if self.config.tracking.mode != "disabled":
            self.tracker.figure(self.step, "fields", _draw_example(model, self.config, self.devices))
        if not math.isfinite(error):
            text = f"The validation at step {self.step} is {error}: its weights are not kept as the best."
            warnings.warn(text, ValidationWarning, stacklevel=2)
        if error < self.best:
            self.best = error
            self.checkpoints.save_best(self.step, nnx.to_pure_dict(nnx.state(model)), {"validation": error})
        self.on_progress(self.step, {"validation": error, "best": self.best})
        self._restart_clock()

    def save(self) -> None:
        """Save everything that is needed to resume, unless it is saved already."""
        if self.checkpoints.last_step == self.step or not self.step:
            return
        self.origin = self.step, self.batches.get_state()
        progress = {"step": self.step, "best": self.best, "rollbacks": self.rollbacks}
        self.checkpoints.save_last(self.step, self.state.to_dict(), progress | {"data": all_gather(self.origin[1])})
        self._restart_clock()

    def finish(self) -> None:
        """Record the trained model."""
        if (best := self.checkpoints.best_step) is not None:
            files = [self.checkpoints.folder / "best" / str(best)]
            files += [self.folder / name for name in (CONFIG, provenance.PROVENANCE)]
            self.tracker.model(files, {"step": best, "validation": self.best} | self.provenance)

    def close(self) -> None:
        """Stop reading and recording."""
        self.batches.close()
        self.tracker.close()


def _draw_example(model: Surrogate, config: TrainConfig, devices: Devices) -> Callable[[], Figure]:
    """Predict an example in all processes; the function returned draws it."""
    batch = next(ordered_batches(config.data.path, "validation", 1, model.task))
    prediction = fetch(apply_to_batch(model, devices.shard(batch)))[0]
    example = {name: np.asarray(values)[0] for name, values in batch.items()}
    return lambda: model.task.figures(example, {"surrogate": prediction})["fields"]
