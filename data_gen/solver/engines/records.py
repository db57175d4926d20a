"""Convert wavelets to what the sources add in each internal step, and what the receivers hear back to samples."""

from functools import partial
from math import ceil

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from data_gen.solver.numerics import near_field, temporal_dispersion
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.discretization import discretize, lines
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


def _images(solved: Simulation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List a point's first images in walls and the free surface, the point itself first.

    Returns:
        The signs of their fields `(n_images,)`, and along each axis the side `(n_images, 2)`, 1 or -1, and the start
        `(n_images, 2)` [cells]: an image of a point at x is at start + side x.
    """
    found = [(1.0, np.ones(2), np.zeros(2))]
    for axis, cells in enumerate(solved.grid.shape):
        low, high = solved.widths[2 * axis : 2 * axis + 2]
        free = solved.free_surface and axis == 0
        # An image in a wall lies half a cell beyond the outermost center, in a free surface about the first row.
        mirrors = [(0.0 if free else -1.0, -1.0 if free else 1.0)] if low == 0 else []
        mirrors += [(2.0 * cells - 1, 1.0)] if high == 0 else []
        along = np.arange(2) == axis
        found += [
            (sign * mirrored, np.where(along, -side, side), np.where(along, about, start))
            for about, mirrored in mirrors
            for sign, side, start in found
        ]
    signs, sides, starts = (np.array(each) for each in zip(*found, strict=True))
    return signs, sides, starts


def add_near_field(
    gathers: Float[Array, "n_shots nt n_receivers"], survey: Survey, simulation: Simulation, density: jax.Array | None
) -> Float[Array, "n_shots nt n_receivers"]:
    """Add what receivers near a source miss of its wavelet: the waves that are too short for the solver's cells.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`, as they are read.
        survey: The survey, with an axis of sources.
        simulation: The simulation, on the model's grid.
        density: Density model `(nz, nx)` [kg/m^3], or None.

    Returns:
        The gathers; as they are without the correction of temporal dispersion.
    """
    if not (simulation.time_correction and survey.n_receivers):
        return gathers
    solved, dtype = discretize(simulation, staggered=density is not None), gathers.dtype
    side, start = solved.grid.spacing, jnp.asarray([line.start for line in lines(simulation)], dtype)
    sources, receivers = ((points - start) / side for points in (survey.sources, survey.receivers))
    receivers = jnp.broadcast_to(receivers, (survey.n_shots, survey.n_receivers, 2))[:, None]
    between = partial(
        near_field.near_field,
        half_width=solved.half_width,
        response=near_field.grid_response(solved.order, solved.kappa, solved.half_width, staggered=solved.staggered),
        least_distance=near_field.LEAST_DISTANCE * simulation.grid.spacing / side,
    )
    missing = jnp.vectorize(between, signature="(d),(d)->()")
    signs, sides, starts = (jnp.asarray(each, dtype) for each in _images(solved))
    images = starts[:, None, None] + sides[:, None, None] * sources
    found = missing(images[:, :, :, None], receivers)
    factors = jnp.sum(signs[:, None, None, None] * found, axis=0)
    if density is not None:
        at_sources, at_receivers = (
            jnp.sqrt(density[tuple(jnp.moveaxis(jnp.round(points / simulation.grid.spacing).astype(int), -1, 0))])
            for points in (survey.sources, survey.receivers)
        )
        factors *= at_sources[:, :, None] * at_receivers.reshape(-1, 1, survey.n_receivers)
    # A sum of products, not a matrix product, whose rounding could depend on the batch.
    return gathers + jnp.sum(factors[:, :, None] * survey.wavelets[..., None], axis=1)


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
