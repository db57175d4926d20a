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
from surrogate.report.template import TEMPLATE
from surrogate.report.trainings import Training, read_trainings, validation_tables

MOVIE = "movie"  # folder of frames, in `figures`


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
        drawn = result.get("drawn", {})
        shown = [*_movies(folder, drawn), *_figures(folder, drawn)]
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


def _movies(folder: Path, drawn: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Embed the frames of the drawn examples, each of which a reader can scrub through."""
    found = []
    for which, entry in drawn.items():
        files = sorted(file for file in (folder / "figures" / MOVIE).glob(f"{which}_*.png") if not file.is_symlink())
        if len(files) > 1:
            caption = f"{which.capitalize()} of the test split over time: {example_title(entry)}."
            frames = [base64.b64encode(file.read_bytes()).decode() for file in files]
            found.append({"name": f"{which}_movie", "caption": caption, "frames": frames, "series": []})
    return found


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


def _embedded(name: str, caption: str, png: bytes) -> dict[str, Any]:
    frames = [base64.b64encode(png).decode()]
    return {"name": name, "caption": caption, "frames": frames, "series": figures.read_series(png)}
