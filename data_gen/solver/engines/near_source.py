"""Mend what records hold near sources, where no grid has all waves of the field; see numerics/near_field.py."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from data_gen.common.by_itself import by_itself
from data_gen.common.contraction import contract
from data_gen.solver.engines import field_sums
from data_gen.solver.numerics import near_field
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.discretization import discretize, lines
from data_gen.solver.problem.simulation import Simulation


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


def _images_of(
    sources: Float[Array, "n_shots n_sources 2"], simulation: Simulation, solved: Simulation
) -> tuple[Float[Array, "n_images n_shots n_sources 2"], Float[np.ndarray, " n_images"]]:
    """Place sources and their images in the solver's cells, and tell the signs of their fields."""
    signs, sides, starts = _images(solved)
    start = jnp.asarray([line.start for line in lines(simulation)], sources.dtype)
    cells = (sources - start) / simulation.solved_spacing
    sides, starts = (jnp.asarray(each[:, None, None], sources.dtype) for each in (sides, starts))
    return starts + sides * cells, signs


def _response(solved: Simulation) -> Float[np.ndarray, "n n"]:
    return near_field.grid_response(solved.order, solved.kappa, solved.half_width, staggered=solved.staggered)


def _nearest(density: Float[Array, "nz nx"], points: Float[Array, "*n 2"], simulation: Simulation) -> jax.Array:
    """Read a density model at the cells nearest to points."""
    return density[tuple(jnp.moveaxis(jnp.round(points / simulation.grid.spacing).astype(int), -1, 0))]


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
    solved, side = discretize(simulation, staggered=density is not None), simulation.solved_spacing
    start = jnp.asarray([line.start for line in lines(simulation)], gathers.dtype)
    receivers = (survey.receivers - start) / side
    receivers = jnp.broadcast_to(receivers, (survey.n_shots, survey.n_receivers, 2))[:, None]
    between = partial(
        near_field.near_field,
        half_width=solved.half_width,
        response=_response(solved),
        least_distance=near_field.LEAST_DISTANCE * simulation.grid.spacing / side,
    )
    missing = jnp.vectorize(between, signature="(d),(d)->()")
    images, signs = _images_of(survey.sources, simulation, solved)
    factors = jnp.sum(
        signs.astype(gathers.dtype)[:, None, None, None] * missing(images[:, :, :, None], receivers), axis=0
    )
    if density is not None:
        at_sources, at_receivers = (
            _nearest(density, points, simulation) for points in (survey.sources, survey.receivers)
        )
        factors *= jnp.sqrt(at_sources[:, :, None] * at_receivers.reshape(-1, 1, survey.n_receivers))
    # A sum of products, not a matrix product, whose rounding could depend on the batch.
    return gathers + jnp.sum(factors[:, :, None] * survey.wavelets[..., None], axis=1)


def _interpolate(fields: jax.Array, simulation: Simulation) -> jax.Array:
    """Interpolate fields `(..., mz, mx)` from the solver's grid to the simulation's."""
    if simulation.internal_spacing is None:
        return fields
    rows, columns = (line.interpolation for line in lines(simulation))
    return contract(columns, contract(rows, fields, "ij,jk->ik"), "ij,kj->ki")


def fields_on_grid(
    fields: Float[Array, "n_shots n_fields mz mx"], survey: Survey, simulation: Simulation, density: jax.Array | None
) -> Float[Array, "n_shots n_fields nz nx"]:
    """Interpolate recorded fields from the solver's grid to the simulation's, but for the peaks at sources.

    There they are as in the plane, whatever the solver's cells are; as those have them without the correction of
    temporal dispersion.

    Args:
        fields: Fields that an engine returns, layers included if the solver's grid is another one.
        survey: The survey, with an axis of sources.
        simulation: The simulation, on the model's grid.
        density: Density model `(nz, nx)` [kg/m^3], or None.

    Returns:
        The fields.
    """
    if not (simulation.time_correction and fields.shape[1]):
        return _interpolate(fields, simulation)
    solved, side = discretize(simulation, staggered=density is not None), simulation.solved_spacing
    images, signs = _images_of(survey.sources, simulation, solved)
    first = np.array(solved.widths[::2]) if solved.record_layers else np.zeros(2)
    rows, columns = (
        (np.arange(line.cells) * line.spacing - line.start) / side + layer
        for line, layer in zip(lines(simulation), first, strict=True)
    )
    wavelets = contract(field_sums.of_wavelets(simulation), survey.wavelets, "ij,i->j")
    if density is not None:
        wavelets *= _nearest(density, survey.sources, simulation)[..., None]
    # Sources and their images are one list for each shot.
    places = jnp.moveaxis(images + jnp.asarray(first, images.dtype), 0, 1)
    factors = jnp.asarray(signs, images.dtype)[:, None, None] * wavelets[:, None]
    places, factors = (lax.collapse(each, 1, 3) for each in (places, factors))

    def peaks(of_one: Callable[[jax.Array], jax.Array], shape: tuple[int, int]) -> jax.Array:
        def of_shot(places, factors):
            def add(total, one):
                place, factor = one
                return total + factor[:, None, None] * of_one(place), None

            return lax.scan(add, jnp.zeros((factors.shape[1], *shape), factors.dtype), (places, factors))[0]

        return jax.vmap(by_itself(of_shot))(places, factors)

    (mz, mx), width, response = fields.shape[-2:], solved.half_width, _response(solved)
    least = near_field.LEAST_DISTANCE * simulation.grid.spacing / side
    on_cells = partial(near_field.peak_on_cells, shape=(mz, mx), half_width=width, response=response)
    at_points = partial(near_field.peak_at_points, points=(rows, columns), half_width=width, least_distance=least)
    fields = _interpolate(fields - peaks(on_cells, (mz, mx)), simulation)
    return fields + peaks(at_points, (len(rows), len(columns)))
