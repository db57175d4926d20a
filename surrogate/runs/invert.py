"""Run one inversion from its config: the problem, the descent, and the folder of the result."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import exclusive, explain_full_disk, read_json, refuse_folders, write_json
from data_gen.common.interruption import Interrupted, Interruption
from surrogate import figures
from surrogate.config import InvertConfig
from surrogate.devices import all_gather, barrier, is_main_process
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.corrected.stages import CorrectedStages, check_corrected
from surrogate.inversion.descent import Result, fixed_cells, invert
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward
from surrogate.inversion.observed.export import write_model
from surrogate.inversion.optimizers.protocol import simulations
from surrogate.inversion.stage import check_stages, make_stage
from surrogate.report.inversions import stored_figures
from surrogate.report.page import write_report
from surrogate.runs.comparison_file import write_comparison
from surrogate.runs.folder import claim_folder, is_claimed
from surrogate.runs.observed_problem import observed_problem
from surrogate.runs.problem import Problem, known_model_problem
from surrogate.runs.provenance import environment, weights_digest

PROGRESS = "progress.npz"  # until the inversion is finished
LOCK = "inversion.lock"
FILES = (PROGRESS, "inversion.json", "result.npz", "comparison.npz", "velocity.npz", "velocity.segy", "report.html")


def run_inversion(
    config: InvertConfig, on_progress: Callable[[int, dict[str, float]], None] = lambda iteration, values: None
) -> dict[str, Any]:
    """Invert, and write `inversion.json`, `result.npz`, figures and `report.html` into `config.out`.

    For gathers there is `comparison.npz`, too: what tells the observed ones from those of start and estimate.

    Observed data are read where `config.observed` names them; their result is also written with its coordinates, as
    `velocity.npz` and `velocity.segy`. Otherwise data are simulated in a true model.

    A finished inversion of the same config, data, true model and surrogate is left as it is, wherever their files are
    now; an interrupted one resumes, and ends with the same bits. Several processes call this together: all of them
    read and compute, and process 0 writes.

    Args:
        config: Config of the inversion.
        on_progress: Function that is called with the iteration and its values; through the solver, before it is
            compiled, with the memory that the largest stage is predicted to take, `predicted_peak` [bytes].

    Returns:
        The summary, which is the content of `inversion.json`.

    Raises:
        Interrupted: A signal came; what was reached is kept, and the same command goes on from there.
        InputError: The config, the run or a file cannot be used, or another process writes into the folder; nothing is
            written then.
    """
    config.check()
    with barrier():
        problem = known_model_problem(config) if config.observed is None else observed_problem(config)
        out, weights = Path(config.out), _weights(problem)
        done, plans = _finished(out, config, problem, weights), []
        if done is None:
            held = fixed_cells(config.inversion, problem.start.shape)
            given = problem.forward, problem.start, held, problem.weights, problem.clock, problem.solver
            led = config.forward == "corrected"
            if led:
                check_corrected(config.inversion, problem.forward, problem.surrogate)
            plans = check_stages(config.inversion, *given, config.memory_budget, led=led)
    if (done := all_gather(done)[0]) is not None:
        on_progress(config.inversion.most_entries, {})
        return done

    with explain_full_disk(out), _claimed(out, config), Interruption() as interruption:

        def obey(saved: str) -> None:
            if caught := max(all_gather(interruption.caught)):
                raise Interrupted(caught, f"{saved}, and the same command goes on from there.")

        def obedient(iteration: int, values: dict[str, float]) -> None:
            on_progress(iteration, values)
            obey(f"Iteration {iteration} is saved")

        if isinstance(problem.forward, PhysicsForward):
            if config.memory_budget is not None and is_main_process():
                print("\n".join(f"stage {number}: {derivative}" for number, (derivative, *_) in enumerate(plans)))
            on_progress(0, {"predicted_peak": float(max(plan.peak for of_stage in plans for plan in of_stage))})
        forward, observed = problem.complete()
        obey("No iteration was begun")
        truth = problem.truth
        result = invert(
            forward,
            observed,
            problem.start,
            config.inversion,
            weights=problem.weights,
            truth=None if truth is None else jnp.asarray(truth),
            density=problem.start_density,
            true_density=problem.true_density,
            solver=problem.solver,
            clock=problem.clock,
            spacing=problem.spacing,
            memory_budget=config.memory_budget,
            resume=out / PROGRESS,
            identity=f"{config.forward} {weights} {problem.contents}",
            make=CorrectedStages(problem.surrogate) if config.forward == "corrected" else make_stage,
            on_progress=obedient,
        )
        last = result.stage == result.stage[-1]  # the stages differ in their data: misfits are those of the last one
        best = result.best - int(np.argmax(last))
        summary = {
            "model": problem.described,
            "forward": _forward_in_words(config),
            "kind": config.inversion.kind,
            "shots": problem.shots,
            "iterations": len(result.misfit) - 1,
            "best": result.best,
            "misfit": _fall(result.misfit[last], best),
            "true_misfit": _fall(result.true_misfit[last], best),
            "model_error": None if truth is None else _fall(result.model_error, result.best),
            **({} if problem.true_density is None else {"density_error": _fall(result.density_error, result.best)}),
            **({"stages": _stages(config.inversion, result)} if config.inversion.stages else {}),
            **({} if config.inversion.noise is None else {"noise": _noise(result)}),
            **({"stopped": result.stopped} if result.stopped else {}),
            "simulations": simulations(result.simulations) | {"checks": result.checks},
            **({"low_simulations": simulations(result.low_simulations)} if config.forward == "corrected" else {}),
            **({} if weights is None else {"weights": weights}),
            **_distance(problem, result),
            **({} if problem.contents is None else {"contents": problem.contents}),
            "environment": environment(),
        }
        with barrier():
            if is_main_process():
                _save(out, result, problem, forward)
                estimate = result.velocity, config.inversion.source, result.density
                write_comparison(out, problem, forward, observed, *estimate)
                write_json(out / "inversion.json", summary)
                (out / PROGRESS).unlink(missing_ok=True)
                write_report(out)
        return summary


def is_finished(config: InvertConfig) -> bool:
    """Find out whether the folder of an inversion holds its result.

    Args:
        config: Config of the inversion, which is checked.

    Returns:
        Whether `run_inversion` would leave it as it is.

    Raises:
        InputError: The config, the run, a file or the folder cannot be used.
    """
    problem = known_model_problem(config) if config.observed is None else observed_problem(config)
    return _finished(Path(config.out), config, problem, _weights(problem)) is not None


@contextlib.contextmanager
def _claimed(out: Path, config: InvertConfig) -> Iterator[None]:
    """Claim the folder, and hold it against every other process."""
    with contextlib.ExitStack() as stack:
        with barrier():
            if is_main_process():
                refuse_folders(out, FILES)
                claim_folder(out, config)
                stack.enter_context(exclusive(out / LOCK, wait=False))
        yield


def _forward_in_words(config: InvertConfig) -> str:
    surrogate = f"surrogate {Path(config.run).name}"
    if config.forward == "corrected":
        lows = config.inversion.lows
        return f"physics, corrected {', '.join(surrogate if low == 'surrogate' else low for low in sorted(lows))}"
    return surrogate if config.forward == "surrogate" else "physics"


def _weights(problem: Problem) -> str | None:
    """Return the digest of a surrogate's weights, None where there is only the solver."""
    used = problem.forward if isinstance(problem.forward, SurrogateForward) else problem.surrogate
    return None if used is None else weights_digest(used.model)


def _distance(problem: Problem, result: Result) -> dict[str, Any]:
    """Say how far start and estimate are from the models that the surrogate in use has learned from, where it knows."""
    used = problem.forward if isinstance(problem.forward, SurrogateForward) else problem.surrogate
    known = None if used is None else used.model.training_models
    if known is None:
        return {}
    return {"distance": {"start": known.distance(problem.start), "end": known.distance(result.velocity)}}


def _finished(out: Path, config: InvertConfig, problem: Problem, weights: str | None) -> dict[str, Any] | None:
    """Read the summary that a folder holds of the same inversion: of this config, true model, files and weights.

    Paths are no part of it: the contents decide. A folder of an earlier version, which did not store the digest of the
    weights, is inverted again.
    """
    if not is_claimed(out, config) or not (out / "inversion.json").exists():
        return None
    done = read_json(out / "inversion.json")
    if problem.truth is not None:
        with np.load(out / "result.npz") as result:
            before = result["true"]
        if not np.array_equal(before, problem.truth):
            raise InputError(
                f"{out} holds an inversion of another true model ({_span(before)} there, {_span(problem.truth)} now): "
                "its file has changed since. Choose another folder, or remove it."
            )
    if done.get("contents") != problem.contents:
        raise InputError(
            f"{out} holds an inversion of other files (digest of data, wavelet and start: {done.get('contents')} "
            f"there, {problem.contents} now): one of them has changed since. Choose another folder, or remove it."
        )
    if weights is not None and done.get("weights", weights) != weights:
        raise InputError(
            f"{out} holds an inversion through another surrogate (digest of the weights: {done['weights']} there, "
            f"{weights} in {config.run} now): the run has changed since. Choose another folder, or remove it."
        )
    return done if weights is None or "weights" in done else None


def _span(model: np.ndarray) -> str:
    return f"{model.min():.6g} to {model.max():.6g} m/s, mean {model.mean():.6g}"


def _fall(history: np.ndarray, best: int) -> dict[str, float]:
    """Start, value of the estimate, and the fraction by which it fell."""
    start, end = float(history[0]), float(history[best])
    return {"start": start, "end": end, "fall": 1 - end / start if start else 0.0}


def _stages(config: InversionConfig, result: Result) -> list[dict[str, Any]]:
    """Say what each stage did: its settings that are not null, iterations, fall of the misfit, and simulations."""
    rows, before = [], 0
    for number in np.unique(result.stage).astype(int).tolist():
        entries = np.flatnonzero(result.stage == number)
        minimized = result.true_misfit[entries] + result.penalty[entries]
        best = int(np.nanargmin(minimized))
        used = int(result.used[entries[-1]])
        given = {name: value for name, value in vars(config.stage(number)).items() if value is not None}
        falls = {name: _fall(getattr(result, name)[entries], best) for name in ("misfit", "true_misfit", "model_error")}
        known = {name: fall for name, fall in falls.items() if np.isfinite(fall["start"])}
        rows.append({**given, "iterations": len(entries) - 1, "best": best, **known, "simulations": used - before})
        before = used
    return rows


def _start_density(problem: Problem) -> np.ndarray:
    """Return the density that a free density started from."""
    if problem.start_density is not None:
        return problem.start_density
    assert isinstance(problem.forward, PhysicsForward)
    return np.asarray(problem.forward.medium(jnp.asarray(problem.start))[1])


def _noise(result: Result) -> list[dict[str, Any]]:
    """Say how each stage ended: at the misfit of noise alone, or for another reason."""
    misfits = [result.true_misfit[np.flatnonzero(result.stage == number)[-1]] for number in range(len(result.ends))]
    rows = zip(result.ends, result.levels, misfits, strict=True)
    return [{"ended": str(end), "level": float(level), "misfit": float(misfit)} for end, level, misfit in rows]


def _save(out: Path, result: Result, problem: Problem, forward: ForwardModel) -> None:
    start, spacing = problem.start, problem.spacing
    known = {} if problem.truth is None else {"true": problem.truth}
    arrays = {name: value for name, value in result._asdict().items() if value is not None}
    if result.density is not None:
        arrays |= {"start_density": _start_density(problem)}
        known |= {} if problem.true_density is None else {"true_density": problem.true_density}
    placed: dict[str, Any] = {}
    if problem.frame is not None:
        write_model(out, result.velocity, spacing, problem.origin, problem.frame)
        if result.density is not None:
            write_model(out, result.density, spacing, problem.origin, problem.frame, "density")
        line = np.array([*problem.frame.origin, *problem.frame.direction])
        placed = {"origin": np.array(problem.origin), "datum": problem.frame.datum, "line": line}
        if isinstance(forward, PhysicsForward):
            placed["wavelets"] = np.asarray(forward.survey.wavelets)
    np.savez(out / "result.npz", **known, **placed, start=start, spacing=spacing, **arrays)
    with np.load(out / "result.npz") as stored:
        for name, figure in stored_figures(stored).items():
            figures.save(figure, out / "figures" / f"{name}.png")
