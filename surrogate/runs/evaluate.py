"""Evaluation of a run: errors on the test split, on another data set's, on a model from a file; time per sample.

The solver's field is the truth. The same solver on a grid twice as coarse stands beside the surrogate in every table:
an operator that does not beat it, at its price, has learned nothing of use.
"""

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import differences, read_json, write_json
from data_gen.dataset.config import DataConfig
from data_gen.dataset.manifest import config_of, fingerprint, read_manifest
from data_gen.dataset.verification import verify
from surrogate import figures as plots
from surrogate.config import EvaluateConfig, RealModelConfig, TrainConfig
from surrogate.inversion.forward import spread_sources
from surrogate.metrics import errors as metrics
from surrogate.models.surrogate import Surrogate, count_parameters
from surrogate.protocols import Batch, Method, ShotTask, Task
from surrogate.report.page import write_report
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_step, last_step, load_surrogate
from surrogate.runs.model_file import read_real
from surrogate.runs.predict import predict_batch
from surrogate.runs.provenance import environment
from surrogate.runs.transfer import check_same_domain, same_grid, waves_of
from surrogate.training.batches import check_dataset, ordered_batches


class UnfinishedWarning(UserWarning):
    """A run is evaluated that has not come to its end."""


@partial(jax.jit, static_argnames="task")
def _compiled_errors(task: Task, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
    return task.errors(prediction, batch)


def _errors(task: Task, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
    return jax.tree.map(np.asarray, _compiled_errors(task, prediction, dict(batch)))


def _table(errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of all batches as the plain values of `metrics.json`: summaries, and lists for what is listed."""
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *errors)
    listed = {name: values for name, values in joined.items() if isinstance(values, np.ndarray) and values.ndim == 2}
    table = jax.tree.map(metrics.summary, {name: values for name, values in joined.items() if name not in listed})
    table["relative_l2"] |= {name: [float(v) for v in values.mean(axis=0)] for name, values in listed.items()}
    return table


def _by_group(errors: list[dict[str, Any]], groups: list[dict[str, list[str]]]) -> dict[str, Any]:
    """Mean errors of the examples with each label: `{"per_family": {"salt": {"relative_l2": ..., "examples": 12}}}`."""
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


def _tables(task: Task, methods: dict[str, Method], batches: Iterable[Batch]) -> dict[str, dict[str, Any]]:
    """The errors of every method but the solver, which is the truth, over all examples and by the task's groups."""
    errors: dict[str, list[dict[str, Any]]] = {name: [] for name in methods if name != "solver"}
    groups: list[dict[str, list[str]]] = []
    for batch in batches:
        groups.append(task.groups(batch))
        for name, rows in errors.items():
            rows.append(_errors(task, methods[name](batch), batch))
    return {name: _table(rows) | _by_group(rows, groups) for name, rows in errors.items()}


def time_per_sample(methods: dict[str, Callable[[], jax.Array]], batch_size: int, repeats: int) -> dict[str, Any]:
    """Median seconds per sample of compiled methods on one batch, interleaved so that drift hits all alike."""
    for method in methods.values():
        jax.block_until_ready(method())
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(repeats):
        for name, method in methods.items():
            start = time.perf_counter()
            jax.block_until_ready(method())
            seconds[name].append((time.perf_counter() - start) / batch_size)
    return {name: {"median": float(np.median(s)), "min": min(s), "max": max(s)} for name, s in seconds.items()}


def evaluate(config: EvaluateConfig, on_progress: Callable[[str], None] = lambda stage: None) -> dict[str, Any]:
    """Evaluate a run, write `metrics.json`, figures and `report.html` into its folder, and return the metrics.

    An evaluation that was made with the same config is not made again: a finished run does not change.

    Raises `InputError` if the run, its data set or the model file cannot be used; nothing is written then.
    """
    if config.batch_size < 1 or config.repeats < 1:
        raise InputError(f"batch_size and repeats must be at least 1, but are {config.batch_size}, {config.repeats}.")
    run = read_run(config.run)
    spec = run.data.create()
    check_dataset(run.data, verify=run.training.verify)
    other = None if config.other is None else read_other(config.other, run)
    real = None if config.real.path is None else read_real(config.real, spec)
    if real is not None:
        _shots(run.task.create(spec), real[0])  # a task that has no answer for it is refused before anything is made
    out, steps = Path(config.run), last_step(config.run) or run.training.steps
    if steps < run.training.steps:
        text = f"{config.run} is at step {steps} of {run.training.steps}: its best weights so far are evaluated."
        warnings.warn(text, UnfinishedWarning, stacklevel=2)
    done = read_json(out / "metrics.json") if (out / "metrics.json").exists() else {}
    evaluated = {
        "step": best_step(config.run),
        "trained": steps,
        "file": None if real is None else hashlib.sha256(real[0].tobytes()).hexdigest(),
        "other": None if other is None else fingerprint(other),
    }
    if _made_before(done, config, evaluated):
        return done
    model = load_surrogate(config.run)
    task, methods = model.task.for_evaluation(), _methods(model)
    # Before anything is written: its grid may be too coarse for the operator's modes.
    elsewhere = methods if other is None or same_grid(run.data, other) else _methods(load_surrogate(config.run, other))

    on_progress("errors on the test split")
    tables = _tables(task, methods, ordered_batches(run.data.path, "test", config.batch_size, task))

    on_progress("time per sample")
    batch = jax.tree.map(jnp.asarray, next(ordered_batches(run.data.path, "test", config.batch_size, task)))
    timed = {name: partial(method, batch) for name, method in methods.items()}
    seconds = time_per_sample(timed, len(batch[task.target]), config.repeats)

    _figures(out, run, task, methods, tables)
    result: dict[str, Any] = {
        "config": asdict(config),
        "evaluated": evaluated,
        "task": task.name,
        "operator": run.model.name,
        "encoding": run.encoding.name,
        "test_samples": run.data.test * task.examples,
        "parameters": count_parameters(model),
        **tables.pop("surrogate"),
        **tables,
        "seconds_per_sample": seconds | {"batch_size": len(batch[task.target])},
        "training": {"steps": steps, "batch_size": run.training.batch_size, "seed": run.training.seed},
        "environment": environment(),
    }
    if other is not None:
        on_progress(f"errors on {other.path}")
        result["other"] = _evaluate_other(other, run, elsewhere, config.batch_size)
    if real is not None:
        on_progress(f"errors on {config.real.path}")
        result["real_model"] = _evaluate_real(real, config.real, task, methods, out)
    write_json(out / "metrics.json", result)
    write_report(out)
    return result


def _methods(model: Surrogate) -> dict[str, Method]:
    """The surrogate, and the methods that its task compares it with."""
    return {"surrogate": lambda batch: predict_batch(model, batch), **model.task.for_evaluation().methods()}


def _made_before(done: dict[str, Any], config: EvaluateConfig, evaluated: dict[str, Any]) -> bool:
    """Whether `done` answers what `config` asks; it may also answer about a model, or data, that were not asked for."""
    asked = asdict(config)
    for name, file, unasked in (("real", "file", config.real.path is None), ("other", "other", config.other is None)):
        if unasked:
            asked[name] = done.get("config", {}).get(name)
            evaluated = evaluated | {file: done.get("evaluated", {}).get(file)}
    return done.get("config") == asked and done.get("evaluated") == evaluated


def read_other(path: str, run: TrainConfig) -> DataConfig:
    """The config of a data set of other models, or on another grid, on whose test split a run can be evaluated.

    Raises `InputError` if there is none at `path`, or its simulation or what it keeps of it is not that of the run, or,
    on another grid, if it is not of the same waves over the same domain.
    """
    other = config_of(read_manifest(path), path)
    kept = ["gather_every"]
    task = run.task.create(run.data.create())
    if "source" not in task.inputs:
        kept += ["sources", "placement", "source_depths"]  # which the operator is not told, so it has learnt them

    def decisive(config: DataConfig) -> dict[str, Any]:
        values = {name: value for name, value in config.physics().items() if name != "families"}
        return values | waves_of(config) | {name: getattr(config, name) for name in kept}

    ours, theirs = decisive(run.data), decisive(other)
    if task.other_grids and not same_grid(run.data, other):
        check_same_domain(run, other)
    elif ours != theirs:
        raise InputError(
            f"The data set at {path} has another simulation than the run ({differences(ours, theirs)}), so the run "
            "cannot be asked about it. Generate one that differs in its families, sources or seed only."
        )
    run.task.create(other.create())  # refuses what lacks the records, or has other wavelets, than the task needs
    verify(path, checksums=run.training.verify)
    return other


def _evaluate_other(other: DataConfig, run: TrainConfig, methods: dict[str, Method], batch_size: int) -> dict[str, Any]:
    """Errors on the test split of another data set; methods: on its grid."""
    task = run.task.create(other.create()).for_evaluation()
    tables = _tables(task, methods, ordered_batches(other.path, "test", batch_size, task))
    return {
        "path": Path(other.path).name,
        "grid": f"{other.nz} x {other.nx} cells of {other.spacing:g} m",
        "families": list(task.spec.mixture.names),
        "test_samples": other.test * task.examples,
        **tables.pop("surrogate"),
        **tables,
    }


def _figures(out: Path, run: TrainConfig, task: Task, methods: dict[str, Method], tables: dict[str, Any]) -> None:
    batch = next(ordered_batches(run.data.path, "test", 1, task))
    example = {name: np.asarray(values)[0] for name, values in batch.items()}
    predictions = {
        name.replace("_", " "): np.asarray(method(batch))[0] for name, method in methods.items() if name != "solver"
    }
    for name, figure in task.figures(example, predictions).items():
        plots.save(figure, out / "figures" / f"{name}.png")
    if "per_snapshot" in tables["surrogate"]["relative_l2"]:
        lines = {name.replace("_", " "): table["relative_l2"]["per_snapshot"] for name, table in tables.items()}
        times = run.data.snapshot_times[-len(lines["surrogate"]) :]
        plots.save(plots.per_snapshot(lines, times), out / "figures" / "per_snapshot.png")


def _shots(task: Task, velocity: np.ndarray) -> dict[str, Any]:
    """Make the inputs of eight shots at the shallowest, and eight at the deepest, source depth of the data set.

    Raises `InputError` for a task that does not read a shot through a model.
    """
    grid, rows = task.spec.simulation.grid, task.spec.shots.rows
    if not isinstance(task, ShotTask):
        raise InputError(
            f"A {task.name} surrogate reads {', '.join(task.inputs)}, not a model and a shot, so it cannot be "
            "evaluated on a model from a file: leave real.path=null."
        )
    sources = np.concatenate([spread_sources(grid, 8, row * grid.spacing) for row in rows])
    return task.shot_inputs(jnp.asarray(velocity), jnp.asarray(sources, jnp.float32))


def _evaluate_real(
    real: tuple[np.ndarray, str], config: RealModelConfig, task: Task, methods: dict[str, Method], out: Path
) -> dict[str, Any]:
    """Errors on the shots of `_shots`."""
    (velocity, where), spec = real, task.spec
    spacing, batch = spec.simulation.grid.spacing, _shots(task, velocity)
    batch[task.target] = methods["solver"](batch)
    predictions = {name: method(batch) for name, method in methods.items() if name != "solver"}
    tables = _tables(task, {name: lambda _, p=p: p for name, p in predictions.items()}, [batch])
    shown = len(batch["source"]) // 4
    plots.save(plots.models({Path(str(config.path)).stem: velocity}, spacing), out / "figures" / "real_model.png")
    example = {name: np.asarray(values)[shown] for name, values in batch.items()}
    shown_fields = {name.replace("_", " "): np.asarray(field[shown]) for name, field in predictions.items()}
    plots.save(task.figures(example, shown_fields)["fields"], out / "figures" / "real_fields.png")
    low, high = spec.mixture.min_velocity, spec.mixture.max_velocity
    return {
        "path": Path(str(config.path)).name,
        "window": where,
        "velocity_range": [float(velocity.min()), float(velocity.max())],
        "outside_training_range": float(np.mean((velocity < low) | (velocity > high))),
        "shots": len(batch["source"]),
        **tables,
    }
