"""Compare the speed of two revisions of this project: `python -m benchmarks.revisions OLD NEW` (see README.md).

OLD and NEW are folders with a checkout each, such as two worktrees of git. Each side computes in a process of its own,
which compiles and warms up first. Both then take turns, so that other work of the machine slows both. Each pair of
times is taken in two new processes.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks import cases, training_cases
from benchmarks.measure import OURS, paired_times
from benchmarks.peers import FORWARD, GRADIENT
from benchmarks.report import machine, table, write_rows
from benchmarks.training_cases import TRAIN
from benchmarks.worker import ROOT, TimedCase, Worker

# The first of each pair of times is the old revision's.
OLD, NEW = OURS, "new"
# Long enough that one time averages over what else a shared machine does: half a second and more.
SOLVER = [
    cases.Case(f"{side}x{side}, {backend}", side, shots, steps, backend=backend)
    for backend, side, shots, steps in (
        ("native", 64, 32, 4000),
        ("xla", 64, 16, 1000),
        ("native", 200, 8, 4000),
        ("xla", 200, 4, 1000),
    )
]
TRAINING = [training_cases.Case("64x64, demo's FNO", 64, outputs=8)]
# A module of benchmarks/peers: what it is asked.
QUESTIONS: dict[str, list[tuple[TimedCase, str]]] = {
    "ours": [(case, quantity) for case in SOLVER for quantity in (FORWARD, GRADIENT)],
    "revision_training": [(case, TRAIN) for case in TRAINING],
}


def difference(old: np.ndarray, new: np.ndarray) -> float:
    """Return the relative L2 difference of two results: 0 where they are equal to the bit."""
    return float(np.linalg.norm(new - old) / np.linalg.norm(old))


Times = dict[tuple[str, str], list[tuple[float, float]]]


def time_once(asked: list[tuple[TimedCase, str]], workers: dict[str, Worker], times: Times, differences: dict) -> None:
    """Add one pair of times of every case to `times`, and the difference of the results to `differences`."""
    for case, quantity in asked:
        for worker in workers.values():
            worker.ask("prepare", case=asdict(case), quantity=quantity)
        old, new = (workers[side].array(case, quantity) for side in (OLD, NEW))
        differences[case.name, quantity] = difference(old, new)
        times.setdefault((case.name, quantity), []).extend(paired_times(quantity, workers, {NEW: case}, 1)[NEW])
        for worker in workers.values():
            worker.ask("forget")


def row_of(name: tuple[str, str], times: list[tuple[float, float]], unequal: float) -> dict[str, Any]:
    """Return the row of one case in the results."""
    ratios = [b / a for a, b in times]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {
        "case": name[0],
        "quantity": name[1],
        "ratio": median(ratios),
        "ratio_quartiles": [low, high],
        "ratio_range": [min(ratios), max(ratios)],
        "old_s": median(a for a, _ in times),
        "new_s": median(b for _, b in times),
        "difference": unequal,
    }


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """Return one row of the table that is printed."""
    spread = (f"{low:.3f} to {high:.3f}" for low, high in (row["ratio_quartiles"], row["ratio_range"]))
    times = (f"{row[name]:.4f}" for name in ("old_s", "new_s"))
    return row["case"], row["quantity"], f"{row['ratio']:.3f}", *spread, *times, f"{row['difference']:.0e}"


def measure(folders: dict[str, Path], chosen: list[str], pairs: int, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of all chosen cases.

    Every pair of times is taken in two new processes: one process can be a tenth slower than another one of the same
    code, since the places of its fields in memory and in the caches differ.
    """
    times: Times = {}
    differences: dict[tuple[str, str], float] = {}
    for module, questions in QUESTIONS.items():
        asked = [(case, quantity) for case, quantity in questions if any(part in case.name for part in chosen)]
        asked = [(case.warm_up() if quick else case, quantity) for case, quantity in asked]
        for pair in range(pairs if asked else 0):
            # Whoever starts first may get the better places.
            order = (OLD, NEW) if pair % 2 == 0 else (NEW, OLD)
            with Worker(module, folders[order[0]]) as first, Worker(module, folders[order[1]]) as second:
                workers = dict(zip(order, (first, second), strict=True))
                time_once(asked, {side: workers[side] for side in (OLD, NEW)}, times, differences)
            print(f"{module}: {pair + 1} of {pairs} pairs", file=sys.stderr, flush=True)
    return [row_of(name, taken, differences[name]) for name, taken in times.items()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revisions", description=__doc__)
    parser.add_argument("old", type=Path, help="folder of the old checkout")
    parser.add_argument("new", type=Path, help="folder of the new checkout")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of times for each row")
    parser.add_argument("--cases", nargs="+", default=[""], help="parts of the names of the cases to measure")
    parser.add_argument("--quick", action="store_true", help="a few steps: does it work? Its times mean nothing")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/revisions-<device>.json")
    options = parser.parse_args()
    folders = {OLD: options.old.resolve(), NEW: options.new.resolve()}
    settings = {"machine": machine(), "pairs": options.pairs}
    rows = measure(folders, options.cases, options.pairs, options.quick)
    head = ("case", "quantity", "new / old", "quartiles", "range", "old [s]", "new [s]", "difference")
    print(table(head, [line(row) for row in rows]))
    if options.write:
        name = "revisions-quick" if options.quick else "revisions"
        print(write_rows(ROOT / "benchmarks" / "results", name, settings, rows))


if __name__ == "__main__":
    main()
