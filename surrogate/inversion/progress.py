"""Keep the progress of an inversion in one file, from which an interrupted one resumes with the same bits.

The file holds the optimizer's state, the history and the best model so far, as arrays of `numpy.savez`: nothing in it
is code. It is written under another name first, so that a kill leaves the last complete one. A digest of all that
decides the result tells the progress of another inversion.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import publish, temporary_name
from surrogate.devices import all_gather, barrier, is_main_process
from surrogate.inversion.optimizers.protocol import State, Vector

STATE = "state."  # in front of the names of the optimizer's arrays


@dataclass
class Progress:
    """Hold where an inversion is.

    Attributes:
        state: State of the optimizer.
        first_gradient: Gradient at the start, smoothed and weighted `(n,)`.
        best: Model of the smallest true misfit `(n,)` [m/s].
        best_iteration: Iteration of `best`.
        checks: Simulations of the true misfit of a surrogate's estimates.
        rows: Misfit, true misfit and model error of every iteration.
    """

    state: State
    first_gradient: Vector
    best: Vector
    best_iteration: int = 0
    checks: int = 0
    rows: list[list[float]] = field(default_factory=list)

    def keep_best(self, x: Vector) -> None:
        """Keep a model if the true misfit of the last iteration, which is its own, is the smallest one.

        Args:
            x: Model of the last iteration `(n,)` [m/s].
        """
        last = len(self.rows) - 1
        if last == 0 or self.rows[last][1] < self.rows[self.best_iteration][1]:
            self.best, self.best_iteration = x, last


def store_progress(path: Path, progress: Progress, identity: str) -> None:
    """Write the progress of an inversion, so that at any time the file is the old one or the new one.

    Where several processes run, process 0 writes.

    Args:
        path: Path of the file.
        progress: The progress.
        identity: Digest of what decides the result.
    """
    if not is_main_process():
        return
    arrays: dict[str, Any] = {STATE + name: value for name, value in progress.state.items()}
    arrays |= {name: getattr(progress, name) for name in ("first_gradient", "best", "best_iteration", "checks", "rows")}
    temporary = temporary_name(path)
    with temporary.open("wb") as file:
        np.savez(file, identity=identity, **arrays)
    publish(temporary, path)


def read_progress(path: Path, identity: str) -> Progress | None:
    """Read the progress of an inversion; several processes must call this together.

    Args:
        path: Path of the file.
        identity: Digest of what decides the result.

    Returns:
        The progress, or None if there is no file.

    Raises:
        InputError: If it is the progress of another inversion, or the processes do not see the same file.
    """
    with barrier():
        found = _read(path, identity) if path.exists() else None
    reached = all_gather(0 if found is None else len(found.rows))
    if len(set(reached)) > 1:
        raise InputError(
            f"The processes of this inversion see {path} at different iterations ({reached}; 0 is no file). Choose a "
            "folder on a disk that all of them share."
        )
    return found


def _read(path: Path, identity: str) -> Progress:
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    if str(arrays["identity"]) != identity:
        raise InputError(
            f"{path} is the progress of another inversion: its data, models, weights or settings differ from those "
            "given now. Give the same again to resume it, choose another folder, or remove the file to start anew."
        )
    return Progress(
        state={name.removeprefix(STATE): value for name, value in arrays.items() if name.startswith(STATE)},
        first_gradient=arrays["first_gradient"],
        best=arrays["best"],
        best_iteration=int(arrays["best_iteration"]),
        checks=int(arrays["checks"]),
        rows=arrays["rows"].tolist(),
    )
