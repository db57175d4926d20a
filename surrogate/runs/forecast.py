"""Say how long a training or an inversion takes, from its beginning, which is made in a temporary folder."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
from flax import nnx

from data_gen.common.errors import InputError
from data_gen.common.files import temporary_folder
from data_gen.common.interruption import Interrupted
from surrogate.config import InitConfig, InvertConfig, TrainConfig
from surrogate.devices import peak_memory
from surrogate.inversion.config import InversionConfig
from surrogate.runs.fit import fit
from surrogate.runs.folder import is_claimed, read_run
from surrogate.runs.invert import PROGRESS, is_finished, run_inversion
from surrogate.runs.load import last_step
from surrogate.training.mode_schedule import ModeSchedule

HALF = 3  # steps before the first of two validations; the second half is timed
ITERATIONS = 3  # of each stage; the second is timed, since the last may simulate all shots once more
KEPT = "A dry run keeps nothing."


class TrainingForecast(NamedTuple):
    """Hold what is known of a training before it begins.

    Attributes:
        parameters: Number of parameters of the operator.
        begun: Number of steps that the folder of the run holds already.
        earlier: Number of steps that the run was to be trained for before; None if it is new.
        of_step: Time of a step [s].
        of_validation: Time of a validation [s].
        of_checkpoint: Time in which a checkpoint is written [s].
        memory: Peak of the memory of a device, or of this process [bytes].
        seconds: Time of the steps that are left, with all that belongs to them [s].
    """

    parameters: int
    begun: int
    earlier: int | None
    of_step: float
    of_validation: float
    of_checkpoint: float
    memory: int
    seconds: float


def forecast_training(config: TrainConfig) -> TrainingForecast:
    """Make the first steps of a run in a temporary folder, which is removed, and compute the time of all that are left.

    Args:
        config: Config of the run, with that of its data set.

    Returns:
        The forecast.

    Raises:
        InputError: The config, the data set (`DatasetError`) or the folder do not fit.
        Interrupted: A signal came.
    """
    _refuse_processes()
    training, folder = config.training, Path(config.run)
    earlier = read_run(folder).training.steps if is_claimed(folder, config) else None
    begun = 0 if earlier is None else last_step(folder) or 0
    model = config.create()
    if earlier is None:
        config.check_training(model)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model.operator, nnx.Param)))
    known: dict[str, float] = {}
    moments: dict[str, float] = {}
    steps = 2 * HALF
    first = replace(
        training,
        steps=steps,
        learning_rate=1e-12,  # without a warm-up the one of the run might diverge
        divergence_factor=0.0,
        warmup_steps=0,
        mode_schedule=ModeSchedule(),  # with all modes, as most of the training is
        log_every=HALF,
        validate_every=HALF,
        checkpoint_every=steps,
        verify=False,
    )

    def watch(step: int, values: dict[str, float]) -> None:
        if step == steps:
            moments.update(dict.fromkeys(values, time.perf_counter()))
            known.update(values)

    init = InitConfig() if begun else config.init
    tracking = replace(config.tracking, mode="disabled")
    with temporary_folder(folder) as temporary, _keeping_nothing():
        start = time.perf_counter()
        beginning = replace(config, run=str(temporary), training=first, init=init, tracking=tracking)
        if fit(beginning, watch) < steps:
            raise Interrupted(signal.SIGUSR1)
        end = time.perf_counter()
    of_step, of_validation = training.batch_size / known["samples_per_s"], moments["validation"] - moments["loss"]
    of_checkpoint = end - moments["validation"]
    left = range(begun + 1, training.steps + 1)
    due = [training.due(step) for step in left]
    validations, checkpoints = (sum(getattr(one, name) for one in due) for name in ("validation", "checkpoint"))
    before = end - start - steps * of_step - 2 * of_validation - of_checkpoint  # compiling, and opening the data set
    work = len(left) * of_step + validations * of_validation + checkpoints * of_checkpoint
    seconds = max(before, 0.0) + work if len(left) else 0.0
    return TrainingForecast(parameters, begun, earlier, of_step, of_validation, of_checkpoint, peak_memory(), seconds)


class StageForecast(NamedTuple):
    """Hold what is known of a stage of an inversion before it begins.

    Attributes:
        iterations: Number of its iterations, as far as its budget of simulations goes.
        simulations: Number of simulations of a shot in an iteration, a gradient counting 3.
        of_iteration: Time of an iteration [s]; NaN if the stage ended before one could be timed.
    """

    iterations: int
    simulations: float
    of_iteration: float


class InversionForecast(NamedTuple):
    """Hold what is known of an inversion before it begins.

    Attributes:
        finished: Whether the folder holds the result already.
        begun: Whether it holds a part, from which the inversion goes on.
        stages: Its stages.
        memory: Peak of the memory of a device, or of this process [bytes].
        seconds: Time of the whole inversion and its report [s].
    """

    finished: bool
    begun: bool
    stages: list[StageForecast]
    memory: int
    seconds: float


def forecast_inversion(config: InvertConfig) -> InversionForecast:
    """Make the first iterations of each stage in a temporary folder, which is removed, and compute the time of all.

    Args:
        config: Config of the inversion.

    Returns:
        The forecast.

    Raises:
        InputError: The config, the run, a file or the folder do not fit.
    """
    _refuse_processes()
    inversion, out = config.inversion, Path(config.out)
    config.check()
    if is_finished(config):
        return InversionForecast(True, False, [], 0, 0.0)
    entries: list[tuple[int, float, float]] = []

    def watch(_: int, values: dict[str, float]) -> None:
        if "used" in values:
            entries.append((int(values.get("stage", 0)), values["used"], time.perf_counter()))

    with temporary_folder(out) as temporary, _keeping_nothing():
        start = time.perf_counter()
        run_inversion(replace(config, out=str(temporary / "out"), inversion=_beginning(inversion)), watch)
        elapsed = time.perf_counter() - start
    stages, seconds = [], elapsed
    left = math.inf if inversion.simulations is None else float(inversion.simulations)
    for number in range(inversion.n_stages):
        settings = inversion.of_stage(number)
        of_stage = [(used, moment) for stage, used, moment in entries if stage == number]
        if len(of_stage) < 2:
            stages.append(StageForecast(settings.iterations, math.nan, math.nan))
            continue
        timed = min(2, len(of_stage) - 1)
        (used_before, before), (used, now) = of_stage[timed - 1 : timed + 1]
        each = max(used - used_before, 1.0)
        budget = min(left, math.inf if settings.simulations is None else settings.simulations)
        iterations = (
            int(min(settings.iterations, math.ceil(budget / each))) if budget < math.inf else settings.iterations
        )
        left = max(left - iterations * each, 0.0)
        stages.append(StageForecast(iterations, each, now - before))
        seconds += max(iterations - len(of_stage) + 1, 0) * (now - before)
    return InversionForecast(False, (out / PROGRESS).is_file(), stages, peak_memory(), seconds)


def _beginning(inversion: InversionConfig) -> InversionConfig:
    stages = [replace(stage, iterations=ITERATIONS, simulations=None) for stage in inversion.stages]
    return replace(inversion, iterations=ITERATIONS, simulations=None, stages=stages)


@contextmanager
def _keeping_nothing() -> Iterator[None]:
    """Say of a signal that nothing is kept; `fit` and `run_inversion` speak of their temporary folder."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(error.number, KEPT) from None


def _refuse_processes() -> None:
    if jax.process_count() > 1:
        raise InputError("--dry-run makes the beginning of one process. Start it without the launcher of processes.")
