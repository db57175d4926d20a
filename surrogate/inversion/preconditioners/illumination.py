"""Measure how much of the source's waves passes each cell: the Hessian's diagonal without the receivers' part.

    I(x) = sum_shots int p_tt(x, t)^2 dt

A change of 1 / v^2 in a cell scatters -p_tt there, so that I is the energy of what a cell can send to receivers.
Sources: C. Shin, S. Jang, D.-J. Min, "Improved amplitude preservation for prestack depth migration by inverse
scattering theory", Geophysical Prospecting 49 (2001), 592-606; R.-E. Plessix and W. A. Mulder, Geophysical Journal
International 157 (2004), 975-987.

As the wave equation does not depend on time, p_tt is the field of the second derivative of the wavelets: one forward
simulation gives it. Sampled so that nothing in its square folds back to zero frequency, the sum is the integral.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.solver.numerics.temporal_dispersion import BAND
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.checks import check_survey
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import snapshot_energy


def second_derivative(traces: Float[Array, "*batch nt"], dt: float) -> Float[Array, "*batch nt"]:
    """Differentiate traces twice in time, by differences of order 2.

    Args:
        traces: Traces `(..., nt)`, which are at rest before their first sample and do not move after their last.
        dt: Time from one sample to the next [s].

    Returns:
        The derivatives `(..., nt)`, in units of the traces' / s^2.
    """
    around = [(0, 0)] * (traces.ndim - 1)
    padded = jnp.pad(jnp.pad(traces, [*around, (1, 0)]), [*around, (0, 1)], mode="edge")
    return jnp.diff(padded, 2) / dt**2


def stride(simulation: Simulation) -> int:
    """Count the samples of the time axis from one snapshot to the next that the illumination needs.

    Args:
        simulation: The simulation.

    Returns:
        The largest number at which the square of fields up to 4 peak frequencies keeps its mean.
    """
    return max(1, int(1 / (2 * BAND * simulation.peak_frequency * simulation.time.dt)))


def source_illumination(
    velocity: Float[Array, "nz nx"],
    survey: Survey,
    simulation: Simulation,
    *,
    density: Float[Array, "nz nx"] | None = None,
    every: int | None = None,
    together: int = 1,
) -> Float[Array, "nz nx"]:
    """Sum the squared acceleration of the source's pressure over time and shots.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: The survey.
        simulation: Simulation.
        density: Density model `(nz, nx)` [kg/m^3]; None for a constant one.
        every: Samples of the time axis from one snapshot to the next; None takes `stride(simulation)`.
        together: Number of shots at a time. Each holds nt / every snapshots on the solver's cells in memory.

    Returns:
        The illumination `(nz, nx)`, relative to its largest value.

    Raises:
        InputError: If the solver cannot use the survey, its wavelets are silent, or `every` is not positive.
    """
    check_survey(survey, simulation)
    step = stride(simulation) if every is None else every
    if step < 1 or together < 1:
        raise InputError(f"Snapshots and shots at a time count from 1, but every = {step} and together = {together}.")
    steps = tuple(range(0, simulation.time.nt, step))
    recording = replace(simulation, snapshot_steps=steps, frequencies=())
    wavelets = jnp.asarray(survey.wavelets)
    if not isinstance(wavelets, Tracer) and not jnp.any(wavelets):
        raise InputError("All wavelets of the survey are zero, so that nothing is illuminated. Give them amplitudes.")
    # Divided by their amplitude before fields are squared: no unit leaves the range of float32.
    pulses = second_derivative(wavelets / jnp.max(jnp.abs(wavelets)), simulation.time.dt)
    pulses = pulses / jnp.max(jnp.abs(pulses))
    firing = survey._replace(receivers=jnp.zeros((0, 2)), wavelets=pulses)

    total = jnp.zeros(simulation.grid.shape, velocity.dtype)
    for first in range(0, survey.n_shots, together):
        shots = np.arange(first, min(first + together, survey.n_shots))
        total = total + snapshot_energy(velocity, firing.select(shots), recording, density=density)
    return total / jnp.max(total)
