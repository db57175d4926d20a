"""Which time loop runs a simulation: loop.py's scan, or an engine with an adjoint of its own."""

import warnings
from functools import cache

import jax

from data_gen.common.errors import InputError
from data_gen.solver.engines import native
from data_gen.solver.engines.rules import Engine
from data_gen.solver.engines.xla_adjoint import ReversalEngine
from data_gen.solver.problem.simulation import Simulation


@cache
def _warn_of_missing_compiler() -> None:
    warnings.warn(
        "No C++ compiler was found, so simulations run through XLA, several times slower. Install g++ or clang++ "
        "(or set CXX), or choose backend='xla' to say that this is meant.",
        UserWarning,
        stacklevel=5,
    )


def choose_engine(simulation: Simulation, *, constant_density: bool, coupled: bool = False) -> Engine | None:
    """The engine for a simulation; None for the scan with JAX's own derivatives, which computes everything.

    coupled: through a coupling, with which an engine's `forward` only is used (coupled.py).
    Raises `InputError` where the backend or the gradient's memory asked for does not exist for this physics.
    """
    has_engine = constant_density and simulation.time_order == 2
    physics = "a density" if not constant_density else "time_order=4" if not has_engine else "a coupling"
    # The native loop counts on no row near both the upper and the lower layer.
    deep = simulation.grid.shape[0] >= simulation.order
    if simulation.backend == "native" and not (has_engine and deep):
        given = physics if not has_engine else f"{simulation.grid.shape[0]} rows at order {simulation.order}"
        raise InputError(
            "The native backend computes constant density of second order in time, on at least as many rows as the "
            f"order in space, but this simulation has {given}. Choose backend='auto' or 'xla'."
        )
    wanted = simulation.backend == "native" or (simulation.backend == "auto" and jax.default_backend() == "cpu")
    memory = simulation.memory
    lean = memory.strategy == "boundary" or memory.precision != "same"
    if wanted and has_engine and deep and not (coupled and lean):
        if simulation.backend == "native" or native.compiler():
            return native.NativeEngine()
        _warn_of_missing_compiler()
    if lean:
        if coupled or not has_engine:
            raise InputError(
                "Running backwards and storing in half precision need constant density of second order in time, but "
                f"this simulation has {physics}. Choose Memory('recompute') or Memory('full')."
            )
        if memory.strategy == "recompute":
            raise InputError(
                f"XLA recomputes in the model's own precision, but the gradient's memory asks for {memory.precision}. "
                "Choose precision='same', another strategy, or backend='native' on a CPU."
            )
        return ReversalEngine()
    return None
