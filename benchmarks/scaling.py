"""What would more data, a larger operator or longer training buy? `python -m benchmarks.scaling --folder FOLDER`.

Surrogates of wavefields are trained with the numbers of BASE, of which one at a time is changed: training models,
width of the operator (and so its parameters), steps; and the seed, which says how much of a difference is chance.
LARGER changes two. One KIND is fed with the fields of a coarse solver, the other sees the velocity and the source
alone. All predict the same test models, and errors are those against the data.

FOLDER keeps the data, the runs and a row of each: after a kill the same command goes on. Writes
`results/scaling-<device>.json` and docs/results/scaling.md.
"""

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from benchmarks.report import machine, write_rows
from benchmarks.scaling_page import write_page
from benchmarks.worker import ROOT
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.files import make_folder, read_json, write_json
from data_gen.dataset.config import DataConfig
from data_gen.dataset.generation import generate
from surrogate.config import TrainConfig
from surrogate.encodings.registry import encoding_schemas
from surrogate.metrics.errors import relative_l2
from surrogate.models.surrogate import count_parameters
from surrogate.operators.fno import FNOConfig
from surrogate.runs.fit import fit
from surrogate.runs.load import best_validation, load_surrogate
from surrogate.runs.predict import compiled
from surrogate.runs.provenance import weights_digest
from surrogate.tasks.registry import TASKS
from surrogate.training.batches import ordered_batches
from surrogate.training.config import TrainingConfig

KINDS = ("coarse", "source_map")
BASE = {"models": 16000, "width": 32, "steps": 2000, "seed": 0}
AXES = {"models": (250, 1000, 4000), "width": (8, 16, 64), "steps": (500, 1000, 4000, 8000), "seed": (1, 2)}
LARGER = {"width": 64, "steps": 4000}
TEST, BATCH = 96, 8
BOUNDS = {"min_velocity": 1800, "max_velocity": 4500}
FAMILIES = {
    "gaussian_random_field": {"weight": 2, **BOUNDS, "correlation_length": 80, "roughness": 2},
    **{name: dict(BOUNDS) for name in ("faulted_layers", "inclusions", "curve_fault_b", "salt", "style_b")},
}


def data_of(folder: Path, models: int) -> DataConfig:
    """The models and waves of configs/data/wavefield_small.yaml, recorded: the first ones of the largest set."""
    return DataConfig(
        path=str(folder / "data" / str(models)),
        seed=0,
        train=models,
        validation=32,
        test=TEST,
        shard_size=250,
        batch_size=10,
        families=FAMILIES,
        nz=64,
        nx=64,
        spacing=10.0,
        max_velocity=6000.0,
        nt=481,
        dt=0.00075,
        peak_frequency=20.0,
        records=["snapshots"],
        snapshot_times=[0.15, 0.18, 0.21, 0.24, 0.27, 0.30, 0.33, 0.36],
        source_depths=[20.0, 600.0],
        order=8,
        absorbing_width=20,
    )


def run_of(folder: Path, kind: str, changed: dict[str, int]) -> TrainConfig:
    """The training from BASE with some numbers changed."""
    models, width, steps, seed = (BASE | changed).values()
    training = TrainingConfig(
        seed=seed,
        steps=steps,
        batch_size=BATCH,
        learning_rate=4e-3,
        warmup_steps=50,
        validate_every=250,
        checkpoint_every=250,
    )
    config = TrainConfig(
        run=str(folder / f"{kind}-{models}-{width}-{steps}-{seed}"),
        data=data_of(folder, models),
        task=TASKS["wavefield"](),
        model=FNOConfig(width=width, depth=4, modes=[7, 7], mlp_ratio=2, padding=0, patch=4, products=width),
        encoding=encoding_schemas()[kind](),
        training=training,
    )
    config.tracking.mode = "disabled"
    return config


def row_of(config: TrainConfig, kind: str, changed: dict[str, int]) -> dict[str, Any]:
    """The row of a training, measured unless it is kept next to its folder."""
    model = load_surrogate(config.run)
    about = {"kind": kind, **BASE, **changed, "weights": weights_digest(model)}
    file = Path(config.run + ".json")
    if not file.exists() or read_json(file)["weights"] != about["weights"]:
        coarse, predict, found = model.task.methods(model.coarse_ratio)["coarse_solver"], compiled(model), []
        for batch in ordered_batches(config.data.path, "test", BATCH, model.task):
            answers = predict(batch["velocity"], batch["source"]), coarse(batch)
            found.append([relative_l2(answer, jnp.asarray(batch[model.task.target])) for answer in answers])
        error, baseline = (float(jnp.concatenate(each).mean()) for each in zip(*found, strict=True))
        about |= {"parameters": count_parameters(model), "validation": best_validation(config.run)}
        write_json(file, about | {"error": float(f"{error:.4g}"), "coarse_solver": float(f"{baseline:.4g}")})
    return read_json(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where data, runs and rows are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the documents")
    options = parser.parse_args()
    use_compilation_cache()
    make_folder(options.folder)
    before, rows = machine(), []
    changes: list[dict[str, int]] = [{}, *({axis: value} for axis, values in AXES.items() for value in values), LARGER]
    for kind in KINDS:
        for changed in changes:
            config = run_of(options.folder, kind, changed)
            generate(config.data)
            fit(config)
            rows.append(row_of(config, kind, changed))
            print({key: value for key, value in rows[-1].items() if key != "weights"}, flush=True)
    settings = {"machine": before, "base": BASE, "test": TEST, "batch": BATCH}
    print(write_rows(options.out, "scaling", settings, rows, None))
    print(write_page(options.out, options.docs))


if __name__ == "__main__":
    main()
