"""Error against time: `python -m benchmarks.accuracy` measures our solver's errors against the wave equation.

Every setting of accuracy_cases.py simulates four shots in rough, layered, salt and other media; its records are
compared with a converged simulation (data_gen/solver/reference.py), which is kept in the folder `--references`. Times
are medians of repeats that take turns between the settings, after compilation: all four shots forward, with gathers and
snapshots, and in the media of `--gradients` the gradient of half the gathers' sum of squares. `--clock cpu` counts the
CPU time of the process, for machines that do other work too. Errors are root mean squares over the shots of relative L2
errors.

Writes `results/accuracy-cpu.json`, and from it docs/results/accuracy.md and a figure for each medium. With Deepwave and
Devito installed (requirements.txt), `--peers deepwave devito` measures them too.
"""

import argparse
import gc
import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import accuracy_page, report
from benchmarks.accuracy_cases import MEDIA, PARTS, QUICK, SETTINGS, Problem, Setting
from benchmarks.accuracy_peers import PEER_CASES, PEERS, PeerCase, peer_errors
from benchmarks.worker import ROOT, Worker, WorkerError
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.solver.numerics.stencils import ORDERS
from data_gen.solver.problem.checks import DispersionWarning
from data_gen.solver.reference import converged
from data_gen.solver.simulator import simulate

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Truth:
    """Hold the records of the converged simulation of a problem."""

    snapshots: np.ndarray
    gathers: np.ndarray


def truth(problem: Problem, folder: Path) -> Truth:
    """Read the converged records of a problem, or compute and keep them."""
    path = folder / f"{problem.name.replace(', ', '-')}.npz"
    simulation, model = converged(problem.simulation), problem.velocity.astype(np.float32)
    key = repr((simulation, model.sum(dtype=float), problem.sources.tolist(), problem.receivers.tolist()))
    if path.exists():
        with np.load(path) as stored:
            if str(stored["key"]) == key:
                return Truth(stored["snapshots"], stored["gathers"])
    records = simulate(model, problem.survey, simulation)
    folder.mkdir(parents=True, exist_ok=True)
    found = Truth(np.asarray(records.snapshots), np.asarray(records.gathers))
    np.savez(path, key=key, snapshots=found.snapshots, gathers=found.gathers)
    return found


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The root mean square over the shots (first axis) of relative L2 errors."""
    found, wanted = found.reshape(len(found), -1).astype(float), wanted.reshape(len(wanted), -1).astype(float)
    parts = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    return float(np.sqrt(np.mean(parts**2)))


def errors(snapshots: np.ndarray, gathers: np.ndarray, wanted: Truth) -> dict[str, Any]:
    """The errors of all records, and those by time."""
    ends = [round(part * gathers.shape[1]) for part in PARTS]
    return {
        "snapshots": relative(snapshots, wanted.snapshots),
        "gathers": relative(gathers, wanted.gathers),
        "snapshots_by_time": [relative(snapshots[:, i], wanted.snapshots[:, i]) for i in range(snapshots.shape[1])],
        "gathers_by_time": [relative(gathers[:, :end], wanted.gathers[:, :end]) for end in ends],
    }


class Ours:
    """A setting of ours on a problem: compiled, and called with model and survey as arguments."""

    def __init__(self, setting: Setting, problem: Problem):
        simulation = setting.simulation(problem)
        self.model, self.survey = jnp.asarray(setting.model(problem)), setting.survey(problem)

        def records(velocity, survey):
            found = simulate(velocity, survey, simulation)
            return found.snapshots, found.gathers

        def misfit(velocity, survey):
            return 0.5 * jnp.sum(records(velocity, survey)[1] ** 2)

        self.programs = {"forward": jax.jit(records), "gradient": jax.jit(jax.grad(misfit))}

    def run(self, quantity: str):
        return jax.block_until_ready(self.programs[quantity](self.model, self.survey))


def about(setting: Setting, problem: Problem) -> dict[str, Any]:
    """The numbers of a setting that are known without running it."""
    simulation = setting.simulation(problem)
    return asdict(setting) | {
        "medium": problem.medium,
        "side": problem.side,
        "name": setting.name,
        "spacing": setting.spacing,
        "step": simulation.step_length,
        "steps": simulation.steps,
        "duration": (problem.time.nt - 1) * problem.time.dt,
        "slowest": float(problem.velocity.min()),
    }


def quantities_of(problem: Problem, options: argparse.Namespace) -> tuple[str, ...]:
    """What is timed on a problem."""
    return ("forward", "gradient") if problem.medium in options.gradients else ("forward",)


def measure(problem: Problem, settings: tuple[Setting, ...], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure errors and times of every setting on one problem."""
    wanted, rows, kept = truth(problem, options.references), [], {}
    quantities = quantities_of(problem, options)
    for setting in settings:
        ours = Ours(setting, problem)
        snapshots, gathers = map(np.asarray, ours.run("forward"))
        rows.append(about(setting, problem) | errors(setting.on_model_grid(snapshots), gathers, wanted))
        if options.repeats:
            kept[setting.name] = ours
            for quantity in quantities[1:]:
                ours.run(quantity)
        found = rows[-1]
        print(f"  {setting.name:42} snapshots {found['snapshots']:.5f}  gathers {found['gathers']:.5f}", flush=True)
    clock = CLOCKS[options.clock]
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.repeats):
        for name, ours in kept.items():
            for quantity in quantities:
                start = clock()
                ours.run(quantity)
                times.setdefault((name, quantity), []).append(clock() - start)
    for row in rows:
        row |= {quantity: median(times[row["name"], quantity]) for quantity in quantities if options.repeats}
    return rows


def measure_peers(problem: Problem, workers: dict[str, Worker], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure errors and times of the peers on one problem."""
    wanted, rows = truth(problem, options.references), []
    for peer, worker in workers.items():
        for case in (case for case in PEER_CASES[peer] if not options.quick or case.refinement < 3):
            case = PeerCase(**(asdict(case) | asdict(problem)))
            row = asdict(case) | {"peer": peer, "name": f"{PEERS[peer]}, {case.name}", "spacing": case.spacing}
            for quantity in quantities_of(problem, options)[: 2 if peer == "deepwave" else 1]:
                try:
                    worker.ask("prepare", case=asdict(case), quantity=quantity)
                    if quantity == "forward":
                        row |= peer_errors(worker.array(case, quantity), case, wanted.gathers, relative)
                    times = [worker.ask("time", case=asdict(case), quantity=quantity) for _ in range(options.repeats)]
                except WorkerError as error:
                    row["why"] = str(error)
                    break
                if times:
                    row[quantity] = median(t["seconds" if options.clock == "wall" else "cpu_seconds"] for t in times)
            worker.ask("forget")
            rows.append(row)
            print(f"  {row['name']:42} gathers {row.get('gathers', row.get('why'))}", flush=True)
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--media", nargs="+", choices=MEDIA, default=["rough", "layered", "salt"])
    parser.add_argument("--sides", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--orders", nargs="+", type=int, choices=ORDERS, default=list(ORDERS))
    kinds = ("none", "time", "both")
    parser.add_argument("--corrections", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--repeats", type=int, default=5, help="times of each setting; 0 for errors only")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--quick", action="store_true", help="what may be cheapest; three repeats")
    timed = "media whose gradient is timed"
    parser.add_argument("--gradients", nargs="*", choices=MEDIA, default=["rough"], help=timed)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[])
    parser.add_argument("--references", type=Path, default=Path("/tmp/accuracy-references"), help="folder kept")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page and its figures")
    parser.add_argument("--page", action="store_true", help="write the page from the results that are there, and end")
    options = parser.parse_args()
    options.repeats = min(options.repeats, 3) if options.quick else options.repeats
    return options


def main() -> None:
    options = arguments()
    if options.page:
        accuracy_page.write(report.results_path(options.out, "accuracy"), options.docs)
        return
    use_compilation_cache()
    warnings.simplefilter("ignore", DispersionWarning)
    rows, not_measured, versions, before = [], [], {}, report.machine()
    chosen = QUICK if options.quick else SETTINGS
    chosen = tuple(s for s in chosen if s.order in options.orders and s.corrections in options.corrections)
    with ExitStack() as stack:
        workers = {}
        for peer in options.peers:
            worker = stack.enter_context(Worker(f"{peer}_accuracy"))
            try:
                versions |= worker.ask("about")["versions"]
                workers[peer] = worker
            except WorkerError as error:
                not_measured.append({"peer": peer, "why": str(error)})
        settings = {
            "machine": before,
            "clock": options.clock,
            "repeats": options.repeats,
            "quick": options.quick,
            "versions": versions,
            "not_measured": not_measured,
        }
        for side in options.sides:
            for medium in options.media:
                problem = Problem(medium, side)
                print(problem.name, flush=True)
                rows += measure(problem, chosen, options) + measure_peers(problem, workers, options)
                # Kept at once: all problems take long.
                print(report.write_rows(options.out, "accuracy", settings, rows))
                gc.collect()
    if options.repeats:
        accuracy_page.write(report.results_path(options.out, "accuracy"), options.docs)


if __name__ == "__main__":
    main()
