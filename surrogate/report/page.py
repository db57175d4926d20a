"""One self-contained HTML page for a folder: every `metrics.json` and `inversion.json` below it, with its figures."""

import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from surrogate.report.tables import (
    evaluation_tables,
    inversion_table,
    operator_of,
    other_tables,
    real_table,
    task_of,
    task_tables,
)

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
