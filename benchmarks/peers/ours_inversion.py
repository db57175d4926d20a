"""Ours as a contender of `benchmarks.inversion`: `invert` with stages, by L-BFGS or Adam."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from benchmarks.inversion_contender import Problem, Report
from benchmarks.inversion_replay import Replay
from benchmarks.inversion_setups import simulation_of
from benchmarks.peers.jax_programs import versions
from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.frame import Frame
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from surrogate.inversion.config import CorrectedConfig, InversionConfig, StageConfig
from surrogate.inversion.corrected.stages import CorrectedStages
from surrogate.inversion.descent import StopInversion, invert
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.record import Observed, check_record

__all__ = ["run", "versions"]

MEMORY = 5e8  # [bytes] of a simulation: groups of shots, which take 5 % more CPU time than all at once
COARSE_ITERATIONS = 80  # of the uncorrected stage on the cells of the cheap model: each takes an eighth of the time
COARSE_FIRST = ("coarse_first", "coarse_corrected")
CORRECTED = ("corrected", "coarse_corrected")
UNLIMITED = 10**6  # iterations of a stage whose budget is in simulations


def stages(problem: Problem) -> list[StageConfig]:
    """The stages, limited by iterations or by simulations."""
    budgets = problem.budgets or (None,) * len(problem.stage_list)
    return [
        StageConfig(
            highest_frequency=stage.highest_frequency,
            spacing=stage.spacing,
            iterations=stage.iterations if budget is None else UNLIMITED,
            simulations=budget,
            batch=problem.batch,
        )
        for stage, budget in zip(problem.stage_list, budgets, strict=True)
    ]


def config_of(problem: Problem, optimizer: str) -> InversionConfig:
    """The settings of the inversion; `corrected`, `coarse_first` and `coarse_corrected` have a cheap model."""
    staged = stages(problem)
    if optimizer in COARSE_FIRST:
        staged = [one for stage in staged for one in (coarse(stage, problem.coarser), stage)]
    return InversionConfig(
        optimizer="adam" if optimizer == "adam" else "lbfgs",
        corrected=CorrectedConfig(low="coarse" if optimizer in CORRECTED else "none", coarser=problem.coarser),
        learning_rate=problem.learning_rate,
        depth_power=problem.depth_power,
        preconditioner="illumination" if problem.illumination else "none",
        bounds=list(problem.bounds),
        fixed_rows=problem.fixed_rows,
        source=problem.source,
        noise=problem.noise,
        stages=staged,
    )


def coarse(stage: StageConfig, coarser: float) -> StageConfig:
    """The stage on the cells of the cheap model, whose error is inverted with the data."""
    assert stage.spacing is not None
    return replace(stage, spacing=coarser * stage.spacing, iterations=COARSE_ITERATIONS, low="none")


def forward_of(problem: Problem) -> PhysicsForward:
    """The solver with the wavelet that contenders are given."""
    survey = make_survey(problem.sources, problem.receivers, problem.wavelet[: problem.nt])
    grid, time = Grid(problem.start.shape, problem.spacing), TimeAxis(problem.nt, problem.dt)
    free = {"free_surface": problem.free_surface}
    return PhysicsForward(simulation_of(grid, time, problem.bounds, problem.peak_frequency, **free), survey)


def record_of(problem: Problem) -> Observed:
    """The observed gathers, whose dead traces get weights of zero as in `wave invert observed=FILE`."""
    gathers = problem.observed[:, : problem.nt]
    weights = np.ones((len(gathers), 1, gathers.shape[2]), np.float32)
    sources = problem.sources[:, None]
    return check_record(
        Observed(gathers, weights, sources, problem.receivers, problem.dt, 0.0, Frame()), Path("observed")
    )


def run(problem: Problem, optimizer: str, replay: Replay, report: Report) -> tuple[np.ndarray, list[int]]:
    """The model after all stages, and forwards, gradients and Hessian products; `invert` itself resumes."""
    use_compilation_cache()
    record = record_of(problem)
    observed, weights = jnp.asarray(record.gathers), record.weights
    del record  # with its copy of the gathers

    known = np.nan  # misfit of all shots, which batches find every few iterations

    def on_progress(entry: int, values: dict[str, float]) -> None:
        nonlocal known
        known = known if np.isnan(values["true_misfit"]) else values["true_misfit"]
        misfit = values["misfit"] if np.isnan(known) else known
        numbers = misfit, values["model_error"], int(values["used"]), int(values["low_used"])
        if not report(int(values["stage"]), entry, *numbers):
            raise StopInversion("its time is over")

    result = invert(
        forward_of(problem),
        observed,
        problem.start,
        config_of(problem, optimizer),
        truth=problem.truth,
        weights=weights,
        memory_budget=MEMORY,
        make=CorrectedStages(),
        resume=replay.folder.parent / "progress.npz",
        on_progress=on_progress,
    )
    return result.velocity, [int(count) for count in result.simulations]
