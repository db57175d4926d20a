"""Evaluation of a run: errors on the test split, errors on a model from a file, and time against the solver.

The solver's field is the truth. The same solver on a grid twice as coarse stands beside the surrogate in every table:
an operator that does not beat it, at its price, has learned nothing of use.
"""

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_gen.checks import check_inputs
from data_gen.dataset import read_json, write_json
from data_gen.errors import InputError
from data_gen.model_io import read_velocity, to_grid
from data_gen.sample import DataSpec
from surrogate import metrics, plots
from surrogate.config import EvaluateConfig, RealModelConfig, TrainConfig, read_run
from surrogate.forward import spread_sources
from surrogate.model import Surrogate
from surrogate.pipeline import check_dataset, ordered_batches
from surrogate.report import write_report
from surrogate.task import Batch, Method, Task, whole
from surrogate.trainer import best_step, load_surrogate, predict_batch


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
    if config.real.path is not None:
        _check_reads_models(run.task.create(spec))
    check_dataset(run.data, verify=run.training.verify)
    real = None if config.real.path is None else read_real(config.real, spec)
    out = Path(config.run)
    done = read_json(out / "metrics.json") if (out / "metrics.json").exists() else {}
    evaluated = {
        "step": best_step(config.run),
        "file": None if real is None else hashlib.sha256(real[0].tobytes()).hexdigest(),
    }
    if _made_before(done, config, evaluated):
        return done
    model = load_surrogate(config.run)
    task = whole(model.task)
    methods: dict[str, Method] = {"surrogate": lambda batch: predict_batch(model, batch), **task.methods()}

    on_progress("errors on the test split")
    errors: dict[str, list[dict[str, Any]]] = {name: [] for name in methods if name != "solver"}
    for batch in ordered_batches(run.data.path, "test", config.batch_size, task):
        for name, rows in errors.items():
            rows.append(_errors(task, methods[name](batch), batch))
    tables = {name: _table(rows) for name, rows in errors.items()}

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
        "training": {"steps": run.training.steps, "batch_size": run.training.batch_size, "seed": run.training.seed},
        "environment": environment(),
    }
    if real is not None:
        on_progress(f"errors on {config.real.path}")
        result["real_model"] = _evaluate_real(real, config.real, task, methods, out)
    write_json(out / "metrics.json", result)
    write_report(out)
    return result


def _made_before(done: dict[str, Any], config: EvaluateConfig, evaluated: dict[str, Any]) -> bool:
    """Whether `done` answers what `config` asks; an answer about a model from a file is more than was asked without."""
    asked = asdict(config)
    if config.real.path is None:
        asked["real"] = done.get("config", {}).get("real")
        evaluated = evaluated | {"file": done.get("evaluated", {}).get("file")}
    return done.get("config") == asked and done.get("evaluated") == evaluated


def count_parameters(model: Surrogate) -> int:
    """Trained numbers in the operator."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def environment() -> dict[str, str]:
    """What a measured number depends on."""
    device = jax.devices()[0]
    packages = {name: version(name) for name in ("jax", "jaxlib", "flax")}
    return {
        "device": f"{device.device_kind} x {jax.local_device_count()}",
        "python": platform.python_version(),
    } | packages


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


def _check_reads_models(task: Task) -> None:
    if not set(task.inputs) <= {"velocity", "source"}:
        raise InputError(
            f"A model from a file is evaluated by firing shots into it, but a surrogate of the task {task.name} reads "
            f"{' and '.join(task.inputs)}. Evaluate it without: real.path=null."
        )


def read_real(config: RealModelConfig, spec: DataSpec) -> tuple[np.ndarray, str]:
    """A model from a file on the run's grid `(nz, nx)` [m/s], and in words which window of it.

    Raises `InputError` if it cannot be read, leaves the grid or is too fast for the run's time step.
    """
    assert config.path is not None
    if config.origin is not None and len(config.origin) != 2:
        raise InputError(f"real.origin must be [z, x] in metres, but is {config.origin}.")
    if config.spacing is not None and not config.spacing > 0:
        raise InputError(f"real.spacing must be a positive length in metres, but is {config.spacing}.")
    origin = None if config.origin is None else (config.origin[0], config.origin[1])
    velocity, where = to_grid(read_velocity(config.path), spec.simulation.grid, spacing=config.spacing, origin=origin)
    check_inputs(velocity, spec.survey(np.zeros((1, 2), np.float32)), spec.simulation, spec.density(velocity))
    return velocity, where


def _evaluate_real(
    real: tuple[np.ndarray, str], config: RealModelConfig, task: Task, methods: dict[str, Method], out: Path
) -> dict[str, Any]:
    """Errors on eight shots at the shallowest, and eight at the deepest, source depth of the data set."""
    (velocity, where), spec = real, task.spec
    spacing = spec.simulation.grid.spacing
    sources = np.concatenate([spread_sources(spec, 8, row * spacing) for row in spec.shots.rows]).astype(np.float32)
    batch: dict[str, Any] = {
        "velocity": np.broadcast_to(velocity, (len(sources), *velocity.shape)),
        "source": sources,
    }
    batch[task.target] = methods["solver"](batch)
    predictions = {name: method(batch) for name, method in methods.items() if name != "solver"}
    tables = {name: _table([_errors(task, prediction, batch)]) for name, prediction in predictions.items()}
    shown = len(sources) // 4
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
        "shots": len(sources),
        **tables,
    }
