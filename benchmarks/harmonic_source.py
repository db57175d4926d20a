"""How much of S of harmonic fields comes from next to the source? `python -m benchmarks.harmonic_source RUN`.

On cells other than the data's, the field's peak at the source rings along its rows and columns when it is interpolated
to the data's cells. RUN is an evaluated run of task=harmonic: errors are measured again, as for S and without CROSS
rows and columns on each side of the source, and S follows with the times that the evaluation has measured.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import table
from data_gen.common.errors import InputError
from data_gen.common.files import read_json
from data_gen.dataset.truth import NEAR, far_from
from data_gen.solver.reference import converged
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.misfit_gradients import read_cases
from surrogate.runs.predict import compiled_shots
from surrogate.runs.speedup import equal_error_seconds, solver_settings
from surrogate.tasks.harmonic import Harmonic

CROSS = 5  # cells


def masks(points: np.ndarray, source: np.ndarray, spacing: float) -> dict[str, np.ndarray]:
    """Where errors are measured: away from the source as for S, and away from its rows and columns, too."""
    far = far_from(points, source[None], NEAR * spacing)[0]
    off = np.abs(points - source).min(axis=-1) > (CROSS + 0.5) * spacing
    return {"as S": far, f"without {2 * CROSS + 1} rows and columns": far & off}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.harmonic_source",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of an evaluated run of task=harmonic")
    options = parser.parse_args()
    try:
        run, model = read_run(options.run), load_surrogate(options.run)
    except InputError as error:
        parser.error(str(error))
    task, file = model.task, options.run / "metrics.json"
    if not file.is_file():
        parser.error(f"{options.run} was not evaluated: run `wave evaluate run={options.run}` first")
    if not isinstance(task, Harmonic):
        parser.error(f"{options.run} is of task={task.name}, not of task=harmonic")
    found = read_json(file)["speedup"]
    measured, samples = found["predictions"], found["samples"]
    reference, settings = converged(task.spec.simulation), solver_settings(task.spec)
    solve, predict = jax.jit(task.solve, static_argnums=2), compiled_shots(model)
    errors: dict[str, list[np.ndarray]] = {}
    for velocity, sources in read_cases(run.data.path, task, samples):
        inputs = jnp.asarray(velocity), jnp.asarray(sources)
        truths = np.asarray(solve(*inputs, reference))
        answers = [*(np.asarray(solve(*inputs, chosen)) for chosen in settings), np.asarray(predict(*inputs))]
        for shot, source in enumerate(np.asarray(sources)):
            for name, mask in masks(task.points, source, task.spec.simulation.grid.spacing).items():
                size = np.linalg.norm(truths[shot] * mask)
                off = [np.linalg.norm((answer[shot] - truths[shot]) * mask) / size for answer in answers]
                errors.setdefault(name, []).append(np.array(off))
    lines = []
    for name, of_shots in errors.items():
        *of_settings, ours = np.mean(of_shots, axis=0)
        plane = [s | {"error": float(e)} for s, e in zip(measured["settings"], of_settings, strict=True)]
        reached = equal_error_seconds(plane, float(ours))
        ratios = (f"{reached / measured[key]:.2f}" for key in ("seconds", "encoding_seconds"))
        lines.append((name, " ".join(f"{e:.4f}" for e in of_settings), f"{ours:.4f}", *ratios))
    print(table(("errors", "of the solver's settings", "of the surrogate", "S", "S of no operator"), lines))


if __name__ == "__main__":
    main()
