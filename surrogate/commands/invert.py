"""Invert data for a velocity model: `wave invert observed=shots.sgy`, `wave invert inversion=gathers out=runs/fwi`."""

from math import isfinite, nan
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import clock, print_next, print_tables, progress_bar, stages
from data_gen.common.errors import InputError
from data_gen.common.files import differences
from data_gen.common.hydra_app import command, typed
from data_gen.common.stored_config import adopt, is_chosen, keys_set
from data_gen.dataset.config import DataConfig
from data_gen.dataset.manifest import MANIFEST
from surrogate.config import InvertConfig, register
from surrogate.devices import is_main_process
from surrogate.report.page import write_report
from surrogate.runs.folder import read_run
from surrogate.runs.forecast import forecast_inversion
from surrogate.runs.invert import run_inversion

register()

# They choose another true model, in the same simulation.
OF_THE_MODEL = ("seed", "test", "water_depth")


def dry_run(composed: DictConfig) -> None:
    """Say what an inversion will do and how long it takes.

    Args:
        composed: Config that Hydra composed, of the schema `InvertConfig`.
    """
    use_compilation_cache()
    config = checked(composed)
    with stages(f"making the first iterations of {config.inversion.n_stages} stage(s) in a temporary folder"):
        forecast = forecast_inversion(config)
    if forecast.finished:
        print(f"{config.out} holds the result of this inversion: nothing is left to do.")
        return
    for number, stage in enumerate(forecast.stages, 1):
        known = isfinite(stage.of_iteration)
        rate = f" of {stage.of_iteration:.3g} s and {stage.simulations:,.0f} simulations" if known else ", not timed"
        print(f"Stage {number}: up to {stage.iterations} iterations{rate}")
    if forecast.begun:
        print(f"{config.out} holds a part of it, from which it goes on.")
    print(
        f"{config.out}: about {clock(forecast.seconds)} if all are made, with its data and its report, at a peak of "
        f"{forecast.memory / 1e6:,.0f} MB"
    )


@command("invert", "out", "run", "observed", "real.path", dry_run=dry_run)
def main(composed: DictConfig) -> None:
    """Invert, with a progress bar, write the report, and print the table.

    Args:
        composed: Config that Hydra composed, of the schema `InvertConfig`.
    """
    use_compilation_cache()
    config = checked(composed)
    shown = is_main_process()
    with progress_bar(f"invert {config.out}", config.inversion.most_entries, unit="iterations", shown=shown) as update:

        def show(iteration: int, values: dict[str, float]) -> None:
            if "predicted_peak" in values:
                update(0, f"compiling, {values['predicted_peak'] / 1e6:,.0f} MB predicted in addition to the process")
                return
            known = [name for name in ("misfit", "model_error", "density_error") if isfinite(values.get(name, nan))]
            parts = [f"{name.replace('_', ' ')} {values[name]:.3g}" for name in known]
            if config.inversion.n_stages > 1 and "stage" in values:
                parts = [f"stage {values['stage'] + 1:.0f} of {config.inversion.n_stages}", *parts]
            if "used" in values:
                parts.append(f"{values['used']:,.0f} simulations")
            update(iteration, ", ".join(parts))

        run_inversion(config, show)
    if not is_main_process():
        return
    print_tables(*write_report(config.out))
    if config.observed is not None:
        print_next(
            f"wave invert observed={config.observed} inversion.start={config.out}/velocity.npz (from this result)"
        )
    elif config.real.path is None:
        print_next("wave invert inversion=file real.path=MODEL.npy real.spacing=25 out=runs/mine (a model of yours)")
    else:
        print_next(f"wave report {Path(config.out).parent} (one page of all results)")


def checked(composed: DictConfig) -> InvertConfig:
    """Check a config, and complete it by that of the run that it names.

    Args:
        composed: Config that Hydra composed, of the schema `InvertConfig`.

    Returns:
        The config.

    Raises:
        InputError: If the preset for a model from a file is chosen without a file, or keys do not go together.
    """
    config = typed(composed, InvertConfig)
    config.parallel.initialize()
    config.data = stored_data(config)
    if config.observed is not None:
        check_observed_keys(config)
    if HydraConfig.get().runtime.choices["inversion"] == "file" and config.real.path is None:
        raise InputError("inversion=file inverts a model from a file: give it as real.path=MODEL.npy.")
    return config


def check_observed_keys(config: InvertConfig) -> None:
    """Check what the command line sets beside observed data; their start is a gradient unless one is chosen.

    Args:
        config: Composed config with `observed`, whose start is set.

    Raises:
        InputError: If keys of simulated data are set.
    """
    given = [f"data.{key}" for key in keys_set("data")] + ["data"] * is_chosen("data")
    given += [f"inversion.{key}" for key in ("shots", "source_depth") if key in keys_set("inversion")]
    if given:
        raise InputError(
            f"{given[0]} is a setting of simulated data, but observed={config.observed} has its own survey and times. "
            "Leave it out; setup.* has the settings of its simulation."
        )
    known = (Path(config.observed or "") / MANIFEST).is_file()
    if config.inversion.start == "smooth" and not known and "start" not in keys_set("inversion"):
        config.inversion.start = "gradient"


def stored_data(config: InvertConfig) -> DataConfig:
    """Read the config of the data from the run that `run` names: its simulation is inverted.

    Args:
        config: Composed config: presets, and what the command line sets.

    Returns:
        The data config of the run, with what the command line sets to draw another true model. Without a run, for
        observed data, or where the command line chooses a preset of data, the composed one.

    Raises:
        InputError: The folder is not a run, or the command line sets another value than the run has; the message has
            both.
    """
    if not config.run or config.observed is not None or is_chosen("data"):
        return config.data.settled()
    own = [key for key in OF_THE_MODEL if key in keys_set("data")]
    data = adopt(config.data, read_run(config.run).data, "data", f"the run {config.run}", own)
    if (replaced := differences(data.physics(), config.data.physics())) and is_main_process():
        print(f"data.* is that of {config.run}, not the preset's ({replaced}).")
    return data
