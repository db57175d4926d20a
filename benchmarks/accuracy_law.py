"""Fit the law of data_gen/solver/accuracy.py to measured errors: `python -m benchmarks.accuracy_law`.

Fits the coefficients of the space's error to the rows with both corrections of rough and layered media, those of
samples to the rows with the temporal correction alone, that of the time step to those without, and prints how far the
law is off in every medium.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.accuracy_cases import PEAK_FREQUENCY, SPACING
from benchmarks.report import results_path
from benchmarks.worker import ROOT
from data_gen.solver.accuracy import LAWS, RANGE, Law, samples_error, spatial_error, temporal_error

FITTED = ("rough", "layered")


def within_range(rows: list[dict], kind: str) -> list[dict]:
    """The rows whose errors are within the range of the law."""
    return [row for row in rows if RANGE[0] <= row[kind] <= RANGE[1]]


def logarithms(law: Law, rows: list[dict], kind: str) -> np.ndarray:
    """The logarithms of expected over measured errors."""
    ratios = []
    for row in rows:
        about = PEAK_FREQUENCY, row["duration"]
        expected = spatial_error(law, row["order"], row["spacing"], row["slowest"], *about)
        if row["corrections"] != "both":
            expected = np.hypot(expected, samples_error(law, SPACING, row["slowest"], *about))
        if row["corrections"] == "none":
            expected = np.hypot(expected, temporal_error(law, row["step"], *about))
        ratios.append(np.log(expected / row[kind]))
    return np.array(ratios)


def fit(rows: list[dict], kind: str) -> Law:
    """The coefficients of a kind."""
    mine = [row for row in rows if row["medium"] in FITTED and not row["optimized"]]
    mine = [row for row in mine if row["refinement"] == 1]
    both, timed, bare = (
        within_range([row for row in mine if row["corrections"] == c], kind) for c in ("both", "time", "none")
    )

    def unpacked(x: np.ndarray) -> Law:
        slowness, way, medium = map(float, np.exp(x))
        return Law(slowness, way, 0.0, medium, 0.0)

    start = np.log([1.3, 0.3, 0.1])
    law = unpacked(least_squares(lambda x: logarithms(unpacked(x), both, kind), start, loss="soft_l1").x)
    law = fit_one(law, "samples", timed, kind)
    # Order 4 errs as much in space, with the other sign.
    return fit_one(law, "duration", [row for row in bare if row["order"] > 4], kind)


def fit_one(law: Law, name: str, rows: list[dict], kind: str) -> Law:
    """The law with one coefficient fitted to rows; as it is where there are none."""

    def changed(x: np.ndarray) -> Law:
        return law._replace(**{name: float(np.exp(x[0]))})

    return changed(least_squares(lambda x: logarithms(changed(x), rows, kind), [-2.0]).x) if rows else law


def report(rows: list[dict], kind: str, law: Law) -> None:
    """Print how far the law is off."""
    for corrections in ("both", "time", "none"):
        for medium in dict.fromkeys(row["medium"] for row in rows):
            mine = [
                r for r in rows if r["medium"] == medium and r["corrections"] == corrections and r["refinement"] == 1
            ]
            mine = [row for row in mine if not row["optimized"]]
            for side in sorted({row["side"] for row in mine}):
                chosen = within_range([row for row in mine if row["side"] == side], kind)
                if chosen:
                    off = logarithms(law, chosen, kind)
                    spread, low, high = (float(x) for x in np.exp([np.sqrt(np.mean(off**2)), off.min(), off.max()]))
                    within = np.mean(np.abs(off) <= np.log(1.5))
                    print(
                        f"{kind:10}{corrections:5}{medium:18}{side:4}: expected / measured {low:.2f} to {high:.2f}, "
                        f"root mean square {spread:.2f}, {within:.0%} of {len(off)} within 1.5"
                    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_law", description=__doc__)
    parser.add_argument(
        "results", type=Path, nargs="*", default=[results_path(ROOT / "benchmarks/results", "accuracy")]
    )
    rows = [row for path in parser.parse_args().results for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    rows = [row for row in rows if "corrections" in row]
    for kind in LAWS:
        law = fit(rows, kind)
        print(f"{kind}: {', '.join(f'{name}={value:.3g}' for name, value in law._asdict().items())}")
        report(rows, kind, law)


if __name__ == "__main__":
    main()
