"""Run one inversion from its config: the true model, the survey, the forward model, and the folder of the result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import differences, read_json, write_json
from data_gen.dataset.sample import SPLITS, DataSpec
from data_gen.solver.problem.checks import check_inputs
from surrogate import figures
from surrogate.config import InvertConfig
from surrogate.inversion.checks import check_fastest, check_truth
from surrogate.inversion.descent import Result, fixed_cells, invert, starting_model
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward, spread_sources
from surrogate.inversion.optimizers.protocol import simulations
from surrogate.report.page import write_report
from surrogate.runs.folder import claim_folder, is_claimed, read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.model_file import read_real
from surrogate.runs.provenance import environment, weights_digest


def _physics_steps(config: InvertConfig, spec: DataSpec) -> tuple[int, ...]:
    if config.inversion.record_every is None and config.inversion.kind == "wavefield":
        if not spec.simulation.snapshot_steps:
            raise InputError("The data config has no snapshot times to invert: set inversion.record_every, or gathers.")
        return spec.simulation.snapshot_steps
    return tuple(range(0, spec.simulation.time.nt, config.inversion.record_every or 1))


def _physics(config: InvertConfig, spec: DataSpec, sources: np.ndarray, steps: tuple[int, ...]) -> PhysicsForward:
    density = spec.density if spec.gardner else None
    kind, hold = config.inversion.kind, config.inversion.hold_layers
    return PhysicsForward(spec.simulation, spec.survey(sources), kind, steps, density, hold)


def _forward(config: InvertConfig, spec: DataSpec, sources: np.ndarray) -> ForwardModel:
    if config.forward == "physics":
        forward = _physics(config, spec, sources, _physics_steps(config, spec))
        if config.memory_budget is not None:
            forward, chosen = forward.within(config.memory_budget)
            print(chosen)
        return forward
    if config.forward != "surrogate":
        raise InputError(f"forward must be physics or surrogate, but is {config.forward!r}.")
    run = read_run(config.run)
    ours, theirs = config.data.physics(), run.data.physics()
    if ours != theirs:
        raise InputError(
            f"The surrogate in {config.run} was trained for another simulation ({differences(ours, theirs)}). Give the "
            "same data=... as in training, or another run."
        )
    if config.inversion.record_every is not None:
        raise InputError("A surrogate knows the times it was trained on only: leave inversion.record_every=null.")
    return SurrogateForward(load_surrogate(config.run), sources, config.inversion.kind)


def _true_model(config: InvertConfig, spec: DataSpec) -> tuple[np.ndarray, str]:
    if config.real.path is not None:
        velocity, where = read_real(config.real, spec)
        return velocity, f"{Path(config.real.path).name}: {where}"
    index = config.inversion.index
    drawn = jax.jit(spec.draw)(spec.key(SPLITS.index("test"), index))
    name = spec.mixture.names[int(drawn.family)]
    return np.asarray(drawn.velocity), f"test sample {index} of seed {spec.seed} ({name})"


def run_inversion(
    config: InvertConfig, on_progress: Callable[[int, dict[str, float]], None] = lambda iteration, values: None
) -> dict[str, Any]:
    """Invert, and write `inversion.json`, `result.npz`, figures and `report.html` into `config.out`.

    A finished inversion of the same config, true model and surrogate is left as it is, wherever their files are now.

    Args:
        config: Config of the inversion.
        on_progress: Function that is called with the iteration and its values; through the solver, before it is
            compiled, with the memory that its gradient is predicted to take, `predicted_peak` [bytes].

    Returns:
        The summary, which is the content of `inversion.json`.

    Raises:
        InputError: The config, the run or a file cannot be used; nothing is written then.
    """
    config.inversion.check()
    if config.memory_budget is not None and not 0 < config.memory_budget < float("inf"):
        raise InputError(f"memory_budget must be a positive number of bytes, but is {config.memory_budget}.")
    spec = config.data.create()
    grid = spec.simulation.grid
    sources = spread_sources(grid, config.inversion.shots, config.inversion.source_depth)
    truth, described = _true_model(config, spec)
    check_inputs(truth, spec.survey(sources), spec.simulation, spec.density(truth))
    bounds, held = config.inversion.bounds, fixed_cells(config.inversion, grid.shape)
    check_truth(truth, bounds, held)
    start = starting_model(config.inversion, jnp.asarray(truth))
    forward = _forward(config, spec, sources)
    solver = _physics(config, spec, sources, forward.steps)
    check_fastest(solver, start, bounds, held)
    out, weights = Path(config.out), _weights(forward)
    if (done := _finished(out, config, truth, weights)) is not None:
        on_progress(config.inversion.iterations, {})
        return done

    claim_folder(out, config)
    if isinstance(forward, PhysicsForward):
        on_progress(0, {"predicted_peak": float(forward.peak())})
    observed = jax.jit(solver.__call__)(jnp.asarray(truth))
    result = invert(
        forward,
        observed,
        start,
        config.inversion,
        truth=jnp.asarray(truth),
        solver=None if config.forward == "physics" else solver,
        on_progress=on_progress,
    )
    _save(out, result, truth, np.asarray(start), grid.spacing)
    summary = {
        "model": described,
        "forward": config.forward if config.forward == "physics" else f"surrogate {Path(config.run).name}",
        "kind": config.inversion.kind,
        "shots": config.inversion.shots,
        "iterations": len(result.misfit) - 1,
        "best": result.best,
        "misfit": _fall(result.misfit, result.best),
        "true_misfit": _fall(result.true_misfit, result.best),
        "model_error": _fall(result.model_error, result.best),
        "simulations": simulations(result.simulations) | {"checks": result.checks},
        **({} if weights is None else {"weights": weights}),
        "environment": environment(),
    }
    write_json(out / "inversion.json", summary)
    write_report(out)
    return summary


def _weights(forward: ForwardModel) -> str | None:
    """Return the digest of a surrogate's weights, None of the solver."""
    return weights_digest(forward.model) if isinstance(forward, SurrogateForward) else None


def _finished(out: Path, config: InvertConfig, truth: np.ndarray, weights: str | None) -> dict[str, Any] | None:
    """Read the summary that a folder holds of the same inversion: of this config, true model and weights.

    Paths are no part of it: the contents decide. A folder of an earlier version, which did not store the digest of the
    weights, is inverted again.
    """
    if not is_claimed(out, config) or not (out / "inversion.json").exists():
        return None
    done = read_json(out / "inversion.json")
    with np.load(out / "result.npz") as result:
        before = result["true"]
    if not np.array_equal(before, truth):
        raise InputError(
            f"{out} holds an inversion of another true model ({_span(before)} there, {_span(truth)} now): its file has "
            "changed since. Choose another folder, or remove it."
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


def _save(out: Path, result: Result, truth: np.ndarray, start: np.ndarray, spacing: float) -> None:
    np.savez(out / "result.npz", true=truth, start=start, spacing=spacing, **result._asdict())
    panels = {"true": truth, "start": start, "estimated": result.velocity}
    figures.save(figures.models(panels, spacing, result.gradient), out / "figures" / "models.png")
    iterations = np.arange(len(result.misfit))
    series = {"misfit": result.misfit, "true misfit": result.true_misfit, "model error": result.model_error}
    lines = {name: (iterations, values / values[0]) for name, values in series.items()}
    figures.save(figures.curves(lines, "iteration", "relative to the start"), out / "figures" / "curves.png")
