"""Load a trained surrogate, and read how far its run has come."""

import contextlib
from pathlib import Path
from typing import Literal

from flax import nnx

from data_gen.common.errors import InputError
from data_gen.dataset.config import DataConfig
from surrogate.config import TrainConfig
from surrogate.models.surrogate import Surrogate
from surrogate.runs.checkpoints import CheckpointError, Checkpoints
from surrogate.runs.folder import read_run
from surrogate.runs.packed import PRETRAINED, packed_file, read_packed
from surrogate.runs.training_models import read_training_models
from surrogate.runs.transfer import on_grid_of, warn_of_cells


def best_validation(run: str | Path) -> float:
    """Read the validation error of a run's best weights.

    Args:
        run: Folder of the run.

    Returns:
        The relative L2 error; infinity, which is the worst, if there are no best weights.
    """
    if best_step(run) is None:
        return float("inf")
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        return float(checkpoints.best_progress()["validation"])


def best_step(run: str | Path) -> int | None:
    """Find the step of a run's best weights.

    Args:
        run: Folder of the run.

    Returns:
        The step, or None if there are no best weights.
    """
    return _newest_step(run, "best")


def last_step(run: str | Path) -> int | None:
    """Find the step of a run's last checkpoint.

    Args:
        run: Folder of the run.

    Returns:
        The step, or None if there is no checkpoint.
    """
    return _newest_step(run, "last")


def _newest_step(run: str | Path, series: Literal["best", "last"]) -> int | None:
    if not (Path(run) / "checkpoints" / series).is_dir():
        return None
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        return checkpoints.best_step if series == "best" else checkpoints.last_step


def load_surrogate(run: str | Path, data: DataConfig | None = None) -> Surrogate:
    """Load a trained surrogate: its config, its best weights and its normalization.

    Args:
        run: Folder of the run, a packed file of it (`wave pack`), or the name of a pretrained surrogate, such as
            `wavefield-small`.
        data: Config of a data set of the same waves, on whose grid the surrogate shall predict (see transfer.py), with
            a `GridWarning` if its operator does not mean the same there; None: the grid of the run.

    Returns:
        The surrogate, in evaluation mode.

    Raises:
        InputError: The folder is not a run, the file is damaged, or the surrogate cannot predict on that grid.
        CheckpointError: The run has no best weights, or they belong to another model.
    """
    if (file := packed_file(run)) is not None:
        packed = read_packed(file)
        config = packed.config
        model = packed.create(None if data is None else on_grid_of(config, data))
    else:
        config = _checked_run(run)
        model = (config if data is None else on_grid_of(config, data)).create()
        _restore_best(run, model)
        model.training_models = read_training_models(Path(run))
    if data is not None:
        warn_of_cells(model.operator, config, data)
        if data.spacing != config.data.spacing:
            model.training_models = None  # its features are of changes from cell to cell
    return model


def _checked_run(run: str | Path) -> TrainConfig:
    """Read the config of a run; where there is nothing of that name, say which surrogates have names."""
    try:
        return read_run(run)
    except InputError as error:
        if not str(run) or Path(run).exists():
            raise
        raise InputError(f"{error} The names of pretrained surrogates are {', '.join(PRETRAINED)}.") from error


def _restore_best(run: str | Path, model: Surrogate) -> None:
    if best_step(run) is None:
        raise CheckpointError(
            f"There are no best weights in {run}: none of its validations was finite, or it has not validated yet "
            f"({run}/metrics.jsonl shows which). Repeat the command that started the run to train it further; or, if "
            "its validations are not finite, start another run with a lower training.learning_rate, or look at the "
            "validation split."
        )
    with contextlib.closing(Checkpoints(run, read_only=True)) as checkpoints:
        state = nnx.state(model)
        weights, _ = checkpoints.restore_best(nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, weights)
    nnx.update(model, state)
