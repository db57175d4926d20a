"""Measure the error of a simulation against the wave equation: its distance from a converged simulation.

The converged simulation has the same records, model and meaning of the model, on cells REFINEMENT times as small, with
differences of order 12 and without temporal dispersion. At three cells for each of ten meters it is within 5e-5 of one
that is finer still (15 Hz, 1500 to 5500 m/s; see tests/solver/test_spacing.py), so it judges errors down to 2e-4.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import Records, simulate

REFINEMENT = 3
ORDER = 12


def converged(simulation: Simulation, refinement: int = REFINEMENT) -> Simulation:
    """Describe the converged simulation of the same records.

    Args:
        simulation: The simulation.
        refinement: Cells of the converged simulation in a cell of the simulation's grid, along an axis; an odd number.

    Returns:
        The converged simulation.

    Raises:
        InputError: If the refinement is even: sources and receivers would lie between its cells.
    """
    if refinement < 1 or refinement % 2 == 0:
        raise InputError(
            f"A converged simulation divides cells by an odd number, so that points on cells stay on cells, but got "
            f"{refinement}. Take {REFINEMENT} or {REFINEMENT + 2}."
        )
    return replace(
        simulation,
        internal_spacing=simulation.grid.spacing / refinement,
        order=ORDER,
        time_correction=True,
        time_step=None,
        substeps=1,
    )


class WaveErrors(NamedTuple):
    """Hold relative L2 errors against the wave equation, of each shot; NaN for what is not recorded.

    Attributes:
        gathers: Errors of the gathers `(n_shots,)`.
        snapshots: Errors of the snapshots `(n_shots,)`.
        harmonic: Errors of the time-harmonic fields `(n_shots,)`.
    """

    gathers: np.ndarray
    snapshots: np.ndarray
    harmonic: np.ndarray


def relative_errors(records: Records, reference: Records) -> WaveErrors:
    """Compare records with those of a converged simulation.

    Args:
        records: Records of a simulation.
        reference: Records of the converged one.

    Returns:
        Their relative L2 errors, shot by shot.
    """

    def one(found, wanted) -> np.ndarray:
        found, wanted = (np.asarray(x).reshape(len(x), -1) for x in (found, wanted))
        if not wanted.shape[1]:
            return np.full(len(wanted), np.nan)
        return np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)

    return WaveErrors(*(one(found, wanted) for found, wanted in zip(records, reference, strict=True)))


def errors_against_wave_equation(
    velocity, survey: Survey, simulation: Simulation, *, density=None, refinement: int = REFINEMENT
) -> WaveErrors:
    """Measure the errors of a simulation against the wave equation.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: The survey.
        simulation: The simulation.
        density: Density model `(nz, nx)` [kg/m^3], or None.
        refinement: See `converged`.

    Returns:
        Relative L2 errors, shot by shot.

    Raises:
        InputError: See `simulate`.
    """
    # The reference in the same precision: float32 rounds off about 1e-6 of a field.
    velocity = jnp.asarray(velocity)
    reference = simulate(velocity, survey, converged(simulation, refinement), density=density)
    records = simulate(velocity, survey, simulation, density=density)
    return relative_errors(*jax.device_get((records, reference)))
