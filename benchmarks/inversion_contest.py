"""Let contenders invert one case: each in a process of its own, in turn, iteration by iteration, resumable.

The contender that has computed for the shortest time has the next turn, and the others wait: so what else the machine
does hits all alike. A contender's seconds are those of its turns, with starting and compiling, up to its last model.
Every iteration is a line of `progress.jsonl` in its folder. After a kill, a contender comes back to where it was
(inversion_replay.py, `invert(..., resume=...)`): times are counted from the first iteration that is new. One that was
stopped by its limit of time goes on in the same way when the limit is raised.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.inversion_contender import BATCHED, CONTENDERS
from benchmarks.inversion_data import Case, Noise, band_up_to, kept, low_passed
from benchmarks.inversion_stages import Stage
from benchmarks.worker import ROOT, WorkerError
from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, write_json
from data_gen.solver.problem.discretization import discretize
from surrogate.inversion.optimizers.precondition import depth_weights
from surrogate.inversion.preconditioners.diagonal import damped_inverse

Say = Callable[[str, dict[str, Any]], None]


class OutOfTime(Exception):
    """The time limit of the command has passed; it goes on from there when run again."""


def request_of(
    case: Case, noise: Noise, contender: str, folder: Path, budgets: list[int] | None = None
) -> dict[str, Any]:
    """Everything that a contender is given; arrays go through files that contenders share."""
    setup, (module, optimizer) = case.setup, CONTENDERS[contender]
    observed, wavelet = case.recorded(noise)
    stages = setup.stages if budgets is None else setup.stages[: len(budgets)]
    weights = np.broadcast_to(depth_weights(setup.grid.shape[0], setup.depth_power), setup.grid.shape)
    if setup.illumination:
        weights = weights * np.asarray(damped_inverse(jnp.asarray(case.light[0]), power=0.5))
    arrays = {"start": case.start, "truth": case.truth, "weights": weights, "observed": observed}
    arrays |= {"sources": setup.sources, "receivers": setup.receivers, "wavelet": wavelet}
    shared = kept(folder, "problem", lambda: arrays, *arrays.values())

    def filtered(stage: Stage) -> dict[str, Any]:
        def make() -> dict[str, np.ndarray]:
            cut = stage.highest_frequency
            return {
                "observed": low_passed(observed, setup.time.dt, cut),
                "wavelet": low_passed(wavelet, setup.time.dt, cut, axis=0),
            }

        band = band_up_to(stage.highest_frequency, setup.time.dt)
        layers = discretize(replace(setup.simulation, internal_spacing=stage.spacing)).widths[1]
        file = kept(folder, "stage", make, observed, wavelet, f"{band} {setup.time.dt}")
        return {"zero_from": band.corners[-1], "layers": layers, "file": file}

    return {
        "module": module,
        "optimizer": optimizer,
        "arrays": shared,
        "stages": [vars(stage) for stage in stages],
        "filtered": [filtered(stage) for stage in stages],
        "numbers": {
            "spacing": setup.grid.spacing,
            "nt": setup.time.nt,
            "dt": setup.time.dt,
            "peak_frequency": setup.peak_frequency,
            "bounds": list(setup.bounds),
            "fixed_rows": setup.fixed_rows,
            "free_surface": setup.free_surface,
            "learning_rate": setup.adam_rate if optimizer == "adam" else setup.learning_rate,
            "depth_power": setup.depth_power,
            "illumination": setup.illumination,
            "coarser": setup.coarser,
            "source": "one" if noise.turned else "fixed",
            "budgets": budgets,
            **({"batch": setup.batch} if contender in BATCHED else {}),
            **({"noise": "estimated"} if setup.few_shots and noise.decibels is not None else {}),
        },
    }


class Runner:
    """A contender with its folder, its history so far, and its process while it runs.

    Once its turns have taken as many seconds as `limit`, or `enough` says so of its history, it is told to stop.
    """

    def __init__(
        self,
        name: str,
        request: dict[str, Any],
        folder: Path,
        limit: float = inf,
        enough: Callable[["Runner"], bool] = lambda runner: False,
    ):
        self.name, self.limit, self.enough = name, limit, enough
        self.folder = folder / f"{name}-{digest_of(json.dumps(request))}"
        make_folder(self.folder)
        write_json(self.folder / "request.json", request)
        self._lines = self.folder / "progress.jsonl"
        text = self._lines.read_text(encoding="utf-8") if self._lines.exists() else ""
        # A line that a kill cut off is left out.
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        self._lines.write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")
        self.history = [line for line in found if "entry" in line]
        last = found[-1] if found else {}
        self.finished: dict[str, Any] | None = last if "done" in last else None
        if self.finished and self.finished["stopped"] and not self._may_stop:
            self.finished = None
        self.restarts = sum("restart" in line for line in found)
        self.process: subprocess.Popen[str] | None = None
        self._reached = -1  # last entry of the process
        if self.history and self.finished is None:
            self._keep({"restart": True})
            self.restarts += 1

    @property
    def _may_stop(self) -> bool:
        return self.seconds >= self.limit or self.enough(self)

    @property
    def seconds(self) -> float:
        """Time of all turns."""
        last = self.finished or (self.history[-1] if self.history else None)
        return last["seconds"] if last else 0.0

    @property
    def model(self) -> np.ndarray:
        return np.load(self.folder / "model.npy", allow_pickle=False)

    def turn(self) -> dict[str, Any] | None:
        """Let it compute up to its next iteration, or the end; None while it comes back to where it was."""
        start, before = time.perf_counter(), self.seconds
        self.process = self.process or self._start()
        assert self.process.stdin is not None and self.process.stdout is not None
        back = bool(self.history) and self._reached >= self.history[-1]["entry"]
        self.process.stdin.write("stop\n" if back and self._may_stop else "go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        reply: dict[str, Any] = (
            json.loads(line) if line else {"failure": f"ended with {self.process.wait()}:\n{self._log_end()}"}
        )
        if "failure" in reply:
            self.stop()
            told = reply["failure"]
            failure = WorkerError(f"{self.name}: {told.strip().splitlines()[-1]}")
            failure.add_note(told)
            raise failure
        self._reached = reply.get("entry", self._reached)
        if "entry" in reply and self.history and reply["entry"] <= self.history[-1]["entry"]:
            return None
        reply["seconds"] = before + time.perf_counter() - start
        self._keep(reply)
        if "done" in reply:
            self.finished = reply
            self.stop()
        else:
            self.history.append(reply)
        return reply

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _start(self) -> subprocess.Popen[str]:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.inversion_contender", str(self.folder)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
        )

    def _keep(self, line: dict[str, Any]) -> None:
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _log_end(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:]


def compete(runners: Sequence[Runner], deadline: float, say: Say) -> dict[str, str]:
    """Run all to their ends, in turn; what failed, and why. Raises `OutOfTime`."""
    waiting, failed = [runner for runner in runners if runner.finished is None], {}
    try:
        while waiting:
            if time.monotonic() > deadline:
                raise OutOfTime
            runner = min(waiting, key=lambda one: one.seconds)
            try:
                reply = runner.turn()
            except WorkerError as error:
                failed[runner.folder.name] = str(error)
                waiting.remove(runner)
                continue
            if reply is not None:
                say(runner.name, reply)
            if runner.finished is not None:
                waiting.remove(runner)
    finally:
        for runner in runners:
            runner.stop()
    return failed


def budgets_of(runner: Runner) -> list[int]:
    """The simulations that a contender used in each stage, where a gradient counts 3 and a Hessian product 6."""
    ends = {line["stage"]: line["used"] for line in runner.history}
    assert runner.finished is not None
    ends[max(ends)] = sum(weight * n for weight, n in zip((1, 3, 6), runner.finished["simulations"], strict=True))
    return np.diff([0, *(ends[stage] for stage in sorted(ends))]).tolist()


def first_within(history: list[dict[str, Any]], error: float) -> dict[str, Any] | None:
    """The first entry of a history whose error is no larger."""
    return next((entry for entry in history if entry["error"] <= error), None)


def at_equal_error(ours: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds and simulations until both have the smallest error that both reach."""
    error = max(min(entry["error"] for entry in history) for history in (ours, other))
    pair = [first_within(history, error) for history in (ours, other)]
    return {"error": error} | {key: [entry[key] for entry in pair if entry] for key in ("seconds", "used")}
