"""Invert named set-ups and write a card of each: `python -m benchmarks.inversion overthrust --folder FOLDER`.

Contenders: ours by L-BFGS in stages; Deepwave's gradients under L-BFGS-B of SciPy and under L-BFGS of PyTorch, where
it is installed, with the same stages, data, start, bounds and steps; ours in batches, where a set-up has shots enough,
with the same iterations, each of some shots; then our Adam, with as many simulations in each stage as our L-BFGS used,
with all shots and in batches. All but Adam take turns, iteration by iteration (inversion_contest.py).

Data are without noise, with it, or as from the field: noisy, with dead traces and a wavelet of another phase. Ours
leaves these traces out and estimates the wavelet along; Deepwave estimates none, and is not run on these.

Data and progress are kept in FOLDER: killed, or stopped by `--minutes`, the same command goes on. `--seconds` limits
the time of each contender in each case; with a larger limit they go on from there. Cards are
`results/inversion-<set-up>-<device>.json`; docs/results/inversion.md has all that are there. inversion_setups.py has
the set-ups, inversion_metrics.py what is measured. `--quick` tries everything on few shots, and writes into FOLDER
only: its numbers mean nothing.
"""

import argparse
import json
import time
from math import inf, isinf
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inversion_contender import BATCHED, CONTENDERS, read_arrays, read_problem
from benchmarks.inversion_contest import OutOfTime, Runner, at_equal_error, budgets_of, compete, request_of
from benchmarks.inversion_data import Case, Noise, kept, make_case
from benchmarks.inversion_diagnosis import findings
from benchmarks.inversion_metrics import MASK
from benchmarks.inversion_page import write_page
from benchmarks.inversion_setups import DEFAULT_MODELS, SETUPS, Models, Setup, Unavailable
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from surrogate.inversion.optimizers.protocol import simulations

OURS = "ours"
FOLLOWERS = {"adam": OURS, "adam_batches": "batches"}  # run after another one, with as many simulations in each stage
NOISE = {"clean": Noise(), "10dB": Noise(10.0), "field": Noise(10.0, dead=0.1, turned=30.0)}
PEERS = ["ours", "adam", *BATCHED, "deepwave", "deepwave_torch"]
DIGITS = 5


def row_of(case: Case, noise: str, runner: Runner) -> dict[str, Any]:
    """What is measured of one result."""
    assert runner.finished is not None
    last = {line["stage"]: line for line in runner.history}
    return {
        "case": case.name,
        "noise": noise,
        "contender": runner.name,
        "seconds": runner.seconds,
        "stopped": runner.finished["stopped"],
        "peak_bytes": max(line["peak"] for line in (*runner.history, runner.finished)),  # of all its processes
        "restarts": runner.restarts,
        "simulations": simulations(runner.finished["simulations"]),
        "versions": runner.finished["versions"],
        "stages": [{key: line[key] for key in ("misfit", "error", "used", "seconds")} for line in last.values()],
    } | case.judged(runner.model)


def history_of(runner: Runner) -> dict[str, list[float]]:
    """Error against seconds and simulations."""
    keys = ("seconds", "used", "error")
    return {key: [float(f"{line[key]:.{DIGITS}g}") for line in runner.history] for key in keys}


def diagnosed(case: Case, noise: Noise, folder: Path) -> list[str]:
    """What is wrong with the data, as `wave diagnose invert` names it; kept in the folder."""
    request = request_of(case, noise, OURS, folder)

    def make() -> dict[str, np.ndarray]:
        return {"findings": np.array(findings(read_problem(request)), str)}

    return read_arrays(kept(folder, "diagnosis", make, json.dumps(request)))["findings"].tolist()


class Card:
    """What has been measured of one set-up, written after every result."""

    def __init__(self, setup: Setup, cases: int, options: argparse.Namespace):
        self.setup, self.options = setup, options
        self.keep_histories = cases <= 2
        self.rows: list[dict[str, Any]] = []
        self.equal: list[dict[str, Any]] = []
        self.starts: list[dict[str, Any]] = []
        self.diagnosis: list[dict[str, Any]] = []
        self.missing: list[dict[str, str]] = []
        self.machine = machine()

    def add(self, case: Case, noise: str, runners: list[Runner], failed: dict[str, str]) -> None:
        label = {"case": case.name, "noise": noise}
        for runner in runners:
            if runner.name in failed:
                self.missing.append(label | {"contender": runner.name, "why": failed[runner.name]})
                continue
            histories = {"history": history_of(runner)} if self.keep_histories else {}
            self.rows.append(row_of(case, noise, runner) | histories)
            ours = next((one for one in runners if one.name == OURS and OURS not in failed), None)
            if ours not in (None, runner):
                against = at_equal_error(ours.history, runner.history)
                self.equal.append(label | {"contender": runner.name} | against)

    def write(self) -> Path:
        settings = {
            "machine": self.machine,
            "quick": self.options.quick,
            "seconds": None if isinf(self.options.seconds) else self.options.seconds,
            "setup": self.setup.described() | {"mask": MASK},
            "starts": self.starts,
            "equal": self.equal,
            "diagnosis": self.diagnosis,
            "not_measured": self.missing,
            "note": self.options.note,
        }
        return write_rows(self.options.out, f"inversion-{self.setup.name}", settings, self.rows)


def contest(
    case: Case, noise: str, folder: Path, options: argparse.Namespace, deadline: float
) -> tuple[list[Runner], dict[str, str]]:
    """Let all contenders invert a case, those that follow others last. Also says what failed, why."""

    def say(contender: str, reply: dict[str, Any]) -> None:
        shown = "  ".join(f"{key} {value:.4g}" for key, value in reply.items() if isinstance(value, int | float))
        print(f"{case.name}  {noise}  {contender:14}  {shown}", flush=True)

    def runner(contender: str, budgets: list[int] | None = None) -> Runner:
        return Runner(contender, request_of(case, NOISE[noise], contender, folder, budgets), folder, options.seconds)

    able = (OURS, "batches", *FOLLOWERS) if NOISE[noise].turned else tuple(CONTENDERS)
    able = [contender for contender in able if case.setup.batch or contender not in BATCHED]
    chosen = [contender for contender in options.contenders if contender in able]
    runners = [runner(contender) for contender in chosen if contender not in FOLLOWERS]
    failed = compete(runners, deadline, say)
    for contender in chosen:
        leader = next((one for one in runners if one.name == FOLLOWERS.get(contender) not in failed), None)
        if leader is not None:
            runners.append(runner(contender, budgets_of(leader)))
            failed |= compete(runners[-1:], deadline, say)
    return runners, failed


def run(setup: Setup, models: Models, options: argparse.Namespace, deadline: float) -> None:
    """Invert all cases of a set-up."""
    folder, card = options.folder / setup.name, Card(setup, len(models), options)
    for name, model in models.items():
        case = make_case(setup, name, model(), folder / "data")
        card.starts.append({"case": name, "masked_cells": float(case.mask.mean())} | case.judged(case.start))
        for noise in options.noise:
            place = folder / name / noise
            card.diagnosis.append({"case": name, "noise": noise, "findings": diagnosed(case, NOISE[noise], place)})
            card.add(case, noise, *contest(case, noise, place, options, deadline))
            print(card.write(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inversion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("setups", nargs="*", default=list(SETUPS), choices=[*SETUPS, []], metavar="SETUP", help="which")
    parser.add_argument("--folder", type=Path, required=True, help="where data and progress are kept")
    parser.add_argument("--minutes", type=float, default=inf, help="after which the command stops")
    parser.add_argument("--seconds", type=float, default=inf, help="of computing, after which a contender is stopped")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=PEERS)
    parser.add_argument("--noise", nargs="+", choices=NOISE, default=list(NOISE))
    parser.add_argument("--models", type=int, help="models of each family, where a set-up has families")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="models of these names only, such as style_a-0")
    parser.add_argument("--quick", action="store_true", help="few shots and iterations: does everything work?")
    parser.add_argument("--note", default="", help="what the card has to say of how it was measured")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the cards")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    if options.quick:
        options.folder = options.out = options.docs = options.folder / "quick"
    use_compilation_cache()
    deadline = time.monotonic() + 60 * options.minutes
    for name in options.setups:
        try:
            setup, models = SETUPS[name](options.models or DEFAULT_MODELS.get(name, 1))
        except Unavailable as missing:
            print(f"{name}: skipped, {missing}.")
            continue
        if options.cases:
            models = {case: model for case, model in models.items() if case in options.cases}
        try:
            run(setup.quick() if options.quick else setup, models, options, deadline)
        except OutOfTime:
            print(f"{name}: stopped after {options.minutes:g} minutes. Run the same command again to go on.")
            break
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
