"""Write docs/results/operator_start.md from what `benchmarks.operator_start` found."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.accuracy_page import table

MODELS = ("smooth", "after smooth", "operator", "after operator")
MEASURES = {"mae": ("MAE [m/s]", ".0f"), "error": ("Relative L2 error", ".3f"), "ssim": ("SSIM", ".2f")}
BAR = 1 / 3  # of the operator's error, which physics is to reach
INTRO = """# Inversions from an operator's answer

What physics adds to the answer of an operator, and what it reaches from a smooth start, by
`python -m benchmarks.operator_start`. The operator is the run of `experiment=inverse_openfwi`, `task=inverse`
({steps} steps of {batch} of {samples} samples): it maps the gathers of 5 shots to 70 x 70 cells of 10 m. Models are new
ones, of a seed that no data set has. Their data come from cells of {data_spacing:g} m and differences of order
{order[data]}; the operator learned from cells of 14.3 m, and inversions have order {order[inversion]} and the cells of
their stages.

- **smooth**: the true model smoothed by a Gaussian of {smoothing:g} m. It knows the long waves of the truth, which
  nobody does of the ground.
- **operator**: `inversion.start=operator`, the answer within {bounds[0]:g} to {bounds[1]:g} m/s.
- **after**: L-BFGS from there, with the illumination by the sources and total variation (weight {variation:g}):
  {stages}. The first frequency and the weight were chosen on the first model of flat_vel_a, curve_fault_b and style_a.
- **left**: the part of the MAE of either start that is left after it, the median of the models' ratios. A third or less
  of the operator's was the aim. What is left of the smooth start's says what this survey and these iterations can do.

Medians over the models of a family, and over all. {machine}
"""


def _medians(rows: list[dict[str, Any]], measure: str) -> list[str]:
    return [f"{median(row[which][measure] for row in rows):{MEASURES[measure][1]}}" for which in MODELS]


def _left(rows: list[dict[str, Any]], start: str = "operator") -> float:
    """The part of a start's mean absolute error that is left after physics."""
    return median(row[f"after {start}"]["mae"] / row[start]["mae"] for row in rows)


def tables(rows: list[dict[str, Any]]) -> str:
    """A table of each measure: a line of each family, and of all."""
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    text = ""
    for measure, (name, _) in MEASURES.items():
        ratios = {f"left of {start}": start for start in ("smooth", "operator") if measure == "mae"}
        lines = [
            (family, str(len(some)), *_medians(some, measure), *(f"{_left(some, s):.2f}" for s in ratios.values()))
            for family, some in (families | {"all": rows}).items()
        ]
        text += f"\n## {name}\n\n" + table(("family", "models", *MODELS, *ratios), lines)
    met = [family for family, some in families.items() if _left(some) <= BAR]
    return text + f"\nFamilies with a third or less left: {', '.join(met) or 'none'}.\n"


def write_page(results: Path, docs: Path) -> Path:
    """Write the page; return its path."""
    page = docs / "results" / "operator_start.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    text = ""
    for path in sorted(results.glob("operator-start-*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        setup, machine = card["setup"], card["machine"]
        stages = "; ".join(
            f"{stage['highest_frequency']:g} Hz on cells of {stage['spacing']:.3g} m, {stage['iterations']} iterations"
            for stage in setup["stages"]
        )
        text += INTRO.format(
            **{key: setup[key] for key in ("data_spacing", "order", "smoothing", "bounds")},
            **card["training"],
            stages=stages,
            variation=card["inversion"]["regularizers"]["total_variation"]["weight"],
            machine=f"Seed {setup['seed']}; {machine['cores_used']} core(s) of {machine['processor']}, "
            "which did other work.",
        ) + tables(card["rows"])
    page.write_text(text, encoding="utf-8")
    return page
