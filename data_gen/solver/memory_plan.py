"""Predict how much memory a simulation and its derivatives take, and plan the fastest strategy within a budget.

Counted are the arrays that grow with the problem: what each step leaves behind for the adjoint, the states and the
workspace of the time loops, the sources' injections, gathers and snapshots with their residuals. The memory that
a process needs anyway (some 300 MB for Python, JAX and the compiler) is not counted.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import jax
import numpy as np

from data_gen.common.errors import InputError
from data_gen.solver.engines import scan
from data_gen.solver.engines.choose import choose_engine
from data_gen.solver.engines.field_sums import field_count
from data_gen.solver.engines.native.engine import NativeEngine, saved_values, workspace_bytes
from data_gen.solver.engines.native.library import threads
from data_gen.solver.engines.time_step import linearized_fields
from data_gen.solver.engines.xla_adjoint import kept_cells
from data_gen.solver.numerics.cpml import strips
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.simulation import Simulation, field_dtype

DERIVATIVES = ("gradient", "gauss_newton", "hessian")


@dataclass(frozen=True)
class MemoryPlan:
    """Hold a strategy and its cost.

    Attributes:
        memory: The strategy, to be put into `Simulation.memory`.
        peak: Predicted peak of the derivative with it [bytes].
        at_once: Shots that run at once; None for all.
    """

    memory: Memory
    peak: int
    at_once: int | None = None

    def __str__(self) -> str:
        precision = "" if self.memory.precision == "same" else f" in {self.memory.precision}"
        groups = "" if self.at_once is None else f", shots in groups of {self.at_once}"
        return f"gradient by {self.memory.strategy}{precision}{groups}: predicted peak {self.peak / 2**20:,.0f} MiB"


def _past_values(simulation: Simulation, *, constant_density: bool) -> int:
    """Count the values that the past of one shot takes in XLA."""
    memory, cells, steps = simulation.memory, int(np.prod(simulation.padded_shape)), simulation.steps
    fields = linearized_fields(constant_density=constant_density)
    if memory.strategy == "full":
        return steps * cells * fields
    if memory.strategy == "boundary":
        return steps * len(kept_cells(simulation, "boundary")) + 2 * cells
    shape, every = simulation.padded_shape, scan.interval(simulation)
    state = 2 * cells + sum(2 * strip.width * shape[1 - strip.axis] for strip in strips(simulation.widths))
    return -(-steps // every) * state + every * cells * fields


def peak_bytes(
    simulation: Simulation,
    n_shots: int,
    n_receivers: int,
    dtype: Any = "float32",
    *,
    strategy: str | None = None,
    constant_density: bool = True,
    n_sources: int = 1,
    derivative: str | None = "gradient",
    at_once: int | None = None,
) -> int:
    """Predict the peak memory of `simulate`, or of a derivative by the model.

    Args:
        simulation: The simulation.
        n_shots: Number of shots, over all models.
        n_receivers: Number of receivers in each shot.
        dtype: Floating-point type of the model.
        strategy: The gradient's strategy (see `Memory.strategy`); None for `simulate` alone.
        constant_density: Whether the medium has no density model.
        n_sources: Number of sources in each shot.
        derivative: One of `DERIVATIVES`, where there is a strategy; None for `simulate` alone.
        at_once: Shots that run at once, as in `simulate_shots`; None for all.

    Returns:
        The peak [bytes].

    Raises:
        InputError: If the strategy or the derivative does not exist for this physics.
    """
    if derivative not in (None, *DERIVATIVES):
        raise InputError(f"The derivative must be one of {', '.join(DERIVATIVES)}, but is {derivative!r}.")
    dtype = field_dtype(dtype)
    simulation = discretize(simulation, staggered=not constant_density)
    strategy = None if derivative is None else strategy
    gradient, item, cells = strategy is not None, int(dtype.itemsize), int(np.prod(simulation.padded_shape))
    if gradient:
        simulation = replace(simulation, memory=replace(simulation.memory, strategy=strategy))
    injections = simulation.steps * n_sources * max(1, (2 * simulation.half_width) ** 2)
    # Time-harmonic fields are there twice: as sums, and as complex numbers.
    fields = field_count(simulation) + 2 * len(simulation.frequencies)
    records = simulation.gather_steps * n_receivers + fields * int(np.prod(simulation.field_shape))
    engine = choose_engine(simulation, constant_density=constant_density, dtype=str(dtype))
    running = min(at_once or n_shots, n_shots)
    # A product with the Hessian carries the change of everything along; one of Gauss-Newton has one field at a time.
    components = 2 if derivative == "hessian" else 1
    # Engines with adjoints of their own save the past for a product with the Hessian, and again with its change.
    pasts = 3 if engine and components == 2 else components
    if isinstance(engine, NativeEngine):
        lanes = threads() if running >= threads() else 1
        past = running * pasts * saved_values(simulation, dtype, strategy or "none") * item
        work = lanes * components * workspace_bytes(simulation, dtype, adjoint=gradient)
    else:
        kept = {"bfloat16": 2, "float16": 2}.get(simulation.memory.precision, item)
        past = (
            running * components * _past_values(simulation, constant_density=constant_density) * kept if gradient else 0
        )
        # Two fields and the update under way; some 20 in the reverse step, as XLA schedules it (measured).
        work = running * components * cells * item * (20 if gradient else 3)
    # The records and, for derivatives, their residuals; the injections and theirs; the model's gradient per shot.
    kept = n_shots * records + running * injections
    return past + work + item * components * ((1 + gradient) * kept + gradient * running * cells)


def candidates(simulation: Simulation, *, constant_density: bool) -> list[Memory]:
    """List the strategies that exist for this physics.

    Args:
        simulation: The simulation.
        constant_density: Whether the medium has no density model.

    Returns:
        The strategies, the fastest first; half precision comes last, as it costs accuracy.
    """
    engine = choose_engine(replace(simulation, memory=Memory()), constant_density=constant_density)
    if isinstance(engine, NativeEngine):
        # Writing and reading back all steps costs more than computing them again in the cache.
        kinds = [("recompute", "same"), ("boundary", "same"), ("recompute", "bfloat16"), ("boundary", "bfloat16")]
    elif constant_density:
        # On a CPU, XLA widens what is stored in half precision: nothing is gained.
        half = [] if jax.default_backend() == "cpu" else [("boundary", "bfloat16")]
        kinds = [("full", "same"), ("recompute", "same"), ("boundary", "same"), *half]
    else:
        kinds = [("full", "same"), ("recompute", "same")]
    return [Memory(strategy, precision=precision) for strategy, precision in kinds]


def plan_memory(
    simulation: Simulation,
    n_shots: int,
    n_receivers: int,
    budget: int | float,
    dtype: Any = "float32",
    *,
    constant_density: bool = True,
    n_sources: int = 1,
    derivative: str | None = "gradient",
    groups: bool = False,
) -> MemoryPlan:
    """Choose the fastest strategy whose predicted peak is within a budget.

    With groups, all shots at once come first. Groups come next, as large as they may be, by the fastest strategy of
    which one shot fits; half precision, which costs accuracy, comes last.

    Args:
        simulation: The simulation, whose `memory` is not looked at where there is a derivative.
        n_shots: Number of shots of a device, over all models.
        n_receivers: Number of receivers in each shot.
        budget: Memory that the derivative may take on a device [bytes].
        dtype: Floating-point type of the model.
        constant_density: Whether the medium has no density model.
        n_sources: Number of sources in each shot.
        derivative: One of `DERIVATIVES`; None for `simulate` alone, which has no strategy to choose.
        groups: Whether the shots may be taken in groups, as by `simulate_shots`.

    Returns:
        The strategy, to be put into the simulation: `replace(simulation, memory=plan.memory)`; with groups also the
        number of shots at once, for `simulate_shots`.

    Raises:
        InputError: If the budget is not positive, or no strategy fits; the message names the least that would do.
    """
    if not 0 < budget < inf:
        raise InputError(f"A memory budget is a positive number of bytes, such as 4e9, but is {budget:g}.")
    known = [simulation.memory] if derivative is None else candidates(simulation, constant_density=constant_density)
    tries = [(memory, None) for memory in known if memory.precision == "same" or not groups]
    if groups:
        sizes = sorted({-(-n_shots // count) for count in range(1, n_shots + 1)}, reverse=True)
        tries += [(memory, size) for memory in known for size in sizes]
    options = {"constant_density": constant_density, "n_sources": n_sources, "derivative": derivative}
    plans = []
    for memory, at_once in tries:
        tried, options["strategy"] = replace(simulation, memory=memory), memory.strategy
        peak = peak_bytes(tried, n_shots, n_receivers, dtype, at_once=at_once, **options)
        plans.append(MemoryPlan(memory, peak, at_once))
        if peak <= budget:
            return plans[-1]
    least = min(plans, key=lambda plan: plan.peak)
    fewer = max(1, int(n_shots * budget / least.peak))
    remedy = "Give more memory or devices, record fewer times" if groups else f"Take groups of about {fewer} shots"
    raise InputError(
        f"{n_shots} shots do not fit into {budget / 2**20:,.3g} MiB{', not even one at a time' if groups else ''}: the "
        f"least is {least.peak / 2**20:,.0f} MiB ({least.memory.strategy}, stored in {least.memory.precision} "
        f"precision), of which the records of all shots are a part. {remedy}, or coarsen the grid."
    )
