"""Write docs/results/fidelities.md from what `benchmarks.fidelities` found."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from scipy.stats import sem, spearmanr, t

from benchmarks.accuracy_page import table

HEAD = (
    *("cheap model", "error of fields", "1 - cosine", "simulations", "worst", "misfit", "fall of error"),
    *("alone: misfit", "fall of error"),
)
INTRO = """# Cheap models of any quality

How `forward=corrected` fares with cheap models from good to useless, by `python -m benchmarks.fidelities`: {models}
models of {cells[0]} x {cells[1]} cells of {spacing:g} m, rough random media, from the test split of `data=reference`;
{shots} shots near the top, whole wavefields at the snapshots. Data come from finer cells and differences of order 12,
with noise of {decibels:g} dB. Start: the true model smoothed by {smoothing:g} cells. L-BFGS through the solver makes
{iterations} iterations; `forward=corrected` may use {extra:g} times its simulations. The medians over the models:

- **Error of fields**, **1 - cosine**: how far the fields of the cheap model and the gradients of its misfit are off, in
  the mean over the start, the model that L-BFGS ends with, and the one between them.
- **Simulations**: by the solver, until the misfit is {reached:g} times that of L-BFGS at its end, over those of L-BFGS;
  **worst** of all models. A dash: not with {extra:g} times as many.
- **Misfit**, **fall of error**: at the end, over those of L-BFGS. The fall is that of the model error from the start.
- **Alone**: L-BFGS through the cheap model itself, as many iterations; its misfit is simulated by the solver.

"""


def first(history: dict[str, list[float]], misfit: float) -> float | None:
    """The simulations by the solver until a misfit is reached; None if it never is."""
    return next((n for n, x in zip(history["used"], history["true_misfit"], strict=True) if x <= misfit), None)


def cost(row: dict[str, Any], name: str, reached: float) -> float | None:
    """The simulations with a cheap model, over those of L-BFGS, until the misfit is near that of L-BFGS at its end."""
    wanted = reached * row["plain"]["misfit"]
    ours, plain = first(row["corrected"][name]["history"], wanted), first(row["plain"]["history"], wanted)
    return None if ours is None or plain is None else ours / plain


def fall(row: dict[str, Any], end: dict[str, Any]) -> float:
    """The fall of the model error, over that of L-BFGS."""
    return (row["start"] - end["error"]) / (row["start"] - row["plain"]["error"])


def lines_of(card: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line of each cheap model."""
    rows = card["rows"]
    for name in rows[0]["corrected"]:
        costs = [cost(row, name, card["reached"]) for row in rows]
        known = sorted(np.inf if x is None else x for x in costs)
        typical, worst = (f"{x:.2f}" if np.isfinite(x) else "-" for x in (median(known), known[-1]))
        off = [median(row["off"][name][key] for row in rows) for key in ("field_error", "cosine")]
        ends = []
        for way in ("corrected", "alone"):
            ends.append(f"{median(row[way][name]['misfit'] / row['plain']['misfit'] for row in rows):.3g}")
            ends.append(f"{median(fall(row, row[way][name]) for row in rows):.2f}")
        yield (name, f"{off[0]:.3g}", f"{1 - off[1]:.2g}", typical, worst, *ends)


def interval(values: list[float]) -> str:
    """The mean with its 95 % interval, by Student's t."""
    low, high = t.interval(0.95, len(values) - 1, mean(values), sem(values))
    return f"{mean(values):+.3f} ({low:+.3f} to {high:+.3f})"


def learning(rows: list[dict[str, Any]], limit: float, reached: float) -> str:
    """Whether the trained operator helps more than the coarse solver that it is fed with, model by model."""

    def paid(row: dict[str, Any], name: str) -> float:
        found = cost(row, name, reached)
        return limit if found is None else found

    spared = [paid(row, "coarse") - paid(row, "trained") for row in rows]
    falls = [fall(row, row["corrected"]["trained"]) - fall(row, row["corrected"]["coarse"]) for row in rows]
    return (
        "\n## Does learning help?\n\n"
        "The trained operator against the coarse solver that it is fed with, both corrected: "
        f"the mean over {len(rows)} models with its 95 % interval (Student's t). Simulations spared, in those of "
        f"L-BFGS: {interval(spared)}. Fall of the error beyond that with the coarse solver, in that of L-BFGS: "
        f"{interval(falls)}.\n"
    )


def prediction(rows: list[dict[str, Any]], limit: float, reached: float) -> str:
    """Whether the fidelity of a cheap model predicts what it costs."""
    pairs = [(row, name) for row in rows for name in row["corrected"]]
    costs = [limit if (found := cost(row, name, reached)) is None else found for row, name in pairs]
    offs = ([row["off"][name][key] for row, name in pairs] for key in ("cosine", "field_error"))
    ranks: list[Any] = [spearmanr(off, costs) for off in offs]  # SciPy's own annotation has no name for the statistic
    by_gradient, by_field = (each.statistic for each in ranks)
    return (
        f"\n## Does fidelity predict cost?\n\nRank correlation (Spearman) with the simulations of {len(pairs)} pairs "
        f"of cheap model and velocity model, where a dash counts as {limit:g}: {-by_gradient:.2f} of 1 - cosine, "
        f"{by_field:.2f} of the error of fields.\n"
    )


def write_page(results: Path, docs: Path) -> Path:
    """Write the page; return its path."""
    page, text = docs / "results" / "fidelities.md", ""
    page.parent.mkdir(parents=True, exist_ok=True)
    for path in sorted(results.glob("fidelities-*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        rows, grid, used = card["rows"], card["grid"], card["machine"]
        keys = ("shots", "decibels", "smoothing", "extra", "reached")
        numbers = {key: card[key] for key in keys} | {"cells": grid["shape"], "spacing": grid["spacing"]}
        text += INTRO.format(models=len(rows), iterations=card["inversion"]["iterations"], **numbers)
        text += table(HEAD, list(lines_of(card)))
        operators = "; ".join(
            f"{name}: {run['steps']} steps of {run['batch']} of {run['samples']} samples, weight of the Jacobian loss "
            f"{run['jacobian']:g}, validation {run['validation']:.4f}"
            for name, run in card["training"].items()
        )
        text += (
            f"\nOperators: {operators}; shuffled: the weights of trained in a random order; wild: these, with a "
            f"correction as large as the fields. {used['cores_used']} core(s) of {used['processor']}.\n"
        )
        text += learning(rows, card["extra"], card["reached"]) + prediction(rows, card["extra"], card["reached"])
        if "note" in card:  # on what has changed since
            text += f"\n{card['note']}\n"
    page.write_text(text, encoding="utf-8")
    return page
