# ruff: noqa: I001
"""Simulate acoustic waves, differentiate the simulation, and generate data sets with it.

    from data_gen import Grid, TimeAxis, Simulation, make_survey, surface_line, ricker, simulate
    from data_gen import DataConfig, generate, data_source

A name is imported when it is first used: the solver needs JAX, NumPy and SciPy alone.
"""

from typing import TYPE_CHECKING

from data_gen.common.lazy import lazy_exports

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from data_gen.common.errors import (
        DatasetError as DatasetError,
        InputError as InputError,
        NumericalError as NumericalError,
    )
    from data_gen.common.smoothing import gaussian_smooth as gaussian_smooth
    from data_gen.dataset.config import DataConfig as DataConfig
    from data_gen.dataset.generation import data_source as data_source, generate as generate
    from data_gen.dataset.sample import DataSpec as DataSpec, Sample as Sample
    from data_gen.dataset.verification import rebuild as rebuild, verify as verify
    from data_gen.solver.accuracy import (
        expected_error as expected_error,
        simulation_for_error as simulation_for_error,
    )
    from data_gen.solver.memory_plan import plan_memory as plan_memory
    from data_gen.solver.problem.acquisition import (
        Survey as Survey,
        make_survey as make_survey,
        surface_line as surface_line,
    )
    from data_gen.solver.problem.gradient_memory import Memory as Memory
    from data_gen.solver.problem.grid import Grid as Grid, TimeAxis as TimeAxis
    from data_gen.solver.problem.simulation import Simulation as Simulation, substeps_for as substeps_for
    from data_gen.solver.problem.wavelets import (
        gaussian_derivative as gaussian_derivative,
        load_wavelet as load_wavelet,
        ormsby as ormsby,
        ricker as ricker,
    )
    from data_gen.solver.simulator import Records as Records, simulate as simulate
    from data_gen.velocity.registry import (
        FAMILIES as FAMILIES,
        make_family as make_family,
        make_mixture as make_mixture,
    )

__version__ = "0.1.0"
_HOMES = {
    "data_source": "data_gen.dataset.generation",
    "DataConfig": "data_gen.dataset.config",
    "DatasetError": "data_gen.common.errors",
    "DataSpec": "data_gen.dataset.sample",
    "expected_error": "data_gen.solver.accuracy",
    "FAMILIES": "data_gen.velocity.registry",
    "gaussian_derivative": "data_gen.solver.problem.wavelets",
    "gaussian_smooth": "data_gen.common.smoothing",
    "generate": "data_gen.dataset.generation",
    "Grid": "data_gen.solver.problem.grid",
    "InputError": "data_gen.common.errors",
    "load_wavelet": "data_gen.solver.problem.wavelets",
    "make_family": "data_gen.velocity.registry",
    "make_mixture": "data_gen.velocity.registry",
    "make_survey": "data_gen.solver.problem.acquisition",
    "Memory": "data_gen.solver.problem.gradient_memory",
    "NumericalError": "data_gen.common.errors",
    "ormsby": "data_gen.solver.problem.wavelets",
    "plan_memory": "data_gen.solver.memory_plan",
    "rebuild": "data_gen.dataset.verification",
    "Records": "data_gen.solver.simulator",
    "ricker": "data_gen.solver.problem.wavelets",
    "Sample": "data_gen.dataset.sample",
    "simulate": "data_gen.solver.simulator",
    "Simulation": "data_gen.solver.problem.simulation",
    "simulation_for_error": "data_gen.solver.accuracy",
    "substeps_for": "data_gen.solver.problem.simulation",
    "surface_line": "data_gen.solver.problem.acquisition",
    "Survey": "data_gen.solver.problem.acquisition",
    "TimeAxis": "data_gen.solver.problem.grid",
    "verify": "data_gen.dataset.verification",
}

__all__, __getattr__, __dir__ = lazy_exports(__name__, _HOMES)
