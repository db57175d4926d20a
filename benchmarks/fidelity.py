"""How near are a surrogate's gradients along an inversion? `python -m benchmarks.fidelity --folder FOLDER`.

Data and training are those of `make demo` of 29 November 2026, whatever has become of the demo since. FOLDER keeps the
data set, and the runs of RUNS: an FNO that is fed with the coarse field, the same trained with the Jacobian loss, the
same fed with the field of smaller cells, and one fed with velocity and source only. A run that is there is not trained
again: `--runs NAME=RUN` adds runs of others, of the same data.

Of MODELS models of the test split, all with the same SHOTS shots, an inversion through the solver by Adam starts
from the smoothed model. At its start, and after each of PLACES iterations, gradients of the misfit of wavefields and of
gathers through each operator, and through the coarse solver of each ratio, are compared with the solver's, away from
sources. The same inversion then runs through each of them alone.

Writes `results/fidelity-<device>.json` and docs/results/fidelity.md. FOLDER keeps what is measured of each operator:
after a kill the same command goes on.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fidelity_page import write_page
from benchmarks.inversion_metrics import error
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, read_json, write_json
from data_gen.common.smoothing import gaussian_smooth
from data_gen.dataset.config import DataConfig
from data_gen.dataset.generation import generate
from surrogate.config import TrainConfig
from surrogate.encodings.coarse_solver import coarse_simulation
from surrogate.encodings.schemas import CoarseConfig, SourceMapConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import ForwardModel, SurrogateForward, spread_sources
from surrogate.losses.loss import LossConfig
from surrogate.models.surrogate import Surrogate
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import ForwardTask
from surrogate.runs.fit import fit
from surrogate.runs.folder import read_run
from surrogate.runs.gradient_fidelity import gradient_fidelity
from surrogate.runs.load import best_validation, load_surrogate
from surrogate.runs.misfit_gradients import SMOOTHING, Case, physics
from surrogate.runs.provenance import weights_digest
from surrogate.training.batches import Examples
from surrogate.training.config import TrainingConfig

MODELS, SHOTS, DEPTH = 6, 5, 20.0  # [m]
PLACES = (20, 60)  # iterations of Adam
LEARNING_RATE = 10.0  # [m/s]
KINDS = ("wavefield", "gather")
SETUP = {"models": MODELS, "shots": SHOTS, "places": PLACES, "learning_rate": LEARNING_RATE}
SOURCE_MAP = "source_map"  # fed with velocity and source only
# Encoding and weight of the Jacobian loss.
RUNS = {
    "coarse": (CoarseConfig(), 0.0),
    "jacobian": (CoarseConfig(), 0.5),
    "fine": (CoarseConfig(ratio=1.5), 0.0),
    SOURCE_MAP: (SourceMapConfig(), 0.0),
}


def data_of(folder: Path) -> DataConfig:
    """The data of the demo."""
    spread = {"min_velocity": 1800, "max_velocity": 4500}
    return DataConfig(
        path=str(folder / "data"),
        seed=0,
        train=2000,
        validation=64,
        test=128,
        shard_size=64,
        batch_size=16,
        families={
            "gaussian_random_field": {"weight": 2, **spread, "correlation_length": 80, "roughness": 2},
            "faulted_layers": {"weight": 1, **spread},
            "inclusions": {"weight": 1, **spread},
        },
        nz=64,
        nx=64,
        spacing=10.0,
        nt=481,
        dt=7.5e-4,
        peak_frequency=20.0,
        snapshot_times=[0.15, 0.18, 0.21, 0.24, 0.27, 0.30, 0.33, 0.36],
        source_depths=[20.0, 600.0],
        receiver_depth=20.0,
        receiver_every=2,
        gather_every=5,
        order=8,
        absorbing_width=20,
    )


def run_of(folder: Path, name: str, data: DataConfig) -> TrainConfig:
    """The training of a run."""
    encoding, jacobian = RUNS[name]
    training = TrainingConfig(
        steps=700,
        batch_size=8,
        learning_rate=4e-3,
        warmup_steps=50,
        validate_every=100,
        checkpoint_every=100,
        loss=LossConfig(jacobian=jacobian),
    )
    model = FNOConfig(width=32, depth=4, modes=[18, 18], mlp_ratio=2, padding=0)
    return TrainConfig(run=str(folder / name), data=data, model=model, encoding=encoding, training=training)


def trained(folder: Path, names: list[str]) -> dict[str, str]:
    """Make the data set and the runs; the folder of each run."""
    data, folders = data_of(folder), {}
    generate(data)
    for name in names:
        config = run_of(folder, name, data)
        fit(config, lambda step, metrics, name=name: print(name, step, metrics, flush=True) if metrics else None)
        folders[name] = config.run
    return folders


def cases_of(task: ForwardTask, path: str) -> list[Case]:
    """The first models of the test split, each with the same shots."""
    read, sources = Examples(path, "test", task), spread_sources(task.spec.simulation.grid, SHOTS, DEPTH)
    return [Case(read[k * task.examples]["velocity"], sources.astype(np.float32)) for k in range(MODELS)]


def settings(kind: str, bounds: tuple[float, float], iterations: int) -> InversionConfig:
    """The settings of all inversions."""
    return InversionConfig(
        kind=kind,
        optimizer="adam",
        learning_rate=LEARNING_RATE,
        bounds=list(bounds),
        iterations=iterations,
        check_every=iterations,
    )


class Inversions:
    """Inversions of one kind of data: by the solver, whose models are kept along the way, and by another one alone."""

    def __init__(self, task: ForwardTask, cases: list[Case], kind: str):
        self.task, self.cases, self.kind = task, cases, kind
        spec = task.spec
        self.bounds = (spec.slowest, spec.mixture.max_velocity)
        self.solver = physics(task, spec.simulation, jnp.asarray(cases[0].sources), kind)
        solve = jax.jit(self.solver.__call__)
        self.observed = [solve(jnp.asarray(case.velocity)) for case in cases]
        self.paths = [self._path(number) for number in range(len(cases))]

    def fall(self, found: dict[str, np.ndarray] | np.ndarray, number: int) -> float:
        """The part of the start's error that is gone at the end."""
        end = found[f"after {PLACES[-1]}"] if isinstance(found, dict) else found
        truth = self.cases[number].velocity
        return 1 - error(end, truth) / error(self.paths[number]["start"], truth)

    def alone(self, low: ForwardModel) -> list[float]:
        """The fall of the error by inversions through another forward model, over that by the solver."""
        ratios = []
        for number, path in enumerate(self.paths):
            config = settings(self.kind, self.bounds, PLACES[-1])
            found = invert(low, self.observed[number], path["start"], config, solver=self.solver)
            ratios.append(self.fall(found.velocity, number) / self.fall(path, number))
        return ratios

    def _path(self, number: int) -> dict[str, np.ndarray]:
        truth, observed = self.cases[number].velocity, self.observed[number]
        start = np.clip(np.asarray(gaussian_smooth(jnp.asarray(truth), SMOOTHING)), *self.bounds)
        path = {"start": start}
        for place in PLACES:  # each from the start: Adam remembers all of its steps
            config = settings(self.kind, self.bounds, place)
            path[f"after {place}"] = invert(self.solver, observed, start, config).velocity
        return path


def measured(model: Surrogate, inversions: Inversions) -> dict[str, Any]:
    """What is measured of an operator with one kind of data."""
    task, kind = inversions.task, inversions.kind
    compared = gradient_fidelity(model, task, inversions.cases, kind, inversions.paths)
    sources = inversions.cases[0].sources
    return {"path": compared["path"], "alone": inversions.alone(SurrogateForward(model, sources, kind))}


def falls_of_coarse_solver(
    task: ForwardTask, cases: list[Case], ratio: float, inversions: dict[str, Inversions]
) -> dict[str, list[float]]:
    """The falls by inversions through the solver on larger cells, of each kind of data."""
    coarse = coarse_simulation(task.spec.simulation, task.spec.slowest, ratio)
    falls = {}
    for kind in KINDS:
        inverted = inversions.get(kind) or Inversions(task, cases, kind)
        falls[kind] = inverted.alone(physics(task, coarse, jnp.asarray(cases[0].sources), kind))
    return falls


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where data, runs and rows are kept")
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS), help="which of RUNS")
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=RUN", help="further runs, of the same data")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    make_folder(options.folder)
    before, folders = machine(), trained(options.folder, options.only)
    folders |= dict(pair.partition("=")[::2] for pair in options.runs)
    data, found, inversions = data_of(options.folder), [], {}
    for name, run in folders.items():
        config, model = read_run(run), load_surrogate(run)
        if repr(config.data.physics()) != repr(data.physics()):
            parser.error(f"{run} has learned from other data")
        task = model.task.for_evaluation()
        assert isinstance(task, ForwardTask)
        about = {
            "setup": SETUP,
            "name": name,
            "encoding": config.encoding.name,
            "ratio": model.coarse_ratio,
            "jacobian": config.training.loss.jacobian,
        }
        about |= {"steps": config.training.steps, "validation": best_validation(run), "weights": weights_digest(model)}
        file = options.folder / f"{name}-{digest_of(repr(about))}.json"
        if not file.exists():
            cases = cases_of(task, data.path)
            for kind in KINDS:
                if kind not in inversions:
                    inversions[kind] = Inversions(task, cases, kind)
            kinds = {kind: measured(model, inversions[kind]) for kind in KINDS}
            write_json(file, about | {"kinds": kinds})
        found.append(read_json(file))
        print(name, {kind: row["path"][f"after {PLACES[-1]}"]["surrogate"] for kind, row in found[-1]["kinds"].items()})
    falls = {}
    for ratio in dict.fromkeys(row["ratio"] for row in found):
        file = options.folder / f"coarse_solver-{digest_of(repr((SETUP, ratio)))}.json"
        if not file.exists():
            task = load_surrogate(next(iter(folders.values()))).task.for_evaluation()
            assert isinstance(task, ForwardTask)
            write_json(file, falls_of_coarse_solver(task, cases_of(task, data.path), ratio, inversions))
        falls[f"{ratio:g}"] = read_json(file)
    about = SETUP | {"coarse_solver": falls}
    print(write_rows(options.out, "fidelity", {"machine": before} | about, found))
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
