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
from surrogate.inversion.descent import Result, invert, starting_model
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward, spread_sources
from surrogate.report.page import write_report
from surrogate.runs.folder import claim_folder, read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.model_file import read_real
from surrogate.runs.provenance import environment


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

    A finished inversion of the same config is left as it is.

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
    spec = config.data.create()
    grid = spec.simulation.grid
    sources = spread_sources(grid, config.inversion.shots, config.inversion.source_depth)
    truth, described = _true_model(config, spec)
    for model in (truth, np.full(grid.shape, config.inversion.bounds[1])):
        check_inputs(model, spec.survey(sources), spec.simulation, spec.density(model))
    forward = _forward(config, spec, sources)
    out = Path(config.out)
    if claim_folder(out, config) and (out / "inversion.json").exists():
        on_progress(config.inversion.iterations, {})
        return read_json(out / "inversion.json")

    if isinstance(forward, PhysicsForward):
        on_progress(0, {"predicted_peak": float(forward.peak())})
    solver = _physics(config, spec, sources, forward.steps)
    observed = jax.jit(solver.__call__)(jnp.asarray(truth))
    start = starting_model(config.inversion, jnp.asarray(truth))
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
        "misfit": _fall(result.misfit),
        "true_misfit": _fall(result.true_misfit),
        "model_error": _fall(result.model_error),
        "environment": environment(),
    }
    write_json(out / "inversion.json", summary)
    write_report(out)
    return summary


def _fall(history: np.ndarray) -> dict[str, float]:
    """Start, end, and the fraction by which it fell."""
    start, end = float(history[0]), float(history[-1])
    return {"start": start, "end": end, "fall": 1 - end / start if start else 0.0}


def _save(out: Path, result: Result, truth: np.ndarray, start: np.ndarray, spacing: float) -> None:
    np.savez(out / "result.npz", true=truth, start=start, spacing=spacing, **result._asdict())
    panels = {"true": truth, "start": start, "estimated": result.velocity}
    figures.save(figures.models(panels, spacing, result.gradient), out / "figures" / "models.png")
    iterations = np.arange(len(result.misfit))
    series = {"misfit": result.misfit, "true misfit": result.true_misfit, "model error": result.model_error}
    lines = {name: (iterations, values / values[0]) for name, values in series.items()}
    figures.save(figures.curves(lines, "iteration", "relative to the start"), out / "figures" / "curves.png")
