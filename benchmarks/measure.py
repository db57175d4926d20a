"""The measurements: agreement and paired times, peak memory, compile time, cost per cell and step."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from benchmarks.agreement import judge_gathers, judge_gradient
from benchmarks.cases import Case
from benchmarks.peers import FORWARD, GRADIENT, PEERS
from benchmarks.worker import Case as AnyCase
from benchmarks.worker import Worker, WorkerError

# Long enough for the threads of the worker that ran last to fall asleep [s].
SETTLE = 0.1
OURS = "ours"


@dataclass
class Findings:
    """Hold the measurements that are written to the results, list by list."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    agreement: list[dict[str, Any]] = field(default_factory=list)
    not_measured: list[dict[str, Any]] = field(default_factory=list)
    scaling: list[dict[str, Any]] = field(default_factory=list)
    compile: list[dict[str, Any]] = field(default_factory=list)


def compare(
    case: Case,
    quantity: str,
    workers: dict[str, Worker],
    repeats: int,
    findings: Findings,
    say: Callable[[str], None],
) -> None:
    """One case of one quantity: ours against each worker's peer that has it."""
    names = [name for name in workers if name != OURS and quantity in PEERS[name].quantities]
    problems = {name: case.walled() if PEERS[name].walled else case for name in names}
    label = {"case": case.name, "quantity": quantity}
    chosen, expected = {}, {}
    for problem in dict.fromkeys(problems.values()):
        workers[OURS].ask("prepare", case=asdict(problem), quantity=quantity)
        expected[problem] = workers[OURS].array(problem, quantity)

    for name, problem in problems.items():
        try:
            configuration = workers[name].ask("prepare", case=asdict(problem), quantity=quantity)["configuration"]
            found = workers[name].array(problem, quantity)
        except WorkerError as error:
            findings.not_measured.append(label | {"peer": name, "why": str(error)})
            say(f"  {error}")
            continue
        tolerance = PEERS[name].tolerance
        judgment = (
            judge_gathers(problem, found, expected[problem], tolerance)
            if quantity == FORWARD
            else judge_gradient(found, expected[problem], tolerance)
        )
        verdict = "agrees" if judgment.agrees else "DISAGREES"
        say(f"  {PEERS[name].title} [{configuration}] {verdict}: {judgment}")
        findings.agreement.append(
            label | {"peer": name, "configuration": configuration, "agrees": judgment.agrees} | judgment.errors
        )
        if judgment.agrees:
            chosen[name] = configuration
        else:
            findings.not_measured.append(label | {"peer": name, "why": f"disagrees: {judgment}"})

    times = paired_times(quantity, workers, {name: problems[name] for name in chosen}, repeats)
    for name in (OURS, *names):
        workers[name].ask("forget")
    ours_bytes = {problem: peak_bytes(OURS, problem, quantity, "default") for problem in expected}
    for name, configuration in chosen.items():
        ours, theirs = zip(*times[name], strict=True)
        row = {
            "peer": name,
            "ratio": median(b / a for a, b in times[name]),
            "ours_s": median(ours),
            "peer_s": median(theirs),
            "ours_bytes": ours_bytes[problems[name]],
            "peer_bytes": peak_bytes(name, problems[name], quantity, configuration),
        }
        findings.rows.append(label | row)


def paired_times(
    quantity: str, workers: dict[str, Worker], problems: Mapping[str, AnyCase], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """For each peer `repeats` pairs of neighboring times (ours, peer's) [s]: ours, A, ours, B, ..., ours, A, ..."""

    def seconds(name: str, case: AnyCase) -> float:
        time.sleep(SETTLE)
        return workers[name].ask("time", case=asdict(case), quantity=quantity)["seconds"]

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in problems}
    for _ in range(repeats):
        for name, case in problems.items():
            ours = seconds(OURS, case)
            times[name].append((ours, seconds(name, case)))
    return times


def peak_bytes(name: str, case: AnyCase, quantity: str, configuration: str) -> int | None:
    """Peak memory that a first run adds to a fresh process; None if it fails."""
    with Worker(name) as worker:
        try:
            return worker.ask("memory", case=asdict(case), quantity=quantity, configuration=configuration)["bytes"]
        except WorkerError:
            return None


def compile_times(case: Case, findings: Findings) -> None:
    """Ours in a fresh process each: without programs on disk (cold), then with those it left (warm)."""
    for quantity in (FORWARD, GRADIENT):
        with tempfile.TemporaryDirectory() as cache:
            seconds = {}
            for state in ("cold_s", "warm_s"):
                with Worker(OURS) as worker:
                    request = {"case": asdict(case), "quantity": quantity, "cache": cache}
                    seconds[state] = worker.ask("compile", **request)["seconds"]
        findings.compile.append({"case": case.name, "quantity": quantity} | seconds)


def scaling(sides: list[int], updates: float, repeats: int, ours: Worker, findings: Findings) -> None:
    """Seconds per computed cell (absorbing layers included) and step of one shot, all sizes in turn.

    updates: about how many cells to update in a run, in 100 steps at least.
    """
    shots = [Case(f"{side}x{side}", side, shots=1, steps=100) for side in sides]
    shots = [replace(case, steps=max(case.steps, round(updates / case.cells))) for case in shots]
    for quantity in (FORWARD, GRADIENT):
        times: dict[str, list[float]] = {case.name: [] for case in shots}
        for case in shots:
            ours.ask("prepare", case=asdict(case), quantity=quantity)
        for _ in range(repeats):
            for case in shots:
                times[case.name].append(ours.ask("time", case=asdict(case), quantity=quantity)["seconds"])
        ours.ask("forget")
        for case in shots:
            cost = median(times[case.name]) / (case.cells * case.steps)
            row = {"grid": case.name, "quantity": quantity, "steps": case.steps, "cells": case.cells}
            findings.scaling.append(row | {"s_per_cell_step": cost})
