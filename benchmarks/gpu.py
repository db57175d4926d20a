"""Check and measure on a GPU what a GPU should be good at: `python -m benchmarks.gpu --folder FOLDER`, or `make gpu`.

- `solver`: gathers and gradients of the cases of `benchmarks.solver` by XLA, and the gradient's strategies, each
  compared with the same program on the host's CPU, in the same precision
- `on_chip`: the kernel that keeps a small grid on chip, compared with the solver
- `training`: a step of the FNO of `experiment=reference`, in float32 and with bfloat16 pointwise layers
- `speedup`: its prediction, and our solver at the errors of ERRORS against the wave equation, for predictions and
  gradients: S at an error is what a trained operator of that error would have on this device

FOLDER keeps what each part found, and a part that is there is not measured again: after a kill, or the end of
`--minutes`, the same command goes on. A part that fails or disagrees says so, and the others are measured all the same.
`--scale` makes everything smaller, to try the command on a CPU. What is smaller, of a CPU, or lacks a part stays in
FOLDER; the whole is written to `results/gpu-<device>.json`.
"""

import argparse
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import cases
from benchmarks.agreement import relative_error
from benchmarks.cases import CASES
from benchmarks.peers import FORWARD, GRADIENT
from benchmarks.peers.jax_programs import program
from benchmarks.report import machine, slug, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.files import make_folder, read_json, write_json
from data_gen.dataset.config import DataConfig
from data_gen.dataset.sample import SPLITS
from data_gen.solver.experimental.on_chip import simulate_on_chip
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.gradient_memory import STRATEGIES, Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from surrogate.config import TrainConfig
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import SolvedTask
from surrogate.runs.misfit_gradients import Case
from surrogate.runs.speedup import contest, equal_error_seconds, solver_settings
from surrogate.tasks.wavefield import Wavefield
from surrogate.training.config import TrainingConfig
from surrogate.training.optimizer import make_optimizer
from surrogate.training.state import TrainState
from surrogate.training.step import make_train_step

REPEATS = 5
AGREES = {FORWARD: 1e-4, GRADIENT: 1e-3}  # float32 through some hundred steps, in another order of sums
ERRORS = (0.05, 0.03, 0.02, 0.01)
MODELS, SHOTS = 2, 16
BATCH = 8  # of the training step


def seconds(run: Callable[[], Any]) -> dict[str, float]:
    """Median, least and largest seconds of a compiled run, the first call left out."""
    jax.block_until_ready(run())
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return {"median": float(np.median(times)), "min": min(times), "max": max(times)}


def scaled(case: cases.Case, scale: float) -> cases.Case:
    """A case of fewer steps, shots and models."""
    fewer = {name: max(1, round(scale * getattr(case, name))) for name in ("shots", "models")}
    return replace(case, steps=max(60, round(scale * case.steps)), **fewer)


def simulation_of(case: cases.Case, **more: Any) -> Simulation:
    """The simulation of a case, by XLA."""
    grid, axis = Grid((case.side, case.side), cases.SPACING), TimeAxis(case.steps, cases.TIME_STEP)
    settings = {"order": case.order, "widths": (case.width,) * 4, "backend": "xla", **more}
    return Simulation(grid, axis, cases.FASTEST, cases.PEAK_FREQUENCY, **settings)


def survey_of(case: cases.Case) -> Any:
    """The survey of a case."""
    sources, receivers = (points(case) * cases.SPACING for points in (cases.sources, cases.receivers))
    return make_survey(sources, receivers, cases.wavelet(case))


def run_of(case: cases.Case, quantity: str, strategy: str, device: Any = None) -> Callable[[], jax.Array]:
    """Compile gathers, or the gradient of half their energy, of all models of a case, for a device."""
    simulation, survey = simulation_of(case, memory=Memory(strategy)), survey_of(case)

    def gathers(models):
        return jax.vmap(lambda velocity: simulate(velocity, survey, simulation).gathers)(models)

    with jax.default_device(device):
        models = jax.device_put(cases.velocities(case), device)
        ready = jax.jit(program(gathers, quantity)).lower(models).compile()
    return lambda: ready(models) if quantity == FORWARD else ready(models)[1]


def solver(scale: float) -> list[dict[str, Any]]:
    """Seconds of gathers and gradients, and how far both are from those of the host's CPU."""
    rows, host = [], jax.devices("cpu")[0]
    for name, case in CASES.items():
        case = scaled(case, scale)
        exact = {quantity: np.asarray(run_of(case, quantity, "recompute", host)()) for quantity in (FORWARD, GRADIENT)}
        for quantity, strategy in ((FORWARD, "recompute"), *((GRADIENT, strategy) for strategy in STRATEGIES)):
            run = run_of(case, quantity, strategy)
            error = relative_error(np.asarray(run()), exact[quantity])
            updates = case.cells * case.steps * case.gathers
            rows.append(
                {"case": name, "quantity": quantity, "strategy": strategy, "cell_updates": updates, "error": error}
                | {"agrees": error <= AGREES[quantity], "seconds": seconds(run)}
            )
    return rows


def on_chip(scale: float) -> list[dict[str, Any]]:
    """Seconds of the kernel that keeps a grid on chip and of the solver, and how far both are apart."""
    rows = []
    for name in ("70x70", "64-models"):
        case = scaled(CASES[name], scale)
        simulation, survey, models = simulation_of(case), survey_of(case), jnp.asarray(cases.velocities(case))
        # Without its GPU the kernel is interpreted, which is slow and says nothing of its time.
        more = {} if jax.default_backend() == "gpu" else {"interpret": True}
        kernel = jax.jit(jax.vmap(partial(simulate_on_chip, survey=survey, simulation=simulation, **more)))
        plain = jax.jit(jax.vmap(lambda velocity, s=simulation, p=survey: simulate(velocity, p, s).gathers))
        error = relative_error(np.asarray(kernel(models)), np.asarray(plain(models)))
        row = {"case": name, "error": error, "agrees": error <= AGREES[FORWARD], "interpreted": bool(more)}
        rows.append(row | {"seconds": seconds(lambda k=kernel, m=models: k(m))} if not more else row)
        rows[-1]["plain_seconds"] = seconds(lambda p=plain, m=models: p(m))
    return rows


def reference(**changes: Any) -> TrainConfig:
    """The FNO of `experiment=reference`, untrained."""
    data = DataConfig(
        families={"gaussian_random_field": {"min_velocity": 1500, "max_velocity": 4500, "correlation_length": 80}},
        nz=64,
        nx=64,
        spacing=10.0,
        nt=521,
        dt=7.5e-4,
        peak_frequency=15.0,
        snapshot_times=[0.18, 0.21, 0.24, 0.27, 0.30, 0.33, 0.36, 0.39],
        source_depths=[20.0, 600.0],
        records=["snapshots"],
        receiver_depth=20.0,
        receiver_every=2,
        order=8,
        absorbing_width=20,
    )
    operator = FNOConfig(modes=[16, 16], mlp_ratio=2, padding=0.0, products=128)
    return TrainConfig(data=data, model=operator, training=TrainingConfig(batch_size=BATCH, **changes))


def training(scale: float) -> list[dict[str, Any]]:
    """Seconds of a training step on a batch that is on the device already, and its losses."""
    rows = []
    for precision in ("float32", "bfloat16"):
        config = reference(precision=precision, steps=1000, log_every=1, warmup_steps=0)
        model = config.create()
        make = jax.jit(jax.vmap(lambda k, m=model: m.task.make(m.task.spec.key(0, k), jnp.array(0))))
        batch = make(jnp.arange(max(2, round(scale * BATCH)), dtype=jnp.uint32))
        structure, state = TrainState.create(model, make_optimizer(model, config.training))
        step, losses = make_train_step(structure, config.training), []

        def run():
            nonlocal state
            state, metrics = step(state, batch)  # noqa: B023
            return metrics["loss"]

        losses.append(float(run()))
        timed = seconds(run)
        losses.append(float(run()))
        size = len(batch["velocity"])
        row = {"precision": precision, "batch": size, "seconds": timed, "losses": losses}
        rows.append(row | {"agrees": losses[-1] < losses[0]})  # it learns the batch that it sees again and again
    return rows


def speedup(scale: float) -> list[dict[str, Any]]:
    """Seconds of a prediction and of a gradient, and of our solver at each error; S is their ratio."""
    config = reference()
    model = config.create()
    task = model.task
    assert isinstance(task, Wavefield) and isinstance(task, SolvedTask)
    keys = [task.spec.key(SPLITS.index("test"), index) for index in range(MODELS)]
    shots = max(2, round(scale * SHOTS))
    sources = np.stack([np.full(shots, 20.0), 10.0 * np.linspace(2, 61, shots).round()], axis=1).astype(np.float32)
    found = [Case(np.asarray(jax.jit(task.spec.draw)(key).velocity), sources) for key in keys]
    settings, rows = solver_settings(task.spec), []
    for kind in ("predictions", "gradients"):
        measured_of = contest(kind, model, task, found, settings, REPEATS)
        least, most = (pick(setting["error"] for setting in measured_of["settings"]) for pick in (min, max))
        # Outside the errors of the settings there is nothing to compare with.
        within = [error for error in ERRORS if least <= error <= most]
        at = {error: equal_error_seconds(measured_of["settings"], error) for error in within}
        rows.append(
            {
                "kind": kind,
                "shots": shots,
                "seconds": measured_of["seconds"],
                "settings": measured_of["settings"],
                "encoding_seconds": measured_of.get("encoding_seconds"),  # of predictions
                "solver_seconds": {str(error): taken for error, taken in at.items()},
                "S": {str(error): taken / measured_of["seconds"] for error, taken in at.items()},
            }
        )
    return rows


PARTS: dict[str, Callable[[float], list[dict[str, Any]]]] = {
    "solver": solver,
    "on_chip": on_chip,
    "training": training,
    "speedup": speedup,
}


def measured(name: str, scale: float) -> dict[str, Any]:
    """What a part found, or why it failed."""
    began = time.monotonic()
    try:
        found: dict[str, Any] = {"rows": PARTS[name](scale)}
    except Exception as error:
        traceback.print_exc()
        found = {"failed": f"{type(error).__name__}: {error}"[:2000]}
    return {"part": name, "scale": scale, "took": time.monotonic() - began} | found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the parts are kept")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=10.0, help="after which no further part is begun")
    parser.add_argument("--scale", type=float, default=1.0, help="of steps, shots, models and batches")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    use_compilation_cache()
    make_folder(options.folder)
    used = slug(f"{jax.devices()[0].device_kind} jax {jax.__version__}")  # a part of another device is another one
    deadline, found, wrong = time.monotonic() + 60 * options.minutes, [], []
    for name in options.parts:
        file = options.folder / f"{name}-{options.scale:g}-{used}.json"
        if not file.exists():
            if time.monotonic() > deadline:
                print(f"{name}: not begun, the time is over. The same command goes on from here.")
                continue
            result = measured(name, options.scale)
            if "failed" in result or not all(row.get("agrees", True) for row in result["rows"]):
                write_json(options.folder / f"wrong-{name}.json", result)  # for a look; the next command tries again
                print(f"{name}: {result.get('failed', 'rows disagree')}", flush=True)
                wrong.append(name)
                continue
            write_json(file, result)
        found.append(read_json(file))
        print(f"{name}: {len(found[-1]['rows'])} rows in {found[-1]['took']:.0f} s", flush=True)
    real = options.scale == 1 and jax.default_backend() != "cpu" and len(found) == len(PARTS)
    print(write_rows(options.out if real else options.folder, "gpu", {"machine": machine()}, found))
    if wrong:
        raise SystemExit(f"{', '.join(wrong)} failed or disagrees: see wrong-*.json in {options.folder}.")


if __name__ == "__main__":
    main()
