"""Ours: `simulate` by the bare leap-frog, as the peers step, with survey and model as arguments.

Several models run by `jax.vmap`.
"""

import os
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.peers.jax_programs import compiled, device, meter, program, versions
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate

# The peers' equation, step by step: their time step, and the model's own values in its cells.
BARE: dict[str, Any] = {"time_correction": False, "medium": "samples"}

__all__ = ["compile_seconds", "configurations", "device", "meter", "prepare", "versions"]


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    gathers, arguments = _problem(case)
    return compiled(gathers, quantity, *arguments)


def compile_seconds(case: Case, quantity: str, cache: str) -> float:
    """Seconds to trace, lower and compile, with the programs cached in the folder `cache`."""
    enable_disk_cache(cache)
    gathers, arguments = _problem(case)
    jax.block_until_ready(jax.device_put(arguments))
    start = time.perf_counter()
    jax.jit(program(gathers, quantity)).lower(*arguments).compile()
    return time.perf_counter() - start


def enable_disk_cache(folder: str) -> None:
    """Keep compiled programs in `folder` between processes. To be data_gen's own function once it has one."""
    os.environ["XDG_CACHE_HOME"] = folder  # The native time loop's.
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _problem(case: Case) -> tuple[Callable, tuple]:
    """`gathers(velocities, survey, densities)` and what to call it with."""
    known = {field.name for field in fields(Simulation)}  # of an older revision, too, which knows nothing else
    simulation = Simulation(
        Grid((case.side, case.side), cases.SPACING),
        TimeAxis(case.steps, cases.TIME_STEP),
        max_velocity=cases.FASTEST,
        peak_frequency=cases.PEAK_FREQUENCY,
        order=case.order,
        widths=(case.width, case.width, case.width, case.width),
        backend=case.backend,
        **{name: value for name, value in BARE.items() if name in known},
    )
    survey = make_survey(
        cases.sources(case) * cases.SPACING, cases.receivers(case) * cases.SPACING, cases.wavelet(case)
    )
    densities = cases.densities(case) if case.variable_density else None

    def shoot(velocity, density, survey):
        return simulate(velocity, survey, simulation, density=density).gathers

    def gathers(velocities, densities, survey):
        if case.models > 1:
            return jnp.concatenate(jax.vmap(shoot, in_axes=(0, 0, None))(velocities, densities, survey))
        return shoot(velocities[0], None if densities is None else densities[0], survey)

    return gathers, (cases.velocities(case), densities, survey)
