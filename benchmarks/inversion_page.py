"""Write docs/results/inversion.md and its figures from the cards of `benchmarks.inversion`."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.accuracy_page import table

NAMES = {
    "ours": "ours, L-BFGS",
    "adam": "ours, Adam",
    "batches": "ours, L-BFGS in batches",
    "adam_batches": "ours, Adam in batches",
    "corrected": "ours, corrected coarse",
    "coarse_first": "ours, coarse first",
    "coarse_corrected": "ours, coarse first, then corrected",
    "deepwave": "Deepwave, SciPy's L-BFGS-B",
    "deepwave_torch": "Deepwave, PyTorch's L-BFGS",
}
COLORS = {
    "ours": "tab:blue",
    "adam": "tab:cyan",
    "batches": "tab:purple",
    "adam_batches": "tab:pink",
    "corrected": "tab:green",
    "coarse_first": "tab:olive",
    "coarse_corrected": "tab:brown",
    "deepwave": "tab:red",
    "deepwave_torch": "tab:orange",
}
INTRO = """# Inversion

Named set-ups, inverted by `python -m benchmarks.inversion`, from known models. Data come from finer cells and another
order of the differences than inversions have. Every contender has the same data, start, bounds, stages, cells of the
stages, and size of the first step.

- **Noise**: `clean` has none; `10dB` has noise of the wavelet's spectrum, 10 dB below the data; `field` has this noise
  and a tenth of the traces dead, and contenders are given a wavelet whose phase is 30 degrees off. There ours gives no
  weight to dead traces, as `wave invert observed=FILE` does, and estimates the wavelet along (`inversion.source=one`).
  Deepwave estimates no wavelet, and is not run on it.
- **Diagnosis**: what `wave diagnose invert` names in these data.

- **Error**: relative L2 error of the whole model, and of the cells within a mask, which the starting model and the
  survey decide: `S(x) R(x)` is at least half its median, with S and R the energies of the waves (the squared
  acceleration of the pressure) of the sources and, were they sources, the receivers.
- **SSIM**: structural similarity of the models between the bounds of the inversion.
- **Bands**: relative error by wavenumber k, l being the wavelength of the peak frequency at the mean velocity. Data see
  structures up to k l = 2.
- **Held out**: energy of the misfit of shots that were not inverted, over that of their data, both up to the last
  stage's frequency, by the solver that made the data, without noise.
- **Simulations**: of one shot; a forward counts 1, a gradient 3, a Hessian product 6.
- **Memory**: the largest resident memory of the contender's process, libraries included.
- **At equal error**: seconds and simulations until both first have the larger one of the two smallest errors. Ours and
  Deepwave take turns, iteration by iteration; our Adam runs after them, with as many simulations in each stage.
- **In batches**: L-BFGS makes as many iterations, each of some shots, others each time (`inversion.batch`, see
  [batches](../guides/inversion.md#batches-and-super-shots)), and Adam in batches as many simulations as it.

A contender that reaches a limit of time (`--seconds`) is stopped, and its best model so far is judged: tables are
followed by what was stopped, and figures have a cross there. Deepwave runs as well as we know how: see
`benchmarks/peers/deepwave_inversion.py`.
"""
LINES = {"clean": "-", "10dB": "--", "field": ":"}


def cards(results: Path) -> list[dict[str, Any]]:
    """All cards of a folder."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("inversion-*.json"))]


def settings(card: dict[str, Any]) -> str:
    """The set-up in words."""
    setup, machine, grid, time = (card["setup"], card["machine"], card["setup"]["grid"], card["setup"]["time"])
    low, high = setup["bounds"]
    stages = "; ".join(
        f"{stage['highest_frequency']:g} Hz on cells of {stage['spacing']:.4g} m, {stage['iterations']} iterations"
        for stage in setup["stages"]
    )
    sentences = (
        f"{grid['shape'][0]} x {grid['shape'][1]} cells of {grid['spacing']:g} m, "
        f"{'a' if setup['free_surface'] else 'no'} free surface, {len(setup['sources'])} shots, "
        f"{len(setup['receivers'])} receivers, a Ricker wavelet of {setup['peak_frequency']:g} Hz, {time['nt']} x "
        f"{1000 * time['dt']:g} ms",
        f"Start: the true model smoothed by a Gaussian of {setup['smoothing']:g} m"
        + f", its top {setup['fixed_rows']} rows known" * bool(setup["fixed_rows"]),
        f"Bounds: {low:g} to {high:g} m/s",
        f"Data: cells of {setup['data_spacing']:.4g} m, order {setup['order']['data']}; inversions: order "
        f"{setup['order']['inversion']}",
        f"Stages of L-BFGS: {stages}",
        f"First step {setup['learning_rate']:g} m/s, Adam's {setup['adam_rate']:g} m/s; power of depth "
        f"{setup['depth_power']:g}" + ", and of the sources' illumination" * setup["illumination"],
        f"{card['starts'][0]['masked_cells']:.0%} of the cells are in the mask",
        f"{len(setup['held_out'])} shots are held out",
        f"Seed {setup['seed']}; {machine['cores_used']} core(s) of {machine['processor']}",
    )
    tried = " **Tried on few shots and iterations: these numbers mean nothing.**" * bool(card["quick"])
    return ". ".join(sentences) + "." + tried


def groups(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The rows of each noise and contender."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["noise"], row["contender"]), []).append(row)
    return found


def _middle(rows: list[dict[str, Any]], *path: str, digits: int = 3) -> str:
    """The median of a measure, where rows have it."""
    values = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            values.append(value)
    return f"{median(values):.{digits}g}" if values else ""


def result_table(card: dict[str, Any]) -> str:
    """Medians over the cases: the start, and what each contender made of it."""
    bands = list(card["starts"][0]["bands"])
    measures = [("error",), ("masked",), ("mae",), ("ssim",), *(("bands", band) for band in bands), ("held_out",)]
    count = str(len(card["starts"]))
    lines = [("start", "", "", "", "", count, *(_middle(card["starts"], *path) for path in measures))]
    for (noise, contender), rows in groups(card["rows"]).items():
        memory = f"{median(row['peak_bytes'] for row in rows) / 1e9:.2f} GB"
        taken = (_middle(rows, "seconds"), _middle(rows, "simulations", "weighted", digits=5), memory)
        lines.append((NAMES[contender], noise, *taken, str(len(rows)), *(_middle(rows, *path) for path in measures)))
    head = ("", "noise", "seconds", "simulations", "memory", "models", "error", "in the mask", "MAE [m/s]", "SSIM")
    return table((*head, *bands, "held out"), lines)


def equal_table(card: dict[str, Any]) -> str:
    """Ratios of time and simulations at equal error: medians over the cases, others over ours."""
    lines = []
    for (noise, contender), rows in groups(card["equal"]).items():
        ratios = {key: [row[key][1] / row[key][0] for row in rows] for key in ("seconds", "used")}
        numbers = (f"{median(ratios[key]):.2f}" for key in ratios)
        lines.append((NAMES[contender], noise, _middle(rows, "error"), *numbers))
    return table(("over ours", "noise", "at the error", "seconds", "simulations"), lines) if lines else ""


def remarks(card: dict[str, Any]) -> list[str]:
    """What the data were diagnosed with, how much worse results from field data are, and what was stopped."""
    found = []
    for noise in LINES:
        named = [entry["findings"] for entry in card["diagnosis"] if entry["noise"] == noise]
        counts = Counter(name for names in named for name in names)
        told = ", ".join(f"{name} ({n} of {len(named)})" for name, n in counts.most_common()) or "nothing"
        found += [f"Diagnosis of {noise}: {told}."] * bool(named)
    for (noise, contender), rows in groups(card["rows"]).items():
        clean = {row["case"]: row for row in card["rows"] if (row["noise"], row["contender"]) == ("clean", contender)}
        ratios = [row["error"] / clean[row["case"]]["error"] for row in rows if row["case"] in clean]
        if noise == "field" and ratios:
            worst = f", at most {max(ratios):.2f}" * (len(ratios) > 1)
            found.append(f"{NAMES[contender]}, error of field over clean: {median(ratios):.2f}{worst}.")
        ends = [row["seconds"] for row in rows if row["stopped"]]
        if ends:
            found.append(f"{NAMES[contender]}, {noise}: {len(ends)} of {len(rows)} stopped after {median(ends):.0f} s.")
    return found


def figure(card: dict[str, Any], path: Path) -> bool:
    """Draw errors over seconds and simulations; False where no history was kept."""
    rows = [row for row in card["rows"] if "history" in row]
    if not rows:
        return False
    panels, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for ax, key, label in zip(axes, ("seconds", "used"), ("time [s]", "simulations of a shot"), strict=True):
        for row in rows:
            history, style = row["history"], LINES[row["noise"]]
            name = f"{NAMES[row['contender']]}, {row['noise']}"
            color = COLORS[row["contender"]]
            ax.plot(history[key], history["error"], style, color=color, label=name, linewidth=1.2)
            if row["stopped"]:
                ax.plot(history[key][-1], history["error"][-1], "x", color=color)
        ax.set(xlabel=label)
        ax.grid(alpha=0.3, linewidth=0.4)
    axes[0].set_ylabel("relative L2 error of the model")
    panels.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=7, frameon=False)
    panels.tight_layout(rect=(0, 0.05 + 0.045 * ((len(rows) + 1) // 2), 1, 1))
    panels.savefig(path, dpi=80)
    plt.close(panels)
    return True


def write_page(results: Path, docs: Path) -> Path:
    """Write the page and its figures; return the page's path."""
    page, static = docs / "results" / "inversion.md", docs / "_static"
    for folder in (page.parent, static):
        folder.mkdir(parents=True, exist_ok=True)
    text = INTRO
    for card in cards(results):
        name = card["setup"]["name"]
        text += f"\n## {name}\n\n{settings(card)}\n\n{result_table(card)}"
        text += f"\n{equal_table(card)}" if card["equal"] else ""
        text += "".join(f"\n{remark}\n" for remark in (*remarks(card), card.get("note", "")) if remark)
        if figure(card, static / f"inversion-{name}.png"):
            text += f"\n![Errors of {name} over time and simulations](../_static/inversion-{name}.png)\n"
        for missing in card["not_measured"]:
            who = f"{NAMES[missing['contender']]}, {missing['case']}, {missing['noise']}"
            text += f"\nNot measured: {who}: {missing['why']}\n"
    page.write_text(text, encoding="utf-8")
    return page
