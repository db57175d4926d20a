"""Write one self-contained HTML page for a folder: all runs and results below it, with their curves and figures."""

import base64
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import read_json, write_text
from surrogate import figures
from surrogate.report.inversions import STORED, inversion_figures
from surrogate.report.tables import label_of, operator_of, report_tables, task_of
from surrogate.report.trainings import Training, read_trainings, validation_tables

# Figures have a white ground of their own, which stays white on a dark page. Wide tables scroll by themselves.
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
:root { color-scheme: light dark; --text: #1a1a1a; --ground: #fff; --line: #ddd; --rule: #ccc; --note: #555; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --ground: #161616; --line: #333; --rule: #444; --note: #aaa; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
body { color: var(--text); background: var(--ground); overflow-wrap: break-word; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--rule); }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .8rem; }
th, td { border-bottom: 1px solid var(--line); }
th, td { text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; background: #fff; } figure { margin: 1.2rem 0; } code { overflow-wrap: anywhere; }
.note { color: var(--note); font-size: .9rem; }
@media print {
  :root { --text: #000; --ground: #fff; --note: #333; }
  body { max-width: none; margin: 0; font-size: 11px; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } .table { overflow: visible; } th, td { padding: .15rem .4rem; }
}
</style></head><body>
<h1>{{ title }}</h1>
{% for table in tables %}
<h2>{{ table.title }}</h2>
<div class="table"><table>
<tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table></div>
<p class="note">{{ table.note }}</p>
{% endfor %}
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% for note in section.notes %}<p class="note">{{ note }}</p>
{% endfor %}{% if section.command %}<p class="note">Not evaluated yet: <code>{{ section.command }}</code></p>
{% endif %}{% for figure in section.figures %}
<figure><img alt="{{ figure.name }}" src="data:image/png;base64,{{ figure.data }}">
<figcaption class="note">{{ figure.caption }}</figcaption></figure>{% endfor %}
{% endfor %}
</body></html>
"""


def write_report(root: str | Path, title: str | None = None) -> tuple[Path, list[dict[str, Any]]]:
    """Write `report.html` with all runs and results below a folder.

    Args:
        root: Folder of runs and inversions.
        title: Title of the page; None: the name of the folder.

    Returns:
        The path of the page, and the tables on it.

    Raises:
        InputError: There is no such folder, or no run and no inversion in it; nothing is written then.
    """
    root = Path(root)
    trainings = {training.folder: training for training in read_trainings(root)}
    evaluations, inversions = dict(_read_all(root, "metrics.json")), dict(_read_all(root, "inversion.json"))
    if not (trainings or evaluations or inversions):
        state = "holds neither a run nor an inversion" if root.is_dir() else "does not exist"
        raise InputError(
            f"{root} {state}, so there is nothing to report. Give a folder of results, such as run= of `wave train` or "
            "out= of `wave invert`, or a folder above it."
        )
    tables = report_tables(list(evaluations.items()), list(inversions.items()))
    if len(trainings) > 1 or trainings.keys() - evaluations.keys():
        tables = validation_tables(list(trainings.values()), root) + tables
    sections = _equal_error_sections(evaluations) + [
        _run_section(folder, evaluations.get(folder), trainings.get(folder))
        for folder in sorted(trainings.keys() | evaluations.keys())
    ]
    sections += [_inversion_section(*inversion) for inversion in inversions.items()]
    file = root / "report.html"
    _write_page(file, title or root.resolve().name, tables, sections)
    return file, tables


def write_diagnosis_page(folder: Path, title: str, tables: list[dict[str, Any]]) -> Path:
    """Write `diagnosis.html` with tables and the figures of a folder.

    Args:
        folder: Folder that has `figures/`.
        title: Title of the page.
        tables: Tables: title, columns, rows (lists of cells) and note.

    Returns:
        The path of the page.
    """
    file = folder / "diagnosis.html"
    section = {"title": "Figures", "notes": [], "command": "", "figures": _figures(folder, {})}
    _write_page(file, title, tables, [section])
    return file


def write_curves(file: Path, trainings: list[Training]) -> None:
    """Write a page that compares the curves of runs.

    Args:
        file: The page.
        trainings: Runs.
    """
    drawn = []
    for name in ("validation", "loss"):
        points = {str(training.folder): np.array(training.curve(name)) for training in trainings}
        series = {folder: (of_run[:, 0], of_run[:, 1]) for folder, of_run in points.items() if len(of_run)}
        if series:
            figure = figures.curves(series, "step", name)
            drawn.append(_embedded(name, f"{name.capitalize()} of all runs.", figures.to_png(figure)))
    section = {"title": "All runs", "notes": [], "command": "", "figures": drawn}
    sections = [section, *(_run_section(t.folder, None, t) | {"command": ""} for t in trainings)]
    _write_page(file, "Curves", validation_tables(trainings, Path()), sections)


def _write_page(file: Path, title: str, tables: list[dict[str, Any]], sections: list[dict[str, Any]]) -> None:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(file, environment.from_string(TEMPLATE).render(title=title, tables=tables, sections=sections))


def example_title(entry: dict[str, Any]) -> str:
    """Name an example that is drawn.

    Args:
        entry: Its sample, the example within it, its labels and its error, as an evaluation stores them.

    Returns:
        The name.
    """
    labels = [str(value) for key, value in entry.items() if key not in ("sample", "example", "relative_l2")]
    of = f" ({', '.join(labels)})" if labels else ""
    return f"sample {entry['sample']}, example {entry['example']}{of}, relative L2 error {entry['relative_l2']:.4f}"


def _read_all(root: Path, name: str) -> list[tuple[Path, dict[str, Any]]]:
    return [(file.parent, read_json(file)) for file in sorted(root.rglob(name))]


def _equal_error_sections(evaluations: dict[Path, dict[str, Any]]) -> list[dict[str, Any]]:
    """Make a section for each task whose surrogates were compared with the solver at an equal error."""
    sections = []
    for task in dict.fromkeys(task_of(result) for result in evaluations.values()):
        ours = {folder: result for folder, result in evaluations.items() if task_of(result) == task}
        drawn = []
        for kind in ("predictions", "gradients", "inverse"):
            contests: dict[str, Any] = {}
            for folder, result in ours.items():
                if kind in result.get("speedup", {}):
                    label = label_of(folder, result)
                    contests[f"{label}, {folder}" if label in contests else label] = result["speedup"][kind]
            if contests:
                if kind == "inverse":
                    figure = figures.inversion_times(contests, "models from gathers")
                    caption = (
                        "Inversions with our solver on cells of several sizes, a line for each model, and operators."
                    )
                else:
                    figure = figures.equal_error(contests, f"{kind}, {task}")
                    caption = f"{kind.capitalize()}: our solver on cells of several sizes, and surrogates."
                drawn.append(_embedded(f"equal_error_{kind}", caption, figures.to_png(figure)))
        if drawn:
            sections.append({"title": f"Error over time, {task}", "notes": [], "command": "", "figures": drawn})
    return sections


def _run_section(folder: Path, result: dict[str, Any] | None, training: Training | None) -> dict[str, Any]:
    """Make the section of a run: its training curves, and the figures of its evaluation where it was evaluated."""
    if result is not None:
        title, notes = _describe_evaluation(result)
        shown = _figures(folder, result.get("drawn", {}))
    else:
        assert training is not None
        names = {group: training.config.get(group, {}).get("name", "") for group in ("model", "encoding")}
        title = f"{operator_of({'operator': names['model'] or 'fno'})}, {training.task}, {names['encoding']} encoding"
        notes, shown = [], []
    if training is not None:
        notes.append(f"{folder}: {training.summary()}")
        if training.rows:
            shown.insert(0, _embedded("training", "Training curves.", figures.to_png(figures.training(training.rows))))
    command = training.evaluation() if training is not None and result is None else ""
    return {"title": f"{title} ({folder.name})", "notes": notes, "command": command, "figures": shown}


def _describe_evaluation(result: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the title and the note of an evaluation."""
    training, step = result["training"], result.get("evaluated", {}).get("step")
    best = "" if step in (None, training["steps"]) else f" (the best, after {step})"
    note = (
        f"{result['parameters']:,} parameters, {training['steps']} steps of {training['batch_size']} samples{best}, "
        f"seed {training['seed']}, jax {result['environment']['jax']}."
    )
    return f"{operator_of(result)}, {task_of(result)}, {result['encoding']} encoding", [note]


def _inversion_section(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    best = result.get("best", result["iterations"])
    shown = "" if best == result["iterations"] else f" (the estimate is that of iteration {best}, which fits best)"
    note = (
        f"{result['model']}; {result['shots']} shots, {result['kind']} data, {result['iterations']} iterations{shown}."
    )
    title = f"Inversion {folder.name}, through the {result['forward']}"
    stored = {figure["name"]: figure for figure in _figures(folder, {})}
    described = [stored.pop(name) | {"caption": caption} for name, caption in STORED.items() if name in stored]
    drawn = [_embedded(name, caption, figures.to_png(figure)) for name, caption, figure in inversion_figures(folder)]
    return {"title": title, "notes": [note], "command": "", "figures": [*described, *drawn, *stored.values()]}


def _figures(folder: Path, drawn: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Embed the stored figures: those of the drawn examples first, each with the name of its example."""
    # Links are left out: a page is passed on, and shall hold nothing from elsewhere.
    files = sorted(file for file in (folder / "figures").glob("*.png") if not file.is_symlink())
    captions = dict.fromkeys(files, "")
    for which, entry in drawn.items():
        for file in files:
            if file.stem.startswith(f"{which}_"):
                captions[file] = f"{which.capitalize()} of the test split: {example_title(entry)}."
    first = [file for which in drawn for file in files if file.stem.startswith(f"{which}_")]
    ordered = [*first, *(file for file in files if file not in first)]
    return [_embedded(file.stem, captions[file] or file.stem.replace("_", " "), file.read_bytes()) for file in ordered]


def _embedded(name: str, caption: str, png: bytes) -> dict[str, str]:
    return {"name": name, "caption": caption, "data": base64.b64encode(png).decode()}
