"""Choose which time loop runs a simulation: the scan of scan.py, or an engine with an adjoint of its own."""

import warnings
from functools import cache

import jax

from data_gen.common.errors import InputError
from data_gen.solver.engines import native
from data_gen.solver.engines.rules import Engine
from data_gen.solver.engines.xla_adjoint import ReversalEngine
from data_gen.solver.problem.simulation import Simulation


@cache
def _warn_of_slow_loop(fault: str) -> None:
    warnings.warn(
        f"Simulations run through XLA, several times slower than by compiled C++. {fault}", UserWarning, stacklevel=5
    )


def choose_engine(simulation: Simulation, *, constant_density: bool, dtype: str = "float32") -> Engine | None:
    """Choose the engine for a simulation.

    Args:
        simulation: Its backend, memory and physics decide.
        constant_density: Whether the medium has no density model.
        dtype: The floating-point type of the fields.

    Returns:
        The engine; None for the scan with JAX's own derivatives, which computes everything.

    Raises:
        InputError: If the backend or the gradient's memory does not exist for this physics or on this machine.
    """
    memory = simulation.memory
    lean = memory.strategy == "boundary" or memory.precision != "same"
    if _wants_native(simulation, constant_density=constant_density):
        fault = native.fault(dtype, simulation.order)
        if not fault:
            return native.NativeEngine()
        if simulation.backend == "native":
            raise InputError(fault)
        _warn_of_slow_loop(fault)
    if lean:
        if not constant_density:
            raise InputError(
                "Running backwards and storing in half precision need constant density, but this simulation has a "
                "density. Choose Memory('recompute') or Memory('full')."
            )
        if memory.strategy == "recompute":
            raise InputError(
                f"XLA recomputes in the model's own precision, but the gradient's memory asks for {memory.precision}. "
                "Choose precision='same', another strategy, or backend='native' on a CPU."
            )
        return ReversalEngine()
    return None


def _wants_native(simulation: Simulation, *, constant_density: bool) -> bool:
    """Tell whether the native loop is asked for and computes this physics."""
    # The native loop counts on no row near both the upper and the lower layer.
    deep = simulation.grid.shape[0] >= simulation.order
    if simulation.backend == "native" and not (constant_density and deep):
        rows = f"{simulation.grid.shape[0]} rows at order {simulation.order}"
        raise InputError(
            "The native backend computes constant density, on at least as many rows as the order in space, but this "
            f"simulation has {rows if constant_density else 'a density'}. Choose backend='auto' or 'xla'."
        )
    wanted = simulation.backend == "native" or (simulation.backend == "auto" and jax.default_backend() == "cpu")
    return wanted and constant_density and deep


def runs_natively(simulation: Simulation, *, constant_density: bool) -> bool:
    """Tell whether the native loop runs a simulation: it computes a shot to the same bits in any batch.

    Args:
        simulation: Its backend, memory and physics decide.
        constant_density: Whether the medium has no density model.

    Returns:
        True for the native loop, False for XLA, which may round differently for another batch.

    Raises:
        InputError: See `choose_engine`.
    """
    engine = choose_engine(simulation, constant_density=constant_density)
    return isinstance(engine, native.NativeEngine)
