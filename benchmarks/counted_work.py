"""Count the work of a surrogate and of the solver at its error: `python -m benchmarks.counted_work NAME=RUN...`.

A count, not a measurement: it says what S could be at most on a device where one thing is all that takes time.

- `launches`: steps of a time loop, and instructions of the compiled operator, that have to follow one another. All that
  counts where a device has nothing to do but to begin, as a large GPU with the few cells of one model.
- `traffic`: bytes that are read and written. All that counts for many shots at once, where fields go through memory.
- `arithmetic`: floating-point operations. All that counts where fields stay on the chip.

The solver's loop takes one launch a step, FIELDS fields of four bytes a cell and step, and FLOPS of its order; the rest
of its program and of the surrogate's is what XLA counts in the programs compiled here. Errors are those of the run's
`metrics.json`, by `wave evaluate`; between two settings of the solver, the work is interpolated as S does it.

Writes `results/counted-work.json` and docs/results/counted_work.md.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.counted_work_page import write_page
from benchmarks.report import write_rows
from benchmarks.worker import ROOT
from data_gen.common.files import read_json
from data_gen.solver.engines.choose import runs_natively
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.simulation import Simulation
from surrogate.encodings.gather import CoarseGather
from surrogate.encodings.wavefield import Coarse
from surrogate.operators.layers.recompute import compiler_options
from surrogate.protocols import SolvedTask
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.misfit_gradients import read_cases
from surrogate.runs.speedup import equal_error_seconds, solver_settings

KINDS = ("launches", "traffic", "arithmetic")
FIELDS = 4  # two levels of the field and the velocity are read, one level is written
Work = dict[str, float]


def flops(order: int) -> int:
    """Operations of a cell and step: on two axes, a sum and a product of each pair, added up; center; leap-frog."""
    return 2 * 3 * (order // 2) + 2 + 4


def of_program(function: Callable[..., Any], inputs: tuple[jax.Array, ...]) -> Work:
    """What XLA counts in a compiled program; a loop of compiled C++ is one instruction without work."""
    program = jax.jit(function, compiler_options=compiler_options()).lower(*inputs).compile()
    counted: Any = program.cost_analysis()
    text = program.as_text() or ""
    entry = text[text.index("\nENTRY") :]
    instructions = re.findall(r"^  (?:ROOT )?%?\S+ = \S+ ([a-z-]+)\(", entry, re.MULTILINE)
    none = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element"}
    return {
        "launches": float(sum(name not in none for name in instructions)),
        "traffic": float(counted["bytes accessed"]),
        "arithmetic": float(counted["flops"]),
    }


def of_loop(simulation: Simulation, shots: int) -> Work:
    """The work of the solver's time loop."""
    if not runs_natively(simulation, constant_density=True):
        raise SystemExit("The solver's loop must be that of compiled C++, which XLA does not count.")
    solved = discretize(simulation)
    cells = float(np.prod(solved.padded_shape)) * solved.steps * shots
    return {
        "launches": float(solved.steps),
        "traffic": 4 * FIELDS * cells,
        "arithmetic": flops(solved.order) * cells,
    }


def total(*parts: Work) -> Work:
    """The sum of parts."""
    return {kind: sum(part[kind] for part in parts) for kind in KINDS}


def row_of(name: str, run: str) -> dict[str, Any]:
    """Count a run's prediction, its encoding and the settings of the solver, for all shots of a model."""
    model, measured = load_surrogate(run), read_json(Path(run) / "metrics.json")["speedup"]["predictions"]
    task = model.task
    assert isinstance(task, SolvedTask)
    if task.spec.gardner:
        raise SystemExit(f"{run} has a density, whose loop is not that of compiled C++.")
    if not isinstance(model.encoding, Coarse | CoarseGather):
        raise SystemExit(f"{run} is fed with no coarse solver of wavefields or gathers.")
    (case,) = read_cases(read_run(run).data.path, task, 1)
    inputs = (jnp.asarray(case.velocity), jnp.asarray(case.sources))
    shots = len(case.sources)
    loop = of_loop(model.encoding.solver.simulation, shots)
    encoding = total(loop, of_program(lambda v, s: task.encode_shots(model.encoding, v, s), inputs))
    prediction = total(loop, of_program(model.shots, inputs))
    settings = []
    for simulation, setting in zip(solver_settings(task.spec), measured["settings"], strict=True):
        rest = of_program(lambda v, s, simulation=simulation: task.solve(v, s, simulation), inputs)
        work = total(of_loop(simulation, shots), rest)
        settings.append({"spacing": setting["spacing"], "error": setting["error"], **work})
    error = measured["error"]
    solver = {
        kind: equal_error_seconds([{"error": row["error"], "seconds": row[kind]} for row in settings], error)
        for kind in KINDS
    }
    return {
        "name": name,
        "shape": list(task.shape),
        "shots": shots,
        "error": error,
        "prediction": prediction,
        "encoding": encoding,
        "solver": solver,
        "settings": settings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counted_work",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="evaluated runs that are fed with a coarse solver")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    rows = [row_of(*pair.partition("=")[::2]) for pair in options.runs]
    print(write_rows(options.out, "counted-work", {}, rows))
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
