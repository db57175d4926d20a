"""Convert wavelets to what the sources add in each internal step, and what the receivers hear back to samples."""

from math import ceil

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from data_gen.solver.numerics import temporal_dispersion
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.problem.medium import Medium
from data_gen.solver.problem.simulation import Simulation


def fire(wavelets: Float[Array, "*shots nt"], simulation: Simulation) -> Float[Array, "*shots steps"]:
    """Compute the values with which wavelets fire in the internal steps.

    Args:
        wavelets: Wavelets `(..., nt)`.
        simulation: The simulation.

    Returns:
        Values `(..., steps)`.
    """
    if not simulation.time_correction:
        return upsample(wavelets, simulation.substeps)
    time, dt, peak = simulation.time, simulation.step_length, simulation.peak_frequency
    # A wavelet that the end of the record cuts off goes on as in resampling.py: its jump would fire before it, too.
    more = min(time.nt - 1, ceil(temporal_dispersion.RESPONSE / (peak * time.dt)))
    beyond = [(0, 0)] * (wavelets.ndim - 1) + [(0, more)]
    continued = jnp.pad(wavelets, beyond, mode="reflect", reflect_type="odd")
    windows = temporal_dispersion.firing(time.dt, time.nt + more, dt, simulation.steps, peak)
    return temporal_dispersion.trigger(windows).apply_to_last(continued)


def read_gathers(
    pressures: Float[Array, "n_shots gather_steps n_receivers"], simulation: Simulation
) -> Float[Array, "n_shots nt n_receivers"]:
    """Read gathers at the samples of the time axis from the pressures of every `gather_stride`-th internal step.

    Args:
        pressures: Pressures `(n_shots, gather_steps, n_receivers)`.
        simulation: The simulation.

    Returns:
        Gathers `(n_shots, nt, n_receivers)`.
    """
    if not simulation.time_correction:
        return pressures
    times, dt, count = tuple(simulation.time.times), simulation.step_length, simulation.gather_steps
    windows = temporal_dispersion.reading(times, dt, simulation.gather_stride, count, simulation.peak_frequency)
    return temporal_dispersion.reader(windows).apply(pressures)


def inject(
    cells: Int[Array, "n_shots n_sources k"],
    weights: Float[Array, "n_shots n_sources k"],
    wavelets: Float[Array, "n_shots n_sources nt"],
    medium: Medium,
    simulation: Simulation,
) -> tuple[Float[Array, "n_shots steps cells"], Int[Array, "n_shots cells"]]:
    """Compute the additions of each shot's sources to the pressure in each internal step.

    Sources that fire in one shot are one list of cells: where two touch a cell, it is there twice.

    Args:
        cells: Numbers of the cells that each source touches `(n_shots, n_sources, k)`.
        weights: Weights of these cells `(n_shots, n_sources, k)`.
        wavelets: Wavelets `(n_shots, n_sources, nt)`.
        medium: The medium.
        simulation: The simulation.

    Returns:
        Changes of the pressure `(n_shots, steps, n_sources k)`, and the numbers of their cells
        `(n_shots, n_sources k)`.
    """
    strengths = medium.stiffness.ravel()[cells] * weights / simulation.grid.spacing**2
    changes = jnp.swapaxes(fire(wavelets, simulation), 1, 2)[..., None] * strengths[:, None]
    return lax.collapse(changes, 2), lax.collapse(cells, 1)
