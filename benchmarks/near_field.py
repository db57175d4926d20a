"""Errors of gathers near a source: `python -m benchmarks.near_field` measures them by distance and spacing.

The media are those of `benchmarks.accuracy`; receivers lie in a circle around the first source, within each distance
to 2 m. Errors are relative L2 of a distance's gathers against a converged simulation (data_gen/solver/reference.py),
with the waves that are too short for the solver's cells (`add_near_field`), and without them. Prints a table and
writes `results/near-field-<device>.json`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accuracy_cases import MEDIA, PEAK_FREQUENCY, SPACING, Problem
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.solver.accuracy import best_kappa
from data_gen.solver.engines.near_source import add_near_field
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.reference import converged
from data_gen.solver.simulator import simulate

DISTANCES = (10.0, 20.0, 30.0, 40.0, 60.0)  # [m]
CELLS = (1.0, 4 / 3, 1.6)  # sides of the solver's cells in cells of the model
DIRECTIONS, ORDER = 12, 12


def measure(problem: Problem) -> list[dict]:
    """Errors of one problem, a row for each spacing and distance."""
    source = problem.sources[0] * SPACING
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    circle = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    receivers = np.concatenate([source + distance * circle for distance in DISTANCES])
    # The model's cells are constant, so a point between centers has a field as good as any.
    plain = replace(problem.simulation, order=ORDER, half_width=4, snapshot_steps=())
    survey = make_survey([source], receivers, problem.survey.wavelets[0])
    model, rows = jnp.asarray(problem.velocity, jnp.float32), []
    wanted = by_distance(simulate(model, survey, converged(plain)).gathers)
    for cells in CELLS:
        spacing = SPACING * cells
        kappa = best_kappa(ORDER, spacing, float(problem.velocity.min()), PEAK_FREQUENCY)
        simulation = replace(plain, internal_spacing=spacing, kappa=kappa)
        gathers = simulate(model, survey, simulation).gathers
        added = add_near_field(
            jnp.zeros_like(gathers),
            survey._replace(sources=survey.sources[:, None], wavelets=survey.wavelets[:, None]),
            simulation,
            None,
        )
        for distance, right, found, without in zip(
            DISTANCES, wanted, by_distance(gathers), by_distance(gathers - added), strict=True
        ):
            size = np.linalg.norm(right)
            rows.append(
                {
                    "medium": problem.medium,
                    "spacing": spacing,
                    "distance": distance,
                    "with": float(np.linalg.norm(found - right) / size),
                    "without": float(np.linalg.norm(without - right) / size),
                }
            )
    return rows


def by_distance(gathers: jax.Array) -> np.ndarray:
    """Gathers `(1, nt, n)` with an axis of distances first."""
    return np.moveaxis(np.asarray(gathers[0], float).reshape(-1, len(DISTANCES), DIRECTIONS), 1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_field", description=__doc__)
    parser.add_argument("--media", nargs="+", choices=MEDIA, default=["rough", "layered", "salt"])
    parser.add_argument("--side", type=int, default=128, help="cells along both axes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    use_compilation_cache()
    before, rows = machine(), []
    for medium in options.media:
        for row in measure(Problem(medium, options.side)):
            rows.append(row)
            print("  ".join(f"{v:.4g}" if isinstance(v, float) else v for v in row.values()), flush=True)
    settings = {"machine": before, "order": ORDER, "side": options.side}
    print(write_rows(options.out, "near-field", settings, rows))


if __name__ == "__main__":
    main()
