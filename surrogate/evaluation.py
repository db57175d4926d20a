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
from jax.typing import ArrayLike

from data_gen.checks import check_inputs
from data_gen.dataset import read_json, write_json
from data_gen.errors import InputError
from data_gen.model_io import read_velocity, to_grid
from data_gen.sample import DataSpec
from surrogate import metrics, plots
from surrogate.config import EvaluateConfig, RealModelConfig, TrainConfig, read_run
from surrogate.encoding import Coarse
from surrogate.forward import spread_sources
from surrogate.model import Surrogate
from surrogate.pipeline import check_dataset, ordered_batches
from surrogate.report import write_report
from surrogate.trainer import best_step, load_surrogate, predict

Fields = Callable[[ArrayLike, ArrayLike], jax.Array]


def solver_fields(spec: DataSpec) -> Fields:
    """The solver as `(velocities, sources) -> snapshots`, compiled, without gathers."""
    return jax.jit(jax.vmap(lambda velocity, source: spec.fields(velocity, source[None])[0]))


def coarse_fields(spec: DataSpec) -> Fields:
    """The coarse solver, interpolated to the grid, as `(velocities, sources) -> snapshots`, compiled."""
    return jax.jit(jax.vmap(lambda velocity, source: Coarse(spec)(velocity, source)[1]))


@partial(jax.jit, static_argnames="spec")
def _errors(prediction: jax.Array, truth: jax.Array, spec: DataSpec) -> dict[str, Any]:
    rows, columns = spec.receiver_cells
    return {
        "relative_l2": metrics.relative_l2(prediction, truth),
        "per_snapshot": metrics.relative_l2_per_snapshot(prediction, truth),
        "bands": metrics.band_errors(prediction, truth),
        "gather_misfit": metrics.relative_l2(prediction[:, :, rows, columns], truth[:, :, rows, columns]),
    }


def _table(errors: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of all batches as the plain values of `metrics.json`."""
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *errors)
    return {
        "relative_l2": metrics.summary(joined["relative_l2"])
        | {"per_snapshot": [float(value) for value in joined["per_snapshot"].mean(axis=0)]},
        "bands": {name: metrics.summary(values) for name, values in joined["bands"].items()},
        "gather_misfit": metrics.summary(joined["gather_misfit"]),
    }


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
    real = None if config.real.path is None else read_real(config.real, spec)
    out = Path(config.run)
    done = read_json(out / "metrics.json") if (out / "metrics.json").exists() else {}
    evaluated = {
        "step": best_step(config.run),
        "file": None if real is None else hashlib.sha256(real[0].tobytes()).hexdigest(),
    }
    if _made_before(done, config, evaluated):
        return done
    model, coarse = load_surrogate(config.run), coarse_fields(spec)
    methods: dict[str, Fields] = {"surrogate": partial(predict, model), "coarse_solver": coarse}

    on_progress("errors on the test split")
    errors: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for batch in ordered_batches(run.data.path, "test", config.batch_size):
        truth = jnp.asarray(batch["snapshots"])
        for name, method in methods.items():
            error = _errors(method(batch["velocity"], batch["source"]), truth, spec)
            errors[name].append(jax.tree.map(np.asarray, error))
    tables = {name: _table(rows) for name, rows in errors.items()}

    on_progress("time per sample")
    batch = next(ordered_batches(run.data.path, "test", config.batch_size))
    velocity, source = jnp.asarray(batch["velocity"]), jnp.asarray(batch["source"])
    solver = solver_fields(spec)
    timed = {name: partial(method, velocity, source) for name, method in (methods | {"solver": solver}).items()}
    seconds = time_per_sample(timed, len(velocity), config.repeats)

    _figures(out, run, model, coarse, tables)
    result: dict[str, Any] = {
        "config": asdict(config),
        "evaluated": evaluated,
        "encoding": run.encoding.name,
        "test_samples": run.data.test * run.data.sources,
        "parameters": count_parameters(model),
        "relative_l2": tables["surrogate"]["relative_l2"],
        "bands": tables["surrogate"]["bands"],
        "gather_misfit": tables["surrogate"]["gather_misfit"],
        "coarse_solver": tables["coarse_solver"],
        "seconds_per_sample": seconds | {"batch_size": len(velocity)},
        "training": {"steps": run.training.steps, "batch_size": run.training.batch_size, "seed": run.training.seed},
        "environment": environment(),
    }
    if real is not None:
        on_progress(f"errors on {config.real.path}")
        result["real_model"] = _evaluate_real(real, config.real, spec, methods | {"solver": solver}, out)
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


def _figures(out: Path, run: TrainConfig, model: Surrogate, coarse: Fields, tables: dict[str, Any]) -> None:
    batch = next(ordered_batches(run.data.path, "test", 1))
    fields = {
        "surrogate": np.asarray(predict(model, batch["velocity"], batch["source"]))[0],
        "coarse solver": np.asarray(coarse(batch["velocity"], batch["source"]))[0],
    }
    times, middle = run.data.snapshot_times, len(run.data.snapshot_times) // 2
    shown = {name: field[middle] for name, field in fields.items()}
    figure = plots.overview(batch["velocity"][0], batch["snapshots"][0][middle], shown, run.data.spacing)
    plots.save(figure, out / "figures" / "a_overview.png")
    figure = plots.snapshots(batch["snapshots"][0], fields, times, run.data.spacing)
    plots.save(figure, out / "figures" / "fields.png")
    lines = {
        "surrogate": tables["surrogate"]["relative_l2"]["per_snapshot"],
        "coarse solver": tables["coarse_solver"]["relative_l2"]["per_snapshot"],
    }
    plots.save(plots.per_snapshot(lines, times), out / "figures" / "per_snapshot.png")


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
    real: tuple[np.ndarray, str], config: RealModelConfig, spec: DataSpec, methods: dict[str, Fields], out: Path
) -> dict[str, Any]:
    """Errors on eight shots at the shallowest, and eight at the deepest, source depth of the data set."""
    velocity, where = real
    spacing = spec.simulation.grid.spacing
    sources = np.concatenate([spread_sources(spec, 8, row * spacing) for row in spec.shots.rows]).astype(np.float32)
    velocities = np.broadcast_to(velocity, (len(sources), *velocity.shape))
    truth = methods["solver"](velocities, sources)
    fields = {name: method(velocities, sources) for name, method in methods.items() if name != "solver"}
    tables = {name: _table([jax.tree.map(np.asarray, _errors(f, truth, spec))]) for name, f in fields.items()}
    shown = len(sources) // 4
    plots.save(plots.models({Path(str(config.path)).stem: velocity}, spacing), out / "figures" / "real_model.png")
    figure = plots.snapshots(
        np.asarray(truth[shown]),
        {name.replace("_", " "): np.asarray(f[shown]) for name, f in fields.items()},
        list(spec.simulation.snapshot_times),
        spacing,
    )
    plots.save(figure, out / "figures" / "real_fields.png")
    low, high = spec.mixture.min_velocity, spec.mixture.max_velocity
    return {
        "path": Path(str(config.path)).name,
        "window": where,
        "velocity_range": [float(velocity.min()), float(velocity.max())],
        "outside_training_range": float(np.mean((velocity < low) | (velocity > high))),
        "shots": len(sources),
        **tables,
    }
