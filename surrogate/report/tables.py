"""Tables of evaluations whose columns are the errors that their task gives, by the task's groups and on other data."""

from pathlib import Path
from typing import Any

from surrogate.metrics.errors import BANDS

Evaluations = list[tuple[Path, dict[str, Any]]]


def task_of(result: dict[str, Any]) -> str:
    """The task of a stored evaluation; before there was a choice, wavefields."""
    return result.get("task", "wavefield")


def operator_of(result: dict[str, Any]) -> str:
    """The operator as it is written; before there was a choice, the FNO."""
    name = result.get("operator", "fno")
    return name.upper() if name.endswith("no") else name


def label_of(folder: Path, result: dict[str, Any]) -> str:
    """What stands in the first column for a run."""
    name = f"{operator_of(result)}, {result['encoding']}"
    return name if folder.name == result["encoding"] else f"{name} ({folder.name})"


def _methods(folder: Path, result: dict[str, Any], tables: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """Label of each method: its errors in `tables`, where the surrogate's are on top, and its name."""
    methods = {label_of(folder, result): (tables, "surrogate")}
    for name in result["seconds_per_sample"]:
        if isinstance(tables.get(name), dict) and "relative_l2" in tables[name]:
            methods[f"{name.replace('_', ' ')} alone"] = (tables[name], name)
    return methods


def _columns(table: dict[str, Any]) -> dict[str, float]:
    """Every error that is summarised: its mean; of the relative L2 error also the median and the 90th percentile."""
    shown = {key: table["relative_l2"][key] for key in ("mean", "median", "p90")}
    for name, value in table.items():
        if name == "relative_l2" or not isinstance(value, dict):
            continue
        if "p90" in value:
            shown[name.replace("_", " ")] = value["mean"]
        elif name == "bands":
            shown |= {f"{band} k": value[band]["mean"] for band in BANDS}
    return shown


def _add(rows: list[list[str]], row: list[str]) -> None:
    if row not in rows:  # several runs share one coarse solver
        rows.append(row)


def task_tables(task: str, evaluations: Evaluations) -> list[dict[str, Any]]:
    """Errors and cost of the runs of one task, then one table for each way in which its examples are grouped."""
    rows: list[list[str]] = []
    columns: list[str] = []
    for folder, result in evaluations:
        seconds = result["seconds_per_sample"]
        for label, (table, name) in _methods(folder, result, result).items():
            values, time = _columns(table), seconds[name]["median"]
            columns, cost = [*values, "ms"], [f"{1e3 * time:.1f}"]
            if "solver" in seconds:  # there is none from data to models
                columns, cost = [*columns, "x solver"], [*cost, f"{time / seconds['solver']['median']:.2f}"]
            _add(rows, [label, *(f"{value:.3f}" for value in values.values()), *cost])
    first = evaluations[0][1]
    note = (
        f"{first['test_samples']} held-out examples; of the relative L2 error mean, median and 90th percentile. Time "
        f"per example, and as a multiple of the solver's: {first['environment']['device']}, batches of "
        f"{first['seconds_per_sample']['batch_size']}, all compiled and interleaved, median. The solver is the truth."
    )
    table = {"title": f"Relative L2 error, {task}", "columns": ["method", *columns], "rows": rows, "note": note}
    return [table, *_group_tables(task, evaluations, lambda result: result)]


def other_tables(evaluations: Evaluations) -> list[dict[str, Any]]:
    """The errors on other data sets, one table for each of them and each task."""
    tables = []
    asked = {(task_of(r), r["other"]["path"]): r["other"] for _, r in evaluations if "other" in r}
    for (task, path), other in asked.items():
        ours = [(f, r) for f, r in evaluations if task_of(r) == task and r.get("other", {}).get("path") == path]
        rows: list[list[str]] = []
        for folder, result in ours:
            for label, (table, _) in _methods(folder, result, result["other"]).items():
                _add(rows, [label, *(f"{value:.3f}" for value in _columns(table).values())])
        grid = f" on {other['grid']}" if "grid" in other else ""
        families = ", ".join(other["families"])
        note = f"{other['test_samples']} examples of {families}{grid}: not the set the runs learnt from."
        columns = ["method", *_columns(other)]
        tables.append({"title": f"On other data: {path}, {task}", "columns": columns, "rows": rows, "note": note})
        tables += _group_tables(f"{task}, {path}", ours, lambda result: result["other"])
    return tables


def _group_tables(title: str, evaluations: Evaluations, part) -> list[dict[str, Any]]:
    tables = []
    for key in [key for key in part(evaluations[0][1]) if key.startswith("per_")]:
        rows: list[list[str]] = []
        columns: list[str] = []
        for folder, result in evaluations:
            for label, (table, _) in _methods(folder, result, part(result)).items():
                groups = table[key]
                columns = list(groups)
                for name in [name for name in groups[columns[0]] if name != "examples"]:
                    cells = [f"{groups[group][name]:.3f}" for group in columns]
                    _add(rows, [f"{label}: {name.replace('_', ' ')}", *cells])
        heading = f"By {key.removeprefix('per_')}, {title}"
        counts = ", ".join(f"{name} {group['examples']}" for name, group in part(evaluations[0][1])[key].items())
        tables.append({"title": heading, "columns": ["method", *columns], "rows": rows, "note": f"Examples: {counts}."})
    return tables


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
