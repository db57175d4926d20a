"""Compare gradients of a misfit through a surrogate with those of the solver, along the path of an inversion.

    cosine = <g, G> / (|g| |G|),    error = |g - G| / |G|    g: the surrogate's gradient,  G: the solver's

at models that an inversion with the solver passes on its way: by default its start, a model of the test split smoothed
by a Gaussian of SMOOTHING cells, and after ITERATIONS of L-BFGS, twice. The data are those of the solver in the true
model: far from it a coarse solver does as well, and near it a surrogate's own error is what would be inverted. Cells
near sources are left out. At the true model, where the misfit has no gradient, derivatives of the data along smooth
random directions are compared instead.

The coarse solver, on the cells of the surrogate's encoding, is compared in the same way: a surrogate should do better.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from data_gen.common.errors import InputError
from data_gen.common.smoothing import gaussian_smooth
from surrogate.encodings.coarse_solver import coarse_simulation
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import ForwardModel, SurrogateForward
from surrogate.metrics.errors import band_masks
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import ForwardTask
from surrogate.runs.misfit_gradients import (
    SMOOTHING,
    Case,
    Gradient,
    inversion_settings,
    physics,
    solver_gradient,
    surrogate_gradient,
)

ITERATIONS = 10
DIRECTIONS = 2
DEPTHS = ("upper", "middle", "lower")  # thirds of the model


def gradient_fidelity(
    model: Surrogate,
    task: ForwardTask,
    cases: list[Case],
    kind: str | None = None,
    paths: Sequence[Mapping[str, Float[np.ndarray, "nz nx"]]] | None = None,
) -> dict[str, Any]:
    """Measure how near the gradients and the derivatives of a surrogate are to those of the solver.

    Args:
        model: Trained surrogate.
        task: Its task.
        cases: Models of the test split with their shots.
        kind: Kind of the data; None takes the first that the task contains.
        paths: Models `(nz, nx)` along an inversion of each case, by the name of their place; None inverts by L-BFGS.

    Returns:
        JSON values: by the place along the path, and `truth` for derivatives of the data, of each method the median and
        the worst cosine and relative error over the models; of gradients also the median cosine by band of wavenumbers
        and by depth.
    """
    own, kind = task.spec.simulation, kind or task.data_kinds[0]
    gradients: dict[str, Gradient] = {"surrogate": surrogate_gradient(model, task, kind)}
    forwards: dict[str, Callable[[jax.Array], ForwardModel]] = {
        "surrogate": lambda sources: SurrogateForward(model, sources, kind)
    }
    try:
        coarse = coarse_simulation(own, task.spec.slowest, model.coarse_ratio)
        gradients["coarse_solver"] = solver_gradient(task, coarse, cases[0].sources, kind)
        forwards["coarse_solver"] = lambda sources: physics(task, coarse, sources, kind)
    except InputError:  # no such cells for these data, such as between walls
        pass
    exact = solver_gradient(task, own, cases[0].sources, kind)
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}
    tangents: dict[str, list[dict[str, float]]] = {name: [] for name in forwards}
    for number, case in enumerate(cases):
        sources, far = jnp.asarray(case.sources), case.far(task.spec)
        solver = physics(task, own, sources, kind)
        observed = jax.jit(solver.__call__)(jnp.asarray(case.velocity))
        path = _path(solver, observed, case) if paths is None else paths[number]
        for place, velocity in path.items():
            at = jnp.asarray(velocity), sources, observed
            wanted = np.asarray(exact(*at), float)
            for name, gradient in gradients.items():
                found = np.asarray(gradient(*at), float)
                rows.setdefault(place, {}).setdefault(name, []).append(_compare(found, wanted, far))
        directions = task.spec.directions(jax.random.key(number), jnp.asarray(case.velocity), DIRECTIONS)
        for direction in directions:
            wanted = _derivative(solver, case, direction)
            for name, forward in forwards.items():
                tangents[name].append(_alike(_derivative(forward(sources), case, direction), wanted))
    summaries = {place: {name: _summary(of) for name, of in methods.items()} for place, methods in rows.items()}
    return {"samples": len(cases), "path": summaries, "truth": {name: _summary(of) for name, of in tangents.items()}}


def _path(solver: ForwardModel, observed: jax.Array, case: Case) -> dict[str, np.ndarray]:
    """Return models along an inversion with the solver by L-BFGS."""
    config = inversion_settings(case, "gather" if observed.ndim == 3 else "wavefield", ITERATIONS)
    models = {"start": np.asarray(gaussian_smooth(jnp.asarray(case.velocity), SMOOTHING))}
    for before, after in (("start", ITERATIONS), (f"after {ITERATIONS}", 2 * ITERATIONS)):
        models[f"after {after}"] = invert(solver, observed, models[before], config).velocity
    return models


def _derivative(forward: ForwardModel, case: Case, direction: jax.Array) -> np.ndarray:
    """Differentiate data by the model along a direction, at the true model."""
    velocity = jnp.asarray(case.velocity)
    return np.asarray(jax.jit(lambda d: jax.jvp(forward.__call__, (velocity,), (d,))[1])(direction), float)


def _alike(found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Return the cosine and the relative error; what vanishes has a cosine of 0 with anything."""
    smallest = np.finfo(float).tiny
    size, other = max(np.linalg.norm(wanted), smallest), max(np.linalg.norm(found), smallest)
    error, cosine = np.linalg.norm(found - wanted) / size, np.vdot(found / other, wanted / size)
    return {"cosine": float(cosine), "relative_error": float(error)}


def _compare(
    found: Float[np.ndarray, "nz nx"], wanted: Float[np.ndarray, "nz nx"], far: Bool[np.ndarray, "nz nx"]
) -> dict[str, float]:
    """Compare gradients away from sources: over all, by band of wavenumbers and by depth."""
    found, wanted = found * far, wanted * far
    row = _alike(found, wanted)
    for name, mask in band_masks(wanted.shape).items():
        pair = (np.fft.ifft2(np.fft.fft2(part) * np.asarray(mask)).real for part in (found, wanted))
        row[f"bands.{name}"] = _alike(*pair)["cosine"]
    for name, rows in zip(DEPTHS, np.array_split(np.arange(len(wanted)), len(DEPTHS)), strict=True):
        row[f"depths.{name}"] = _alike(found[rows], wanted[rows])["cosine"]
    return row


def _summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Summarize over models: median and worst of cosine and error, and the median of all else."""
    of = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    summary: dict[str, Any] = {
        "cosine": {"median": float(np.median(of["cosine"])), "worst": float(of["cosine"].min())},
        "relative_error": {
            "median": float(np.median(of["relative_error"])),
            "worst": float(of["relative_error"].max()),
        },
    }
    for name in [name for name in of if name not in summary]:
        group, _, part = name.partition(".")
        summary.setdefault(group, {})[part] = float(np.median(of[name]))
    return summary
