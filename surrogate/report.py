"""One self-contained HTML page for a folder: every `metrics.json` and `inversion.json` below it, with its figures."""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from data_gen.console import print_tables
from surrogate.task_tables import label_of, operator_of, other_tables, task_of, task_tables

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; }
th, td:first-child { text-align: left; } td { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; } .note { color: #555; font-size: .9rem; }
</style></head><body>
<h1>{{ title }}</h1>
{% for table in tables %}
<h2>{{ table.title }}</h2>
<table><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
<p class="note">{{ table.note }}</p>
{% endfor %}
{% for section in sections %}
<h2>{{ section.title }}</h2><p class="note">{{ section.note }}</p>
{% for figure in section.figures %}
<p><img alt="{{ figure.name }}" src="data:image/png;base64,{{ figure.data }}"></p>{% endfor %}
{% endfor %}
</body></html>
"""


def _figures(folder: Path) -> list[dict[str, str]]:
    return [
        {"name": file.stem, "data": base64.b64encode(file.read_bytes()).decode()}
        for file in sorted((folder / "figures").glob("*.png"))
    ]


def _read_all(root: Path, name: str) -> list[tuple[Path, dict[str, Any]]]:
    return [(file.parent, json.loads(file.read_text())) for file in sorted(root.rglob(name))]


def evaluation_tables(evaluations: list[tuple[Path, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The surrogates, each with the coarse solver of the same evaluation: errors, then cost against the solver's."""
    errors: list[list[str]] = []
    costs: list[list[str]] = []
    for folder, result in evaluations:
        seconds = result["seconds_per_sample"]
        methods = {
            label_of(folder, result): (result, "surrogate"),
            "coarse solver alone": (result["coarse_solver"], "coarse_solver"),
        }
        for name, (table, timed) in methods.items():
            error, time = table["relative_l2"], seconds[timed]["median"]
            numbers = [
                error["mean"],
                error["median"],
                error["p90"],
                error["per_snapshot"][0],
                error["per_snapshot"][-1],
            ]
            numbers.append(table["gather_misfit"]["mean"])
            row = [name, *(f"{number:.3f}" for number in numbers)]
            errors += [row] if row not in errors else []  # several runs share one coarse solver
            bands = [f"{table['bands'][band]['mean']:.3f}" for band in ("low", "middle", "high")]
            costs.append([name, *bands, f"{1e3 * time:.1f}", f"{time / seconds['solver']['median']:.2f}"])
    first = evaluations[0][1]
    return [
        {
            "title": "Relative L2 error",
            "columns": ["method", "mean", "median", "p90", "first", "last", "gathers"],
            "rows": errors,
            "note": (
                f"{first['test_samples']} held-out samples; over all snapshots (mean, median, p90), at the first and "
                "the last one alone, and at the receivers. The solver is the truth."
            ),
        },
        {
            "title": "Error by wavenumber, and cost",
            "columns": ["method", "low k", "middle k", "high k", "ms", "x solver"],
            "rows": costs,
            "note": (
                "Cycles per domain: low to 4, middle 5 to 12, high from 13. Time per sample, and as a multiple of the "
                f"solver's in the same run: {first['environment']['device']}, batches of "
                f"{first['seconds_per_sample']['batch_size']}, all compiled and interleaved, median."
            ),
        },
    ]


def real_table(evaluations: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    """Errors on a model from a file."""
    rows = []
    for folder, result in evaluations:
        real = result["real_model"]
        for name in ("surrogate", "coarse_solver"):
            error = real[name]["relative_l2"]
            label = label_of(folder, result) if name == "surrogate" else "coarse solver alone"
            rows.append([label, *(f"{error[key]:.3f}" for key in ("mean", "median", "p90"))])
    real = evaluations[0][1]["real_model"]
    low, high = real["velocity_range"]
    note = (
        f"{real['path']}: {real['window']}; {low:.0f} to {high:.0f} m/s, {100 * real['outside_training_range']:.0f} % "
        f"of the cells outside the training range; {real['shots']} shots. The surrogate never saw such a model."
    )
    return {"title": "A model from a file", "columns": ["method", "mean", "median", "p90"], "rows": rows, "note": note}


def inversion_table(inversions: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    """Misfits and model errors, start and end."""
    columns = ["inversion", "forward", "iterations", "own misfit", "true misfit", "model error"]
    rows = [
        [
            folder.name,
            result["forward"],
            str(result["iterations"]),
            *(
                f"{result[key]['start']:.4g} → {result[key]['end']:.4g} ({-100 * result[key]['fall']:+.1f} %)"
                for key in ("misfit", "true_misfit", "model_error")
            ),
        ]
        for folder, result in inversions
    ]
    note = (
        "The true misfit is re-simulated by the solver; model error is ||v - v_true|| / ||v_true||. "
        "Start and end of each inversion."
    )
    return {"title": "Inversions", "columns": columns, "rows": rows, "note": note}


def write_report(root: str | Path, title: str | None = None) -> tuple[Path, list[dict[str, Any]]]:
    """Write `root/report.html` of all results below `root`; returns its path and the tables on it."""
    root = Path(root)
    evaluations, inversions = _read_all(root, "metrics.json"), _read_all(root, "inversion.json")
    tables = []
    by_task: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for folder, result in evaluations:
        by_task.setdefault(task_of(result), []).append((folder, result))
    for name, results in by_task.items():
        tables += evaluation_tables(results) if name == "wavefield" else task_tables(name, results)
    tables += other_tables(evaluations)
    if on_files := [(folder, result) for folder, result in evaluations if "real_model" in result]:
        tables.append(real_table(on_files))
    if inversions:
        tables.append(inversion_table(inversions))
    sections = []
    for folder, result in evaluations:
        training, step = result["training"], result.get("evaluated", {}).get("step")
        best = "" if step in (None, training["steps"]) else f" (the best, after {step})"
        note = (
            f"{result['parameters']:,} parameters, {training['steps']} steps of {training['batch_size']} samples"
            f"{best}, "
            f"seed {training['seed']}, jax {result['environment']['jax']}."
        )
        heading = f"{operator_of(result)}, {task_of(result)}, {result['encoding']} encoding"
        sections.append({"title": heading, "note": note, "figures": _figures(folder)})
    for folder, result in inversions:
        note = f"{result['model']}; {result['shots']} shots, {result['kind']} data, {result['iterations']} iterations."
        title_ = f"Inversion {folder.name}, through the {result['forward']}"
        sections.append({"title": title_, "note": note, "figures": _figures(folder)})
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE).render(title=title or root.name, tables=tables, sections=sections)
    file = root / "report.html"
    file.write_text(page)
    return file, tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m surrogate.report", description=__doc__)
    parser.add_argument("root", help="the folder of runs and inversions")
    print_tables(*write_report(parser.parse_args().root))
