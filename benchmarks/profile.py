"""Where a step's time goes: the same run with one part more each time, `python -m benchmarks.profile [side] [shots]`.

Differences of whole runs, not a sampling profiler: the parts of the native loop are fused, and what a part costs is
what the run without it saves. For instructions and cache misses run it under `perf record`; for XLA programs see
`jax.profiler.trace`.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from data_gen.solver.problem.acquisition import make_survey, surface_line
from data_gen.solver.problem.gradient_memory import STRATEGIES, Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate

WIDTH = 20
BARE: dict[str, Any] = {
    "time_correction": False,
    "medium": "samples",
}  # as many steps as asked, and nothing around them


def seconds(function, *arguments, repeats: int) -> float:
    """The fastest of `repeats` calls after a first one."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


def copy_bandwidth(repeats: int) -> float:
    """Bytes a second of a copy too large for any cache, read and written."""
    source, target = np.ones(2**25, np.float32), np.empty(2**25, np.float32)
    return 2 * source.nbytes / seconds(lambda: np.copyto(target, source), repeats=repeats)


def parts(side: int, shots: int, steps: int) -> dict[str, tuple]:
    """Name to (compiled program, model) of the runs to compare, all of them on as many cells."""
    padded = side + 2 * WIDTH
    grid, time_axis = Grid((padded, padded), 10.0), TimeAxis(steps, 1e-3)
    one = surface_line(grid, 20.0)[:1]
    walls = Simulation(grid, time_axis, 4500.0, 15.0, widths=(0, 0, 0, 0), **BARE)
    inner = Simulation(Grid((side, side), 10.0), time_axis, 4500.0, 15.0, widths=(WIDTH, WIDTH, WIDTH, WIDTH), **BARE)
    rows = Simulation(Grid((side, padded), 10.0), time_axis, 4500.0, 15.0, widths=(WIDTH, WIDTH, 0, 0), **BARE)
    wavelet = ricker(time_axis, 15.0)

    def run(simulation, receivers, memory=None):
        center = 10.0 * (np.array(simulation.grid.shape) // 2)
        survey = make_survey(np.broadcast_to(center, (shots, 2)), receivers, wavelet)
        simulation = replace(simulation, memory=memory or Memory())

        def gathers(velocity):
            return simulate(velocity, survey, simulation).gathers

        program = gathers if memory is None else jax.grad(lambda v: 0.5 * jnp.sum(gathers(v) ** 2))
        return jax.jit(program), jnp.full(simulation.grid.shape, 3000.0, jnp.float32)

    inside = surface_line(inner.grid, 20.0)
    runs = {
        "differences and update": run(walls, one),
        "+ layers along z": run(rows, one),
        "+ layers along x": run(inner, one),
        f"+ {len(inside)} receivers": run(inner, inside),
        "the same in XLA": run(replace(inner, backend="xla"), inside),
    }
    runs |= {f"gradient, {name}": run(inner, inside, Memory(name)) for name in STRATEGIES}
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", type=int, nargs="?", default=256, help="cells of the grid's side, without layers")
    parser.add_argument("shots", type=int, nargs="?", default=4)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    updates = (options.side + 2 * WIDTH) ** 2 * options.steps * options.shots
    floor = 16 / copy_bandwidth(options.repeats)
    title = f"{options.side} x {options.side} + {WIDTH} cells, {options.shots} shots, {options.steps} steps, order 4"
    table = Table("run", "ms", "ns a cell and step", "more than before", title=title, box=box.SIMPLE_HEAD)
    table.add_row("16 bytes a cell at memory's speed", f"{1e3 * floor * updates:.1f}", f"{1e9 * floor:.3f}", "")
    before, timed = 0.0, partial(seconds, repeats=options.repeats)
    for name, (program, model) in parts(options.side, options.shots, options.steps).items():
        spent = timed(program, model)
        more = f"{spent / before - 1:+.0%}" if name.startswith("+") else ""
        table.add_row(name, f"{1e3 * spent:.1f}", f"{1e9 * spent / updates:.3f}", more)
        before = spent
    Console().print(table)


if __name__ == "__main__":
    main()
