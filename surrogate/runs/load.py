"""What a trained surrogate is used for: prediction, and validation against a split; loaded from its run's folder."""

import contextlib
from pathlib import Path
from typing import Literal

from flax import nnx

from data_gen.dataset.config import DataConfig
from surrogate.models.surrogate import Surrogate
from surrogate.runs.checkpoints import CheckpointError, Checkpoints
from surrogate.runs.folder import read_run
from surrogate.runs.transfer import on_grid_of, warn_of_cells


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
        state = nnx.state(model)
        weights, _ = checkpoints.restore_best(nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, weights)
    nnx.update(model, state)
    if data is not None:
        warn_of_cells(model.operator, config, data)
    return model
