"""Training: the loop that feeds, logs, validates and saves; and what comes of it.

The state is (model, optimizer); with the data iterator's state and the step it is all a resumed run needs, so a run
that was killed ends with the same weights, bit for bit, as one that was not.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_gen.common.errors import NumericalError
from data_gen.common.files import exclusive
from data_gen.dataset.manifest import MANIFEST
from surrogate.config import TrainConfig
from surrogate.devices import Devices, gather, is_first, own, together
from surrogate.figures import Figure
from surrogate.models.surrogate import Surrogate, training_statistics
from surrogate.runs import provenance
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.first_stage import first_stage
from surrogate.runs.folder import CONFIG, claim_folder, is_claimed
from surrogate.runs.load import best_step, load_surrogate
from surrogate.runs.predict import apply_to_batch, predict, predict_batch, validate
from surrogate.runs.preemption import Interruption
from surrogate.training.batches import (
    check_dataset,
    check_share,
    name_example,
    ordered_batches,
    statistics_batches,
    training_batches,
)
from surrogate.training.divergence import Trouble, name_samples, read_trouble
from surrogate.training.optimizer import evaluated, learning_rate, make_optimizer
from surrogate.training.step import make_train_step, sample_losses
from surrogate.training.tracking import Silent, Tracker

__all__ = ["best_step", "fit", "load_surrogate", "make_optimizer", "make_train_step", "predict", "predict_batch"]

LOCK = "training.lock"
OnProgress = Callable[[int, dict[str, float]], None]


class RollbackWarning(UserWarning):
    """Training diverged, and goes on from its last checkpoint."""


class ValidationWarning(UserWarning):
    """A validation is not finite, and cannot be the best."""


def _picture(model: Surrogate, config: TrainConfig, devices: Devices) -> Callable[[], Figure]:
    """How to draw an example. All processes predict it, whichever then draws."""
    batch = next(ordered_batches(config.data.path, "validation", 1, model.task))
    prediction = devices.fetch(apply_to_batch(model, devices.spread(batch)))[0]
    example = {name: np.asarray(values)[0] for name, values in batch.items()}
    return lambda: model.task.figures(example, {"surrogate": prediction})["fields"]


class _Run:
    """A run under way: its state on the device, and where it stands."""

    def __init__(
        self,
        config: TrainConfig,
        model: Surrogate,
        devices: Devices,
        checkpoints: Checkpoints,
        on_progress: OnProgress,
    ):
        self.config, self.training, self.folder = config, config.training, Path(config.run)
        self.checkpoints, self.on_progress = checkpoints, on_progress
        self.devices = devices
        with together():
            if is_first():
                provenance.record(self.folder, config.data.path)
            self.made_of = provenance.describe(config.data.path)
        self._begin(model)
        self.tracker = Tracker(self.folder, config.tracking, asdict(config), self.step) if is_first() else Silent()
        self.tracker.dataset(self.made_of["dataset"], Path(config.data.path) / MANIFEST)
        on_progress(self.step, {})

    def _begin(self, model: Surrogate, rollbacks: int | None = None) -> None:
        """Stand at the last checkpoint, or at the start. rollbacks: so far, if they are not those of the checkpoint."""
        self.state, self.batches, progress = _start(self.config, model, self.checkpoints, self.devices)
        self.step, self.best = int(progress["step"]), float(progress["best"])
        self.rollbacks = int(progress["rollbacks"]) if rollbacks is None else rollbacks
        self.origin = self.step, self.batches.get_state()
        scale = self.training.rollback_factor**self.rollbacks
        self.graphdef = nnx.graphdef((model, make_optimizer(model, self.training, scale)))
        self.train_step = make_train_step(self.graphdef, self.training, shardings=self.devices.shardings(self.state))
        self.schedule = learning_rate(self.training, scale)
        self._restart_clock()

    def _restart_clock(self) -> None:
        self.clock, self.counted = time.perf_counter(), self.step

    def advance(self) -> None:
        """One step, and what is due after it."""
        self.state, metrics = self.train_step(self.state, self.devices.put(next(self.batches)))
        self.step += 1
        last, training = self.step == self.training.steps, self.training
        intervals = (training.log_every, training.validate_every, training.checkpoint_every)
        log, check, save = (last or self.step % interval == 0 for interval in intervals)
        if not (log or check or save) or self.met_trouble():
            return  # the metrics stay on the device
        if log:
            self._log({name: float(value) for name, value in jax.device_get(metrics).items()})
        if check:
            self._validate()
        if save:
            self.save()

    def _log(self, values: dict[str, float]) -> None:
        rate = (self.step - self.counted) * self.training.batch_size / (time.perf_counter() - self.clock)
        self._restart_clock()
        values |= {"learning_rate": float(jnp.asarray(self.schedule(self.step - 1))), "samples_per_s": rate}
        self.tracker.log(self.step, values)
        self.on_progress(self.step, values)

    def _validate(self) -> None:
        model = evaluated(self.graphdef, self.state, self.training.mode_schedule)
        once = ordered_batches(self.config.data.path, "validation", self.training.batch_size, model.task)
        error = validate(model, once, self.devices)
        self.tracker.log(self.step, {"validation": error})
        if self.config.tracking.mode != "disabled":
            self.tracker.figure(self.step, "fields", _picture(model, self.config, self.devices))
        if not math.isfinite(error):
            text = f"The validation at step {self.step} is {error}: what it validated is not kept as the best."
            warnings.warn(text, ValidationWarning, stacklevel=2)
        if error < self.best:
            self.best = error
            self.checkpoints.save_best(self.step, nnx.state(model), {"validation": error})
        self._restart_clock()

    def save(self) -> None:
        """Save all that is needed to go on, unless it is saved already."""
        if self.checkpoints.last_step == self.step or not self.step:
            return
        self.origin = self.step, self.batches.get_state()
        progress = {"step": self.step, "best": self.best, "rollbacks": self.rollbacks, "data": gather(self.origin[1])}
        self.checkpoints.save_last(self.step, self.state, progress)
        self._restart_clock()

    def met_trouble(self) -> bool:
        """Whether training diverged since this was last asked, and was rolled back. Raises `NumericalError` if not."""
        model, optimizer = nnx.merge(self.graphdef, self.state, copy=True)
        trouble = read_trouble(optimizer.guard)
        if trouble is None:
            return False
        story = self._tell(trouble, model)
        if self.training.on_divergence == "stop" or self.rollbacks == self.training.max_rollbacks:
            again = f" It was the last of {self.rollbacks} rollbacks." if self.rollbacks else ""
            raise NumericalError(
                f"{story}{again} Lower training.learning_rate, or look at that sample, and start another run."
            )
        behind, rollbacks = self.batches.get_state(), self.rollbacks + 1
        self.batches.close()
        self.checkpoints.forget_after(self.checkpoints.due_step or 0)
        self._begin(self.config.create(), rollbacks)
        self.batches.set_state(behind)
        self.origin = self.step, behind
        self.tracker.rewind(self.step)
        self.tracker.log(self.step, {"rollback": rollbacks, "diverged_at": trouble.step})
        going_on = f"Going on from step {self.step} behind that batch, with a peak learning rate"
        peak = self.training.learning_rate * self.training.rollback_factor**rollbacks
        warnings.warn(f"{story} {going_on} of {peak:g}.", RollbackWarning, stacklevel=2)
        return True

    def _tell(self, trouble: Trouble, model: Surrogate) -> str:
        """What happened, and to which sample; leaves the data just behind the bad batch.

        `model` has the weights that met it: none was changed since.
        """
        start, data = self.origin
        self.batches.set_state(data)
        for _ in range(trouble.step - start - 1):
            next(self.batches)
        batch = self.devices.put(next(self.batches))
        losses = sample_losses(model, batch, trouble.step - 1, self.training)
        losses, indices = (self.devices.fetch(x) for x in (losses, batch["index"]))
        sample = name_samples(losses, indices, partial(name_example, self.config.data, model.task))
        kept = self.checkpoints.last_step
        kept = (
            "No checkpoint was saved before" if kept is None else f"The last good checkpoint, of step {kept}, is kept"
        )
        numbers = f"The loss is {trouble.loss:g} and the gradient norm {trouble.grad_norm:g} at step {trouble.step}."
        if math.isfinite(trouble.loss) and not math.isfinite(trouble.grad_norm):
            sample = f"it is the gradient that is not finite, and which sample's cannot be told; {sample}"
        return f"{numbers} {kept}. Of the batch, {sample}."

    def interrupted(self, interruption: Interruption) -> bool:
        """Whether to end here. Processes, of which each is told for itself, ask one another where they log."""
        if jax.process_count() > 1 and self.step % self.training.log_every:
            return False
        return any(gather(interruption.caught is not None))

    def finish(self) -> None:
        """Record what came of it."""
        if (best := self.checkpoints.best_step) is not None:
            files = [self.checkpoints.folder / "best" / str(best)]
            files += [self.folder / name for name in (CONFIG, provenance.PROVENANCE)]
            self.tracker.model(files, {"step": best, "validation": self.best} | self.made_of)

    def close(self) -> None:
        """End reading and recording."""
        self.batches.close()
        self.tracker.close()


def fit(config: TrainConfig, on_progress: OnProgress = lambda step, metrics: None) -> int:
    """Train, or go on training, the run in `config.run`; returns the step reached. A finished run is left as it is.

    On SIGTERM or SIGUSR1 the step under way is finished and saved: the step returned then is not the last one.

    on_progress: called with the step and the latest metrics; none, for where it begins. Raises `InputError` (of which
    `DatasetError` and `CheckpointError` are kinds) before anything is compiled or written if the config, the data set
    or the folder do not fit; `NumericalError` if training diverges for good, the last good checkpoint being kept.
    """
    training, folder = config.training, Path(config.run)
    model = config.create()
    if not is_claimed(folder, config):
        config.check_training(model)
        config.model.warm_start(model.operator, partial(first_stage, config, model))
    devices = config.parallel.create(training.batch_size, training.accumulate)
    devices.shardings(nnx.state(model))
    with contextlib.ExitStack() as stack:
        with together():
            check_dataset(config.data, verify=training.verify and is_first())
            check_share(config.data, model.task, jax.process_count())
            if is_first():
                claim_folder(folder, config)
                stack.enter_context(exclusive(folder / LOCK, wait=False))
        interruption = stack.enter_context(Interruption())
        checkpoints = Checkpoints(folder, every=training.checkpoint_every)
        stack.callback(checkpoints.close)
        checkpoints.check_removed()
        if checkpoints.last_step == training.steps:
            on_progress(training.steps, {})
            return training.steps
        with contextlib.closing(_Run(config, model, devices, checkpoints, on_progress)) as run:
            while run.step < training.steps and not run.interrupted(interruption):
                run.advance()
            if run.step == training.steps:
                run.finish()
            elif not run.met_trouble():
                run.save()
            return run.step


def _start(config: TrainConfig, model: Surrogate, checkpoints: Checkpoints, devices: Devices):
    """State, data iterator and progress to go on from: the last checkpoint's, or fresh ones."""
    training = config.training
    batches = training_batches(config.data, devices.share, training.seed, model.task, workers=training.workers)
    if checkpoints.last_step is None:
        if not config.model.warm_start(model.operator, partial(first_stage, config, model)):
            once = statistics_batches(config.data, training.batch_size, model.task)
            model.set_statistics(training_statistics(model, once))
        checkpoints.forget_after(0)
        fresh = {"step": 0, "best": float("inf"), "rollbacks": 0}
        return devices.place(nnx.state((model, make_optimizer(model, training)))), batches, fresh
    state = devices.place(nnx.state((model, make_optimizer(model, training))))
    state, progress = checkpoints.restore_last(state)
    batches.set_state(own(progress["data"]))
    checkpoints.forget_after(int(progress["step"]))
    return state, batches, {"rollbacks": 0} | progress
