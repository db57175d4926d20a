"""React to divergence: say what happened and to which sample, then roll back to the last checkpoint, or stop.

A rollback returns to the last checkpoint that was due, and resumes after the bad batch with a lower learning rate.
"""

import math
import warnings
from functools import partial

from data_gen.common.errors import NumericalError
from surrogate.devices import fetch
from surrogate.runs.initialization import initialize
from surrogate.runs.training_run import TrainingRun
from surrogate.training.batches import name_example
from surrogate.training.divergence import Divergence, blame_sample
from surrogate.training.step import sample_losses


class RollbackWarning(UserWarning):
    """Warn that training diverged, and resumes from its last checkpoint."""


def roll_back(run: TrainingRun) -> bool:
    """Roll a run back if it has diverged since the last call.

    Args:
        run: Run that is being trained.

    Returns:
        Whether the run had diverged, and was rolled back.

    Raises:
        NumericalError: The run diverged and may not be rolled back, or not again.
    """
    divergence = run.state.monitor.read()
    if divergence is None:
        return False
    training, story = run.training, _describe(run, divergence)  # leaves the data after the bad batch
    if training.on_divergence == "stop" or run.rollbacks == training.max_rollbacks:
        again = f" It was the last of {run.rollbacks} rollbacks." if run.rollbacks else ""
        raise NumericalError(
            f"{story}{again} Lower training.learning_rate, or look at that sample, and start another run."
        )
    after, rollbacks = run.batches.get_state(), run.rollbacks + 1
    run.batches.close()
    run.checkpoints.forget_after(run.checkpoints.due_step or 0)
    model = run.config.create()
    start = initialize(run.config, model) if run.checkpoints.last_step is None else None
    run.restore(model, start, rollbacks=rollbacks)
    run.batches.set_state(after)
    run.origin = run.step, after
    run.tracker.rewind(run.step)
    run.tracker.log(run.step, {"rollback": rollbacks, "diverged_at": divergence.step})
    peak = training.learning_rate * training.rollback_factor**rollbacks
    text = f"{story} Training resumes from step {run.step}, after that batch, with a peak learning rate of {peak:g}."
    warnings.warn(text, RollbackWarning, stacklevel=2)
    return True


def _describe(run: TrainingRun, divergence: Divergence) -> str:
    """Say what happened, and to which sample; leaves the data after the bad batch.

    The weights of the run's state are those that met that batch: every update since was refused.
    """
    start, data = run.origin
    run.batches.set_state(data)
    for _ in range(divergence.step - start - 1):
        next(run.batches)
    batch = run.devices.shard_local(next(run.batches))
    model, _ = run.state.merge(run.structure)
    losses = sample_losses(model, batch, divergence.step - 1, run.training)
    losses, indices = (fetch(x) for x in (losses, batch["index"]))
    sample = blame_sample(losses, indices, partial(name_example, run.config.data, model.task))
    if math.isfinite(divergence.loss) and not math.isfinite(divergence.grad_norm):
        sample = f"it is the gradient that is not finite, of which sample cannot be known; {sample}"
    saved = run.checkpoints.last_step
    kept = "No checkpoint was saved before" if saved is None else f"The last good checkpoint, of step {saved}, is kept"
    numbers = f"The loss is {divergence.loss:g} and the gradient norm {divergence.grad_norm:g}"
    return f"{numbers} at step {divergence.step}. {kept}. In the batch, {sample}."
