"""Write docs/results/fidelity.md from what `benchmarks.fidelity` found."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.accuracy_page import table

INTRO = """# Gradients along an inversion

How near gradients of a misfit through a surrogate are to the solver's, where an inversion through the solver passes, by
`python -m benchmarks.fidelity`. Data and training are those of `make demo` of 29 November 2026 (64 x 64 cells of 10 m,
20 Hz, 2,000 models, 700 steps of 8), {models} models of its test split, {shots} shots each at the same depth. The
inversion is by Adam with steps of {learning_rate:g} m/s from the true model smoothed by 8 cells.

{operators}
- **cosine**: of the gradient with the solver's, away from sources; the median of the models, and the worst in brackets.
- **fall**: of the error of the model by the same inversion through that forward model alone, over the fall by the
  solver's own; median, and worst in brackets. 1 is as good as the solver.
- **validation**: relative L2 error on the validation split.

{machine}
"""
OPERATORS = {
    "coarse": "- **FNO, coarse**: fed with the field of the coarse solver, on cells twice as large.",
    "jacobian": "- **with Jacobian loss**: the same, trained with `training.loss.jacobian={jacobian:g}`.",
    "fine": "- **FNO, finer cells**: fed with the field of the coarse solver on cells {ratio:g} times as large.",
    "source_map": "- **FNO, source_map**: fed with velocity and source only.",
}
NAMES = {
    "coarse": "FNO, coarse",
    "jacobian": "FNO, coarse, with Jacobian loss",
    "fine": "FNO, finer cells",
    "source_map": "FNO, source_map",
}
TITLES = {"wavefield": "Wavefields", "gather": "Gathers, the field at the receivers at the snapshots' times"}


def _summary(values: list[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f})"


def _lines(card: dict[str, Any], kind: str) -> list[tuple[str, ...]]:
    """A line of each operator, and of each coarse solver that they are compared with."""

    def cosines(path: dict[str, Any], method: str) -> list[str]:
        of = (places[method]["cosine"] for places in path.values())
        return [f"{cosine['median']:.3f} ({cosine['worst']:.3f})" for cosine in of]

    rows = card["rows"]
    lines: list[tuple[str, ...]] = [
        (
            str(NAMES.get(row["name"], row["name"])),
            f"{row['validation']:.4f}",
            *cosines(row["kinds"][kind]["path"], "surrogate"),
            _summary(row["kinds"][kind]["alone"]),
        )
        for row in rows
    ]
    for ratio, falls in card["coarse_solver"].items():
        path = next(row["kinds"][kind]["path"] for row in rows if f"{row['ratio']:g}" == ratio)
        name = f"coarse solver, cells {ratio} times as large"
        lines.append((name, "", *cosines(path, "coarse_solver"), _summary(falls[kind])))
    return lines


def write_page(results: Path, docs: Path) -> Path:
    """Write the page; return its path."""
    page, text = docs / "results" / "fidelity.md", ""
    page.parent.mkdir(parents=True, exist_ok=True)
    for path in sorted(results.glob("fidelity-*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        machine = card["machine"]
        text += INTRO.format(
            **{key: card[key] for key in ("models", "shots", "learning_rate")},
            operators="\n".join(
                OPERATORS[row["name"]].format(jacobian=row["jacobian"], ratio=row["ratio"])
                for row in card["rows"]
                if row["name"] in OPERATORS
            ),
            machine=f"Seed 0; {machine['cores_used']} core(s) of {machine['processor']}, jax {card['jax']}.",
        )
        head = ("", "validation", "start", *(f"after {place}" for place in card["places"]), "fall")
        for kind, title in TITLES.items():
            text += f"\n## {title}\n\n" + table(head, _lines(card, kind))
    page.write_text(text, encoding="utf-8")
    return page
