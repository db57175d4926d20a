"""Train a surrogate: check, claim the folder, restore or start, then step, log, validate and save until the end.

The training state, the state of the data iterator and the number of steps are all that a resumed run needs: a run that
was killed and resumed ends with the same weights, bit for bit, as one that was not.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
from flax import nnx

from data_gen.common.files import exclusive, explain_full_disk
from data_gen.common.interruption import ENDING, Interrupted, Interruption
from data_gen.dataset.manifest import MANIFEST
from surrogate.config import TrainConfig
from surrogate.devices import all_gather, barrier, is_main_process
from surrogate.protocols import Task
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import claim_folder, is_claimed, read_run, write_more_steps
from surrogate.runs.initialization import initialize
from surrogate.runs.load import last_step
from surrogate.runs.provenance import find_dataset
from surrogate.runs.rollback import roll_back
from surrogate.runs.training_run import OnProgress, TrainingRun
from surrogate.training.batches import check_dataset, check_enough_examples
from surrogate.training.optimizer import describe_schedule

LOCK = "training.lock"


def fit(
    config: TrainConfig,
    on_progress: OnProgress = lambda step, metrics: None,
    announce: Callable[[str], None] = lambda text: None,
) -> int:
    """Train the run in `config.run`, or resume its training. A finished run is left as it is.

    With more steps than a run was to be trained for before, it is trained further: from its last state, by the
    learning rates that the schedule of the new number of steps has from there on.

    On a signal that ends a command, or SIGUSR1, the current step is finished and saved. Then `Interrupted` is raised;
    on SIGUSR1 the step is returned, which is not the last one.

    Args:
        config: Config of the run.
        on_progress: Function that is called with the step and what is new; see `TrainingRun`.
        announce: Function that is called with sentences on the start: what it takes over, and the learning rates.

    Returns:
        The number of steps reached.

    Raises:
        InputError: The config, the data set (`DatasetError`) or the folder (`CheckpointError`) do not fit. It is raised
            before anything is compiled; of a full disk and a damaged checkpoint, after the folder is claimed.
        NumericalError: Training diverged for good; the last good checkpoint is kept.
        Interrupted: A signal came.
    """
    training, folder = config.training, Path(config.run)
    config = _with_data(config)
    # First: the same command with a key left out is another config, whatever else does not fit the data then.
    earlier = read_run(folder).training.steps if is_claimed(folder, config) else None
    model = config.create()
    if earlier is None:
        config.check_training(model)
    start = initialize(config, model) if last_step(folder) is None else None
    devices = config.parallel.create(training.batch_size, training.accumulate)
    devices.shardings(nnx.state(model))
    with contextlib.ExitStack() as stack:
        stack.enter_context(explain_full_disk(folder))
        stack.enter_context(_claimed(config, model.task))
        interruption = stack.enter_context(Interruption())
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(folder, every=training.checkpoint_every)))
        checkpoints.check_removed()
        if checkpoints.last_step == training.steps:
            on_progress(training.steps, {})
            return training.steps
        run = TrainingRun(config, model, devices, checkpoints, on_progress, start=start, earlier=earlier)
        stack.enter_context(contextlib.closing(run))
        checkpoints.check_room(run.state.to_dict())  # before hours of work
        if is_main_process():
            further = earlier if earlier and earlier < training.steps else None
            schedule = describe_schedule(training, run.step, further)
            announce(f"{start.text} {schedule}" if start else schedule)
        caught = 0
        while run.step < training.steps and not (caught := _caught(run, interruption)):
            metrics = run.advance()
            due = training.due(run.step)
            if not any(due) or roll_back(run):
                continue
            if due.log:
                run.log(metrics)
            if due.validation:
                run.validate()
            if due.checkpoint:
                run.save()
        if run.step == training.steps:
            run.finish()
        elif not roll_back(run):
            run.save()
        if caught in ENDING:
            raise Interrupted(caught, interrupted(run.step, training.steps))
        return run.step


def interrupted(reached: int, steps: int) -> str:
    """Say how to resume an interrupted run.

    Args:
        reached: Last step of the run that is saved; 0 for none.
        steps: Steps of the whole run.

    Returns:
        Sentence for the terminal.
    """
    if not reached:
        return "Interrupted before the first step: the same command starts from the beginning."
    return f"Interrupted at step {reached} of {steps}, which is saved. The same command resumes from there."


def _with_data(config: TrainConfig) -> TrainConfig:
    """Return the config with the path at which the run remembers its data set, if there is none at the given one."""
    if (Path(config.data.path) / MANIFEST).is_file():
        return config
    return replace(config, data=replace(config.data, path=find_dataset(config.run, config.data.path)))


@contextlib.contextmanager
def _claimed(config: TrainConfig, task: Task):
    """Check the data set, and hold the folder of the run against every other process."""
    with contextlib.ExitStack() as stack:
        with barrier():
            check_dataset(config.data, verify=config.training.verify and is_main_process())
            check_enough_examples(config.data, task, jax.process_count())
            if is_main_process():
                claim_folder(Path(config.run), config)
                stack.enter_context(exclusive(Path(config.run) / LOCK, wait=False))
                write_more_steps(Path(config.run), config)
        yield


def _caught(run: TrainingRun, interruption: Interruption) -> int:
    """Return the signal to stop by, 0 for none. Each process receives its own, so several agree where they log."""
    if jax.process_count() > 1 and run.step % run.training.log_every:
        return 0
    return max(all_gather(interruption.caught))
