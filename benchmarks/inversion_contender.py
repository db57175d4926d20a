"""One contender of `benchmarks.inversion` in a process of its own: `python -m benchmarks.inversion_contender FOLDER`.

FOLDER has `request.json` and the arrays that it names. After every iteration the child prints one line of JSON and
waits for one on its standard input, `go` or `stop`: so contenders take turns, and only one computes at a time. Told to
stop, it ends with its best model so far. The model that it found is `model.npy` in the folder. Parent and child share
`Problem`, which needs NumPy alone: Deepwave's process has no JAX.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inversion_replay import Replay
from benchmarks.inversion_stages import Stage
from benchmarks.memory import resident_peak
from data_gen.common.files import publish, read_json, temporary_name

# Stage, entry of the history (one for the start of each stage, one for each iteration, counted through all stages),
# misfit, model `(nz, nx)` or its relative error, simulations of a shot so far, a gradient counting 3, and those by a
# cheap model, if there is one; returns whether to go on.
Report = Callable[..., bool]
# Module in benchmarks/peers and optimizer of each contender.
CONTENDERS = {
    "ours": ("ours_inversion", "lbfgs"),
    "adam": ("ours_inversion", "adam"),
    "batches": ("ours_inversion", "lbfgs"),
    "adam_batches": ("ours_inversion", "adam"),
    "corrected": ("ours_inversion", "corrected"),
    "coarse_first": ("ours_inversion", "coarse_first"),
    "coarse_corrected": ("ours_inversion", "coarse_corrected"),
    "deepwave": ("deepwave_inversion", "scipy"),
    "deepwave_torch": ("deepwave_inversion", "torch"),
}
BATCHED = ("batches", "adam_batches")  # see some shots in each iteration


@dataclass(frozen=True, eq=False)
class StageData:
    """Hold a stage with what it inverts: the low-passed gathers `(shots, times, receivers)` and the wavelet."""

    highest_frequency: float
    zero_from: float  # [Hz] the gain of the low-pass is zero from here on
    spacing: float
    iterations: int
    layers: int  # absorbing cells
    observed: np.ndarray
    wavelet: np.ndarray


@dataclass(frozen=True, eq=False)
class Problem:
    """Hold what every contender is given.

    coarser: cells of the cheap model, in those of the stage.
    source: whether ours estimates the wavelet along, as `inversion.source` says it.
    budgets: largest number of simulations in each stage, in place of its iterations.
    weights: factors of updates `(nz, nx)`, by depth and illumination.
    batch: shots that an iteration of ours sees; 0 for all.
    noise: how ours knows the noise, as `inversion.noise` says it, at whose misfit stages stop; None for not.
    observed, wavelet: not filtered; longer than the `nt` samples that count.
    """

    spacing: float
    nt: int
    dt: float
    peak_frequency: float
    bounds: tuple[float, float]
    fixed_rows: int
    free_surface: bool
    learning_rate: float
    depth_power: float
    illumination: bool
    coarser: float
    source: str
    budgets: tuple[int, ...] | None
    stage_list: tuple[Stage, ...]
    start: np.ndarray
    truth: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    receivers: np.ndarray
    observed: np.ndarray
    wavelet: np.ndarray
    filtered: tuple[dict[str, Any], ...]  # `zero_from`, `layers` and the file of the arrays of each stage
    batch: int = 0
    noise: str | None = None

    def stages(self) -> Iterator[StageData]:
        """Stage after stage, read when it is its turn."""
        for stage, more in zip(self.stage_list, self.filtered, strict=True):
            numbers = {name: more[name] for name in ("zero_from", "layers")} | read_arrays(more["file"])
            yield StageData(stage.highest_frequency, spacing=stage.spacing, iterations=stage.iterations, **numbers)


def read_arrays(file: str) -> dict[str, Any]:
    """The arrays of a file, by name."""
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def read_problem(request: dict[str, Any]) -> Problem:
    """The problem of a request: numbers from JSON, arrays from the files that it names."""
    numbers = request["numbers"] | {
        "bounds": tuple(request["numbers"]["bounds"]),
        "stage_list": tuple(Stage(**stage) for stage in request["stages"]),
        "filtered": tuple(request["filtered"]),
    }
    return Problem(**numbers, **read_arrays(request["arrays"]))


def main(folder: Path) -> None:
    # What a library prints goes to the log; the pipe carries reports alone.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**line: Any) -> None:
        replies.write(json.dumps(line) + "\n")
        replies.flush()

    def told() -> str:
        return sys.stdin.readline().strip()

    request, stopped = read_json(folder / "request.json"), False
    told()
    try:
        problem = read_problem(request)
        module: Any = importlib.import_module(f"benchmarks.peers.{request['module']}")
        truth = problem.truth.astype(np.float64)

        def report(stage: int, entry: int, misfit: float, model: Any, used: int, low: int = 0) -> bool:
            nonlocal stopped
            known = np.linalg.norm(model - truth) / np.linalg.norm(truth) if np.ndim(model) else model
            say(stage=stage, entry=entry, misfit=misfit, error=float(known), used=used, low=low, peak=resident_peak())
            stopped = told() == "stop"
            return not stopped

        model, simulations = module.run(problem, request["optimizer"], Replay(folder / "evaluations"), report)
        path = folder / "model.npy"
        temporary = temporary_name(path).with_suffix(".npy")
        np.save(temporary, np.asarray(model, np.float32))
        publish(temporary, path)
        say(done=True, stopped=stopped, simulations=simulations, versions=module.versions(), peak=resident_peak())
    except Exception:
        say(failure=traceback.format_exc())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
