"""How far can a cheap model mislead? `python -m benchmarks.fidelities --folder FOLDER --runs trained=RUN NAME=RUN ...`.

RUNs are of `experiment=reference`, 64 x 64 cells: `trained` with the Jacobian loss, `plain` without, `early` after a
hundredth of the steps. Models are those of the test split of their data. The observed wavefields come from finer cells
and another order of the differences, with noise of 20 dB. L-BFGS inverts each of them through the solver; then, for as
many simulations and three tenths more, `forward=corrected` does with each of these cheap models:

- `coarse`: the solver on cells of twice the side, which the operators of these runs are fed with
- the operators; `shuffled`, the weights of `trained` in a random order; and `wild`, the same with a correction of the
  coarse solver as large as the fields themselves

and L-BFGS through each cheap model alone, which is what `corrected` corrects. Of each cheap model it is measured how
far its fields and its gradients are off, in the mean over the start, the model that L-BFGS ends with, and the one
between them.

The runs are made by `python -m data_gen data=reference data.train=4000` and, with T for `python train.py
experiment=reference data.train=4000 training.validate_every=100`:

    T run=runs/trained training.steps=600 training.loss.jacobian=0.5
    T run=runs/plain training.steps=600
    T run=runs/early training.steps=6 training.warmup_steps=1 training.validate_every=6 training.loss.jacobian=0.5

Writes `results/fidelities-<device>.json` and docs/results/fidelities.md. FOLDER keeps what is measured of each model:
after a kill the same command goes on.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.fidelities_page import write_page
from benchmarks.inversion_metrics import error
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, read_json, write_json
from data_gen.common.smoothing import gaussian_smooth
from data_gen.dataset.sample import SPLITS, DataSpec
from surrogate.inversion.config import CorrectedConfig, InversionConfig
from surrogate.inversion.corrected.stages import CorrectedStages
from surrogate.inversion.descent import Result, invert
from surrogate.inversion.forward import ForwardModel, PhysicsForward, SurrogateForward, coarser, spread_sources
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.models.surrogate import Surrogate
from surrogate.runs.folder import read_run
from surrogate.runs.load import best_validation, load_surrogate
from surrogate.runs.provenance import weights_digest

SHOTS, DEPTH = 4, 20.0  # [m]
SMOOTHING = 8.0  # cells, of the true model for a start
DECIBELS = 20.0
ITERATIONS = 20  # of L-BFGS
EXTRA = 1.3  # of its simulations
LIMIT = 10**6  # iterations, where simulations are limited
REACHED = 1.01  # of the misfit that L-BFGS ends with
COARSER = 2.0
BOUNDS = (1400.0, 4600.0)  # [m/s]

TRAINED = "trained"
MADE = ("shuffled", "wild")  # of its weights


def settings(low: str = "none", **changes: Any) -> InversionConfig:
    """The settings of all inversions."""
    corrected = CorrectedConfig(low=low, coarser=COARSER)
    return InversionConfig(
        kind="wavefield", optimizer="lbfgs", learning_rate=50.0, bounds=list(BOUNDS), corrected=corrected, **changes
    )


def shuffled(surrogate: Surrogate, seed: int = 0) -> Surrogate:
    """The surrogate with each array of its weights in a random order."""
    random = np.random.default_rng(seed)
    graph, weights, others = nnx.split(surrogate, nnx.Param, ...)
    mixed = jax.tree.map(lambda leaf: jnp.asarray(random.permuted(np.ravel(leaf)).reshape(leaf.shape)), weights)
    return nnx.clone(nnx.merge(graph, mixed, others))  # a merged model shares its variables with what was split


def wild(surrogate: Surrogate) -> Surrogate:
    """The surrogate with its correction of the baseline as large as the fields."""
    changed = nnx.clone(surrogate)
    fields, residual = (getattr(surrogate.statistics, name) for name in ("field_rms", "residual_rms"))
    changed.set_statistics(surrogate.statistics._replace(residual_rms=jnp.full_like(residual, jnp.max(fields))))
    return changed


def observe(spec: DataSpec, truth: np.ndarray, sources: np.ndarray, seed: int) -> np.ndarray:
    """Wavefields at the cells, from finer cells and another order, with noise."""
    fine = replace(spec.simulation, order=12, internal_spacing=spec.simulation.grid.spacing / 2)
    data = np.asarray(jax.jit(PhysicsForward(fine, spec.survey(sources), "wavefield").__call__)(jnp.asarray(truth)))
    noise = np.random.default_rng(seed).normal(size=data.shape)
    scale = np.linalg.norm(data) / np.linalg.norm(noise) * 10 ** (-DECIBELS / 20)
    return (data + scale * noise).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two arrays."""
    return float(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


class Fidelity:
    """How far a cheap model is off: the relative error of its fields, and the cosine of both misfits' gradients."""

    def __init__(self, solver: PhysicsForward, lows: dict[str, ForwardModel], observed: np.ndarray):
        self.observed = observed
        self.lows = {name: _fields_and_gradient(low) for name, low in lows.items()}
        self.solver = _fields_and_gradient(solver)

    def __call__(self, models: list[np.ndarray]) -> dict[str, dict[str, float]]:
        """The means over models, of each cheap model."""
        exact = [self._of(self.solver, model) for model in models]
        found = {}
        for name, low in self.lows.items():
            pairs = list(zip((self._of(low, model) for model in models), exact, strict=True))
            errors = [error(fields, true_fields) for (fields, _), (true_fields, _) in pairs]
            cosines = [cosine(gradient, true_gradient) for (_, gradient), (_, true_gradient) in pairs]
            found[name] = {"field_error": float(np.mean(errors)), "cosine": float(np.mean(cosines))}
        return found

    def _of(self, low: Callable[..., Any], model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient, fields = low(jnp.asarray(model, jnp.float32), self.observed)
        return np.asarray(fields, np.float64), np.asarray(gradient, np.float64)


def _fields_and_gradient(forward: ForwardModel) -> Callable[..., Any]:
    def misfit(velocity: jax.Array, observed: jax.Array) -> tuple[jax.Array, jax.Array]:
        fields = forward(velocity)
        return MISFITS["l2"](fields, observed, None), fields

    return jax.jit(jax.grad(misfit, has_aux=True))


def measured(result: Result, seconds: float) -> dict[str, Any]:
    """What is kept of an inversion: its end, and the way there."""
    names = ("true_misfit", "model_error", "used", "low_used")
    end = {"misfit": float(result.true_misfit[-1]), "error": float(result.model_error[-1])}
    return end | {"seconds": seconds, "history": {name: getattr(result, name).tolist() for name in names}}


def row_of(spec: DataSpec, operators: dict[str, Surrogate], index: int) -> dict[str, Any]:
    """What is measured of one model."""
    grid = spec.simulation.grid
    truth = np.asarray(jax.jit(spec.draw)(spec.key(SPLITS.index("test"), index)).velocity, np.float32)
    start = np.clip(np.asarray(gaussian_smooth(jnp.asarray(truth), SMOOTHING)), BOUNDS[0], BOUNDS[1])
    sources = spread_sources(grid, SHOTS, DEPTH)
    observed = observe(spec, truth, sources, index)
    solver = PhysicsForward(spec.simulation, spec.survey(sources), "wavefield")
    lows: dict[str, ForwardModel] = {"coarse": coarser(solver, COARSER)}
    lows |= {name: SurrogateForward(operator, sources, "wavefield") for name, operator in operators.items()}

    def timed(forward: ForwardModel, config: InversionConfig, **more: Any) -> tuple[Result, dict[str, Any]]:
        began = time.perf_counter()
        result = invert(forward, observed, start, config, truth=truth, **more)
        return result, measured(result, time.perf_counter() - began)

    plain, row = timed(solver, settings(iterations=ITERATIONS))
    budget = {"iterations": LIMIT, "simulations": int(EXTRA * plain.used[-1])}
    corrected, alone = {}, {}
    for name, low in lows.items():
        surrogate = low if name in operators else None
        config = settings("surrogate" if surrogate else "coarse", **budget)
        corrected[name] = timed(solver, config, make=CorrectedStages(surrogate))[1]
        alone[name] = timed(low, settings(iterations=ITERATIONS, check_every=LIMIT), solver=solver)[1]
        print(f"{index}  {name}  {corrected[name]['error']:.4f}  alone {alone[name]['error']:.4f}", flush=True)
    off = Fidelity(solver, lows, observed)([start, (start + plain.velocity) / 2, plain.velocity])
    return {
        "index": index,
        "start": error(start, truth),
        "plain": row,
        "corrected": corrected,
        "alone": alone,
        "off": off,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelities",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, help="where rows are kept")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=RUN", help="`trained` among them")
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no further model is begun")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    make_folder(options.folder)
    runs = dict(pair.partition("=")[::2] for pair in options.runs)
    if TRAINED not in runs or not all(runs.values()):
        parser.error(f"--runs takes NAME=RUN, `{TRAINED}` among the names, but got {' '.join(options.runs)}")
    if reserved := {"coarse", *MADE} & runs.keys():
        parser.error(f"{', '.join(sorted(reserved))} is made by the benchmark itself: give the run another name")
    configs = {name: read_run(run) for name, run in runs.items()}
    if len({repr(config.data.physics()) for config in configs.values()}) > 1:
        parser.error("the runs have learned from data of different simulations")
    operators = {name: load_surrogate(run) for name, run in runs.items()}
    operators["shuffled"] = shuffled(operators[TRAINED])
    operators["wild"] = wild(operators["shuffled"])
    training = {
        name: {
            "samples": config.data.train,
            "steps": config.training.steps,
            "batch": config.training.batch_size,
            "jacobian": config.training.loss.jacobian,
            "validation": best_validation(runs[name]),
            "weights": weights_digest(operators[name]),
        }
        for name, config in configs.items()
    }
    spec = configs[TRAINED].data.create()
    about = {"grid": asdict(spec.simulation.grid), "inversion": asdict(settings(iterations=ITERATIONS))}
    about |= {
        "made": MADE,
        "shots": SHOTS,
        "smoothing": SMOOTHING,
        "decibels": DECIBELS,
        "extra": EXTRA,
        "reached": REACHED,
    }
    identity = digest_of(repr((training, about)))
    before, rows, deadline = machine(), [], time.monotonic() + 60 * options.minutes
    for index in range(options.models):
        file = options.folder / f"{index}-{identity}.json"
        if not file.exists():
            if time.monotonic() > deadline:
                continue
            write_json(file, row_of(spec, operators, index))
        rows.append(read_json(file))
    if len(rows) < 2:
        parser.error("the intervals of the page need two models at least: give --models or --minutes more")
    print(write_rows(options.out, "fidelities", {"machine": before, "training": training} | about, rows))
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
