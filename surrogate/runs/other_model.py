"""Evaluate a run on a velocity model from a file, on shots that the solver makes."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from data_gen.common.errors import InputError
from surrogate import figures
from surrogate.config import RealModelConfig
from surrogate.inversion.forward import spread_sources
from surrogate.protocols import Method, ShotTask, Task
from surrogate.runs.error_tables import error_tables, example_errors, write_examples


def model_shots(task: Task, velocity: Float[np.ndarray, "nz nx"]) -> dict[str, Any]:
    """Make the inputs of eight shots at the shallowest, and eight at the deepest, source depth of the data set.

    Args:
        task: Task of the run.
        velocity: Velocity model `(nz, nx)` [m/s].

    Returns:
        The inputs by name.

    Raises:
        InputError: The task does not read a velocity model and a shot.
    """
    grid, rows = task.spec.simulation.grid, task.spec.shots.rows
    if not isinstance(task, ShotTask):
        raise InputError(
            f"A {task.name} surrogate reads {', '.join(task.inputs)}, not a model and a shot, so it cannot be "
            "evaluated on a model from a file: leave real.path=null."
        )
    sources = np.concatenate([spread_sources(grid, 8, row * grid.spacing) for row in rows])
    return dict(task.shot_inputs(jnp.asarray(velocity), jnp.asarray(sources, jnp.float32)))


def evaluate_model(
    velocity: Float[np.ndarray, "nz nx"],
    window: str,
    config: RealModelConfig,
    task: Task,
    methods: dict[str, Method],
    out: Path,
) -> dict[str, Any]:
    """Compute and write the errors on the shots of `model_shots`, and draw the model and one shot.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        window: Description of the window of the file that the model is.
        config: Settings of the file.
        task: Task of the run.
        methods: Methods by name, with `solver` among them.
        out: Folder of the run, for the errors of each shot and the figures.

    Returns:
        A description of the model, and the errors of each method.
    """
    spec, batch = task.spec, model_shots(task, velocity)
    spacing, path = spec.simulation.grid.spacing, Path(str(config.path))
    batch[task.target] = methods["solver"](batch)
    predictions = {name: method(batch) for name, method in methods.items() if name != "solver"}
    examples = example_errors(task, {name: lambda _, p=p: p for name, p in predictions.items()}, [batch])
    write_examples(out / "errors_file.csv", examples, len(batch["source"]))
    tables = error_tables(examples)
    shown = len(batch["source"]) // 4
    figures.save(figures.models({path.stem: velocity}, spacing), out / "figures" / "real_model.png")
    example = {name: np.asarray(values)[shown] for name, values in batch.items()}
    fields = {name.replace("_", " "): np.asarray(field[shown]) for name, field in predictions.items()}
    figures.save(task.figures(example, fields)["fields"], out / "figures" / "real_fields.png")
    low, high = spec.mixture.min_velocity, spec.mixture.max_velocity
    return {
        "path": path.name,
        "window": window,
        "velocity_range": [float(velocity.min()), float(velocity.max())],
        "outside_training_range": float(np.mean((velocity < low) | (velocity > high))),
        "shots": len(batch["source"]),
        **tables,
    }
