"""Error and time of the coarse solver: `python -m benchmarks.coarse` measures it by the size of its cells.

The models are the first four test samples of `data=reference`, and of the same with layers that are faulted. Errors are
means over them of relative L2 against a converged simulation (data_gen/solver/reference.py): of the snapshots, and of
gathers at every other column, cells within 60 m of the source left out. Times are CPU times of one shot with both
records, medians of repeats that take turns, relative to those of the bare leap-frog on samples of the model at 0.75 ms,
the data's solver of earlier versions. Prints a table and writes `results/coarse-<device>.json`.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.generation import LEAP_FROG
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.commands.generate import register
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.dataset.config import DataConfig
from data_gen.dataset.sample import SPLITS
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.reference import converged
from data_gen.solver.simulator import Records, simulate
from surrogate.encodings.coarse_solver import coarse_simulation

RATIOS = (1.33, 1.6, 1.8, 2.0, 2.2)
MEDIA = {
    "rough": None,
    "faulted layers": {"faulted_layers": {"min_velocity": 1500, "max_velocity": 4500}},
}
SAMPLES, NEAR = 4, 60.0  # [m]


def settings(simulation: Simulation, slowest: float) -> dict[str, Simulation]:
    """The bare leap-frog, the data's own solver, and the coarse solver by the size of its cells."""
    bare = replace(simulation, **LEAP_FROG)
    coarse = {f"{ratio:g}": coarse_simulation(simulation, slowest, ratio) for ratio in RATIOS}
    return {"bare leap-frog": bare, "1": simulation} | coarse


def relative(found: np.ndarray, wanted: np.ndarray, far: np.ndarray) -> float:
    """The relative L2 error where it counts."""
    return float(np.linalg.norm((found - wanted)[..., far]) / np.linalg.norm(wanted[..., far]))


def measure(config: DataConfig, repeats: int) -> list[dict[str, Any]]:
    """Errors and times in the models of one data set."""
    spec = config.create()
    simulation, points = spec.simulation, np.indices(spec.simulation.grid.shape) * spec.simulation.grid.spacing
    chosen = settings(simulation, spec.slowest)
    programs = {name: _program(spec, one) for name, one in (chosen | {"converged": converged(simulation)}).items()}
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    draws = [spec.draw(spec.key(SPLITS.index("test"), index)) for index in range(SAMPLES)]
    for draw in draws:
        wanted, source = programs["converged"](draw.velocity, draw.sources), np.asarray(draw.sources)[0]
        cells = np.hypot(*(points - source[:, None, None])) >= NEAR
        receivers = np.linalg.norm(np.asarray(spec.receivers) - source, axis=1) >= NEAR
        for name, kept in errors.items():
            found = programs[name](draw.velocity, draw.sources)
            kept.append(
                (
                    relative(np.asarray(found.snapshots), np.asarray(wanted.snapshots), cells),
                    relative(np.asarray(found.gathers), np.asarray(wanted.gathers), receivers),
                )
            )
    times: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(repeats):
        for name, taken in times.items():
            start = time.process_time()
            jax.block_until_ready(programs[name](draws[0].velocity, draws[0].sources))
            taken.append(time.process_time() - start)
    rows = []
    for name, simulation in chosen.items():
        snapshots, gathers = np.mean(errors[name], axis=0).tolist()
        cost = median(times[name])
        about = {"spacing": simulation.solved_spacing, "steps": simulation.steps, "kappa": simulation.kappa}
        relative_cost = cost / median(times["bare leap-frog"])
        rows.append(
            {"setting": name, "snapshots": snapshots, "gathers": gathers, "cpu_s": cost, "cost": relative_cost} | about
        )
    return rows


def _program(spec, simulation: Simulation):
    def run(velocity, sources) -> Records:
        return simulate(velocity, spec.survey(sources), simulation)

    return jax.jit(run)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coarse", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 128], help="cells along both axes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    use_compilation_cache()
    register()
    rows, before = [], machine()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        preset = OmegaConf.to_object(compose("generate", overrides=["data=reference"]).data)
    assert isinstance(preset, DataConfig)
    for side in options.sides:
        for medium, families in MEDIA.items():
            config = replace(preset, nz=side, nx=side, families=families or preset.families)
            # Waves fill the larger grid in as much more time.
            scale = side / preset.nz
            times = [round(t * scale, 3) for t in preset.snapshot_times]
            config = replace(config, nt=round((preset.nt - 1) * scale) + 1, snapshot_times=times)
            for row in measure(config, options.repeats):
                rows.append({"medium": medium, "side": side} | row)
                print("  ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in rows[-1].values()), flush=True)
    print(write_rows(options.out, "coarse", {"machine": before, "repeats": options.repeats}, rows))


if __name__ == "__main__":
    main()
