"""Write docs/results/counted_work.md from what `benchmarks.counted_work` counted."""

import json
from pathlib import Path
from typing import Any

from benchmarks.accuracy_page import table

INTRO = """# Counted work: what a GPU could make of a surrogate

S on two cores is measured ([Evaluating](../guides/evaluating.md)). No GPU has measured it yet. This page
**counts, and measures nothing**: it compares the work of a surrogate with that of our solver at the same error against
the wave equation, as if one kind of work were all that takes time (`python -m benchmarks.counted_work NAME=RUN...`).

- **launches**: what has to follow one another: time steps of the loops, and instructions of the compiled operator. This
  is the limit of few cells on a large GPU.
- **traffic**: bytes read and written; a time step reads three fields and writes one. The limit of many shots at once.
- **arithmetic**: floating-point operations. The limit of loops whose fields stay on the chip.
- **S of counts**: the solver's count over the surrogate's; **of no operator**: over that of the encoding alone.

All counts are for the shots of one model. XLA counted what is not a time loop in programs compiled for a CPU, which are
fused less than those for a GPU: launches and traffic of an operator are upper bounds.
"""
TITLES = {"launches": "launches", "traffic": "traffic [GB]", "arithmetic": "arithmetic [GFLOP]"}
UNITS = {"launches": 1.0, "traffic": 1e9, "arithmetic": 1e9}


def _lines(row: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line of each kind of work."""
    lines = []
    for kind, title in TITLES.items():
        solver, encoding, prediction = (row[part][kind] for part in ("solver", "encoding", "prediction"))
        counts = (f"{count / UNITS[kind]:.3g}" for count in (solver, encoding, prediction))
        lines.append((title, *counts, f"{solver / prediction:.2f}", f"{solver / encoding:.2f}"))
    return lines


def write_page(results: Path, docs: Path) -> Path:
    """Write the page; return its path."""
    page, text = docs / "results" / "counted_work.md", INTRO
    page.parent.mkdir(parents=True, exist_ok=True)
    card = json.loads(next(results.glob("counted-work-*.json")).read_text(encoding="utf-8"))
    head = ("", "solver", "encoding", "encoding and operator", "S of counts", "of no operator")
    for row in card["rows"]:
        height, width = row["shape"]
        text += f"\n## {row['name']}\n\n{height} x {width}, {row['shots']} shots, error {row['error']:.4f}.\n\n"
        text += table(head, _lines(row))
    page.write_text(text, encoding="utf-8")
    return page
