"""Plan the memory of a stage's simulations, each for the shots that it really simulates at once.

    fitted     derivatives of the misfit, of the shots of one evaluation: all, or the larger group of a batch
    checked    data of all shots, for a true misfit that is not that of an iteration
    probed     gradients of all shots, for the diagonal of Gauss and Newton

A stage has other cells, samples and shots than the inversion, and so it needs plans of its own.
"""

from dataclasses import replace
from typing import NamedTuple

from data_gen.common.errors import InputError
from data_gen.solver.memory_plan import MemoryPlan
from surrogate.inversion.batches import Draws
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import ForwardModel, PhysicsForward
from surrogate.inversion.optimizers import DERIVATIVES


class StageForwards(NamedTuple):
    """Hold the forward models of a stage; see the module.

    Attributes:
        fitted: Forward model of all shots, planned for those of one evaluation.
        checked: Forward model of the true misfit, where it is not that of an iteration.
        probed: Forward model of the preconditioner.
        plans: Plans of those that are the solver.
    """

    fitted: ForwardModel
    checked: ForwardModel | None
    probed: ForwardModel
    plans: tuple[MemoryPlan, ...]


def plan_stage(
    settings: InversionConfig,
    number: int,
    forward: ForwardModel,
    draws: Draws | None = None,
    solver: ForwardModel | None = None,
    budget: float | None = None,
) -> StageForwards:
    """Plan the memory of a stage.

    Args:
        settings: Settings of the stage.
        number: Number of the stage, from 0.
        forward: Forward model of the stage.
        draws: Draws of the stage, or None if every iteration sees all shots.
        solver: Forward model of the true misfit, where `forward` is a surrogate.
        budget: Memory of each device for the solver [bytes]; None keeps its strategies and groups.

    Returns:
        The forward models, with the fastest strategies and the largest groups of shots that fit.

    Raises:
        InputError: If not even one shot at a time fits; the message names the stage.
    """
    plans = []

    def planned(model: ForwardModel, derivative: str | None, evaluated: ForwardModel | None = None) -> ForwardModel:
        evaluated = evaluated or model
        if not (isinstance(model, PhysicsForward) and isinstance(evaluated, PhysicsForward)):
            return model
        try:
            fitting, plan = evaluated.within(budget, derivative)
        except InputError as error:
            if budget is None:
                raise
            raise InputError(f"memory_budget = {budget:g} bytes does not do for stage {number}: {error}") from None
        plans.append(plan)
        return replace(fitting, survey=model.survey)

    largest = None if draws is None else max(draws.groups(0), key=lambda group: group.shots).draw.forward(forward)
    fitted = planned(forward, DERIVATIVES.get(settings.optimizer, "gradient"), largest)
    checked = solver or (None if draws is None else forward)
    if checked is not None:
        checked = planned(checked, None)
    probed = planned(forward, "gradient") if settings.preconditioner == "gauss_newton" else fitted
    return StageForwards(fitted, checked, probed, tuple(plans))


def plan_cheap(
    settings: InversionConfig, number: int, cheap: ForwardModel, draws: Draws | None, budget: float | None
) -> StageForwards:
    """Plan the memory of the cheap forward model that leads a stage, as `plan_stage` does.

    Args:
        settings: Settings of the stage.
        number: Number of the stage, from 0.
        cheap: Cheap forward model.
        draws: Draws of the stage, or None if every iteration sees all shots.
        budget: Memory of each device for the solver [bytes]; None keeps its strategies and groups.

    Returns:
        The forward models, of which `fitted` is for the optimizer that minimizes by it.

    Raises:
        InputError: See `plan_stage`.
    """
    inner = replace(settings, optimizer=settings.corrected.optimizer, preconditioner="none")
    return plan_stage(inner, number, cheap, draws, budget=budget)
