"""Does a cheap model that leads pay? `python -m benchmarks.corrected --folder FOLDER`.

The cells of the solver are finer than the band needs, as where a model is to be known in such detail. Contenders, from
the same start, with the same data, which come from finer cells still and another order of the differences:

- `ours`: L-BFGS on these cells, one stage
- `batches`: the same, each iteration with BATCH of the shots
- `coarse_first`: L-BFGS on coarser cells, whose error is inverted along; then on the cells themselves
- `corrected`: `forward=corrected`, the cheap model being the solver on the coarser cells
- `coarse_corrected`: L-BFGS on the coarser cells first, then `forward=corrected`

each of the last three with cells of RATIOS times the side. `ours` makes GRADIENTS gradients; then the others take
turns, iteration by iteration (inversion_contest.py), until they have the misfit, and the error of the model, that it
ends with, or for `--seconds` each. Of each it is measured at how many gradients, on the cells and on the coarser ones,
and after how many seconds it first had them.

Writes `results/corrected-<device>.json` and docs/results/corrected.md. FOLDER keeps data and progress: after a kill the
same command goes on. The section of Overthrust is named by WAVE_OVERTHRUST, and left out where that is not set.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.accuracy_page import table
from benchmarks.inversion_contest import Runner, compete, request_of
from benchmarks.inversion_data import Case, Noise, make_case
from benchmarks.inversion_page import NAMES
from benchmarks.inversion_setups import Models, Setup, Unavailable, drawn, line, overthrust_file, shots
from benchmarks.inversion_stages import Stage
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.solver.problem.grid import Grid, TimeAxis

LED = ("coarse_first", "corrected", "coarse_corrected")  # by coarser cells
NOISE = {"clean": Noise(), "20dB": Noise(20.0), "10dB": Noise(10.0)}
RATIOS = (2.0, 4.0)  # sides of these cells, in those of the cells themselves
BATCH = 6  # shots
GRADIENTS = 45  # of `ours`, whose misfit and error the others are to reach
ITERATIONS = 200  # more than any contender has time for
HIGHEST, SPACING = 8.0, 25.0  # [Hz], [m]
MEASURES = ("misfit", "error")
COLUMNS = ("gradients", "coarser", "seconds")
HEAD = ("", "noise", *COLUMNS, *COLUMNS, "stopped [s]", "misfit", "error", "in the mask", "SSIM", "held out", "memory")
INTRO = f"""# A cheap model that leads

What `forward=corrected` saves where the solver's cells are finer than the band needs, by
`python -m benchmarks.corrected`. All contenders have the same start (the true model smoothed by 250 m), data and steps.
L-BFGS runs first; then the others take turns, until they have its misfit and its model error, or for as long as they
are let. The first three columns of numbers say what each spent until it first had the misfit that {NAMES["ours"]} has
after {GRADIENTS} gradients, the next three until it had its model error: gradients of all shots by the solver on its
cells, such on coarser cells, and seconds. A dash: not until it was stopped. The others are of the model then, as in
[Inversion](inversion.md). A number with x is the side of the coarser cells, in that of the cells.

- **{NAMES["batches"]}**: {BATCH} of the shots in each iteration, half of them those of the one before. The misfit of
  all shots is known every few iterations.
- **{NAMES["coarse_first"]}**: what good practice is. L-BFGS on coarser cells first, then on the cells.
- **{NAMES["corrected"]}**: the solver on coarser cells leads, and the solver on its cells corrects it.
- **{NAMES["coarse_corrected"]}**: the first part of the one, then the other.
"""


def setup_of(name: str, grid: Grid, duration: float, bounds: tuple[float, float]) -> Setup:
    """16 shots and receivers on every other cell, all in the fifth row."""
    depth = 4 * grid.spacing
    sources, held_out = shots(grid, 16, 4, depth)
    return Setup(
        name,
        grid,
        TimeAxis(round(duration / 8e-3) + 1, 8e-3),
        10.0,
        sources,
        held_out,
        line(grid, grid.shape[1] // 2, depth),
        smoothing=250.0,
        bounds=bounds,
        data_spacing=grid.spacing / 2,
        stages=(Stage(HIGHEST, grid.spacing, ITERATIONS),),
        illumination=True,
        batch=BATCH,
    )


def overthrust_half() -> tuple[Setup, Models]:
    """The left half of the section, on its own cells."""
    velocity, spacing = overthrust_file()
    left = velocity[:, : velocity.shape[1] // 2].astype(np.float32)
    setup = setup_of("overthrust_half", Grid(left.shape, spacing), 4.0, (2200.0, 6200.0))
    return setup, {"overthrust_half": lambda: left}


def folded() -> tuple[Setup, Models]:
    """A folded and faulted model of 256 x 512 cells."""
    setup = setup_of("folded", Grid((256, 512), SPACING), 5.0, (1450.0, 4550.0))
    # The first that is drawn has layers that differ by a tenth: at 20 dB the noise hides what the start has wrong.
    return setup, {"folded": drawn(setup, ("curve_fault_a",), 2)[1]["curve_fault_a-1"]}


PROBLEMS: dict[str, Callable[[], tuple[Setup, Models]]] = {"overthrust_half": overthrust_half, "folded": folded}


def say(contender: str, reply: dict[str, Any]) -> None:
    """Print an entry of a history."""
    print(contender, "  ".join(f"{key} {x:.4g}" for key, x in reply.items() if isinstance(x, int | float)), flush=True)


def spent(runner: Runner, entry: dict[str, Any]) -> tuple[float, float]:
    """Gradients of all shots by the solver and on coarser cells, up to an entry; three forwards count as a gradient."""
    fine, low = entry["used"], entry["low"]
    if runner.name.startswith("coarse"):
        coarse = [line["used"] for line in runner.history if line["stage"] == 0][-1]
        fine, low = (0, fine) if entry["stage"] == 0 else (fine - coarse, low + coarse)
    return fine, low


def reached(runner: Runner, shots: int, measure: str, wanted: float) -> dict[str, float] | None:
    """What a contender spent until it first had a misfit or an error, on the cells themselves; None if it never had."""
    cells = int(runner.name.startswith("coarse"))  # the stage on the cells
    history = [entry for entry in runner.history if measure == "error" or entry["stage"] == cells]
    entry = next((entry for entry in history if entry[measure] <= wanted), None)
    if entry is None:
        return None
    fine, low = (count / (3 * shots) for count in spent(runner, entry))
    return {"fine": fine, "low": low, "seconds": entry["seconds"]}


def baseline(case: Case, noise: str, folder: Path) -> Runner:
    """L-BFGS on the cells themselves, with all its gradients."""
    budget = [3 * len(case.setup.sources) * GRADIENTS]
    return Runner("ours", request_of(case, NOISE[noise], "ours", folder, budget), folder)


def others(
    case: Case, noise: str, folder: Path, options: argparse.Namespace, wanted: dict[str, float]
) -> dict[Runner, float | None]:
    """The other contenders that are chosen, and how much coarser the cells are that lead them."""
    shots = len(case.setup.sources)

    def enough(runner: Runner) -> bool:
        return all(reached(runner, shots, measure, value) for measure, value in wanted.items())

    chosen: list[tuple[str, float | None]] = [("batches", None)] * ("batches" in options.contenders)
    chosen += [(name, ratio) for ratio in options.ratios for name in LED if name in options.contenders]
    found: dict[Runner, float | None] = {}
    for name, ratio in chosen:
        own = case if ratio is None else replace(case, setup=replace(case.setup, coarser=ratio))
        request = request_of(own, NOISE[noise], name, folder)
        found[Runner(name, request, folder, options.seconds, enough)] = ratio
    return found


def run_all(runners: list[Runner], where: str) -> None:
    """Let contenders take turns up to their ends."""
    if failed := compete(runners, inf, say):
        raise SystemExit("\n".join(f"{where}, {name}: {text}" for name, text in failed.items()))


def contest(case: Case, noise: str, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the contenders of a case; what is measured of each."""
    ours = baseline(case, noise, folder)
    run_all([ours], f"{case.name}, {noise}")
    wanted = {measure: min(entry[measure] for entry in ours.history) for measure in MEASURES}
    led = others(case, noise, folder, options, wanted)
    run_all(list(led), f"{case.name}, {noise}")
    return rows_of(case, noise, {ours: None, **led}, wanted)


def price(runner: Runner, shots: int) -> float | None:
    """Seconds that a gradient of all shots takes in the first stage, starting and compiling left out."""
    entries = [entry for entry in runner.history if entry["stage"] == 0]
    first, last = entries[0], entries[-1]
    if first is last:
        return None
    return 3 * shots * (last["seconds"] - first["seconds"]) / (last["used"] - first["used"])


def rows_of(
    case: Case, noise: str, runners: dict[Runner, float | None], wanted: dict[str, float]
) -> list[dict[str, Any]]:
    """What is measured of each contender of a case, and how much coarser the cells are that lead it."""
    shots = len(case.setup.sources)
    return [
        {
            "case": case.name,
            "noise": noise,
            "contender": runner.name,
            "coarser": ratio,
            "price": price(runner, shots) if runner.name in ("ours", "coarse_first") else None,
            "seconds": runner.seconds,
            "stopped": runner.finished is not None and runner.finished["stopped"],
            "peak_bytes": max(line["peak"] for line in runner.history),
            "wanted": wanted,
            "reached": {measure: reached(runner, shots, measure, value) for measure, value in wanted.items()},
            "history": {key: [line[key] for line in runner.history] for key in ("stage", "misfit", "error", "seconds")}
            | {"spent": [spent(runner, line) for line in runner.history]},
        }
        | case.judged(runner.model)
        for runner, ratio in runners.items()
    ]


def named(row: dict[str, Any]) -> str:
    """A contender in words."""
    return NAMES[row["contender"]] + (f", {row['coarser']:g}x" if row["coarser"] else "")


def ceilings(rows: list[dict[str, Any]]) -> str:
    """What a gradient on coarser cells costs, and the most that this lets a cheap model save."""
    text, fine = "", {row["noise"]: row["price"] for row in rows if row["contender"] == "ours"}
    for ratio in RATIOS:
        led = [row for row in rows if row["contender"] == "coarse_first" and row["coarser"] == ratio and row["price"]]
        if not led:
            continue
        cost = median(row["price"] / fine[row["noise"]] for row in led)
        text += (
            f"A gradient on cells of {ratio:g} times the side takes {cost:.3f} of the time of one on the cells: a "
            f"cheap model that needs as many gradients and a tenth more saves a factor of {1 / (1.1 * cost):.1f}.\n"
        )
    return text


def lines_of(card: dict[str, Any], case: str) -> list[tuple[str, ...]]:
    """The table of a case."""
    lines = []
    for row in card["rows"]:
        if row["case"] != case:
            continue
        cells = []
        for measure in MEASURES:
            found = row["reached"][measure]
            cells += [f"{found['fine']:.0f}", f"{found['low']:.0f}", f"{found['seconds']:.0f}"] if found else ["-"] * 3
        ends = (
            f"{row['seconds']:.0f}",
            f"{row['history']['misfit'][-1]:.2e}",
            f"{row['error']:.4f}",
            f"{row['masked']:.4f}",
        )
        ends += (f"{row['ssim']:.3f}", f"{row['held_out']:.2e}", f"{row['peak_bytes'] / 1e9:.2f} GB")
        lines.append((named(row), row["noise"], *cells, *ends))
    return lines


def write_page(results: Path, docs: Path) -> Path:
    """Write the page; return its path."""
    page, text = docs / "results" / "corrected.md", INTRO
    page.parent.mkdir(parents=True, exist_ok=True)
    for path in sorted(results.glob("corrected-*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        for setup in card["setups"]:
            used = setup["machine"]
            order, (rows, columns) = setup["order"], setup["grid"]["shape"]
            text += (
                f"\n## {setup['name']}\n\n{rows} x {columns} cells of {setup['grid']['spacing']:g} m, "
                f"{len(setup['sources'])} shots, {len(setup['receivers'])} receivers, a Ricker wavelet of "
                f"{setup['peak_frequency']:g} Hz up to {HIGHEST:g} Hz; data from cells of {setup['data_spacing']:g} m "
                f"and order {order['data']}, inversions of order {order['inversion']}. {used['cores_used']} core(s) of "
                f"{used['processor']}.\n\n"
            ) + table(HEAD, lines_of(card, setup["case"]))
            text += "\n" + ceilings([row for row in card["rows"] if row["case"] == setup["case"]])
        if "note" in card:  # of rows that were put together from several runs of this command
            text += f"\n{card['note']}\n"
    page.write_text(text, encoding="utf-8")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corrected", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where data and progress are kept")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="which")
    parser.add_argument("--noise", nargs="+", choices=NOISE, default=list(NOISE))
    contenders = ("batches", *LED)
    parser.add_argument("--contenders", nargs="+", choices=contenders, default=contenders, help="beside L-BFGS")
    parser.add_argument("--ratios", nargs="+", type=float, choices=RATIOS, default=RATIOS, help="of the cells' sides")
    parser.add_argument("--seconds", type=float, default=300.0, help="of computing, for each that is led")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    before, setups, rows = machine(), [], []
    for problem in options.problems:
        try:
            setup, models = PROBLEMS[problem]()
        except Unavailable as missing:
            print(f"{problem}: skipped, {missing}.")
            continue
        for name, model in models.items():
            case = make_case(setup, name, model(), options.folder / problem / "data")
            setups.append(setup.described() | {"case": name, "machine": before})
            for noise in options.noise:
                rows += contest(case, noise, options.folder / problem / noise, options)
                print(write_rows(options.out, "corrected", {"machine": before, "setups": setups}, rows), flush=True)
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
