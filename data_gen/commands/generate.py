"""Generate a data set, or what is missing of one: `wave generate data=demo data.path=data/mine data.train=2000`."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import MISSING, DictConfig

from data_gen.commands import manage
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import clock, print_next, progress_bar, stages
from data_gen.common.errors import InputError
from data_gen.common.hydra_app import command, configs_folder, store, typed
from data_gen.common.stored_config import keys_set
from data_gen.dataset.config import DataConfig
from data_gen.dataset.executors import Executor
from data_gen.dataset.executors.local import Local, LocalConfig
from data_gen.dataset.executors.ray import RayConfig
from data_gen.dataset.executors.slurm import SlurmConfig
from data_gen.dataset.forecast import forecast_generation
from data_gen.dataset.generation import generate
from data_gen.dataset.size import expected_size
from data_gen.dataset.truth import truth_in_words


@dataclass
class GenerateConfig:
    """Configure `wave generate` and `python -m data_gen`.

    Attributes:
        data: Data set to generate.
        executor: Where the shards are made: local (this process), ray or slurm, each with settings of its own.
    """

    data: DataConfig = field(default_factory=DataConfig)
    executor: Any = MISSING


def register() -> None:
    """Register the schemas of the command with Hydra."""
    store("generate_schema", GenerateConfig)
    for name, schema in (("local", LocalConfig), ("ray", RayConfig), ("slurm", SlurmConfig)):
        store(f"{name}_schema", schema, group="executor")


register()


def settled(composed: DictConfig) -> tuple[DataConfig, Executor]:
    """Check a config, and choose the numerical settings that an accuracy asks for.

    Args:
        composed: Config that Hydra composed, of the schema `GenerateConfig`.

    Returns:
        The config of the data set, and the executor.

    Raises:
        InputError: If the command line sets what an accuracy chooses.
    """
    settings = typed(composed, GenerateConfig)
    config, workers = settings.data, settings.executor.create()
    if config.accuracy is not None and (
        given := sorted({"order", "kappa", "internal_spacing"} & set(keys_set("data")))
    ):
        raise InputError(
            f"data.accuracy={config.accuracy:g} chooses order, kappa and internal_spacing, but data.{given[0]} is set, "
            "too. Leave one of the two out."
        )
    if config.accuracy is not None:
        config = config.settled()
        cells = config.internal_spacing or config.spacing
        print(f"data.accuracy={settings.data.accuracy:g}: order {config.order} on cells of {cells:g} m")
    return config, workers


def dry_run(composed: DictConfig) -> None:
    """Say what a generation will make and how long it takes.

    Args:
        composed: Config that Hydra composed, of the schema `GenerateConfig`.
    """
    use_compilation_cache()
    config, workers = settled(composed)
    print(expected_size(config))
    with stages("making two batches in a temporary folder"):
        forecast = forecast_generation(config)
    if not forecast.missing:
        print(f"{config.path} has all {forecast.samples} samples: nothing is left to do.")
    else:
        print(f"{forecast.missing} of {forecast.samples} samples, in {forecast.shards} shards, are still to be made.")
        place = "in this process" if isinstance(workers, Local) else "in one process like this one"
        truth = f", and the comparison of {config.truth_samples} samples with the wave equation"
        print(
            f"A batch of {forecast.batch_size} takes {forecast.of_batch:.3g} s and compiling "
            f"{forecast.compiling:.3g} s: about {clock(forecast.seconds)} {place}{truth * bool(config.truth_samples)}."
        )


@command("generate", "data.path", dry_run=dry_run)
def main(composed: DictConfig) -> None:
    """Generate what is missing of a data set, with a progress bar.

    Args:
        composed: Config that Hydra composed, of the schema `GenerateConfig`.
    """
    use_compilation_cache()
    config, workers = settled(composed)
    total = config.train + config.validation + config.test
    print(expected_size(config))
    done = made = 0
    waiting = "compiling" if isinstance(workers, Local) else "waiting for the first shard"
    with progress_bar(f"generate {config.path}", total, unit="samples", status=waiting) as update:

        def count(samples: int, fresh: bool) -> None:
            nonlocal done, made
            done += samples
            made += samples * fresh
            update(done, "" if made else waiting)

        def compare() -> None:
            update(done, "comparing with the wave equation")

        manifest = generate(config, workers, count, compare)
        update(done, f"{done - made} of them made before" if made < done else "")
    print(f"{config.path}: {done} samples, fingerprint {manifest['fingerprint']}")
    print(truth_in_words(manifest))
    print_next(training_command(HydraConfig.get().runtime.choices["data"], config.path))


def training_command(preset: str, path: str) -> str:
    """Write the command that trains on the data set just made.

    Args:
        preset: Name of the preset of the data, which an experiment may be made for.
        path: Folder of the data set.

    Returns:
        The command, with the first experiment that is made for the preset.
    """
    fitting = [
        f"experiment={file.stem}"
        for file in sorted((configs_folder() / "experiment").glob("*.yaml"))
        if file.stem == preset or f"override /data: {preset}\n" in file.read_text(encoding="utf-8")
    ]
    return shlex.join(["wave", "train", *fitting[:1], f"data.path={path}", f"run=runs/{Path(path).name}"])


def run() -> None:
    """Run the command that the first argument names, or generate."""
    if manage.is_command(sys.argv[1:]):
        manage.main(sys.argv[1:])
    else:
        main()
