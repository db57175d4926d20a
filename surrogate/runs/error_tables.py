"""Compute the errors of several methods on each example of a split, and summarize them over all and by group."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from data_gen.common.files import write_text
from surrogate.metrics.errors import summary
from surrogate.protocols import Batch, Method, Task

Errors = dict[str, Any]  # of each example, by name, as `Task.errors` returns them


class ExampleErrors(NamedTuple):
    """Hold the errors of every example, in the order of the split.

    Attributes:
        errors: Errors by the name of the method, each `(n,)`, or `(n, k)` for errors that are listed.
        labels: Label of each example, by kind of group.
    """

    errors: dict[str, Errors]
    labels: dict[str, list[str]]


def example_errors(
    task: Task,
    methods: dict[str, Method],
    batches: Iterable[Batch],
    on_examples: Callable[[int], None] = lambda done: None,
) -> ExampleErrors:
    """Compute the errors of every method but the solver, which is timed only.

    Args:
        task: Task whose examples are predicted.
        methods: Functions from a batch to predictions, by name.
        batches: Examples to predict.
        on_examples: Function that is called with the number of examples so far, before each batch.

    Returns:
        The errors of each example.
    """
    errors: dict[str, list[Errors]] = {name: [] for name in methods if name != "solver"}
    labels: dict[str, list[str]] = {}
    done = 0
    for batch in batches:
        on_examples(done)
        done += len(batch[task.target])
        for kind, names in task.groups(batch).items():
            labels.setdefault(kind, []).extend(names)
        for name, rows in errors.items():
            rows.append(jax.tree.map(np.asarray, _errors(task, methods[name](batch), dict(batch))))
    joined = {name: jax.tree.map(lambda *parts: np.concatenate(parts), *rows) for name, rows in errors.items()}
    return ExampleErrors(joined, labels)


@partial(jax.jit, static_argnames="task")
def _errors(task: Task, prediction: jax.Array, batch: Batch) -> Errors:
    return task.errors(prediction, batch)


def error_tables(examples: ExampleErrors) -> dict[str, dict[str, Any]]:
    """Summarize errors over all examples and by group.

    Args:
        examples: Errors of each example.

    Returns:
        The errors of each method as plain values: summaries over all examples, lists for errors that are listed, and
        mean errors by the groups of the task.
    """
    return {name: _summaries(errors) | _by_group(errors, examples.labels) for name, errors in examples.errors.items()}


def _summaries(errors: Errors) -> dict[str, Any]:
    """Summarize errors; a listed error becomes the list of its means."""
    listed = {name: values for name, values in errors.items() if isinstance(values, np.ndarray) and values.ndim == 2}
    table = jax.tree.map(summary, {name: values for name, values in errors.items() if name not in listed})
    table["relative_l2"] |= {name: [float(v) for v in values.mean(axis=0)] for name, values in listed.items()}
    return table


def _by_group(errors: Errors, labels: dict[str, list[str]]) -> dict[str, Any]:
    """Average the errors of the examples with each label: `{"per_family": {"salt": {"relative_l2": ...}}}`."""
    table: dict[str, Any] = {}
    for kind, names in labels.items():
        of_example = np.array(names)
        for label in dict.fromkeys(names):
            chosen = of_example == label
            means = {
                name: float(values[chosen].mean())
                for name, values in errors.items()
                if isinstance(values, np.ndarray) and values.ndim == 1
            }
            table.setdefault(f"per_{kind}", {})[label] = means | {"examples": int(chosen.sum())}
    return table


def write_examples(path: Path, examples: ExampleErrors, per_sample: int) -> None:
    """Write the errors of every example as a table: CSV with one row for each example.

    The columns are the sample and the example within it, both from 0, the labels, and `METHOD.ERROR` for each error.

    Args:
        path: Path of the file.
        examples: Errors of each example.
        per_sample: Number of examples of one sample.
    """
    columns: dict[str, Any] = dict(examples.labels)
    for method, errors in examples.errors.items():
        columns |= {f"{method}.{name}": values for name, values in _columns(errors)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "example", *columns])
    for index, row in enumerate(zip(*columns.values(), strict=True)):
        writer.writerow([*divmod(index, per_sample), *row])
    write_text(path, text.getvalue())


def read_examples(path: Path) -> dict[str, list[float]]:
    """Read the errors of every example from a table that `write_examples` has written.

    Args:
        path: Path of the file.

    Returns:
        The errors, by the names of their columns.
    """
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if "." in name}


def _columns(errors: Errors, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Flatten errors to one column each, with names such as `bands.low` and `per_snapshot.0`."""
    for name, values in sorted(errors.items(), key=lambda item: item[0] != "relative_l2"):
        if isinstance(values, dict):
            yield from _columns(values, f"{prefix}{name}.")
        elif values.ndim == 2:
            yield from ((f"{prefix}{name}.{i}", column) for i, column in enumerate(values.T))
        else:
            yield prefix + name, values


def best_median_worst(errors: np.ndarray) -> dict[str, int]:
    """Choose the examples with the smallest, the middle and the largest error; one that is not finite is the largest.

    Args:
        errors: Error of each example `(n,)`.

    Returns:
        Index of each of them, by `best`, `median` and `worst`; of two examples there is no median, one is the best.
    """
    order = [int(i) for i in np.argsort(np.where(np.isfinite(errors), errors, np.inf), kind="stable")]
    names = ("best", "median", "worst") if len(order) > 2 else ("best", "worst")[: len(order)]
    places = {"best": 0, "median": len(order) // 2, "worst": -1}
    return {name: order[places[name]] for name in names}
