"""Read a velocity model from a file onto the grid of a run."""

import numpy as np

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import check_inputs
from data_gen.velocity.base.model_files import read_velocity, to_grid
from surrogate.config import RealModelConfig


def read_real(config: RealModelConfig, spec: DataSpec) -> tuple[np.ndarray, str]:
    """A model from a file on the run's grid `(nz, nx)` [m/s], and in words which window of it.

    Raises `InputError` if it cannot be read, leaves the grid or is too fast for the run's time step.
    """
    assert config.path is not None
    if config.origin is not None and len(config.origin) != 2:
        raise InputError(f"real.origin must be [z, x] in metres, but is {config.origin}.")
    if config.spacing is not None and not config.spacing > 0:
        raise InputError(f"real.spacing must be a positive length in metres, but is {config.spacing}.")
    origin = None if config.origin is None else (config.origin[0], config.origin[1])
    velocity, where = to_grid(read_velocity(config.path), spec.simulation.grid, spacing=config.spacing, origin=origin)
    check_inputs(velocity, spec.survey(np.zeros((1, 2), np.float32)), spec.simulation, spec.density(velocity))
    return velocity, where
