"""Our training step and prediction against neuraloperator's: `python -m benchmarks.training` (see README.md)."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.agreement import relative_error
from benchmarks.measure import OURS, paired_times, peak_bytes
from benchmarks.report import machine, slug
from benchmarks.training_cases import CASES, INFERENCE, TRAIN, Case
from benchmarks.worker import ROOT, Worker

PEER = "neuraloperator"
MODULES = {OURS: "ours_training", PEER: "neuraloperator"}
# Predictions of the same FNO with the same weights differ by rounding through four blocks (found: 4e-7). Training adds
# that AdamW takes a full step for a gradient that is only rounding (found after some steps: 5e-6).
LIMITS = {INFERENCE: 1e-5, TRAIN: 1e-3}


def spread(times: list[float]) -> list[float]:
    """The lower and the upper quartile."""
    if len(times) < 2:
        return [times[0], times[0]]
    low, _, high = quantiles(times, n=4, method="inclusive")
    return [low, high]


def make_row(label: dict[str, Any], steps: int, times: list[tuple[float, float]], **more: Any) -> dict[str, Any]:
    """One row of the results, from pairs of times (ours, peer's) of runs of so many steps [s]."""
    ours, theirs = ([pair[side] / steps for pair in times] for side in (0, 1))
    return label | {
        "peer": PEER,
        "ratio": median(b / a for a, b in zip(ours, theirs, strict=True)),
        "ours_s": median(ours),
        "peer_s": median(theirs),
        "ratio_quartiles": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "ours_quartiles_s": spread(ours),
        "peer_quartiles_s": spread(theirs),
        **more,
    }


def compare(case: Case, quantity: str, workers: dict[str, Worker], repeats: int) -> tuple[dict, float | None]:
    """The row of one case and quantity, and how far both answers are apart where they are the same function's."""
    chosen = {
        name: worker.ask("prepare", case=asdict(case), quantity=quantity)["configuration"]
        for name, worker in workers.items()
    }
    error = None
    if case.operator == "same":
        ours, theirs = (workers[name].array(case, quantity) for name in (OURS, PEER))
        error = relative_error(ours, theirs)
    times = paired_times(quantity, workers, {PEER: case}, repeats)[PEER]
    for worker in workers.values():
        worker.ask("forget")
    bytes_of = {name: peak_bytes(module, case, quantity, chosen[name]) for name, module in MODULES.items()}
    counts = {name: worker.ask("parameters", case=asdict(case))["count"] for name, worker in workers.items()}
    row = make_row(
        {"case": case.name, "quantity": quantity},
        case.steps,
        times,
        configuration=chosen[PEER],
        ours_bytes=bytes_of[OURS],
        peer_bytes=bytes_of[PEER],
        ours_parameters=counts[OURS],
        peer_parameters=counts[PEER],
    )
    return row, error


def measure(chosen: list[Case], repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything that is written."""
    found: dict[str, Any] = {"rows": [], "agreement": []}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(module)) for name, module in MODULES.items()}
        about = {name: worker.ask("about") for name, worker in workers.items()}
        devices = {name: answer["device"] for name, answer in about.items()}
        if len(set(devices.values())) > 1:
            raise SystemExit(f"Not on the same device, hence not comparable: {devices}. Install both for one device.")
        versions = {"python": platform.python_version()} | about[OURS]["versions"] | about[PEER]["versions"]
        for case in chosen:
            for quantity in (TRAIN, INFERENCE):
                row, error = compare(case, quantity, workers, repeats)
                text = f"{case.name}, {quantity}: {row['ratio']:.2f} times as fast"
                say(f"{text} ({row['ours_s']:.4f} s, {PEER} [{row['configuration']}] {row['peer_s']:.4f} s)")
                found["rows"].append(row)
                if error is not None:
                    label = {"case": case.name, "quantity": quantity, "peer": PEER}
                    agrees = error <= LIMITS[quantity]
                    found["agreement"].append(label | {"agrees": agrees, "error": error, "limit": LIMITS[quantity]})
                    say(f"  {'agrees' if agrees else 'DISAGREES'}: {error:.1e} (<= {LIMITS[quantity]:.0e})")
    return {"device": devices[OURS], "versions": versions} | found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=7, help="pairs of times for each row")
    parser.add_argument(
        "--quick", action="store_true", help="tiny, once: does the harness work? Its times mean nothing"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    chosen = [CASES[name] for name in options.cases]
    if options.quick:
        chosen, options.repeats = [replace(case.warm_up(), steps=2) for case in chosen], 1
    header = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": os.cpu_count(),
        "repeats": options.repeats,
        "cases": [asdict(case) for case in chosen],
    }
    results = measure(chosen, options.repeats, lambda text: print(text, flush=True))
    options.out.mkdir(parents=True, exist_ok=True)
    name = "training-quick" if options.quick else "training"
    path = options.out / f"{name}-{slug(results['device'])}.json"
    path.write_text(json.dumps({"device": results["device"]} | header | results, indent=1) + "\n", encoding="utf-8")
    print(path)
    if not all(answer["agrees"] for answer in results["agreement"]):
        sys.exit("Both are not the same function: their times do not compare.")


if __name__ == "__main__":
    main()
