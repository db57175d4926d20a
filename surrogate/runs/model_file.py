"""Read a velocity model from a file onto the grid of a run."""

import numpy as np

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import check_inputs
from data_gen.velocity.base.model_files import inverted, read_density, read_velocity, to_grid
from surrogate.config import RealModelConfig


def read_real(config: RealModelConfig, spec: DataSpec) -> tuple[np.ndarray, str]:
    """Read a velocity model from a file, and put a window of it on the run's grid.

    Args:
        config: File and window.
        spec: Description of the run's data set.

    Returns:
        Velocity model `(nz, nx)` [m/s], and a description of the window in words.

    Raises:
        InputError: If the file cannot be read, the window leaves the model, or the model is too fast for the run's time
            step.
    """
    assert config.path is not None
    origin = None if config.origin is None else (config.origin[0], config.origin[1])
    velocity, where = to_grid(read_velocity(config.path), spec.simulation.grid, spacing=config.spacing, origin=origin)
    check_inputs(velocity, spec.survey(spec.receivers[:1]), spec.simulation, spec.density(velocity))
    return velocity, where


def read_real_density(path: str | None, config: RealModelConfig, spec: DataSpec) -> np.ndarray | None:
    """Read the density of a true model from a file, in the window of its velocity.

    Args:
        path: Path of the file, or None.
        config: File of the velocity, and window.
        spec: Description of the data, with density by a rule.

    Returns:
        Density `(nz, nx)` [kg/m^3], or None if no file is given.

    Raises:
        InputError: If the file cannot be read, the window leaves it, or the data have constant density.
    """
    if path is None:
        return None
    if config.path is None or not spec.gardner:
        raise InputError(
            "real_density is the density of the model real.path, where data.density=gardner prepares the solver for "
            "density. Give both, or leave it out."
        )
    origin = None if config.origin is None else (config.origin[0], config.origin[1])
    file = inverted(read_density(path))
    return 1 / to_grid(file, spec.simulation.grid, spacing=config.spacing, origin=origin)[0]
