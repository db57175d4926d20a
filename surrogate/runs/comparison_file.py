"""Write `comparison.npz`: how observed gathers differ from those predicted in the start and in the estimate."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.solver.problem.wavelets import wavelet_band
from surrogate.inversion.comparison import compare
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.report.inversions import COMPARISON
from surrogate.runs.problem import Problem

STORED_WAVELETS = 10  # of as many shots, where they differ


def write_comparison(
    out: Path, problem: Problem, forward: ForwardModel, observed: jax.Array | np.ndarray, estimate: np.ndarray
) -> None:
    """Simulate the data of start and estimate with the solver, and write how they differ from the observed ones.

    No file is written for wavefields, which have no offsets, nor for gathers at so few times that waves are aliased.

    Args:
        out: Folder of the inversion.
        problem: The inversion.
        forward: Forward model that was inverted.
        observed: Observed data.
        estimate: Estimated model `(nz, nx)` [m/s].
    """
    solver = problem.solver or forward
    if not isinstance(solver, PhysicsForward) or solver.kind != "gather" or (dt := _interval(solver)) is None:
        return
    predict = jax.jit(solver.__call__)
    predictions = (predict(jnp.asarray(model, jnp.result_type(float))) for model in (problem.start, estimate))
    compared = compare(observed, predictions, solver.survey, dt, problem.weights)
    arrays: dict[str, Any] = compared._asdict() | _changed_wavelets(problem.forward, solver)
    np.savez(out / COMPARISON, **arrays)


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
