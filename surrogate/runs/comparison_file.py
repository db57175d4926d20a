"""Write `comparison.npz`: how observed gathers differ from those predicted in the start and in the estimate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.solver.problem.wavelets import wavelet_band
from surrogate.inversion.comparison import compare
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.inversion.source_estimation import estimate_source, match_source
from surrogate.report.inversions import COMPARISON
from surrogate.runs.problem import Problem, with_density

STORED_WAVELETS = 10  # of as many shots, where they differ


def write_comparison(
    out: Path,
    problem: Problem,
    forward: ForwardModel,
    observed: jax.Array | np.ndarray,
    estimate: np.ndarray,
    source: str = "fixed",
    density: np.ndarray | None = None,
) -> None:
    """Simulate the data of start and estimate with the solver, and write how they differ from the observed ones.

    No file is written for wavefields, which have no offsets, nor for gathers at so few times that waves are aliased.

    Args:
        out: Folder of the inversion.
        problem: The inversion.
        forward: Forward model that was inverted.
        observed: Observed data.
        estimate: Estimated model `(nz, nx)` [m/s].
        source: Whether wavelets are fixed, or estimated in each model: `InversionConfig.source`.
        density: Estimated density `(nz, nx)` [kg/m^3], or None for that of the forward model's rule.
    """
    solver = problem.solver or forward
    if not isinstance(solver, PhysicsForward) or solver.kind != "gather" or (dt := _interval(solver)) is None:
        return
    solver = replace(solver, mesh=None)  # by the process that writes, alone
    simulate, after = jax.jit(lambda model, density: with_density(solver, density)(model)), solver
    weights = None if problem.weights is None else jnp.asarray(problem.weights)

    def predict(model: np.ndarray, density: np.ndarray | None) -> jax.Array:
        nonlocal after
        gathers = simulate(jnp.asarray(model, jnp.result_type(float)), density)
        if source == "fixed":
            return gathers
        after = _refired(solver, gathers, jnp.asarray(observed), weights, source)
        return match_source(gathers, jnp.asarray(observed), weights, per_shot=source == "each")

    models = ((problem.start, problem.start_density), (estimate, density))
    predictions = (predict(*model) for model in models)
    compared = compare(observed, predictions, solver.survey, dt, problem.weights)
    arrays: dict[str, Any] = compared._asdict() | _changed_wavelets(problem.forward, after)
    np.savez(out / COMPARISON, **arrays)


def _refired(
    solver: PhysicsForward, gathers: jax.Array, observed: jax.Array, weights: jax.Array | None, source: str
) -> PhysicsForward:
    """Return the solver with the wavelets that are estimated in a model, if these are sampled as the data are."""
    time, wavelets = solver.simulation.time, jnp.asarray(solver.survey.wavelets)
    if wavelets.ndim > 2 or bool((wavelets != wavelets[:1]).any()) or len(solver.steps) != time.nt:
        return solver
    found = estimate_source(gathers, observed, wavelets[0], weights, per_shot=source == "each")
    return replace(solver, survey=solver.survey._replace(wavelets=found))


def _interval(solver: PhysicsForward) -> float | None:
    """Return the time between two samples of the data [s], or None if it varies or is too long for the wavelets."""
    gaps, time, wavelets = np.diff(solver.steps), solver.simulation.time, np.asarray(solver.survey.wavelets)
    if len(gaps) == 0 or (gaps != gaps[0]).any():
        return None
    _, highest = wavelet_band(wavelets.reshape(-1, time.nt), time.dt)
    dt = float(gaps[0]) * time.dt
    return dt if highest < 0.5 / dt else None


def _changed_wavelets(before: ForwardModel, after: PhysicsForward) -> dict[str, np.ndarray]:
    """Return the wavelets before and after they were fitted to the data; nothing if they were not."""
    if not isinstance(before, PhysicsForward):
        return {}
    time = after.simulation.time
    both = np.stack([np.asarray(model.survey.wavelets).reshape(-1, time.nt) for model in (before, after)])
    if np.array_equal(*both):
        return {}
    alike = (both == both[:, :1]).all()
    rows = np.unique(np.linspace(0, 0 if alike else both.shape[1] - 1, STORED_WAVELETS).round().astype(int))
    return {"wavelets": both[:, rows].astype(np.float32), "wavelet_dt": np.array(time.dt)}
