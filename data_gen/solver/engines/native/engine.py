"""Offer the C++ time loop as an engine of rules.py: marshal arrays and settings for kernel.cc."""

from dataclasses import dataclass

import jax
import numpy as np

from data_gen.solver.engines import field_sums
from data_gen.solver.engines.native.library import load, target_name, threads
from data_gen.solver.engines.time_step import factor_placement
from data_gen.solver.numerics.cpml import Strip
from data_gen.solver.numerics.stencils import factor_weights, second_derivative_weights
from data_gen.solver.problem.edges import strip_profile
from data_gen.solver.problem.gradient_memory import KEPT_PRECISIONS, STRATEGIES
from data_gen.solver.problem.simulation import Simulation


def grid_numbers(simulation: Simulation) -> np.ndarray:
    """Describe the padded grid for kernel.cc.

    Args:
        simulation: The simulation.

    Returns:
        mz, mx, the four widths, and whether the surface is free.
    """
    return np.array([*simulation.padded_shape, *simulation.widths, simulation.free_surface], np.int64)


def loop_numbers(simulation: Simulation, strategy: str) -> np.ndarray:
    """Describe the time loop for kernel.cc.

    Args:
        simulation: The simulation.
        strategy: Selects the blocks to save for the adjoint; "none" saves nothing.

    Returns:
        Numbers of the strategy and the precision, steps, interval, threads and the stride of gathers.
    """
    # Numbered as in kernel.cc and store.h.
    numbers = ("none", *STRATEGIES).index(strategy), KEPT_PRECISIONS.index(simulation.memory.precision)
    return np.array(
        [*numbers, simulation.steps, simulation.recompute_interval, threads(), simulation.gather_stride], np.int64
    )


def _attributes(simulation: Simulation, strategy: str) -> dict[str, np.ndarray]:
    spacing = simulation.grid.spacing
    second = np.array(second_derivative_weights(simulation.order, simulation.kappa)) / spacing**2
    profiles = []
    for place, width in enumerate(simulation.widths):
        if width:
            strip = Strip(place // 2, bool(place % 2), width)
            psi = strip_profile(strip, simulation, **factor_placement(strip, simulation))
            profiles += [c.ravel() for c in (*psi, *strip_profile(strip, simulation))]
    return {
        "layout": grid_numbers(simulation),
        "inner": np.array([*simulation.field_origin, *simulation.field_shape], np.int64),
        "snapshots": np.array(field_sums.kept_snapshots(simulation), np.int64),
        "stride": np.array([field_sums.stride(simulation)], np.int64),
        "shares": field_sums.weights(simulation).ravel(),
        "plan": loop_numbers(simulation, strategy),
        "second": np.concatenate([[-2 * second.sum()], second]),
        "factor": np.array(factor_weights(simulation.order, simulation.kappa)) / spacing,
        "profiles": np.concatenate([np.zeros(0), *profiles]),
    }


def _call(direction: str, components: int, simulation: Simulation, strategy: str, operands, shapes) -> list[jax.Array]:
    """Call a handler; `shapes` are those of the results, without batch dimensions."""
    dtype, order = str(operands[2].dtype), simulation.order
    # The handler reads them all as values of one size.
    assert all(str(x.dtype) in (dtype, "int32") for x in operands), [x.dtype for x in operands]
    load(direction, components, dtype, order)
    batches = [np.shape(operands[0])[:-1], *(np.shape(x)[: np.ndim(operands[0]) - 1] for x in operands[1:])]
    batch = np.broadcast_shapes(*batches)
    results = [jax.ShapeDtypeStruct((*batch, *shape), dtype) for shape in shapes]
    function = jax.ffi.ffi_call(target_name(direction, components, dtype, order), results, vmap_method="expand_dims")
    return list(function(*operands, **_attributes(simulation, strategy)))


def _record_shapes(simulation: Simulation, receiver_cells) -> list[tuple[int, ...]]:
    return [
        (simulation.gather_steps, receiver_cells.shape[-2]),
        (field_sums.field_count(simulation), *simulation.field_shape),
    ]


def saved_values(simulation: Simulation, dtype, strategy: str) -> int:
    """Count the values that the forward pass saves for the adjoint of one shot.

    Args:
        simulation: The simulation.
        dtype: Floating-point type of the fields.
        strategy: Selects the blocks to save for the adjoint.

    Returns:
        The number of values of `dtype`.
    """
    numbers = grid_numbers(simulation), loop_numbers(simulation, strategy)
    size = load("forward", 1, str(dtype), simulation.order).saved_bytes(*numbers)
    return -(-size // np.dtype(dtype).itemsize)


def workspace_bytes(simulation: Simulation, dtype, *, adjoint: bool) -> int:
    """Compute the memory that each shot under way takes in addition to its arguments and results.

    Args:
        simulation: The simulation.
        dtype: Floating-point type of the fields.
        adjoint: Whether the adjoint runs.

    Returns:
        The number of bytes.
    """
    numbers = grid_numbers(simulation), loop_numbers(simulation, simulation.memory.strategy if adjoint else "none")
    return load("forward", 1, str(dtype), simulation.order).workspace_bytes(*numbers)


@dataclass(frozen=True)
class NativeEngine:
    """Run the time loop and its adjoint in C++. Two components are numbers x_0 + x_1 eps. See `rules.Engine`."""

    def forward(self, simulation: Simulation, strategy: str, geometry, *components) -> list[jax.Array]:
        """See `Engine.forward`."""
        _, receiver_cells, weights = geometry
        saved = (saved_values(simulation, weights.dtype, strategy),)
        shapes = [*_record_shapes(simulation, receiver_cells), saved] * len(components)
        operands = [*geometry, *(x for component in components for x in component)]
        return _call("forward", len(components), simulation, strategy, operands, shapes)

    def adjoint(self, simulation: Simulation, geometry, models, records) -> list[jax.Array]:
        """See `Engine.adjoint`."""
        shapes = [simulation.padded_shape, (simulation.steps, geometry[0].shape[-1])] * len(models)
        operands = [*geometry, *(x for model in models for x in model), *(x for record in records for x in record)]
        return _call("adjoint", len(models), simulation, simulation.memory.strategy, operands, shapes)
