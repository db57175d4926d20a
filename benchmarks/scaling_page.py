"""Write docs/results/scaling.md and its figure from what `benchmarks.scaling` found."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.accuracy_page import table

TITLES = {"coarse": "Fed with a coarse solver's fields", "source_map": "From the velocity and the source alone"}
SHORT = {"coarse": "fed with coarse fields", "source_map": "from the velocity alone"}
# Key of a row along each axis, and what it counts.
COUNTED = {"models": "training models", "parameters": "parameters", "steps": "steps"}
INTRO = """# What more data, parameters or steps would buy

Surrogates of wavefields, by `python -m benchmarks.scaling`: 64 x 64 cells of 10 m, 20 Hz, the six families of
`data=wavefield_small`, `model=fno_patch` of 4 blocks. Each was trained on {models} models of one shot with a width of
{width} in {steps} steps of {batch}, but for the one number that its row names. {machine}

Errors are relative L2 against the data, mean over {test} test models. An error is taken to follow a power of a number,
E ~ n^-c, with c by least squares of the logarithms; how far the points are off says how good a law that is.
"""
SEEDS = "Three seeds have errors of {}: what differs less than they do is chance."


def rows_along(rows: list[dict[str, Any]], base: dict[str, int], key: str) -> list[dict[str, Any]]:
    """Rows that differ from BASE along one axis alone, in its order."""
    axis = "width" if key == "parameters" else key
    others = [name for name in base if name != axis]
    return sorted((row for row in rows if all(row[name] == base[name] for name in others)), key=lambda row: row[key])


def power_law(numbers: list[float], errors: list[float]) -> tuple[float, float, float]:
    """Fit E = a n^-c: c, a, and the largest factor by which a point is off."""
    slope, start = np.polyfit(np.log(numbers), np.log(errors), 1)
    off = np.abs(np.log(errors) - start - slope * np.log(numbers)).max()
    return -float(slope), float(np.exp(start)), float(np.exp(off))


def _laws(rows: list[dict[str, Any]], base: dict[str, int]) -> str:
    lines = []
    for key, counted in COUNTED.items():
        found = rows_along(rows, base, key)
        numbers, errors = [row[key] for row in found], [row["error"] for row in found]
        exponent, _, off = power_law(numbers, errors)
        span = f"{numbers[0]:,} to {numbers[-1]:,}"
        last = f"{numbers[-1] / numbers[-2]:.3g} x: {errors[-1] / errors[-2] - 1:+.0%}"
        listed = ", ".join(f"{error:.4g}" for error in errors)
        lines.append((counted, span, listed, f"{exponent:.2f}", f"{off - 1:.0%}", f"{10**-exponent:.2f}", last))
    heads = ("number", "from, to", "errors", "c", "points are off by", "tenfold: error times", "the last step")
    return table(heads, lines)


def _in_words(rows: list[dict[str, Any]], base: dict[str, int]) -> str:
    seeds = ", ".join(f"{row['error']:.4g}" for row in rows_along(rows, base, "seed"))
    (larger,) = (row for row in rows if row["width"] != base["width"] and row["steps"] != base["steps"])
    return (
        f"{SEEDS.format(seeds)} The coarse solver errs by {rows[0]['coarse_solver']:.4g}. With a width of "
        f"{larger['width']} and {larger['steps']} steps at once: {larger['error']:.4g}."
    )


def figure(card: dict[str, Any], path: Path) -> None:
    """Draw the error against each number, with its law."""
    panels, axes = plt.subplots(1, len(COUNTED), figsize=(12, 4), sharey=True, layout="constrained")
    for ax, (key, counted) in zip(axes, COUNTED.items(), strict=True):
        for kind, label in SHORT.items():
            found = rows_along([row for row in card["rows"] if row["kind"] == kind], card["base"], key)
            numbers, errors = np.array([row[key] for row in found]), [row["error"] for row in found]
            exponent, factor, _ = power_law(list(numbers), errors)
            (line,) = ax.loglog(numbers, errors, "o", label=label)
            ax.loglog(numbers, factor * numbers**-exponent, color=line.get_color(), lw=1, label=f"c = {exponent:.2f}")
            ax.set_xticks(numbers, [f"{number:,}" for number in numbers], fontsize=8)
        ax.axhline(card["rows"][0]["coarse_solver"], color="gray", ls="--", lw=1, label="coarse solver alone")
        ax.minorticks_off()
        ax.set_xlabel(counted)
        ax.legend(fontsize=8, loc="center right", bbox_to_anchor=(1, 0.6))
    axes[0].set(ylabel="relative L2 error", yticks=(ticks := [0.03, 0.05, 0.1, 0.2, 0.5]))
    axes[0].set_yticklabels([f"{tick:g}" for tick in ticks])
    panels.savefig(path, dpi=80)
    plt.close(panels)


def write_page(results: Path, docs: Path) -> Path:
    """Write the page and its figure; return the page's path."""
    page = docs / "results" / "scaling.md"
    for folder in (page.parent, docs / "_static"):
        folder.mkdir(parents=True, exist_ok=True)
    text = ""
    for path in sorted(results.glob("scaling-*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        machine, base = card["machine"], card["base"]
        where = f"{machine['processor']}, jax {card['jax']}."
        figure(card, docs / "_static" / f"{path.stem}.png")
        numbers = {name: f"{value:,}" for name, value in base.items()}
        text += INTRO.format(**numbers, batch=card["batch"], test=card["test"], machine=where)
        text += f"\n![Error against data, parameters and steps](../_static/{path.stem}.png)\n"
        for kind, title in TITLES.items():
            rows = [row for row in card["rows"] if row["kind"] == kind]
            text += f"\n## {title}\n\n{_in_words(rows, base)}\n\n{_laws(rows, base)}"
    page.write_text(text, encoding="utf-8")
    return page
