"""How far does a surrogate reach beyond its training models? `python -m benchmarks.families --folder FOLDER`.

A surrogate of wavefields and one of gathers is trained on each of OpenFWI's ten families alone, and on all ten, and
each predicts the test models of every family. OUTSIDE are families that none has learned from. Every run has as many
models, steps and weights; the coarse solver, which all of them correct, is in every table.

Errors are those against the data, whose own error is a tenth of a percent. The distance of a test model from the models
of a training (surrogate/models/training_distance.py) is kept next to its error: what the warning of `predict` is worth
is read off these.

FOLDER keeps the data, the runs and a row of each: after a kill the same command goes on, and two at once, with
`--only wavefield` and `--only gather`, take half of the time. Writes `results/families-<device>.json` and
docs/results/families.md.
"""

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from benchmarks.families_page import write_page
from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.digest import digest_of
from data_gen.common.files import make_folder, read_json, write_json
from data_gen.dataset.config import DataConfig
from data_gen.dataset.generation import generate
from surrogate.config import TrainConfig
from surrogate.encodings.registry import encoding_schemas
from surrogate.metrics.errors import relative_l2
from surrogate.models.training_distance import FAR, FLOOR, INSIDE, LAGS, LEAST, NEIGHBORS, QUANTILES
from surrogate.operators.fno import FNOConfig
from surrogate.runs.fit import fit
from surrogate.runs.load import best_validation, load_surrogate
from surrogate.runs.predict import compiled
from surrogate.runs.provenance import weights_digest
from surrogate.runs.training_models import write_training_models
from surrogate.tasks.registry import TASKS
from surrogate.training.batches import ordered_batches
from surrogate.training.config import TrainingConfig

TEN = ("flat_vel_a", "flat_vel_b", "curve_vel_a", "curve_vel_b", "flat_fault_a", "flat_fault_b", "curve_fault_a")
TEN += ("curve_fault_b", "style_a", "style_b")
OUTSIDE = ("salt", "gaussian_random_field", "inclusions")
ALL = "all_ten"
KINDS = ("wavefield", "gather")
TRAIN, TEST, SHOTS, STEPS, BATCH = 400, 24, 2, 600, 8
MODES = {"wavefield": [7, 7], "gather": [15, 8]}
SETUP = {"train": TRAIN, "test": TEST, "shots": SHOTS, "steps": STEPS, "batch": BATCH}


def data_of(folder: Path, name: str) -> DataConfig:
    """The data of a family, or of all ten: OpenFWI's size, two shots a model, snapshots and gathers of both."""
    families: dict[str, Any] = {family: {} for family in (TEN if name == ALL else (name,))}
    if name in OUTSIDE:
        families[name] = {"min_velocity": 1500, "max_velocity": 4500}
    return DataConfig(
        path=str(folder / "data" / name),
        seed=0,
        train=0 if name in OUTSIDE else TRAIN,
        validation=16,
        test=TEST,
        shard_size=50,
        batch_size=10,
        families=families,
        nz=70,
        nx=70,
        spacing=10.0,
        nt=801,
        dt=1e-3,
        sources=SHOTS,
        placement="line",
        source_depths=[10.0, 10.0],
        peak_frequency=15.0,
        receiver_depth=10.0,
        receiver_every=1,
        records=["snapshots", "gathers"],
        snapshot_times=[0.16, 0.2, 0.24, 0.28, 0.32, 0.36, 0.4, 0.44],
        gather_every=4,
        order=8,
        internal_spacing=100 / 7,
        kappa=1.436,
        absorbing_width=20,
    )


def run_of(folder: Path, kind: str, name: str) -> TrainConfig:
    """The training on a family."""
    training = TrainingConfig(
        steps=STEPS, batch_size=BATCH, learning_rate=4e-3, warmup_steps=50, validate_every=200, checkpoint_every=200
    )
    model = FNOConfig(width=32, depth=3, modes=MODES[kind], mlp_ratio=2, padding=0, patch=4, products=32)
    config = TrainConfig(
        run=str(folder / kind / name),
        data=data_of(folder, name),
        task=TASKS[kind](),
        model=model,
        encoding=encoding_schemas()["coarse"](),
        training=training,
    )
    config.tracking.mode = "disabled"
    return config


def measured(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """Errors of a run on the test models of every family, means of each model's shots, and the models' distances."""
    model, found = load_surrogate(config.run), {}
    known = model.training_models
    assert known is not None
    predict = compiled(model)
    for family in (*TEN, *OUTSIDE):
        data = data_of(folder, family)
        task = config.task.create(data.create())
        coarse = task.methods(model.coarse_ratio)["coarse_solver"]
        errors, baselines, corrections, distances = [], [], [], []
        for batch in ordered_batches(data.path, "test", SHOTS, task):  # the shots of a model
            target = jnp.asarray(batch[task.target])
            predicted, corrected = predict(batch["velocity"], batch["source"]), coarse(batch)
            errors.append(float(relative_l2(predicted, target).mean()))
            baselines.append(float(relative_l2(corrected, target).mean()))
            corrections.append(float(relative_l2(corrected, predicted).mean()))
            distances.append(known.distance(batch["velocity"][0]))
        each = {"errors": errors, "coarse_solver": baselines, "corrections": corrections, "distances": distances}
        found[family] = {key: [float(f"{value:.4g}") for value in values] for key, values in each.items()}
    return found


def row_of(folder: Path, kind: str, name: str) -> dict[str, Any]:
    """The row of a training, measured unless it is kept."""
    config = run_of(folder, kind, name)
    # A run of an earlier version has not described its training models.
    write_training_models(Path(config.run), config.data, config.task.create(config.data.create()))
    about = SETUP | {"version": 2, "kind": kind, "name": name, "weights": weights_digest(load_surrogate(config.run))}
    about |= {"features": [*QUANTILES, *LAGS, LEAST, FLOOR, NEIGHBORS, INSIDE]}
    file = folder / f"{kind}-{name}-{digest_of(repr(about))}.json"
    if not file.exists():
        write_json(file, about | {"validation": best_validation(config.run), "families": measured(folder, config)})
    return read_json(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.families", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where data, runs and rows are kept")
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS), help="train and measure these alone")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    make_folder(options.folder)
    before, rows = machine(), []
    for family in (*TEN, ALL, *OUTSIDE):
        generate(data_of(options.folder, family))
    for kind in options.only:
        for name in (*TEN, ALL):
            fit(run_of(options.folder, kind, name))
            rows.append(row_of(options.folder, kind, name))
            print(kind, name, rows[-1]["validation"], flush=True)
    if set(options.only) == set(KINDS):
        print(write_rows(options.out, "families", {"machine": before, "setup": SETUP, "far": FAR}, rows, None))
        print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
