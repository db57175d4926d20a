"""Write one self-contained HTML page for a folder: all stored results below it, with their figures."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from data_gen.common.files import read_json, write_text
from surrogate.report.tables import operator_of, report_tables, task_of

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


def write_report(root: str | Path, title: str | None = None) -> tuple[Path, list[dict[str, Any]]]:
    """Write `report.html` with all results below a folder.

    Args:
        root: Folder of runs and inversions.
        title: Title of the page; None: the name of the folder.

    Returns:
        The path of the page, and the tables on it.
    """
    root = Path(root)
    evaluations, inversions = _read_all(root, "metrics.json"), _read_all(root, "inversion.json")
    tables = report_tables(evaluations, inversions)
    sections = [_evaluation_section(*evaluation) for evaluation in evaluations]
    sections += [_inversion_section(*inversion) for inversion in inversions]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE).render(title=title or root.name, tables=tables, sections=sections)
    file = root / "report.html"
    write_text(file, page)
    return file, tables


def _read_all(root: Path, name: str) -> list[tuple[Path, dict[str, Any]]]:
    return [(file.parent, read_json(file)) for file in sorted(root.rglob(name))]


def _evaluation_section(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    training, step = result["training"], result.get("evaluated", {}).get("step")
    best = "" if step in (None, training["steps"]) else f" (the best, after {step})"
    note = (
        f"{result['parameters']:,} parameters, {training['steps']} steps of {training['batch_size']} samples{best}, "
        f"seed {training['seed']}, jax {result['environment']['jax']}."
    )
    title = f"{operator_of(result)}, {task_of(result)}, {result['encoding']} encoding"
    return {"title": title, "note": note, "figures": _figures(folder)}


def _inversion_section(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    note = f"{result['model']}; {result['shots']} shots, {result['kind']} data, {result['iterations']} iterations."
    title = f"Inversion {folder.name}, through the {result['forward']}"
    return {"title": title, "note": note, "figures": _figures(folder)}


def _figures(folder: Path) -> list[dict[str, str]]:
    return [
        {"name": file.stem, "data": base64.b64encode(file.read_bytes()).decode()}
        for file in sorted((folder / "figures").glob("*.png"))
    ]
