"""Invert from the answer of an operator: `python -m benchmarks.operator_start --run RUN --folder FOLDER --models N`.

RUN is a run of `task=inverse` for the survey of the set-up `openfwi_like` (`experiment=inverse_openfwi`). Models of
each OpenFWI-like family are drawn with a seed that no data set of ours has. Their data come from finer cells and
another order of the differences than both the operator's training and the inversions have. Of each model:

- `smooth`: the start of the set-up, the true model smoothed, which nobody has of the ground
- `after smooth`: L-BFGS in `STAGES`, from there
- `operator`: what the operator answers to the gathers, by `inversion.start=operator`
- `after operator`: the same L-BFGS, from there

Writes `results/operator-start-<device>.json` and docs/results/operator_start.md. FOLDER keeps what is measured of each
model: after a kill, or the end of `--minutes`, the same command goes on.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.inversion_data import gathers
from benchmarks.inversion_metrics import error, mean_error, similarity
from benchmarks.inversion_setups import OPENFWI_FAMILIES, Setup, drawn, openfwi_like
from benchmarks.inversion_stages import Stage
from benchmarks.operator_start_page import write_page
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, read_json, write_json
from data_gen.common.frame import Frame
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.wavelets import ricker
from surrogate.config import InvertConfig
from surrogate.inversion.config import InversionConfig, StageConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.inversion.observed.wavelet import choose_wavelet
from surrogate.runs.folder import read_run
from surrogate.runs.load import load_surrogate
from surrogate.runs.operator_start import operator_start
from surrogate.runs.provenance import weights_digest

SEED = 20_000
# By octaves from where an answer that is off by hundreds of meters per second skips no cycles.
STAGES = (Stage(3.0, 35.0, 30), Stage(6.0, 25.0, 30), Stage(12.0, 17.5, 30), Stage(25.0, 100 / 7, 40))
KAPPA = 1.436  # weights of the differences for few cells a wavelength, see configs/data/openfwi.yaml
VARIATION = 1e-4  # weight of the total variation


def settings_of(setup: Setup) -> InversionConfig:
    """The settings of both inversions."""
    return InversionConfig(
        optimizer="lbfgs",
        learning_rate=setup.learning_rate,
        preconditioner="illumination",
        bounds=list(setup.bounds),
        stages=[StageConfig(**asdict(stage)) for stage in STAGES],
        regularizers={"total_variation": {"weight": VARIATION}},
    )


def inverted(setup: Setup, observed: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The model after all stages."""
    survey = make_survey(setup.sources, setup.receivers, ricker(setup.time, setup.peak_frequency))
    forward = PhysicsForward(replace(setup.simulation, kappa=KAPPA), survey)
    return invert(forward, jnp.asarray(observed), start, settings_of(setup)).velocity


def answer(run: str, setup: Setup, observed: np.ndarray) -> np.ndarray:
    """What the operator of a run answers to gathers."""
    config = InvertConfig(run=run, inversion=settings_of(setup), setup=SetupConfig(amplitude=1.0))
    live = np.ones((len(observed), 1, observed.shape[2]), np.float32)
    record = Observed(observed, live, setup.sources[:, None], setup.receivers, setup.time.dt, 0.0, Frame())
    return operator_start(config, record, choose_wavelet(record, "ricker", setup.peak_frequency)).velocity


def row_of(setup: Setup, run: str, name: str, truth: np.ndarray) -> dict[str, Any]:
    """What is measured of one model."""
    observed = gathers(truth, setup.fine, setup.sources, setup.receivers, setup.peak_frequency)
    models, seconds = {"smooth": setup.start(truth), "operator": answer(run, setup, observed)}, {}
    for start in tuple(models):
        began = time.perf_counter()
        models[f"after {start}"] = inverted(setup, observed, models[start])
        seconds[f"after {start}"] = time.perf_counter() - began
    measures = {
        which: {
            "mae": mean_error(model, truth),
            "error": error(model, truth),
            "ssim": similarity(model, truth, setup.bounds),
        }
        for which, model in models.items()
    }
    return {"case": name, "family": name.rpartition("-")[0], "seconds": seconds} | measures


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operator_start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, help="folder of the run")
    parser.add_argument("--folder", type=Path, required=True, help="where rows are kept")
    parser.add_argument("--models", type=int, default=1, help="models of each family")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no further model is begun")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    make_folder(options.folder)
    setup = replace(openfwi_like(1)[0], stages=STAGES, seed=SEED)
    trained, weights = read_run(options.run), weights_digest(load_surrogate(options.run))
    if trained.data.seed == SEED:
        parser.error(f"the run has learned from models of the seed {SEED}, which are for tests")
    settings = {"setup": setup.described(), "inversion": asdict(settings_of(setup)), "weights": weights}
    training = {"samples": trained.data.train, "steps": trained.training.steps, "batch": trained.training.batch_size}
    identity = digest_of(repr(settings | {"kappa": KAPPA}))
    before, rows, deadline = machine(), [], time.monotonic() + 60 * options.minutes
    for name, model in drawn(setup, OPENFWI_FAMILIES, options.models)[1].items():
        file = options.folder / f"{name}-{identity}.json"
        if not file.exists():
            if time.monotonic() > deadline:
                continue
            write_json(file, row_of(setup, options.run, name, model()))
        rows.append(read_json(file))
        maes = {key: value["mae"] for key, value in rows[-1].items() if "mae" in value}
        print(f"{name}  MAE [m/s]  {'  '.join(f'{key} {mae:.0f}' for key, mae in maes.items())}", flush=True)
    print(write_rows(options.out, "operator-start", {"machine": before, "training": training} | settings, rows))
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
