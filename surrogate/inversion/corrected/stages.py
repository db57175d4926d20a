"""Make stages of the same misfit as those of the driver, minimized by a corrected cheap forward model."""

from dataclasses import dataclass, replace

import numpy as np

from data_gen.common.errors import InputError
from surrogate.inversion.batches import Batches
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.corrected.trust_region import Corrected
from surrogate.inversion.forward import ForwardModel, PhysicsForward, coarser
from surrogate.inversion.kept_data import KeptData
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers import OPTIMIZERS, PROXIMAL
from surrogate.inversion.optimizers.lbfgs import LBFGS
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.stage import InversionProblem, Stage, make_objective, make_stage
from surrogate.inversion.stage_data import StageData
from surrogate.inversion.stage_memory import plan_cheap
from surrogate.inversion.stochastic import Stochastic


@dataclass(frozen=True)
class CorrectedStages:
    """Make stages with a cheap forward model; it is a `StageMaker`.

    Attributes:
        surrogate: Surrogate of `corrected.low=surrogate`, which predicts the same data as the solver.
    """

    surrogate: ForwardModel | None = None

    def __call__(self, problem: InversionProblem, number: int, velocity: np.ndarray) -> Stage:
        """Make a stage. See `make_stage`."""
        stage = make_stage(problem, number, velocity)
        settings = stage.settings
        corrected, data = settings.corrected, stage.objective.data
        if corrected.low == "none":
            return stage
        _check_weight(settings)
        _check_shots(settings, number)
        assert isinstance(data, DataMisfit)
        draws = stage.optimizer.draws if isinstance(stage.optimizer, Stochastic) else None
        cheap = self._cheap(settings, data.forward)
        # Smaller simulations than the solver's: more of their shots fit into the budget at once.
        cheap = plan_cheap(settings, number, cheap, draws, problem.memory_budget).fitted
        low = make_objective(problem, settings, StageData(cheap, data.observed, data.weights))
        optimizer = Corrected(
            low,
            OPTIMIZERS[corrected.optimizer](settings, _smoothed(stage, cheap, velocity.shape)),
            LBFGS.create(settings, stage.preconditioner),
            stage.preconditioner,
            corrected.iterations,
            corrected.secants,
            np.inf if corrected.radius is None else corrected.radius,
            corrected.coarser**-3 if corrected.low == "coarse" else 0.0,
        )
        if draws is not None:
            # Corrected compares models, whatever the stage's own optimizer does.
            optimizer = Stochastic(optimizer, replace(draws, shared=True) if isinstance(draws, Batches) else draws)
        return stage._replace(objective=stage.objective.with_data(KeptData(data)), optimizer=optimizer)

    def _cheap(self, settings: InversionConfig, forward: ForwardModel) -> ForwardModel:
        if settings.corrected.low == "coarse":
            return coarser(forward, settings.corrected.coarser)
        assert self.surrogate is not None
        return self.surrogate


def _smoothed(stage: Stage, cheap: ForwardModel, shape: tuple[int, ...]) -> Preconditioner:
    """Smooth steps by the cheap model over the scales that it does not see, where the unknowns are cells.

    The coarser cells average the model, so that J_k has no curvature along what they cannot tell apart, but the linear
    term of its correction has a slope: its minimum is far away, and no part of it is in the data.
    """
    deviation = stage.settings.corrected.gradient_smoothing
    if deviation is None:
        grid = cheap.simulation if isinstance(cheap, PhysicsForward) else None
        deviation = grid.solved_spacing / grid.grid.spacing / 2 if grid else 0.0
    cells = stage.settings.unknowns_are_cells
    return stage.preconditioner.smoother(shape, deviation) if deviation and cells else stage.preconditioner


def _check_weight(config: InversionConfig) -> None:
    if config.chooses_weight and config.lows != {"none"}:
        raise InputError(
            "forward=corrected minimizes around one model after the other, which needs regularizers of a known weight, "
            "but one has weight=discrepancy. Give a number, or invert with forward=physics."
        )


def _check_shots(settings: InversionConfig, number: int) -> None:
    if settings.encoding:
        raise InputError(
            f"forward=corrected corrects the data of shots, but stage {number} sees their sums. Leave "
            "inversion.encoding out, or take inversion.batch."
        )


def check_corrected(config: InversionConfig, forward: ForwardModel, surrogate: ForwardModel | None = None) -> None:
    """Check that stages can be made with a cheap forward model, before the first one runs.

    Args:
        config: Settings of the inversion.
        forward: Forward model of the inversion.
        surrogate: Surrogate of `corrected.low=surrogate`, or None.

    Raises:
        InputError: If not.
    """
    _check_weight(config)
    if config.corrected.gradient_smoothing and not config.unknowns_are_cells:
        raise InputError(
            "inversion.corrected.gradient_smoothing smooths over cells, but the unknowns of "
            f"parametrization={config.parametrization} are none: leave it out."
        )
    for number in range(config.n_stages):
        settings, stage = config.of_stage(number), config.stage(number)
        low = settings.corrected.low
        if low == "none":
            continue
        if settings.optimizer in PROXIMAL:
            raise InputError(
                "forward=corrected minimizes by inversion.corrected.optimizer, which smooths total variation, but "
                f"stage {number} asks for inversion.optimizer={settings.optimizer}. Take inversion.optimizer=lbfgs."
            )
        _check_shots(settings, number)
        if low == "surrogate" and stage.needs_solver:
            raise InputError(
                f"inversion.stages[{number}] chooses a band, cells or shots, but inversion.corrected.low=surrogate "
                "knows those of its training only. Leave them out, or take low=coarse."
            )
    if "coarse" in config.lows:
        coarser(forward, config.corrected.coarser)
    if "surrogate" in config.lows and (surrogate is None or surrogate.steps != forward.steps):
        raise InputError(
            "inversion.corrected.low=surrogate needs a surrogate that predicts the solver's data, at the same times: "
            "give run=FOLDER of a run of task=gather or wavefield, and leave inversion.record_every out."
        )
