"""Time our solver against its peers: `python -m benchmarks.solver` (see README.md)."""

import argparse
import os
import platform
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.measure import OURS, Findings, compare, compile_times, scaling
from benchmarks.peers import FORWARD, GRADIENT, PEERS
from benchmarks.worker import ROOT, Worker, WorkerError

SIDES, UPDATES = [64, 128, 256, 512, 1024], 5e7
# Just enough steps for the wavelet's peak (80) to reach receivers: a smoke test, no timing.
QUICK_STEPS, QUICK_SIDES, QUICK_UPDATES = 120, [64, 128], 1e6


def main() -> None:
    options = arguments()
    findings = Findings()
    chosen = [CASES[name] for name in options.cases]
    if options.quick:
        chosen = [replace(case, steps=QUICK_STEPS) for case in chosen]
    header = {"machine": report.machine(), "threads": os.cpu_count(), "repeats": options.repeats}
    if header["machine"]["load_average"] > 0.5:
        print("This machine is busy: solvers whose threads meet every step will look far slower than they are.")
    with ExitStack() as stack:
        workers = {OURS: stack.enter_context(Worker(OURS))}
        about = workers[OURS].ask("about")
        device, versions = about["device"], {"python": platform.python_version()} | about["versions"]
        for name in options.peers:
            worker = stack.enter_context(Worker(name))
            try:
                about = worker.ask("about")
            except WorkerError as error:
                findings.not_measured.append({"peer": name, "why": str(error)})
                continue
            versions |= about["versions"]
            if about["device"] == device:
                workers[name] = worker
            else:
                findings.not_measured.append({"peer": name, "why": f"runs on {about['device']}, ours on {device}"})
        for case in chosen:
            for quantity in (FORWARD, GRADIENT):
                print(f"{case.name}, {quantity}", flush=True)
                try:
                    compare(case, quantity, workers, options.repeats, findings, lambda text: print(text, flush=True))
                except WorkerError as error:
                    lost = {"case": case.name, "quantity": quantity, "peer": "all", "why": str(error)}
                    findings.not_measured.append(lost)
        sides, updates = (QUICK_SIDES, QUICK_UPDATES) if options.quick else (SIDES, UPDATES)
        scaling(sides, updates, options.repeats, workers[OURS], findings)
    for case in chosen:
        compile_times(case, findings)

    name = "quick" if options.quick else "solver"
    path = report.write(options.out, name, device, header | {"versions": versions}, findings)
    print(f"\n{report.tables(findings)}\n\n{path}")
    if any(not row["agrees"] for row in findings.agreement):
        sys.exit("Some answers disagree; they were not timed.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solver", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--repeats", type=int, help="pairs of times for each row (default 7, quick 1)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS} steps only: tests the harness")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 7)
    return options


if __name__ == "__main__":
    main()
