"""Read the trainings below a folder: their curves, and which of them validates best."""

import json
import math
import shlex
from functools import cached_property
from pathlib import Path
from typing import Any

from data_gen.common.files import flatten, read_json, read_rows
from data_gen.common.sealed import opened

# Keys of a config that say where a run is and how it is recorded, but not what it is.
PLACE = ("run", "tracking", "parallel")


class Training:
    """Hold what the folder of a run says of its training.

    Args:
        folder: Folder of the run.
        config: Content of its `config.json`.

    Attributes:
        folder: Folder of the run.
        config: Content of its `config.json`.
    """

    def __init__(self, folder: Path, config: dict[str, Any]):
        self.folder, self.config = folder, config

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of `metrics.jsonl`, without those that a full disk or a power cut has damaged."""
        return [row for _, row in read_rows(self.folder / "metrics.jsonl")]

    @property
    def step(self) -> int:
        """Last step that is recorded."""
        return max((row["step"] for row in self.rows), default=0)

    @property
    def best(self) -> tuple[float, int]:
        """Smallest validation error, and the first step that has it; infinity and 0 without a finite one."""
        return min(((error, step) for step, error in self.curve("validation")), default=(math.inf, 0))

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Read one of the curves.

        Args:
            name: `loss`, `validation` or another entry of the rows.

        Returns:
            Step and value of each row that has a finite one.
        """
        known = [(row["step"], row[name]) for row in self.rows if name in row]
        return [(step, value) for step, value in known if math.isfinite(value)]

    @property
    def task(self) -> str:
        """Name of the task; the first version had wavefields only, and stored none."""
        return self.config.get("task", {}).get("name", "wavefield")

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return self.config["training"]["steps"]

    def summary(self) -> str:
        """Say how far the training has come, and its best validation."""
        error, step = self.best
        best = f"best validation {error:.4f} at step {step}" if step else "no validation so far"
        return f"{self.step} of {self.steps} steps; {best}."

    def evaluation(self) -> str:
        """Write the command that evaluates the run."""
        return f"wave evaluate {shlex.quote(f'run={self.folder}')}"


def read_trainings(root: Path) -> list[Training]:
    """Read all runs below a folder.

    Args:
        root: Folder of runs, or one run.

    Returns:
        The runs, in the order of their folders.
    """
    found = [(file.parent, opened(read_json(file), file)) for file in sorted(root.rglob("config.json"))]
    return [Training(folder, config) for folder, config in found if isinstance(config.get("training"), dict)]


def settings(trainings: list[Training]) -> list[str]:
    """List the settings in which runs differ from each other.

    Args:
        trainings: Runs.

    Returns:
        For each run its values, as overrides of a command line; empty for a single run.
    """
    flat = [flatten({key: value for key, value in t.config.items() if key not in PLACE}) for t in trainings]
    # Keys that only some of the runs have belong to their operator, encoding or task, whose name says the difference.
    common = [key for key in flat[0] if all(key in other for other in flat)]
    differing = [key for key in common if any(other[key] != flat[0][key] for other in flat)]
    return [" ".join(f"{key.removesuffix('.name')}={_plain(values[key])}" for key in differing) for values in flat]


def validation_tables(trainings: list[Training], root: Path) -> list[dict[str, Any]]:
    """Rank the runs of each task by their best validation, and name the best one.

    Args:
        trainings: Runs.
        root: Folder that the names of runs start from.

    Returns:
        One table a task, as `report_tables` makes them.
    """
    tables = []
    for task in dict.fromkeys(training.task for training in trainings):
        ours = [training for training in trainings if training.task == task]
        ranked = sorted(zip(ours, settings(ours), strict=True), key=lambda pair: pair[0].best[0])
        rows = []
        for training, differing in ranked:
            error, step = training.best
            known = [f"{error:.4f}", str(step)] if step else ["none", ""]
            inside = training.folder.is_relative_to(root)
            name = str(training.folder.relative_to(root) if inside and training.folder != root else training.folder)
            rows.append([f"{name} {differing}".strip(), *known, f"{training.step}/{training.steps}"])
        best = ranked[0][0]
        named = (
            f"The best is {best.folder}: {best.summary()}" if best.best[1] else "None has a finite validation so far."
        )
        columns = ["run, and its settings where they differ", "best validation", "at step", "steps"]
        tables.append({"title": f"Runs by validation, {task}", "columns": columns, "rows": rows, "note": named})
    return tables


def _plain(value: Any) -> str:
    """Write a value as an override has it: lists without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
