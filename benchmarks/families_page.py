"""Write docs/results/families.md and its figure from what `benchmarks.families` found."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from scipy.stats import spearmanr

from benchmarks.accuracy_page import table

TITLES = {"wavefield": "Wavefields", "gather": "Gathers"}
BINS = (0.0, 1.0, 2.0, 4.0, 8.0, np.inf)
COARSE = "coarse solver"
COLORS = ScalarMappable(Normalize(0.2, 1.2), "viridis_r")
INTRO = """# Trained on one family, tried on others

Surrogates of wavefields and of gathers, each trained on one of OpenFWI's ten families alone or on all ten, predict test
models of every family and of three that none has learned from, by `python -m benchmarks.families`: 70 x 70 cells of
10 m, 15 Hz, {train} training models with {shots} shots, {steps} steps of {batch}, the same operator (`model=fno_patch`,
width 32, 3 blocks, 32 products) and the same coarse solver before each; {test} test models a family. {machine}

Errors are relative L2 against the data, mean over the test models, in percent. **Bold**: trained on that family.
"""
CALIBRATION = """
### What the distance says

The *penalty* of a model is the error of a surrogate over that of the surrogate that was trained on the model's own
family (on all ten, for the last three columns); those surrogates themselves are left out. The *distance* of a model
from the training models is that of `surrogate/models/training_distance.py`; beyond {far:g}, `predict` warns.

{bins}
Rank correlation (Spearman) over all models and trainings: of distance and penalty {penalty:.2f}, of distance and error
{error:.2f}. Over the models of each training by itself, of the error and that of the coarse solver {coarse:.2f}
(median; least {coarse_least:.2f}), of the error and the size of the correction, |prediction - coarse| / |prediction|,
{correction:.2f}.
"""


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    found: Any = spearmanr(a, b)  # SciPy's own annotation has no name for the statistic
    return float(found.statistic)


def matrix(rows: list[dict[str, Any]]) -> tuple[list[str], list[str], np.ndarray]:
    """Names of the trainings and of the families, and mean errors; the coarse solver's are the last row."""
    families = list(rows[0]["families"])
    means = [[np.mean(row["families"][family]["errors"]) for family in families] for row in rows]
    means.append([np.mean(rows[0]["families"][family]["coarse_solver"]) for family in families])
    return [*(row["name"] for row in rows), COARSE], families, np.array(means)


def penalties(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Distance and penalty of every test model for every training."""
    errors = {
        row["name"]: {family: np.array(found["errors"]) for family, found in row["families"].items()} for row in rows
    }
    generalist = rows[-1]["name"]
    distances, ratios = [], []
    for row in rows:
        for family, found in row["families"].items():
            if family == row["name"] or (row["name"] == generalist and family not in errors):
                continue  # 1 by definition
            distances.append(found["distances"])
            ratios.append(found["errors"] / errors[family if family in errors else generalist][family])
    return np.concatenate(distances), np.concatenate(ratios)


def _lines(rows: list[dict[str, Any]]) -> str:
    names, families, means = matrix(rows)
    lines = []
    for name, of_training in zip(names, means, strict=True):
        cells = (f"{100 * value:.2f}" for value in of_training)
        shown = (f"**{text}**" if family == name else text for family, text in zip(families, cells, strict=True))
        lines.append((name.replace("_", " "), *shown))
    return table(("trained on", *(family.replace("_", " ") for family in families)), lines)


def _in_words(rows: list[dict[str, Any]]) -> str:
    names, _, means = matrix(rows)
    count = len(names) - 2  # without the mixture and the coarse solver
    square, own, coarse = means[:count, :count], np.diag(means[:count, :count]), means[-1, :count]
    off = square[~np.eye(count, dtype=bool)] / np.broadcast_to(own, square.shape)[~np.eye(count, dtype=bool)]
    worse = int((means[:-1] > means[-1]).sum())
    return (
        f"Away from its own family a surrogate errs by {np.median(off):.2f} times what the specialist of that family "
        f"errs by (median; largest {off.max():.2f}). The mixture of all ten, with as many models, errs by "
        f"{np.median(means[count, :count] / own):.2f} times that. The specialists themselves take "
        f"{100 * (1 - np.median(own / coarse)):.0f} % off the coarse solver's error (median of the ten). "
        f"{worse} of {means[:-1].size} pairs err more than the coarse solver."
    )


def _calibration(rows: list[dict[str, Any]], far: float) -> str:
    distances, ratios = penalties(rows)
    lines = []
    for low, high in pairwise(BINS):
        inside = ratios[(distances >= low) & (distances < high)]
        if len(inside):
            span = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
            numbers = np.median(inside), np.percentile(inside, 90), inside.max()
            lines.append((span, str(len(inside)), *(f"{number:.2f}" for number in numbers)))

    def of_models(row: dict[str, Any], key: str) -> np.ndarray:
        return np.concatenate([found[key] for found in row["families"].values()])

    errors = [of_models(row, "errors") for row in rows]
    coarse = [spearman(of_models(row, "coarse_solver"), error) for row, error in zip(rows, errors, strict=True)]
    correction = [spearman(of_models(row, "corrections"), error) for row, error in zip(rows, errors, strict=True)]
    return CALIBRATION.format(
        far=far,
        bins=table(("distance", "models", "penalty, median", "90th percentile", "largest"), lines),
        penalty=spearman(distances, ratios),
        error=spearman(np.concatenate([of_models(row, "distances") for row in rows]), np.concatenate(errors)),
        coarse=np.median(coarse),
        coarse_least=min(coarse),
        correction=np.median(correction),
    )


def figure(card: dict[str, Any], path: Path) -> None:
    """Draw the error of each pair over that of the coarse solver, as a heat map for each kind."""
    panels, axes = plt.subplots(1, len(TITLES), figsize=(12, 5.2), sharey=True, layout="constrained")
    for ax, (kind, title) in zip(axes, TITLES.items(), strict=True):
        names, families, means = matrix([row for row in card["rows"] if row["kind"] == kind])
        ratios = means[:-1] / means[-1]
        ax.imshow(ratios, cmap=COLORS.cmap, norm=COLORS.norm)
        for (i, j), value in np.ndenumerate(ratios):
            color = "white" if value > 0.8 else "black"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=color, fontsize=7)
        ax.set_xticks(range(len(families)), [family.replace("_", " ") for family in families], rotation=60, ha="right")
        ax.set_yticks(range(len(names) - 1), [name.replace("_", " ") for name in names[:-1]])
        ax.set(title=title, xlabel="tried on")
    axes[0].set_ylabel("trained on")
    panels.colorbar(COLORS, ax=axes, label="error over that of the coarse solver", shrink=0.85)
    panels.savefig(path, dpi=80)
    plt.close(panels)


def write_page(results: Path, docs: Path) -> Path:
    """Write the page and its figure; return the page's path."""
    page = docs / "results" / "families.md"
    for folder in (page.parent, docs / "_static"):
        folder.mkdir(parents=True, exist_ok=True)
    text = ""
    for path in sorted(results.glob("families-*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        machine, name = card["machine"], f"{path.stem}.png"
        where = f"Seed 0; {machine['cores_used']} core(s) of {machine['processor']}, jax {card['jax']}."
        figure(card, docs / "_static" / name)
        text += INTRO.format(**card["setup"], machine=where)
        text += f"\n![Error of each training on each family, over that of the coarse solver](../_static/{name})\n"
        for kind, title in TITLES.items():
            rows = [row for row in card["rows"] if row["kind"] == kind]
            text += f"\n## {title}\n\n{_in_words(rows)}\n\n{_lines(rows)}{_calibration(rows, card['far'])}"
    page.write_text(text, encoding="utf-8")
    return page
