"""Compare the curves of trainings in the terminal, and on a page: `wave curves runs/a runs/b --page curves.html`.

Each RUN is the folder of a run, or a folder above several. The curves are those of `metrics.jsonl`: no account is
needed, and a run that is under way can be looked at.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.console import print_table
from data_gen.common.errors import InputError, one_paragraph
from surrogate.report.page import write_curves
from surrogate.report.trainings import Training, read_trainings, settings

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # signs of a curve
SERIES = ("loss", "validation")


def spark(values: list[tuple[int, float]], last: int, low: float, high: float) -> str:
    """Draw a curve as a line of bars, whose heights are logarithms.

    Args:
        values: Step and value, which is positive, of each point.
        last: Step at the right end of the line.
        low: Value of the lowest bar.
        high: Value of the highest bar.

    Returns:
        WIDTH signs; a blank where no value is known.
    """
    places: dict[int, list[float]] = {}
    for step, value in values:
        places.setdefault(min(step * WIDTH // max(last, 1), WIDTH - 1), []).append(value)
    span = max(np.log(high / low), np.finfo(float).tiny)
    heights = {
        place: max(0, int(len(BARS) * np.log(max(np.mean(here), low) / low) / span)) for place, here in places.items()
    }
    return "".join(BARS[min(heights[place], len(BARS) - 1)] if place in heights else " " for place in range(WIDTH))


def curves_table(trainings: list[Training]) -> dict[str, Any]:
    """Make a table of runs: their curves on one scale for each series, and their last and best values.

    Args:
        trainings: Runs.

    Returns:
        The table, as `print_table` takes it.
    """
    known = {
        name: [[(step, value) for step, value in training.curve(name) if value > 0] for training in trainings]
        for name in SERIES
    }
    last = max(training.steps for training in trainings)
    values = {name: [value for curve in curves for _, value in curve] for name, curves in known.items()}
    ends = {name: (min(found), max(found)) for name, found in values.items() if found}
    rows = []
    for number, (training, differing) in enumerate(zip(trainings, settings(trainings), strict=True)):
        cells = [f"{training.folder} {differing}".strip()]
        for name in SERIES:
            curve = known[name][number]
            cells += [spark(curve, last, *ends[name]), f"{curve[-1][1]:.4g}"] if curve else ["", ""]
        error, step = training.best
        rows.append(
            [*cells, *([f"{error:.4f}", str(step)] if step else ["none", ""]), f"{training.step}/{training.steps}"]
        )
    scale = "; ".join(f"{name} from {low:.3g} to {high:.3g}" for name, (low, high) in ends.items())
    return {
        "title": "Curves",
        "columns": [
            "run, and its settings where they differ",
            "loss",
            "last",
            "validation",
            "last",
            "best",
            "at",
            "steps",
        ],
        "rows": rows,
        "note": f"Heights are logarithms, {scale or 'no values so far'}; lines end at step {last}.",
    }


@one_paragraph
def main() -> None:
    """Print the curves of the runs that the command line names, and write the page where one is wanted."""
    parser = argparse.ArgumentParser(
        prog="wave curves", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a run, or a folder above several")
    parser.add_argument("--page", type=Path, help="file for a page with the curves of all runs in one figure")
    options = parser.parse_args()
    found = {training.folder: training for root in options.runs for training in read_trainings(root)}
    trainings = list(found.values())
    for root in options.runs:
        if not any(training.folder.is_relative_to(root) for training in trainings):
            raise InputError(
                f"There is no run at {root} or below it. Give the folder of a run, as run= of `wave train` names it."
            )
    print_table(curves_table(trainings))
    if options.page is not None:
        write_curves(options.page, trainings)
        print(f"\nPage: {options.page}")
