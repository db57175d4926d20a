"""Measure what a surrogate is worth: the time that our own solver takes for the same error, over the surrogate's time.

    S = t(e) / t    with e, t: error and time of the surrogate;  t(e): time of the cheapest solver with the error e

Errors are relative L2 norms against the wave equation: against converged simulations (data_gen/solver/reference.py) of
models of the test split, without the cells and receivers nearer than NEAR cells to a source. The solver's settings are
SETTINGS sizes of its cells, from the largest for which it is made to those of the data, each with the weights that are
best for it, without temporal dispersion, and with the longest stable time steps. Between two settings, log t is linear
in log e; where even the largest cells err less, their time counts. All take all shots of a model at once, in turns.

The same is measured for gradients of the misfit |F(m) - d|^2 / 2 where a surrogate can stand for the solver in an
inversion (misfit_gradients.py): d are converged data, m is the model smoothed by a Gaussian of SMOOTHING cells. An
operator that inverts is compared with inversions (inverse_speedup.py).

A low S of an accurate surrogate and a high S of a bad one are different things: S is quoted with its error.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.smoothing import gaussian_smooth
from data_gen.dataset.sample import DataSpec
from data_gen.dataset.truth import NEAR, far_from
from data_gen.solver.error_law import COARSEST
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.reference import converged
from surrogate.config import TrainConfig
from surrogate.encodings.coarse_solver import coarse_simulation
from surrogate.models.surrogate import Surrogate
from surrogate.operators.layers.recompute import compiler_options
from surrogate.protocols import Batch, ForwardTask, SolvedTask, Task
from surrogate.runs.inverse_speedup import inverse_speedup
from surrogate.runs.misfit_gradients import (
    SMOOTHING,
    Case,
    Gradient,
    physics,
    read_cases,
    solver_gradient,
    surrogate_gradient,
)
from surrogate.runs.predict import compiled_shots
from surrogate.runs.timing import time_per_sample
from surrogate.tasks.inverse import Inverse

SETTINGS = 6
OURS, ENCODING = "surrogate", "encoding"


Solver = Callable[..., jax.Array]


def reason_against(task: Task) -> str:
    """Say why S cannot be measured for a task; empty if it can.

    Args:
        task: Task of the run.

    Returns:
        The reason.
    """
    if not isinstance(task, SolvedTask | Inverse):
        return f"task={task.name} does not solve for its predictions with other settings (see SolvedTask)"
    return "" if task.spec.simulates else "the solver does not know the positions and the wavelet of these data"


def speedup(model: Surrogate, run: TrainConfig, training: float, samples: int, repeats: int) -> dict:
    """Measure S for the predictions of a surrogate and for its gradients, or for the answers of one that inverts.

    Args:
        model: Trained surrogate.
        run: Config of the run, whose data set is read.
        training: How long it was trained [s].
        samples: Number of samples of the test split.
        repeats: Number of times that each method is timed.

    Returns:
        JSON values: for `predictions` and, where there are any, `gradients` what `compare` returns, or for `inverse`
        what `inverse_speedup` returns, and what training and data have cost; or `not_measured`, the reason why there is
        nothing of this.
    """
    task = model.task.for_evaluation()
    if reason := reason_against(task):
        return {"not_measured": reason}
    samples, settings = min(samples, run.data.test), solver_settings(task.spec)
    result: dict[str, Any] = {"samples": samples, "shots": samples * task.spec.shots.count}
    try:
        if isinstance(task, Inverse):
            found = result["inverse"] = inverse_speedup(model, task, run.data.path, settings, samples, repeats)
            return result | {"cost": _cost(run, training, found["data_seconds"], found)}
        assert isinstance(task, SolvedTask)
        cases = read_cases(run.data.path, task, samples)
        found = result["predictions"] = contest("predictions", model, task, cases, settings, repeats)
        survey_seconds = task.spec.shots.count * found["settings"][-1]["seconds"]
        result["cost"] = _cost(run, training, survey_seconds, found)
        if isinstance(task, ForwardTask):
            result["gradients"] = contest("gradients", model, task, cases, settings, repeats)
    except InputError as error:  # such as too little memory for the gradients of the converged simulation
        result["not_measured"] = str(error)
    return result


def solver_settings(spec: DataSpec) -> list[Simulation]:
    """Choose settings of the solver that differ in their cost and their error.

    Args:
        spec: Description of the data set.

    Returns:
        Simulations of the same records, from the largest cells to the simulation of the data.
    """
    own = spec.simulation
    coarsest = COARSEST * spec.slowest / own.peak_frequency
    if coarsest <= own.solved_spacing:
        return [own]
    settings = []
    for spacing in np.geomspace(coarsest, own.solved_spacing, SETTINGS)[:-1]:
        try:
            simulation = coarse_simulation(own, spec.slowest, float(f"{spacing / own.grid.spacing:.3g}"))
            discretize(simulation, staggered=spec.gardner)
        except InputError:  # no such cells for these data, such as between walls
            continue
        settings.append(simulation)
    return [*settings, own]


def equal_error_seconds(settings: Sequence[Mapping[str, Any]], error: float) -> float:
    """Compute the time of the cheapest solver with an error.

    Args:
        settings: Error and seconds of each setting.
        error: The error.

    Returns:
        Seconds: between two settings, log t is linear in log e; beyond the first and the last, theirs.
    """
    ordered = sorted(settings, key=lambda setting: setting["error"])
    errors = np.log([setting["error"] for setting in ordered])
    # Whatever errs less reaches the error, too.
    seconds = np.minimum.accumulate(np.log([setting["seconds"] for setting in ordered]))
    return float(np.exp(np.interp(np.log(error), errors, seconds)))


def compare(settings: list[dict[str, Any]], error: float, seconds: float) -> dict[str, Any]:
    """Compare a surrogate with the solver at an equal error.

    Args:
        settings: Error and seconds of each setting of the solver.
        error: Error of the surrogate.
        seconds: Its time for as many shots.

    Returns:
        `S`, error and seconds of the surrogate, seconds of the solver at that error, and the settings.
    """
    reached = equal_error_seconds(settings, error)
    return {
        "S": reached / seconds,
        "error": error,
        "seconds": seconds,
        "solver_seconds": reached,
        "settings": settings,
    }


def contest(
    kind: str, model: Surrogate, task: SolvedTask, cases: list[Case], settings: list[Simulation], repeats: int
) -> dict[str, Any]:
    """Measure the error and the time of a surrogate, and those of the solver's settings.

    Args:
        kind: `predictions`, or `gradients` of the misfit, which need a `ForwardTask`.
        model: Surrogate.
        task: Its task.
        cases: Models with their shots, as many of each.
        settings: Settings of the solver, from the largest cells to those of the data.
        repeats: Number of times that each method is timed.

    Returns:
        What `compare` returns, in seconds per shot; for predictions also the encoding's own seconds, and what S would
        be if the operator took no time.

    Raises:
        InputError: If an answer of the surrogate is not finite, or the gradients do not fit into the memory.
    """
    if kind == "predictions":
        return _predictions(model, task, cases, settings, repeats)
    assert isinstance(task, ForwardTask)
    return _gradients(model, task, cases, settings, repeats)


def _predictions(
    model: Surrogate, task: SolvedTask, cases: list[Case], settings: list[Simulation], repeats: int
) -> dict[str, Any]:

    def solver(simulation: Simulation) -> Solver:
        return jax.jit(lambda velocity, sources: task.solve(velocity, sources, simulation))

    exact, points = solver(converged(task.spec.simulation)), task.points
    inputs = [tuple(map(jnp.asarray, case)) for case in cases]
    truths = [np.asarray(exact(*one)) for one in inputs]
    reach = NEAR * task.spec.simulation.grid.spacing
    fars = [far_from(points, case.sources, reach) for case in cases]
    between = [1] * (truths[0].ndim - fars[0].ndim)  # axes of a prediction between its shot and its points
    masks = [far.reshape(len(far), *between, *far.shape[1:]) for far in fars]
    contenders: dict[str, Solver] = {str(k): solver(simulation) for k, simulation in enumerate(settings)}
    contenders[OURS] = compiled_shots(model)
    encode = jax.jit(
        lambda velocity, sources: task.encode_shots(model.encoding, velocity, sources),
        compiler_options=compiler_options(),
    )
    shots = sum(len(case.sources) for case in cases)
    return _measured(contenders, settings, inputs, truths, masks, shots, repeats, encode)


def _gradients(
    model: Surrogate, task: ForwardTask, cases: list[Case], settings: list[Simulation], repeats: int
) -> dict[str, Any]:
    spec = task.spec
    reference = converged(spec.simulation)
    observe = jax.jit(lambda velocity, sources: physics(task, reference, sources)(velocity))
    inputs = []
    for case in cases:
        velocity, sources = map(jnp.asarray, case)
        inputs.append((gaussian_smooth(velocity, SMOOTHING), sources, observe(velocity, sources)))

    def solver(simulation: Simulation) -> Gradient:
        return solver_gradient(task, simulation, cases[0].sources)

    exact = solver(reference)
    truths = [np.asarray(exact(*one))[None] for one in inputs]
    masks = [case.far(spec)[None] for case in cases]
    contenders: dict[str, Solver] = {str(k): solver(simulation) for k, simulation in enumerate(settings)}
    contenders[OURS] = surrogate_gradient(model, task)
    return _measured(contenders, settings, inputs, truths, masks, sum(len(case.sources) for case in cases), repeats)


def _measured(
    contenders: dict[str, Solver],
    settings: list[Simulation],
    inputs: list[tuple[jax.Array, ...]],
    truths: list[np.ndarray],
    masks: list[np.ndarray],
    shots: int,
    repeats: int,
    encode: Solver | None = None,
) -> dict[str, Any]:
    """Measure the mean relative L2 error of each contender, and its seconds per shot; those of an encoding, too."""
    errors = {}
    for name, contender in contenders.items():
        found = [
            _errors(np.asarray(contender(*one)), truth, mask)
            for one, truth, mask in zip(inputs, truths, masks, strict=True)
        ]
        errors[name] = float(np.mean(np.concatenate(found)))
    if not np.isfinite(errors[OURS]):
        raise InputError("The surrogate's answers to the first test samples are not finite, so they have no error.")

    def all_cases(contender: Solver) -> Callable[[Batch], Any]:
        return lambda _: [contender(*one) for one in inputs]

    timed = {name: all_cases(contender) for name, contender in contenders.items()}
    if encode is not None:
        timed[ENCODING] = all_cases(encode)
    seconds = {name: each["median"] for name, each in time_per_sample(timed, {}, shots, repeats).items()}
    described = [
        {
            "spacing": simulation.solved_spacing,
            "order": simulation.order,
            "time_step": simulation.step_length,
            "error": errors[str(k)],
            "seconds": seconds[str(k)],
        }
        for k, simulation in enumerate(settings)
    ]
    compared = compare(described, errors[OURS], seconds[OURS])
    if encode is not None:
        taken = seconds[ENCODING]
        compared |= {"encoding_seconds": taken, "S_of_no_operator": compared["solver_seconds"] / taken}
    return compared


def _errors(found: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Compute the relative L2 error of each example where the mask holds; examples that are zero there have none."""
    difference, wanted = ((part * mask).reshape(len(truth), -1).astype(float) for part in (found - truth, truth))
    sizes = np.linalg.norm(wanted, axis=1)
    return np.linalg.norm(difference, axis=1)[sizes > 0] / sizes[sizes > 0]


def _cost(run: TrainConfig, training: float, survey_seconds: float, found: dict[str, Any]) -> dict[str, Any]:
    """Say what training and data have cost, and after how many shots, or surveys, the surrogate has paid for it."""
    count = run.data.train + run.data.validation + run.data.test
    data = count * survey_seconds
    saved = found["solver_seconds"] - found["seconds"]
    spent = training + data
    return {
        "training_seconds": training,
        "data_seconds": data,
        "simulations": spent / found["solver_seconds"],
        "break_even": spent / saved if saved > 0 else None,
    }
