"""Generating a data set against the bare solver at the same batch: `python -m benchmarks.generation [--quick]`.

`generated_per_s` counts samples drawn, simulated, encoded, checksummed and synced to disk by the local executor;
`bare_solver_per_s` those of the compiled solver alone, run again and again on one batch of models already there, and
`leap_frog_per_s` the same for the bare leap-frog on samples of the model, at its time step of `data.dt`. All are
medians over repeats taken in turn; `efficiency` is the first over the second, `speed_up` the second over the third.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.report import machine, write_rows
from benchmarks.worker import ROOT
from data_gen.commands.generate import register
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.dataset.config import DataConfig
from data_gen.dataset.executors.local import Local
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.shards import make_shard, shard_layout
from data_gen.solver.simulator import simulate

# Name to overrides of the configs of `python -m data_gen`, samples of a shard (for openfwi half a preset's), shards.
CASES = {
    "demo": (["data=demo"], 64, 16),
    "reference": (["data=reference"], 64, 8),
    "openfwi": (["data=openfwi"], 50, 4),
    "openfwi, float16": (["data=openfwi", "data.precision=float16"], 50, 4),
    "openfwi, every other sample": (["data=openfwi", "data.gather_every=2"], 50, 4),
}

# The bare leap-frog, of a `DataConfig` as of a `Simulation`.
LEAP_FROG: dict[str, Any] = {"time_correction": False, "medium": "samples", "internal_spacing": None, "kappa": 0.0}


def configured(overrides: list[str], folder: Path, samples: int, shards: int) -> DataConfig:
    """A data set with so many shards of so many samples in its training split."""
    config = OmegaConf.to_object(compose("generate", overrides=overrides).data)
    assert isinstance(config, DataConfig)
    return replace(config, path=str(folder), train=shards * samples, shard_size=samples)


class Generation:
    """Makes the training shards of a config, each time anew."""

    def __init__(self, config: DataConfig):
        self.config = config
        splits = {split: getattr(config, split) for split in SPLITS}
        self.shards = [shard for shard in shard_layout(splits, config.shard_size) if shard.split == "train"]

    def rate(self) -> float:
        """Samples a second."""
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            for _ in Local().run(partial(make_shard, replace(self.config, path=folder)), self.shards):
                pass
            return self.config.train / (time.perf_counter() - start)


class BareSolver:
    """The solver on one batch of a config's models, nothing drawn and nothing kept."""

    def __init__(self, config: DataConfig):
        spec = config.create()
        draw = jax.jit(spec.draw)  # operation by operation it would compile hundreds of programs for each model
        drawn = [draw(spec.key(0, index)) for index in range(config.batch_size)]
        self.batches = -(-config.train // config.batch_size)
        self.models, sources = jnp.stack([d.velocity for d in drawn]), jnp.stack([d.sources for d in drawn])
        receivers = "gathers" in spec.recording.kinds

        def run(velocity, sources):
            survey = spec.survey(sources, receivers=receivers)
            return simulate(velocity, survey, spec.simulation, density=spec.density(velocity))

        self.run = jax.jit(jax.vmap(run))
        self.sources, self.samples = sources, self.batches * config.batch_size

    def rate(self) -> float:
        """Samples a second."""
        start = time.perf_counter()
        for _ in range(self.batches):
            jax.block_until_ready(self.run(self.models, self.sources))
        return self.samples / (time.perf_counter() - start)


def measure(config: DataConfig, repeats: int) -> dict[str, Any]:
    """The rates and their ratios."""
    contenders = {
        "generated_per_s": Generation(config),
        "bare_solver_per_s": BareSolver(config),
        "leap_frog_per_s": BareSolver(replace(config, **LEAP_FROG)),
    }
    rates = {name: [] for name in contenders}
    for repeat in range(1 + repeats):
        for name, contender in contenders.items():
            rate = contender.rate()
            if repeat:  # the first compiles
                rates[name].append(rate)
    medians = {name: median(values) for name, values in rates.items()}
    generated, solver, leap_frog = medians.values()
    return medians | {"efficiency": generated / solver, "speed_up": solver / leap_frog}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does the harness work? Its times mean nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    use_compilation_cache()
    register()
    rows, before, repeats = [], machine(), 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for case, (overrides, samples, shards) in CASES.items():
            config = configured(overrides, Path(folder), samples, 2 if options.quick else shards)
            row = {"case": case, "batch": config.batch_size, "samples": config.train} | measure(config, repeats)
            rows.append(row)
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
    settings = {"machine": before, "threads": os.cpu_count(), "repeats": repeats}
    print(write_rows(options.out, "generation-quick" if options.quick else "generation", settings, rows))


if __name__ == "__main__":
    main()
