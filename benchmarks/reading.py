"""How fast training is fed against how fast it eats: `python -m benchmarks.reading [--quick] [--out FOLDER]`.

Three rates in samples a second, measured in turn, the median over repeats: `read_per_s`, batches from disk that nobody
uses; `consumed_per_s`, training steps on one batch that stays on the device; `fed_per_s`, training steps fed from disk.
`ratio` is read / consumed; `fed` is fed / consumed, which falls short of 1 where reading takes the cores that training
needs. The data set is the demo's, small enough that the system keeps the files in memory; the operators are the demo's,
the last of them, which sees no simulated field, being the fastest to train. `online` is the stream from the solver.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax
from hydra import compose, initialize_config_dir

from benchmarks.report import machine, slug, write_rows
from benchmarks.worker import ROOT
from data_gen.common.hydra_app import typed
from data_gen.dataset import generation as dataset
from surrogate.config import TrainConfig, register
from surrogate.models.surrogate import training_statistics
from surrogate.training.batches import Batches, ordered_batches, training_batches
from surrogate.training.optimizer import make_optimizer
from surrogate.training.state import TrainState
from surrogate.training.step import make_train_step

CASES = {
    "1 shot, float32": [],
    "5 shots, float16": ["data.sources=5", "data.precision=float16"],
}
SIZES = ["data.train=128", "data.validation=1", "data.test=1"]
AHEAD = 16  # more batches than are read ahead
ENCODINGS, WORKERS = ("coarse", "source_map"), (0, 2)


def configured(folder: Path, case: str, encoding: str) -> TrainConfig:
    """The demo's training on the data of a case."""
    place = folder / slug(case)
    lines = ["experiment=demo", f"encoding={encoding}", f"data.path={place}", f"run={place}-run", *SIZES, *CASES[case]]
    return typed(compose("train", overrides=lines), TrainConfig)


class Training:
    """The training step of a config, on batches from wherever."""

    def __init__(self, config: TrainConfig):
        model, self.batch_size = config.create(), config.training.batch_size
        self.task = model.task
        once = ordered_batches(config.data.path, "validation", 1, model.task)
        model.set_statistics(training_statistics(model, once))
        structure, self.state = TrainState.create(model, make_optimizer(model, config.training))
        self.step = make_train_step(structure)

    def rate(self, batch: Callable[[], Any], steps: int) -> float:
        """Samples a second."""
        start = time.perf_counter()
        for _ in range(steps):
            self.state, _ = self.step(self.state, jax.device_put(batch()))
        jax.block_until_ready(self.state)
        return steps * self.batch_size / (time.perf_counter() - start)


def reading_rate(batches: Batches, batch_size: int, count: int) -> float:
    """Samples a second, the batches that were ready beforehand not among them."""
    for _ in range(AHEAD):
        jax.block_until_ready(next(batches))
    start = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready(next(batches))
    return count * batch_size / (time.perf_counter() - start)


def measure(case: str, config: TrainConfig, source: str, workers: int, repeats: int, steps: int) -> dict[str, Any]:
    """One row: the three rates and their ratios."""
    config.data.source = source
    size, training = config.training.batch_size, Training(config)
    with contextlib.closing(training_batches(config.data, size, 0, training.task, workers=workers)) as batches:
        held = jax.device_put(next(batches))
        for warm in (lambda: held, lambda: next(batches)):
            training.rate(warm, 2)
        rates: dict[str, list[float]] = {"read_per_s": [], "consumed_per_s": [], "fed_per_s": []}
        for _ in range(repeats):
            rates["read_per_s"].append(reading_rate(batches, size, 8 * steps if source == "disk" else steps))
            rates["consumed_per_s"].append(training.rate(lambda: held, steps))
            rates["fed_per_s"].append(training.rate(lambda: next(batches), steps))
    medians = {name: median(values) for name, values in rates.items()}
    consumed = medians["consumed_per_s"]
    ratios = {"ratio": medians["read_per_s"] / consumed, "fed": medians["fed_per_s"] / consumed}
    return {"case": case, "source": source, "encoding": config.encoding.name, "workers": workers} | medians | ratios


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="training steps of each measurement")
    parser.add_argument("--quick", action="store_true", help="does the harness work? Its times mean nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    encodings = ENCODINGS
    if options.quick:
        options.repeats, options.steps, encodings = 1, 2, ENCODINGS[1:]
    register()
    rows, before = [], machine()
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for case in CASES:
            dataset.generate(configured(Path(folder), case, ENCODINGS[0]).data)
            for encoding in encodings:
                for source, workers in [*(("disk", workers) for workers in WORKERS), ("online", 0)]:
                    config = configured(Path(folder), case, encoding)
                    row = measure(case, config, source, workers, options.repeats, options.steps)
                    rows.append(row)
                    print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
    settings = {"machine": before, "threads": os.cpu_count(), "repeats": options.repeats, "steps": options.steps}
    print(write_rows(options.out, "reading-quick" if options.quick else "reading", settings, rows))


if __name__ == "__main__":
    main()
