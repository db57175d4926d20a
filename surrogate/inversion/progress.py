"""Keep the progress of an inversion in one file, from which an interrupted one resumes with the same bits.

The file holds the optimizer's state, the history and the best models so far, as arrays of `numpy.savez`: nothing in it
is code. It is written under another name first, so that a kill leaves the last complete one. A digest of all that
decides the result tells the progress of another inversion.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import publish, temporary_name
from surrogate.devices import all_gather, barrier, is_main_process
from surrogate.inversion.corrected.trust_region import LOW, TRIAL
from surrogate.inversion.discrepancy import WEIGHT
from surrogate.inversion.optimizers.protocol import COUNTS, State, Vector, simulations

STATE = "state."  # in front of the names of the optimizer's arrays


@dataclass
class Progress:
    """Hold where an inversion is.

    Attributes:
        start: Starting model `(n,)` [m/s].
        stage: Number of the stage, from 0.
        state: State of its optimizer; empty before its start.
        first_gradient: Gradient at the start, smoothed and weighted, by the velocity `(n,)`.
        best: Model of the smallest true misfit of the stage `(n,)` [m/s].
        best_entry: Entry of the history that is `best`.
        stage_models: Best models of the stages that are finished `(n,)` [m/s].
        spent: Simulations of the stages that are finished, and of preparing this one, in the order of COUNTS.
        checks: Simulations of the true misfit of a surrogate's estimates.
        low: Simulations by the cheap forward model in the stages that are finished, in the order of COUNTS.
        trials: Stage of each trial of that model, and its entries TRIAL of corrected/trust_region.py.
        rows: Stage, misfit, penalty, true misfit, model error, simulations and cheap ones used, density error, and
            weight, of every entry.
        stopped: Why the inversion was stopped; empty if it was not.
        level: Misfit of noise alone in the stage, NaN where it is not known.
        levels: That of each stage that is finished.
        ends: Why each finished stage ended.
    """

    start: Vector
    stage: int = 0
    state: State = field(default_factory=dict)
    first_gradient: Vector = field(default_factory=lambda: np.zeros(0))
    best: Vector = field(default_factory=lambda: np.zeros(0))
    best_entry: int = -1
    stage_models: list[Vector] = field(default_factory=list)
    spent: np.ndarray = field(default_factory=lambda: np.zeros(len(COUNTS), np.int64))
    checks: int = 0
    low: np.ndarray = field(default_factory=lambda: np.zeros(len(COUNTS), np.int64))
    trials: np.ndarray = field(default_factory=lambda: np.zeros((0, 1 + len(TRIAL))))
    rows: list[list[float]] = field(default_factory=list)
    stopped: str = ""
    level: float = np.nan
    levels: list[float] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    @property
    def stage_start(self) -> Vector:
        """Model that the stage starts from."""
        return self.stage_models[-1] if self.stage_models else self.start

    @property
    def used_before(self) -> int:
        """Simulations used before the stage's first entry, weighted."""
        return simulations(self.spent)["weighted"]

    def keep_best(self, velocity: Vector) -> None:
        """Keep a model if the true misfit of the last entry, with its penalty, is the smallest one of the stage.

        Args:
            velocity: Model of the last entry `(n,)` [m/s].
        """
        last = len(self.rows) - 1
        first = self.best_entry < 0 or self.rows[self.best_entry][0] != self.stage
        # Models of other weights are not compared: the last one counts.
        if first or WEIGHT in self.state or self._minimized(last) < self._minimized(self.best_entry):
            self.best, self.best_entry = velocity, last

    def _minimized(self, entry: int) -> float:
        _, _, penalty, true_misfit, *_ = self.rows[entry]
        return penalty + true_misfit

    def end_stage(self, end: str) -> None:
        """Go on to the next stage, from the best model of this one.

        Args:
            end: Why the stage ended.
        """
        self.levels.append(self.level)
        self.ends.append(end)
        self.spent = self.spent + np.array([self.state[name] for name in COUNTS])
        self.low = self.low + low_counts(self.state)
        if "trials" in self.state:
            trials = np.insert(self.state["trials"], 0, self.stage, axis=1)
            self.trials = np.vstack([self.trials, trials])
        self.stage_models.append(self.best)
        self.state, self.stage = {}, self.stage + 1


def low_counts(state: State) -> np.ndarray:
    """Return the simulations by a cheap model.

    Args:
        state: State of an optimizer.

    Returns:
        Simulations of a shot, in the order of COUNTS; zeros of an optimizer that has none.
    """
    return np.array([state.get(name, 0) for name in LOW])


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
    arrays |= {item.name: getattr(progress, item.name) for item in fields(progress) if item.name != "state"}
    arrays["stage_models"] = np.reshape(progress.stage_models, (-1, len(progress.start)))
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            np.savez(file, identity=identity, **arrays)
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_progress(path: Path, identity: str) -> Progress | None:
    """Read the progress of an inversion; several processes must call this together.

    Args:
        path: Path of the file.
        identity: Digest of what decides the result.

    Returns:
        The progress, or None if there is no file.

    Raises:
        InputError: If it is the progress of another inversion, or of another version, or the processes do not see the
            same file.
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
    known = {item.name for item in fields(Progress)} - {"state"}
    if str(arrays["identity"]) != identity or not known <= arrays.keys():
        raise InputError(
            f"{path} is the progress of another inversion: its data, models, weights or settings differ from those "
            "given now, or another version made it. Give the same again to resume it, choose another folder, or "
            "remove the file to start anew."
        )
    return Progress(
        start=arrays["start"],
        stage=int(arrays["stage"]),
        state={name.removeprefix(STATE): value for name, value in arrays.items() if name.startswith(STATE)},
        first_gradient=arrays["first_gradient"],
        best=arrays["best"],
        best_entry=int(arrays["best_entry"]),
        stage_models=list(arrays["stage_models"]),
        spent=arrays["spent"],
        checks=int(arrays["checks"]),
        low=arrays["low"],
        trials=arrays["trials"],
        rows=arrays["rows"].tolist(),
        stopped=str(arrays["stopped"]),
        level=float(arrays["level"]),
        levels=arrays["levels"].tolist(),
        ends=arrays["ends"].tolist(),
    )
