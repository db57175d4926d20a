"""Count the solver's gradients that an inversion needs when a surrogate leads it, or the coarse solver.

L-BFGS through the solver makes ITERATIONS steps from a smoothed model of the test split. The misfit wanted is REACHED
times the one that it ends with: all are counted until they first have it. From the same start, `forward=corrected` goes
on until then, or for MOST times as many simulations by the solver: once with the surrogate as its cheap model, and once
with the coarse solver, on cells RATIO times as large. A surrogate that needs as many gradients as the coarse solver, at
a higher price each, is of no use there. The data are the solver's own, without noise.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.smoothing import gaussian_smooth
from surrogate.encodings.coarse_solver import RATIO
from surrogate.inversion.config import CorrectedConfig
from surrogate.inversion.corrected.stages import CorrectedStages
from surrogate.inversion.descent import Result, StopInversion, invert
from surrogate.inversion.forward import ForwardModel, SurrogateForward, coarser
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import ForwardTask
from surrogate.runs.misfit_gradients import MEMORY, SMOOTHING, Case, inversion_settings, physics

ITERATIONS = 20  # of L-BFGS
REACHED = 1.01  # of the misfit that it ends with
MOST = 1.3  # of its simulations until then
UNLIMITED = 10**6  # iterations, where simulations are limited
LOWS = {"surrogate": "surrogate", "coarse_solver": "coarse"}  # `corrected.low` of each method


def inversion_use(model: Surrogate, task: ForwardTask, cases: list[Case]) -> dict[str, Any]:
    """Measure what leading an inversion by a surrogate saves, and what the coarse solver saves.

    Args:
        model: Trained surrogate.
        task: Its task.
        cases: Models of the test split with their shots.

    Returns:
        JSON values: the number of models; `lbfgs`, the solver's gradients of all shots in each L-BFGS until it first
        had the misfit wanted; and of each method, in each inversion that it leads, its `gradients` by the solver until
        then, None if it never had it, those by the cheap model (`cheap`), and the `model_error` there, over that of
        L-BFGS.
    """
    kind = task.data_kinds[0]
    found: dict[str, Any] = {"samples": len(cases), "lbfgs": []}
    for case in cases:
        sources = jnp.asarray(case.sources)
        solver = physics(task, task.spec.simulation, sources, kind)
        observed = jax.jit(solver.__call__)(jnp.asarray(case.velocity))
        start = np.asarray(gaussian_smooth(jnp.asarray(case.velocity), SMOOTHING))
        settings = inversion_settings(case, kind, ITERATIONS)
        known = {"truth": case.velocity, "memory_budget": MEMORY}
        plain = invert(solver, observed, start, settings, **known)
        wanted = REACHED * float(np.nanmin(plain.true_misfit))
        until = _first(plain, wanted)
        assert until is not None  # its smallest misfit is below
        found["lbfgs"].append(_gradients(plain.used[until], case))
        budget = {"iterations": UNLIMITED, "simulations": int(MOST * plain.used[until])}
        cheap: dict[str, ForwardModel] = {"surrogate": SurrogateForward(model, sources, kind)}
        with suppress(InputError):  # no such cells for these data, such as between walls
            cheap["coarse_solver"] = coarser(solver, RATIO)
        for name, low in cheap.items():
            led = replace(settings, **budget, corrected=CorrectedConfig(low=LOWS[name], coarser=RATIO))
            make = CorrectedStages(low if name == "surrogate" else None)
            result = invert(solver, observed, start, led, make=make, on_progress=_until(wanted), **known)
            row = found.setdefault(name, {"gradients": [], "cheap": [], "model_error": []})
            first = _first(result, wanted)
            entry = len(result.used) - 1 if first is None else first
            row["gradients"].append(None if first is None else _gradients(result.used[first], case))
            row["cheap"].append(_gradients(result.low_used[entry], case))
            row["model_error"].append(float(result.model_error[entry] / plain.model_error[until]))
    return found


def _until(wanted: float):
    """Make an `on_progress` that ends an inversion once it has a misfit."""

    def on_progress(iteration: int, values: dict[str, float]) -> None:
        if values["true_misfit"] <= wanted:
            raise StopInversion("the misfit is reached")

    return on_progress


def _gradients(simulations: float, case: Case) -> float:
    """Convert simulations of a shot, of which a gradient counts 3, to gradients of all shots."""
    return float(simulations) / (3 * len(case.sources))


def _first(result: Result, wanted: float) -> int | None:
    """Return the first entry at which an inversion had a misfit; None if it never had."""
    there = np.flatnonzero(result.true_misfit <= wanted)
    return int(there[0]) if there.size else None
