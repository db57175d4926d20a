"""Make the tables of a report; their columns are the errors that the stored metrics contain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from surrogate.figures import s_in_words
from surrogate.metrics.errors import BANDS
from surrogate.models.training_distance import FAR

Evaluations = list[tuple[Path, dict[str, Any]]]  # folder of a run, and its `metrics.json`
Inversions = list[tuple[Path, dict[str, Any]]]  # folder of an inversion, and its `inversion.json`
Table = dict[str, Any]  # title, columns, rows (lists of cells) and note
Part = Callable[[dict[str, Any]], dict[str, Any]]  # metrics -> the part with the surrogate's errors on top
Row = tuple[str, dict[str, str]]  # label, and cells by column

HEADINGS = {"gather_misfit": "gathers"}  # short ones: a table had better fit 80 columns


def report_tables(evaluations: Evaluations, inversions: Inversions) -> list[Table]:
    """Make all tables of a report.

    Args:
        evaluations: Folder and metrics of each evaluated run.
        inversions: Folder and summary of each inversion.

    Returns:
        For each task errors, cost and errors by group; then the errors on other data sets and on models from files;
        then the inversions.
    """
    by_task: dict[str, Evaluations] = {}
    for folder, result in evaluations:
        by_task.setdefault(task_of(result), []).append((folder, result))
    tables = [table for task, results in by_task.items() for table in _test_tables(task, results)]
    for task, results in by_task.items():
        tables += _other_tables(task, results)
    for task, results in by_task.items():
        tables += _file_tables(task, results)
    return tables + ([_inversion_table(inversions)] if inversions else [])


def task_of(result: dict[str, Any]) -> str:
    """Return the task of stored metrics.

    Args:
        result: Content of a `metrics.json`.

    Returns:
        The name of the task; the first version had wavefields only, and stored none.
    """
    return result.get("task", "wavefield")


def operator_of(result: dict[str, Any]) -> str:
    """Return the operator of stored metrics as it is usually written.

    Args:
        result: Content of a `metrics.json`.

    Returns:
        The name of the operator; the first version had the FNO only, and stored none.
    """
    name = result.get("operator", "fno")
    return name.upper() if name.endswith("no") else name


def label_of(folder: Path, result: dict[str, Any]) -> str:
    """Name an evaluated run by its operator and its encoding.

    Args:
        folder: Folder of the run.
        result: Content of its `metrics.json`.

    Returns:
        The name, with that of the folder where this says more.
    """
    name = f"{operator_of(result)}, {result['encoding']}"
    return name if folder.name == result["encoding"] else f"{name} ({folder.name})"


def _methods(folder: Path, result: dict[str, Any], part: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name and errors of each method by its label: the surrogate's errors are on top of `part`."""
    methods = {label_of(folder, result): ("surrogate", part)}
    for name in result["seconds_per_sample"]:
        if name != "surrogate" and isinstance(part.get(name), dict) and "relative_l2" in part[name]:
            methods[f"{name.replace('_', ' ')} alone"] = (name, part[name])
    return methods


def _table(title: str, rows: list[Row], note: str) -> Table:
    """Make a table with every column of any row; a repeated row, such as one of a shared solver, is left out."""
    columns = list(dict.fromkeys(name for _, cells in rows for name in cells))
    lines = [[label, *(cells.get(name, "") for name in columns)] for label, cells in rows]
    unique = [line for i, line in enumerate(lines) if line not in lines[:i]]
    return {"title": title, "columns": ["method", *columns], "rows": unique, "note": note}


def _errors(errors: dict[str, Any]) -> dict[str, str]:
    """Format mean, median, 90th percentile, first and last of the relative L2 error; the mean of every other error."""
    relative = errors["relative_l2"]
    shown = {name: relative[name] for name in ("mean", "median", "p90")}
    if "per_snapshot" in relative:
        shown |= {"first": relative["per_snapshot"][0], "last": relative["per_snapshot"][-1]}
    for name, value in errors.items():
        if name != "relative_l2" and isinstance(value, dict) and "p90" in value:
            shown[HEADINGS.get(name, name.replace("_", " "))] = value["mean"]
    return {name: f"{value:.3f}" for name, value in shown.items()}


def _bands(errors: dict[str, Any]) -> dict[str, str]:
    """Format the mean error at each frequency and in each band of wavenumbers, of those that are stored."""
    by_frequency = sorted(errors.get("frequencies", {}).items(), key=lambda item: float(item[0].split()[0]))
    shown = {name: error["mean"] for name, error in by_frequency}
    if "bands" in errors:
        shown |= {f"{band} k": errors["bands"][band]["mean"] for band in BANDS}
    return {name: f"{error:.3f}" for name, error in shown.items()}


def _cost(seconds: dict[str, Any], name: str) -> dict[str, str]:
    """Milliseconds per example, and the ratio to the solver's; a task from data to models has no solver."""
    time = seconds[name]["median"]
    ratio = {"x solver": f"{time / seconds['solver']['median']:.2f}"} if "solver" in seconds else {}
    return {"ms": f"{1e3 * time:.1f}", **ratio}


def _test_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Errors on the test split, errors by wavenumber and cost, and errors by group."""
    first = evaluations[0][1]
    errors = [
        (label, _errors(values))
        for folder, result in evaluations
        for label, (_, values) in _methods(folder, result, result).items()
    ]
    return [
        _table(f"Relative L2 error, {task}", errors, _error_note(first, f"{first['test_samples']} held-out examples")),
        *_cost_tables(task, evaluations),
        *_speedup_tables(task, evaluations),
        *_inverse_tables(task, evaluations),
        *_gradient_tables(task, evaluations),
        *_inversion_tables(task, evaluations),
        *_group_tables(task, evaluations, lambda result: result),
    ]


def _cost_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Errors by wavenumber and cost, a table for each device, software and batch: times of two do not compare."""
    alike: dict[str, Evaluations] = {}
    for folder, result in evaluations:
        alike.setdefault(_conditions(result), []).append((folder, result))
    tables = []
    for conditions, ours in alike.items():
        rows: list[Row] = []
        for folder, result in ours:
            for label, (name, values) in _methods(folder, result, result).items():
                # Each evaluation measures the other methods again.
                measured = label if name == "surrogate" or len(ours) == 1 else f"{label} (with {folder.name})"
                rows.append((measured, _bands(values) | _cost(result["seconds_per_sample"], name)))
        by_wavenumber = "bands" in ours[0][1]
        title = f"Error by wavenumber, and cost, {task}" if by_wavenumber else f"Cost, {task}"
        bands = "Cycles per domain: low to 4, middle 5 to 12, high from 13. " if by_wavenumber else ""
        several = " Other devices, versions or batches have a table of their own." if len(alike) > 1 else ""
        note = (
            f"{bands}Time per example, and as a multiple of the solver's in the same evaluation: {conditions}; methods "
            f"compiled and interleaved, median.{several}"
        )
        tables.append(_table(title if len(alike) == 1 else f"{title}: {conditions}", rows, note))
    return tables


def _speedup_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Compare the times of the solver and of each surrogate at the surrogate's error: predictions, then gradients."""
    measured = [(folder, r) for folder, r in evaluations if "predictions" in r.get("speedup", {})]
    if not measured:
        return []
    rows: list[Row] = []
    words = []
    for folder, result in measured:
        part, label = result["speedup"], label_of(folder, result)
        for kind in ("predictions", "gradients"):
            if kind not in part:
                continue
            found = part[kind]
            cells = {
                "error": f"{found['error']:.3f}",
                "ms": f"{1e3 * found['seconds']:.1f}",
                "solver ms": f"{1e3 * found['solver_seconds']:.1f}",
                "S": f"{found['S']:.2g}",
            }
            rows.append((f"{label}: {kind}", cells))
        words.append(_speedup_in_words(label, part))
    note = (
        "Mean relative L2 error against the wave equation, time per shot, and time of the cheapest setting of our "
        "solver with that error, all shots of a model at once, encodings counted; S is their ratio. "
        f"Gradients are those of the misfit in a smoothed model. {' '.join(words)}"
    )
    return [_table(f"Time at an equal error, {task}", rows, note)]


def _inverse_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Compare the times of inversions and of operators that invert at the operator's error."""
    rows: list[Row] = []
    words = []
    for folder, result in evaluations:
        if "inverse" not in result.get("speedup", {}):
            continue
        found, label = result["speedup"]["inverse"], label_of(folder, result)
        cells = {
            "error": f"{found['error']:.3f}",
            "start": f"{found['start']:.3f}",
            "ms": f"{1e3 * found['seconds']:.1f}",
            "inversion ms": f"{1e3 * found['solver_seconds']:.0f}",
            "had the error": f"{found['reached']} of {len(found['errors'])}",
            "S": s_in_words(found),
        }
        rows.append((label, cells))
        words.append(_pays(label, found, result["speedup"]["cost"], "surveys", "such inversions"))
    if not rows:
        return []
    note = (
        "Mean relative L2 error of the models and of the start of inversions, which is the mean of training models; "
        "time per model of the operator and of the fastest inversion with the operator's error by our solver, on cells "
        "of several sizes, for as many models as it had it for. Where none had it until the end, what it took until "
        f"then counts, and S is a lower bound. Only simulations are charged to inversions. {' '.join(words)}"
    )
    return [_table(f"Time at an equal error, {task}", rows, note)]


def _gradient_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Compare gradients of a misfit with those of the solver, at models along an inversion and at the true one."""
    rows: list[Row] = []
    for folder, result in evaluations:
        measured = result.get("gradients", {})
        places = measured.get("path", {}) | ({"truth": measured["truth"]} if "truth" in measured else {})
        for place, methods in places.items():
            for name, found in methods.items():
                label = label_of(folder, result) if name == "surrogate" else f"{name.replace('_', ' ')} alone"
                cells = {
                    "cosine": f"{found['cosine']['median']:.3f}",
                    "worst": f"{found['cosine']['worst']:.3f}",
                    "error": f"{found['relative_error']['median']:.3f}",
                }
                cells |= {f"{band} k": f"{found['bands'][band]:.3f}" for band in BANDS if "bands" in found}
                cells |= {depth: f"{cosine:.3f}" for depth, cosine in found.get("depths", {}).items()}
                rows.append((f"{place}: {label}", cells))
    if not rows:
        return []
    note = (
        "Cosine of the gradient of a misfit with the solver's, median and worst of the models, and median relative "
        "error, away from sources: in a smoothed model, and after so many iterations of L-BFGS through the solver; "
        "then median cosines by band of wavenumbers and by third of the depth. truth: derivatives of the data in the "
        "true model along smooth random directions. An inversion through a surrogate ends where the cosine is small."
    )
    return [_table(f"Gradients of a misfit, {task}", rows, note)]


def _inversion_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Compare the solver's gradients in inversions that a surrogate or the coarse solver leads with those of L-BFGS."""
    rows: list[Row] = []
    for folder, result in evaluations:
        measured = result.get("inversion", {})
        for name in ("surrogate", "coarse_solver"):
            if name not in measured:
                continue
            found = measured[name]
            # One that never had the misfit would have needed more than any that had it.
            needed = np.array([np.inf if n is None else n for n in found["gradients"]])
            count, saved = np.median(needed), np.median(measured["lbfgs"] / needed)
            cells = {
                "gradients": f"{count:.0f}" if np.isfinite(count) else "-",
                "L-BFGS": f"{np.median(measured['lbfgs']):.0f}",
                "saved": f"{saved:.1f} x" if np.isfinite(count) else "-",
                "by the cheap model": f"{np.median(found['cheap']):.0f}",
                "model error": f"{np.median(found['model_error']):.2f}",
                "reached": f"{np.isfinite(needed).sum()} of {measured['samples']}",
            }
            label = label_of(folder, result) if name == "surrogate" else "coarse solver"
            rows.append((f"led by {label}" + f" (with {folder.name})" * (name != "surrogate"), cells))
    if not rows:
        return []
    note = (
        "Gradients of all shots by the solver until the misfit is within 1 % of the one that L-BFGS through the solver "
        "ends with, after 20 iterations from a smoothed model, with forward=corrected; those that L-BFGS takes until "
        "then; those by the cheap model; and the model error then, over that of L-BFGS. Medians over the models; a "
        "dash: not within 1.3 times the simulations of L-BFGS. A surrogate that saves no more than the coarse solver "
        "is of no use there."
    )
    return [_table(f"Inversions that a cheap model leads, {task}", rows, note)]


def _speedup_in_words(label: str, part: dict[str, Any]) -> str:
    """Say whether a surrogate pays for its predictions."""
    found = part["predictions"]
    least = min(setting["error"] for setting in found["settings"])
    if found["error"] < least:
        return f"{label} errs less than every setting of the solver that was timed: S is a lower bound."
    words = _pays(f"{label}, predictions", found, part["cost"], "shots", "simulations of that error")
    if found["S"] < 1 and "S_of_no_operator" in found:
        taken = f"{1e3 * found['encoding_seconds']:.1f} ms"
        words += f" Its encoding alone takes {taken}: an operator that took no time would have S = "
        words += f"{found['S_of_no_operator']:.2g} at this error."
    return words


def _pays(label: str, found: dict[str, Any], cost: dict[str, Any], uses: str, solved: str) -> str:
    """Say from how many uses on a surrogate pays for its training and its data, if it does.

    Where no inversion had the error of an operator, S and what follows from it are bounds.
    """
    bound = "reached" in found and found["reached"] < len(found["errors"])
    if bound and cost["break_even"] is None:
        return f"{label}: whether it pays is not known. The inversions were stopped before they had taken as long."
    if cost["break_even"] is None:
        return f"{label}: it does not pay. The solver takes {found['S']:.2g} of its time for the same error."
    spent = f"its training and its data took as long as {_count(cost['simulations'])} {solved}"
    most, at_most = ("at the latest ", "at most ") if bound else ("", "")
    spent = spent.replace("as long as ", f"as long as {at_most}")
    return f"{label}: it pays {most}from {_count(cost['break_even'])} {uses} on: {spent}."


def _count(number: float) -> str:
    """Write a large number with three digits that count, and no exponent."""
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def _conditions(result: dict[str, Any]) -> str:
    """Name the device, the software and the batch on which the times of an evaluation depend."""
    environment = result["environment"]
    versions = ", ".join(f"{name} {environment[name]}" for name in ("jax", "jaxlib") if name in environment)
    places = ", ".join(environment[name] for name in ("device", "processor") if name in environment)
    return f"{places}, {versions}, batches of {result['seconds_per_sample']['batch_size']}"


def _error_note(part: dict[str, Any], examples: str) -> str:
    listed = ", at the first and at the last snapshot" if "per_snapshot" in part["relative_l2"] else ""
    columns = f"mean, median and 90th percentile{listed}, then the means of other errors"
    return f"{examples}. Relative L2 error: {columns}. Errors are those against the data."


def _other_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Errors on the test splits of other data sets, and by group; for each data set."""
    tables = []
    for path, other in {r["other"]["path"]: r["other"] for _, r in evaluations if "other" in r}.items():
        ours = [(folder, r) for folder, r in evaluations if r.get("other", {}).get("path") == path]
        grid = f" on {other['grid']}" if "grid" in other else ""
        note = f"{other['test_samples']} examples of {', '.join(other['families'])}{grid}, from another data set"
        note += "".join(_distance(folder, r, r["other"]) for folder, r in ours)
        tables.append(_part_table(f"On other data: {path}, {task}", ours, lambda r: r["other"], note))
        tables += _group_tables(f"{task}, {path}", ours, lambda r: r["other"])
    return tables


def _distance(folder: Path, result: dict[str, Any], part: dict[str, Any]) -> str:
    """Say how far the models of a part are from those that a surrogate has learned from, if that is known."""
    found = part.get("distance")
    if found is None:
        return ""
    return (
        f". Distance from the training models of {label_of(folder, result)}: median {found['median']:.1f}, largest "
        f"{found['largest']:.1f}, {100 * found['far']:.0f} % beyond {FAR:g} (19 of 20 training models are below 1)"
    )


def _file_tables(task: str, evaluations: Evaluations) -> list[Table]:
    """Errors on velocity models from files, for each file."""
    tables = []
    for path, real in {r["real_model"]["path"]: r["real_model"] for _, r in evaluations if "real_model" in r}.items():
        ours = [(folder, r) for folder, r in evaluations if r.get("real_model", {}).get("path") == path]
        low, high = real["velocity_range"]
        outside = f"{100 * real['outside_training_range']:.0f} % of the cells outside the training range"
        note = f"{path}: {real['window']}; {low:.0f} to {high:.0f} m/s, {outside}; {real['shots']} shots"
        note += "".join(_distance(folder, r, r["real_model"]) for folder, r in ours)
        part: Part = lambda r: {**r["real_model"], **r["real_model"]["surrogate"]}  # noqa: E731
        tables.append(_part_table(f"A model from a file, {task}", ours, part, note))
    return tables


def _part_table(title: str, evaluations: Evaluations, part: Part, examples: str) -> Table:
    """Errors, and errors by wavenumber, of a part of the metrics."""
    rows = [
        (label, _errors(errors) | _bands(errors))
        for folder, result in evaluations
        for label, (_, errors) in _methods(folder, result, part(result)).items()
    ]
    return _table(title, rows, _error_note(part(evaluations[0][1]), examples))


def _group_tables(title: str, evaluations: Evaluations, part: Part) -> list[Table]:
    """Mean errors by the labels of each kind of group."""
    tables, first = [], part(evaluations[0][1])
    for key in [key for key in first if key.startswith("per_")]:
        rows: list[Row] = []
        for folder, result in evaluations:
            for label, (_, errors) in _methods(folder, result, part(result)).items():
                groups = errors[key]
                names = [name for name in next(iter(groups.values())) if name != "examples"]
                for name in names:
                    cells = {group: f"{values[name]:.3f}" for group, values in groups.items()}
                    rows.append((f"{label}: {name.replace('_', ' ')}", cells))
        counts = ", ".join(f"{name} {group['examples']}" for name, group in first[key].items())
        tables.append(_table(f"By {key.removeprefix('per_')}, {title}", rows, f"Examples: {counts}."))
    return tables


def _noise_in_words(name: str, stages: list[dict[str, Any]]) -> str:
    """Say at which misfit each stage ended, why, and which one noise alone leaves."""
    said = [
        f"stage {number} at {stage['misfit']:.4g} (noise alone: {stage['level']:.4g}) by {stage['ended']}"
        for number, stage in enumerate(stages, 1)
    ]
    return f"{name} ended {'; '.join(said)}."


def _inversion_table(inversions: Inversions) -> Table:
    """Misfits and model errors at the start and at the end."""
    free = any("density_error" in result for _, result in inversions)  # density was inverted along
    error = ["model error", *(["density error"] if free else [])]
    columns = ["inversion", "forward", "steps", *error, "own misfit", "true misfit"]

    def change(values: dict[str, float] | None, *, fall: bool = False) -> str:
        if values is None:
            return "unknown"
        return f"{values['start']:.3g} → {values['end']:.3g}" + (f" ({-100 * values['fall']:+.0f} %)" if fall else "")

    def steps(result: dict[str, Any]) -> str:
        best = result.get("best", result["iterations"])  # earlier versions kept the last estimate
        return f"{best}" if best == result["iterations"] else f"{best} of {result['iterations']}"

    rows = [
        [
            folder.name,
            result["forward"],
            steps(result),
            change(result["model_error"], fall=True),
            *([change(result.get("density_error"), fall=True)] if free else []),
            change(result["misfit"]),
            change(result["true_misfit"]),
        ]
        for folder, result in inversions
    ]
    note = (
        "Start and estimate of each inversion, which is the model of the smallest true misfit; its iteration stands "
        "under steps. The true misfit is simulated again by the solver; the model error is ||v - v_true|| / ||v_true||."
    )
    note = " ".join(
        [note, *(_noise_in_words(folder.name, result["noise"]) for folder, result in inversions if "noise" in result)]
    )
    return {"title": "Inversions", "columns": columns, "rows": rows, "note": note}
