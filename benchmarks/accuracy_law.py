"""The law of data_gen/solver/error_law.py: `python -m benchmarks.accuracy_law` fits its constants to measured errors.

`--measure` first simulates the media of accuracy_law_cases.py in all settings, and writes their errors against the
converged simulation to `results/accuracy-law-<device>.json`, with all that the law asks of each medium: constants are
fitted to that file alone. Errors are root mean squares over the shots of relative L2 errors. Crops of a real model are
measured where `--file` names one (.npy, cells of 25 m).

Prints the constants, and by which factors expected and measured errors differ: in the media of the fit, in others of
the same setups, and in other setups; in single media and as a root mean square over those of a setup.
"""

import argparse
import gc
import json
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from benchmarks import report
from benchmarks.accuracy_law_cases import FEW, SETTINGS, SETUPS, Setting, Setup
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.solver.accuracy import COST, RANGE
from data_gen.solver.error_law import (
    CROSSED,
    LAWS,
    Law,
    Traits,
    Travel,
    floor_error,
    medium_error,
    samples_error,
    space_error,
    time_error,
    travel,
)
from data_gen.solver.problem.checks import BandWarning, DispersionWarning, GrowthWarning
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.reference import converged, relative_errors
from data_gen.solver.simulator import Records, simulate

NAME = "accuracy-law"
LARGEST = 1.2 * RANGE[1]  # errors above are no longer proportional to anything


def root_mean_square(values: Any) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def rounded(value: float) -> float:
    """Four digits."""
    return float(f"{float(value):.4g}")


def compared(found: Records, wanted: Records) -> dict[str, Any]:
    """Errors of snapshots, all and each, and of gathers; of all shots, and of each."""
    each = [relative_errors(*(r._replace(snapshots=r.snapshots[:, [i]]) for r in (found, wanted))) for i in range(4)]
    errors = relative_errors(found, wanted)
    snapshots = [errors.snapshots, *(one.snapshots for one in each)]
    return {
        "snapshots": [rounded(root_mean_square(values)) for values in snapshots],
        "gathers": rounded(root_mean_square(errors.gathers)),
    }


def describe(setup: Setup, name: str, model: np.ndarray, simulations: list[Simulation]) -> dict[str, Any]:
    """All that the law asks of a medium."""
    traits, plain = Traits(model, setup.spacing), setup.simulation
    return {
        "setup": setup.name,
        "medium": name,
        "fitted": name in setup.media,
        "peak": setup.peak_frequency,
        "side": setup.spacing,
        "velocities": [rounded(v) for v in traits.velocities],
        "effective": rounded(traits.effective),
        "own": rounded(traits.unheld(setup.spacing)),
        "travel": {kind: [rounded(x) for x in travel_numbers(plain, traits, kind)] for kind in LAWS},
        "times": [rounded(t) for t in single_times(plain, traits)],
        "unheld": [rounded(traits.unheld(s.solved_spacing)) for s in simulations],
    }


def travel_numbers(simulation: Simulation, traits: Traits, kind: str) -> list[float]:
    """The time and the crossings."""
    way = travel(simulation, traits, kind)
    return [way.time, *way.crossed]


def single_times(simulation: Simulation, traits: Traits) -> list[float]:
    """The times of each snapshot alone."""
    alone = (replace(simulation, snapshot_steps=(step,)) for step in simulation.snapshot_steps)
    return [travel(one, traits, "snapshots").time for one in alone]


def measure_setup(setup: Setup, file: Path | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure the errors of all settings in all media of a setup: the settings, and a row for each medium."""
    names = [name for name in (*setup.media, *setup.others) if file is not None or not name.startswith("crop")]
    models = {name: setup.model(name, file) for name in names}
    survey, plain = setup.survey, setup.simulation
    references = {name: jax.device_get(simulate(v, survey, converged(plain))) for name, v in models.items()}
    settings = SETTINGS if setup.media else FEW
    simulations = [setting.simulation(setup) for setting in settings]
    rows = [describe(setup, name, model, simulations) | {"errors": []} for name, model in models.items()]
    for simulation in simulations:
        for row, (name, model) in zip(rows, models.items(), strict=True):
            found = jax.device_get(simulate(model, survey, simulation))
            row["errors"].append(compared(found, references[name]))
    return [about(*pair) for pair in zip(settings, simulations, strict=True)], rows


def about(setting: Setting, simulation: Simulation) -> dict[str, Any]:
    """The numbers of a setting that the law asks for."""
    numbers = {"kappa": simulation.kappa, "spacing": simulation.solved_spacing, "step": rounded(simulation.step_length)}
    return setting._asdict() | numbers


def relative_costs(repeats: int = 5) -> dict[int, float]:
    """Measure the CPU time of a cell's step of each order, relative to order 8, in turns."""
    setup = next(setup for setup in SETUPS if setup.name == "128")
    model, survey = jnp.asarray(setup.model(setup.media[0], None)), setup.survey
    programs: dict[int, Simulation] = {order: Setting(order, 0.14, True).simulation(setup) for order in COST}
    taken: dict[int, list[float]] = {order: [] for order in COST}
    for repeat in range(repeats + 1):
        for order, simulation in programs.items():
            start = time.process_time()
            jax.block_until_ready(simulate(model, survey, simulation))
            work = simulation.steps * float(np.prod(discretize(simulation).padded_shape))
            if repeat:
                taken[order].append((time.process_time() - start) / work)
    base = float(np.median(taken[8]))
    return {order: round(float(np.median(times)) / base, 3) for order, times in taken.items()}


def measure(file: Path | None) -> Path:
    """Measure everything, and write it."""
    use_compilation_cache()
    for warning in (BandWarning, DispersionWarning, GrowthWarning):
        warnings.simplefilter("ignore", warning)
    chosen: dict[str, list[dict[str, Any]]] = {}
    rows: list[dict[str, Any]] = []
    settings = {"machine": report.machine(), "costs": relative_costs(), "settings": chosen}
    for setup in SETUPS:
        print(setup.name, flush=True)
        chosen[setup.name], measured = measure_setup(setup, file)
        rows += measured
        gc.collect()
    path = report.write_rows(ROOT / "benchmarks/results", NAME, settings, rows)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":")) + "\n")
    return path


class Case(NamedTuple):
    """Hold one measured error, and what the law asks to expect it."""

    row: dict[str, Any]
    setting: dict[str, Any]
    unheld: float
    way: Travel
    error: float
    single: bool  # snapshot


def cases(found: dict[str, Any], kind: str) -> list[Case]:
    """All measured errors of a kind whose first snapshot is in the range of the law, with those of single snapshots."""
    made = []
    for row in found["rows"]:
        time, *crossed = row["travel"][kind]
        ways = [Travel(time, tuple(crossed))]
        ways += [Travel(t, (c,)) for t, c in zip(row["times"], crossed, strict=False)]
        settings = found["settings"][row["setup"]]
        for setting, unheld, errors in zip(settings, row["unheld"], row["errors"], strict=True):
            values = errors[kind] if kind == "snapshots" else [errors[kind]]
            for index, (way, error) in enumerate(zip(ways, values, strict=True)):
                if not way.crossed or min(way.crossed) <= CROSSED:
                    made.append(Case(row, setting, unheld, way, error, index > 0))
    return made


def expected(law: Law, case: Case) -> float:
    """The error that the law expects."""
    row, setting, peak, time = case.row, case.setting, case.row["peak"], case.way.time
    periods, cells = time * peak, peak / row["effective"]
    weights, velocities = (setting["order"], setting["kappa"]), np.array(row["velocities"])
    parts = [
        space_error(law, velocities, weights, setting["spacing"], peak, time),
        medium_error(law, cells * setting["spacing"], case.unheld, periods),
        floor_error(law, periods),
    ]
    if setting["kind"] != "both":
        parts.append(samples_error(law, cells * row["side"], row["own"], periods))
    if setting["kind"] == "bare":
        parts.append(time_error(law, setting["step"], peak, time))
    return case.way.grown(law) * float(np.linalg.norm(parts))


def logarithms(law: Law, chosen: list[Case]) -> np.ndarray:
    """The logarithms of expected over measured errors."""
    return np.log([expected(law, case) / case.error for case in chosen])


def in_range(chosen: Iterable[Case], kind: str) -> list[Case]:
    """The cases of a kind of settings whose errors are in the range of the law."""
    return [case for case in chosen if case.setting["kind"] == kind and RANGE[0] <= case.error <= LARGEST]


def fitted(law: Law, names: tuple[str, ...], residuals: Callable[[Law], np.ndarray]) -> Law:
    """The law with some constants that make logarithms least; outliers count less than squares."""

    def changed(x: np.ndarray) -> Law:
        return law._replace(**dict(zip(names, np.exp(x).tolist(), strict=True)))

    start = np.log([getattr(law, name) for name in names])
    return changed(least_squares(lambda x: residuals(changed(x)), start, loss="soft_l1", f_scale=0.3).x)


def fit(chosen: list[Case], kind: str) -> Law:
    """The constants of a kind: space, medium and growth first, then samples, then the time step's."""
    mine = [case for case in chosen if case.row["fitted"] and not case.single]
    law = LAWS[kind]
    names = ("way", "medium", "spacing_power", "contrast_power", "periods_power")
    stages = (
        ("both", (*names, "leaving") if kind == "snapshots" else names),
        ("samples", ("samples",)),
        ("bare", ("duration",)),
    )
    for corrections, names in stages:
        # The errors of order 4 in space have the other sign than those of the time step.
        some = [case for case in in_range(mine, corrections) if corrections != "bare" or case.setting["order"] > 4]
        law = fitted(law, names, lambda law, some=some: logarithms(law, some))
    return law


def spread(logs: np.ndarray) -> str:
    """How far ratios are from one."""
    within = ", ".join(f"{np.mean(np.abs(logs) <= np.log(f) + 1e-9):.0%} within {f:g}" for f in (1.5, 2, 3))
    low, high = np.exp([logs.min(), logs.max()])
    return (
        f"{len(logs):4} ratios {low:.2f} to {high:.2f}, root mean square {np.exp(root_mean_square(logs)):.2f}, {within}"
    )


def by_family(law: Law, chosen: list[Case]) -> np.ndarray:
    """The logarithms of expected over measured root mean squares over the media of a setup, of three and more."""
    groups: dict[tuple, list[Case]] = {}
    for case in chosen:
        about = (case.setting[name] for name in ("order", "kappa", "spacing"))
        groups.setdefault((case.row["setup"], *about), []).append(case)
    found = []
    for group in groups.values():
        wanted = root_mean_square([case.error for case in group])
        if len(group) >= 3 and RANGE[0] <= wanted <= RANGE[1]:
            found.append(np.log(root_mean_square([expected(law, case) for case in group]) / wanted))
    return np.array(found)


def show(law: Law, chosen: list[Case]) -> None:
    """Print how well the law holds."""
    known = {case.row["setup"] for case in chosen if case.row["fitted"]}
    groups = {
        "fitted": lambda row: row["fitted"],
        "other media": lambda row: row["setup"] in known and not row["fitted"],
        "other setups": lambda row: row["setup"] not in known,
    }
    for corrections in ("both", "samples", "bare"):
        for single in (False, True):
            mine = [case for case in in_range(chosen, corrections) if case.single == single]
            for name, test in groups.items():
                if some := [case for case in mine if test(case.row)]:
                    print(f"  {corrections:8}{'single' if single else '':7}{name:14}{spread(logarithms(law, some))}")
    others = [case for case in chosen if not case.row["fitted"] and not case.single]
    mine = in_range(others, "both")
    for setup in dict.fromkeys(case.row["setup"] for case in mine):
        print(f"    {setup:18}{spread(logarithms(law, [case for case in mine if case.row['setup'] == setup]))}")
    print(f"  optimized, not fitted {spread(logarithms(law, [case for case in mine if case.setting['optimized']]))}")
    both = [case for case in others if case.setting["kind"] == "both"]
    print(f"  over the media of a setup, not fitted {spread(by_family(law, both))}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_law", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="simulate first: about 15 minutes of one core")
    parser.add_argument("--file", type=Path, help="a real model to cut crops from (.npy, cells of 25 m)")
    options = parser.parse_args()
    path = measure(options.file) if options.measure else report.results_path(ROOT / "benchmarks/results", NAME)
    found = json.loads(path.read_text(encoding="utf-8"))
    print(f"costs of a cell's step: {found['costs']}")
    for kind in LAWS:
        chosen = cases(found, kind)
        law = fit(chosen, kind)
        print(f"{kind}: {', '.join(f'{name}={value:.3g}' for name, value in law._asdict().items())}")
        show(law, chosen)


if __name__ == "__main__":
    main()
