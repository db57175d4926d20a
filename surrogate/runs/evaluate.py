"""Evaluate a run: errors on the test split, on another data set and on a model from a file; time per sample; figures.

Errors are those against the data, not against the wave equation, which the solver that made the data solves with errors
of its own. Every table compares the surrogate with the same solver on larger cells, those of its encoding or twice
the data's: an operator that is no better, at its price, has learned nothing of use. Times at an equal error against the
wave equation say what it is worth (speedup.py), gradients of a misfit whether it can be inverted through
(gradient_fidelity.py), and inversions that it leads what that saves (inversion_use.py).
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.files import exclusive, explain_full_disk, make_folder, refuse_links, write_json
from data_gen.dataset.generation import data_source
from surrogate import figures
from surrogate.config import EvaluateConfig, TrainConfig
from surrogate.models.surrogate import Surrogate, count_parameters
from surrogate.models.training_distance import describe_distances
from surrogate.protocols import ForwardTask, Method, Task
from surrogate.report.page import MOVIE, example_title, write_report
from surrogate.runs.error_tables import ExampleErrors, best_median_worst, error_tables, example_errors, write_examples
from surrogate.runs.evaluation_request import Request, earlier_answer, read_request
from surrogate.runs.gradient_fidelity import gradient_fidelity
from surrogate.runs.inversion_use import inversion_use
from surrogate.runs.load import load_surrogate
from surrogate.runs.misfit_gradients import read_cases
from surrogate.runs.other_data import evaluate_other
from surrogate.runs.other_model import evaluate_model
from surrogate.runs.predict import predict_batch
from surrogate.runs.provenance import environment
from surrogate.runs.speedup import speedup
from surrogate.runs.timing import time_per_sample, training_seconds
from surrogate.runs.transfer import same_grid
from surrogate.tasks.common import SnapshotTask
from surrogate.training.batches import Examples, ordered_batches

LOCK = "evaluation.lock"


def evaluate(config: EvaluateConfig, on_progress: Callable[[str], None] = lambda stage: None) -> dict[str, Any]:
    """Evaluate a run, and write `metrics.json`, `errors_*.csv`, figures and `report.html` into its folder.

    An evaluation that was made before with the same config is not made again: a finished run does not change.

    Args:
        config: Config of the evaluation.
        on_progress: Function that is called with the name of each stage.

    Returns:
        The metrics.

    Raises:
        InputError: The run, a data set or the model file cannot be used, or another process evaluates the run; nothing
            is written then.
    """
    on_progress("checking the run and the data")
    request = read_request(config)
    if (done := earlier_answer(config, request.evaluated)) is not None:
        return done
    refuse_links(Path(config.run))
    with explain_full_disk(Path(config.run)), exclusive(Path(config.run) / LOCK, wait=False):
        return _evaluate(config, request, on_progress)


def _evaluate(config: EvaluateConfig, request: Request, on_progress: Callable[[str], None]) -> dict[str, Any]:
    run, out = request.run, Path(config.run)
    model = load_surrogate(config.run)
    task, methods = model.task.for_evaluation(), _methods(model)
    methods_on_other, known_on_other = methods, model.training_models
    if request.other is not None and not same_grid(run.data, request.other):
        methods_on_other = _methods(
            load_surrogate(config.run, request.other)
        )  # refuses a grid too coarse for its modes
        known_on_other = None  # features are of models on the run's cells

    count = run.data.test * task.examples
    batches = ordered_batches(run.data.path, "test", config.batch_size, task)
    examples = example_errors(
        task, methods, batches, lambda done: on_progress(f"errors on the test split, {done} of {count} examples")
    )
    tables = error_tables(examples)
    chosen = best_median_worst(examples.errors["surrogate"]["relative_l2"])

    on_progress("time per sample")
    batch = jax.tree.map(jnp.asarray, next(ordered_batches(run.data.path, "test", config.batch_size, task)))
    batch_size = len(batch[task.target])
    seconds = time_per_sample(methods, batch, batch_size, config.repeats)

    _remove_earlier(out)
    write_examples(out / "errors_test.csv", examples, task.examples)
    drawn = {name: _describe(index, examples, task) for name, index in chosen.items()}
    _save_figures(out, run, task, methods, drawn)
    if isinstance(task, SnapshotTask):
        lines = {name.replace("_", " "): table["relative_l2"]["per_snapshot"] for name, table in tables.items()}
        figures.save(figures.per_snapshot(lines, task.predicted_times), out / "figures" / "per_snapshot.png")
    result: dict[str, Any] = {
        "config": asdict(config),
        "evaluated": request.evaluated,
        "task": task.name,
        "operator": run.model.name,
        "encoding": run.encoding.name,
        "coarse_ratio": model.coarse_ratio,
        "test_samples": count,
        "parameters": count_parameters(model),
        **tables.pop("surrogate"),
        **tables,
        "seconds_per_sample": seconds | {"batch_size": batch_size},
        "drawn": drawn,
        "training": {
            "steps": request.evaluated["trained"],
            "batch_size": run.training.batch_size,
            "seed": run.training.seed,
        },
        "environment": environment(),
    }
    if config.speedup_samples:
        on_progress("time at an equal error against the wave equation")
        training = training_seconds(out, run.training.batch_size)
        result["speedup"] = speedup(model, run, training, config.speedup_samples, config.repeats)
    if isinstance(task, ForwardTask) and task.spec.simulates:
        for key, number, stage, measure in (
            ("gradients", config.gradient_samples, "gradients of a misfit along an inversion", gradient_fidelity),
            ("inversion", config.inversion_samples, "inversions that a cheap model leads", inversion_use),
        ):
            if not number:
                continue
            on_progress(stage)
            cases = read_cases(run.data.path, task, min(number, run.data.test))
            try:
                result[key] = measure(model, task, cases)
            except (InputError, NumericalError) as error:  # such as too little memory: all else is worth keeping
                result[key] = {"not_measured": str(error)}
    if request.other is not None:
        result["other"] = evaluate_other(
            request.other,
            run,
            methods_on_other,
            config.batch_size,
            out,
            lambda done: on_progress(f"errors on {config.other}, {done} examples so far"),
        )
        velocities = (record["velocity"] for record in data_source(request.other.path, "test"))
        result["other"]["distance"] = describe_distances(known_on_other, velocities)
    if request.model is not None:
        on_progress(f"errors on {config.real.path}")
        result["real_model"] = evaluate_model(*request.model, config.real, task, methods, out)
        result["real_model"]["distance"] = describe_distances(model.training_models, [request.model[0]])
    write_json(out / "metrics.json", result)
    write_report(out)
    return result


def _methods(model: Surrogate) -> dict[str, Method]:
    """Return the surrogate, and the methods that its task compares it with."""
    others = model.task.for_evaluation().methods(model.coarse_ratio)
    return {"surrogate": lambda batch: predict_batch(model, batch), **others}


def _remove_earlier(out: Path) -> None:
    """Remove the figures and the errors of an earlier evaluation, which the new one may not make again."""
    drawn = out / "figures"
    for file in (*drawn.glob("*.png"), *(drawn / MOVIE).glob("*.png"), *out.glob("errors_*.csv")):
        file.unlink()


def _describe(index: int, examples: ExampleErrors, task: Task) -> dict[str, Any]:
    """Name a test example: its sample, the example within it, its labels and its error."""
    sample, example = divmod(index, task.examples)
    error = float(examples.errors["surrogate"]["relative_l2"][index])
    labels = {kind: names[index] for kind, names in examples.labels.items()}
    return {"sample": sample, "example": example, **labels, "relative_l2": error}


def _save_figures(
    out: Path, run: TrainConfig, task: Task, methods: dict[str, Method], drawn: dict[str, dict[str, Any]]
) -> None:
    """Draw the test examples with the smallest, the middle and the largest error of the surrogate."""
    read = Examples(run.data.path, "test", task)
    for which, entry in drawn.items():
        example = read[entry["sample"] * task.examples + entry["example"]]
        batch = {name: values[None] for name, values in example.items()}
        predictions = {
            name.replace("_", " "): np.asarray(method(batch))[0] for name, method in methods.items() if name != "solver"
        }
        for name, figure in task.figures(example, predictions).items():
            figure.suptitle(f"{which} of the test split: {example_title(entry)}", fontsize=figures.LARGE)
            figures.save(figure, out / "figures" / f"{which}_{name}.png")
        if isinstance(task, SnapshotTask):
            folder = out / "figures" / MOVIE
            make_folder(folder)
            for k, frame in enumerate(task.movie(example, predictions)):
                (folder / f"{which}_{k:02d}.png").write_bytes(frame)
