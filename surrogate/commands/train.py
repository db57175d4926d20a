"""Train a surrogate: `wave train encoding=coarse run=runs/mine training.steps=2000`, or `python train.py ...`."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import clock, print_next, progress_bar, stages
from data_gen.common.errors import NumericalError
from data_gen.common.hydra_app import command, typed
from data_gen.common.stored_config import adopt, keys_set
from data_gen.dataset.config import SOLVER, DataConfig
from data_gen.dataset.manifest import MANIFEST, config_of, read_manifest
from surrogate.config import TrainConfig, register
from surrogate.devices import is_main_process
from surrogate.runs.fit import fit, interrupted
from surrogate.runs.folder import CONFIG, read_run
from surrogate.runs.forecast import forecast_training
from surrogate.runs.load import best_step, best_validation
from surrogate.runs.provenance import find_dataset
from surrogate.training.host_memory import keep_freed_memory
from surrogate.training.optimizer import describe_schedule
from surrogate.training.tracking import offline_record

register()


def dry_run(composed: DictConfig) -> None:
    """Say what a training will make and how long it takes.

    Args:
        composed: Config that Hydra composed, of the schema `TrainConfig`.
    """
    use_compilation_cache()
    keep_freed_memory()
    config = typed(composed, TrainConfig)
    config.data = stored_data(config.data, config.run)
    config.parallel.initialize()
    training, online = config.training, config.data.source == "online"
    samples = "new models in every step" if online else f"{config.data.train} samples in {config.data.path}"
    with stages("making the first steps in a temporary folder"):
        forecast = forecast_training(config)
    further = forecast.earlier is not None and forecast.earlier < training.steps
    print(
        f"{config.run}: {forecast.begun} of {training.steps} steps are there. {config.model.name}, "
        f"{forecast.parameters:,} parameters; {samples}. "
        f"{describe_schedule(training, forecast.begun, forecast.earlier if further else None)}"
    )
    print(
        f"A step of {training.batch_size} examples takes {forecast.of_step:.3g} s, a validation "
        f"{forecast.of_validation:.3g} s and a checkpoint {forecast.of_checkpoint:.3g} s: about "
        f"{clock(forecast.seconds)}, at a peak of {forecast.memory / 1e6:,.0f} MB"
    )


@command("train", "run", "data.path", dry_run=dry_run)
def main(composed: DictConfig) -> float:
    """Train a surrogate, with a progress bar.

    Args:
        composed: Config that Hydra composed, of the schema `TrainConfig`.

    Returns:
        The best validation error, which a sweep minimizes; infinite if the training diverged.

    Raises:
        NumericalError: The training diverged, and is no part of a sweep.
    """
    use_compilation_cache()
    keep_freed_memory()
    config = typed(composed, TrainConfig)
    config.data = stored_data(config.data, config.run)
    config.parallel.initialize()
    try:
        reached = _fit(config)
    except NumericalError as error:
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            raise
        # One bad guess of a sweep counts as the worst there is, and the other runs of the sweep continue.
        print(f"{config.run}: {error}")
        return float("inf")
    if reached < (steps := config.training.steps):
        # A whole sweep ends, too: the request to stop was for this process.
        print(interrupted(reached, steps) if is_main_process() else "")
        sys.exit(0)
    if is_main_process() and HydraConfig.get().mode != RunMode.MULTIRUN:
        if config.tracking.mode == "offline" and (record := offline_record(config.run)) is not None:
            print(f"W&B: nothing was sent; `wandb sync {shlex.quote(str(record))}` sends the record of this run.")
        print_next(f"wave evaluate run={config.run}")
    return best_validation(config.run)


def stored_data(given: DataConfig, run: str) -> DataConfig:
    """Read the config of the data set that is trained on from its manifest.

    Args:
        given: Composed config: a preset, and what the command line sets of it.
        run: Folder of the run, which may remember where its data set is.

    Returns:
        The config of the data set at `given.path`, or where the run remembers it if there is none.

    Raises:
        DatasetError: There is no data set.
        InputError: The command line sets another value than the data set has; the message has both.
    """
    path = Path(given.path)
    if not (path / MANIFEST).is_file():
        path = Path(find_dataset(run, given.path))
    stored = config_of(read_manifest(path), path)
    if stored.recorded is not None and (Path(run) / CONFIG).is_file():
        # Records of files depend on no solver: the run keeps the one with which it began.
        kept = read_run(run).data
        stored = replace(stored, **{name: getattr(kept, name) for name in SOLVER})
    if any(key.partition(".")[0] == "families" for key in keys_set("data")):
        # Without those of weight 0, and with the hashes of files.
        given, stored = (replace(data, families=data.identity()["families"]) for data in (given, stored))
    given = replace(given, path=str(path))
    own = ["path", "source"] + ["train"] * (given.source == "online")
    return adopt(given, stored, "data", f"the data set at {path}", own)


def status(values: Mapping[str, float]) -> str:
    """Say where a training stands, from the latest of each value that `fit` reports.

    Args:
        values: Latest loss, validation, best validation and peak memory, as far as they are known.

    Returns:
        Text for the progress bar.
    """
    parts = [f"loss {values['loss']:.4f}"] if "loss" in values else []
    if "validation" in values:
        parts.append(f"validation {values['validation']:.4f}")
    if "best" in values:
        parts.append(f"best {values['best']:.4f}")
    if "peak_memory" not in values:
        parts.append("compiling")
    elif "loss" not in values:
        parts.append(f"{values['peak_memory'] / 1e6:,.0f} MB of memory")
    return ", ".join(parts)


def _fit(config: TrainConfig) -> int:
    latest: dict[str, float] = {}
    begin = "checking and reading the data set"
    with progress_bar(f"train {config.run}", config.training.steps, status=begin, shown=is_main_process()) as update:

        def show(step: int, values: dict[str, float]) -> None:
            latest.update(values)
            update(step, status(latest))

        reached = fit(config, show, print)
        step = best_step(config.run)
        known = f"best validation {best_validation(config.run):.4f} at step {step}"
        update(reached, "no validation so far" if step is None else known)
        return reached
