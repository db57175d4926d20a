"""Compute the errors of several methods on the examples of a split, over all of them and by group."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np

from surrogate.metrics.errors import summary
from surrogate.protocols import Batch, Method, Task

Errors = dict[str, Any]  # of each example of a batch, by name, as `Task.errors` returns them


def error_tables(
    task: Task,
    methods: dict[str, Method],
    batches: Iterable[Batch],
    on_examples: Callable[[int], None] = lambda done: None,
) -> dict[str, dict[str, Any]]:
    """Compute the errors of every method but the solver, which is the truth.

    Args:
        task: Task whose examples are predicted.
        methods: Functions from a batch to predictions, by name.
        batches: Examples to predict.
        on_examples: Function that is called with the number of examples so far, before each batch.

    Returns:
        The errors of each method as plain values: summaries over all examples, lists for errors that are listed, and
        mean errors by the groups of the task.
    """
    errors: dict[str, list[Errors]] = {name: [] for name in methods if name != "solver"}
    groups: list[dict[str, list[str]]] = []
    done = 0
    for batch in batches:
        on_examples(done)
        done += len(batch[task.target])
        groups.append(task.groups(batch))
        for name, rows in errors.items():
            rows.append(jax.tree.map(np.asarray, _errors(task, methods[name](batch), dict(batch))))
    return {name: _summaries(rows) | _by_group(rows, groups) for name, rows in errors.items()}


@partial(jax.jit, static_argnames="task")
def _errors(task: Task, prediction: jax.Array, batch: Batch) -> Errors:
    return task.errors(prediction, batch)


def _summaries(errors: list[Errors]) -> dict[str, Any]:
    """Summarize the errors of all batches; a listed error becomes the list of its means."""
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *errors)
    listed = {name: values for name, values in joined.items() if isinstance(values, np.ndarray) and values.ndim == 2}
    table = jax.tree.map(summary, {name: values for name, values in joined.items() if name not in listed})
    table["relative_l2"] |= {name: [float(v) for v in values.mean(axis=0)] for name, values in listed.items()}
    return table


def _by_group(errors: list[Errors], groups: list[dict[str, list[str]]]) -> dict[str, Any]:
    """Average the errors of the examples with each label: `{"per_family": {"salt": {"relative_l2": ...}}}`."""
    table: dict[str, Any] = {}
    for kind in groups[0]:
        labels = np.array([label for batch in groups for label in batch[kind]])
        for label in dict.fromkeys(labels):
            chosen = labels == label
            means = {
                name: float(np.concatenate([batch[name] for batch in errors])[chosen].mean())
                for name, values in errors[0].items()
                if isinstance(values, np.ndarray) and values.ndim == 1
            }
            table.setdefault(f"per_{kind}", {})[str(label)] = means | {"examples": int(chosen.sum())}
    return table
