"""Put a model on the solver's grid, layers included: what multiplies the pressure's acceleration, and the buoyancies.

    1 / kappa  is cut off at the grid's limit along both axes (band_limited.py)
    1 / rho    for d/dz:  (1 / (rho cut off along z, half-way between rows)) cut off along x; for d/dx alike

as the acceleration of pressure adds up over compressibilities, that of a particle along an axis over the densities that
lie behind one another on it, and flow over the buoyancies that lie side by side: G. E. Backus, Journal of Geophysical
Research 67 (1962), 4427-4440. Models that are samples of a band-limited function, on the solver's own grid, are taken
as they are.

*The bound.* A series that is cut off overshoots, salt in water by more than salt's whole compressibility, and the time
step is stable for a smallest one, b. The neighbors, of weighted mean N, give back what a bound adds:

    m_(i+1) = m_i + e - N e,    e = max(b - m_i, 0),    and max(m_i, b) in the end

so that longer waves find what the model has. Where m is above b everywhere it stays as it is.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from data_gen.common.contraction import contract
from data_gen.solver.problem.discretization import Line, discretize, lines
from data_gen.solver.problem.edges import OWN, Edges, continued
from data_gen.solver.problem.simulation import Simulation

# The smallest density and the smallest buoyancy that are left when a model is cut off, in parts of the model's.
LEAST_DENSITY = 0.5
ROUNDS = 4  # of giving back what a bound adds: more change nothing (measured)


class Medium(NamedTuple):
    """Hold the model on the padded grid.

    Attributes:
        stiffness: `kappa dt^2`, or `v^2 dt^2` for constant density, `(mz, mx)`.
        buoyancy: `1 / rho` [m^3/kg] at the half points along each axis, `order - 1` more than cells; None for constant
            density.
        edges: The ends of the grid.
    """

    stiffness: Float[Array, "mz mx"]
    buoyancy: tuple[Float[Array, "hz mx"], Float[Array, "mz hx"]] | None
    edges: Edges = OWN


def copies_of_cells(simulation: Simulation) -> Float[np.ndarray, "nz nx"]:
    """Count the cells of the extended model that have the value of each cell: at an edge those of the layer, too.

    Args:
        simulation: The simulation, on the model's grid.

    Returns:
        The numbers, 1 inside.
    """
    rows, columns = (np.ones(line.cells) for line in lines(simulation))
    for copies, line in zip((rows, columns), lines(simulation), strict=True):
        copies[0] += line.padding[0]
        copies[-1] += line.padding[1]
    return rows[:, None] * columns


def make_medium(
    velocity: Float[Array, "nz nx"],
    density: Float[Array, "nz nx"] | None,
    simulation: Simulation,
    edges: Edges = OWN,
) -> Medium:
    """Extend samples of a model on the solver's grid into the absorbing layers by the edge values.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density model `(nz, nx)` [kg/m^3], or None.
        simulation: The simulation on the solver's grid.
        edges: The ends of the grid.

    Returns:
        The medium on the padded grid.
    """
    top, bottom, left, right = simulation.widths
    extend = partial(jnp.pad, pad_width=((top, bottom), (left, right)), mode="edge")
    stiffness = extend(velocity) ** 2 * simulation.step_length**2
    if density is None:
        return Medium(stiffness, None, edges)
    density = extend(density)
    half = simulation.order // 2

    def half_points(axis: int) -> jax.Array:
        padded = continued(density, axis, half, simulation, rigid=(True, True), sign=1)
        padded = edges.join(padded, axis, half, simulation)
        size = padded.shape[axis]
        low = lax.slice_in_dim(padded, 0, size - 1, axis=axis)
        return 2 / (low + lax.slice_in_dim(padded, 1, size, axis=axis))

    return Medium(stiffness * density, (half_points(0), half_points(1)), edges)


def _along(axis: int, matrix: np.ndarray, model: jax.Array) -> jax.Array:
    """Multiply a model by a matrix along an axis."""
    return contract(matrix, model, ("ij,jk->ik", "ij,kj->ki")[axis])


def _onto(matrices: list[np.ndarray], model: jax.Array) -> jax.Array:
    """Multiply a model by one matrix along depth and one along the surface."""
    return _along(1, matrices[1], _along(0, matrices[0], model))


def _extended(model: jax.Array, axes: tuple[Line, Line]) -> jax.Array:
    """Extend a model by its edge values over the cells that the solver's padded grid covers."""
    return jnp.pad(model, [line.padding for line in axes], mode="edge")


def projected_compressibility(velocity: Float[Array, "nz nx"], simulation: Simulation) -> Float[Array, "nz nx"]:
    """Compute what the solver's grid holds of 1 / velocity^2 at the centers of the model's grid.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        simulation: The simulation, on the model's grid.

    Returns:
        The compressibility at constant density [s^2/m^2].
    """
    if not simulation.projects:
        return velocity**-2
    axes = lines(simulation)
    series, kept = _compressibility(velocity, simulation)
    at_centers = [line.projection(simulation.medium, np.arange(line.cells) * line.spacing) for line in axes]
    added = _onto([line.interpolation for line in axes], kept - series)
    found = _onto(at_centers, _extended(velocity, axes) ** -2) + added
    return jnp.maximum(found, simulation.fastest**-2)


def _mean_of_neighbors(values: jax.Array) -> jax.Array:
    """Average over neighbors with the weights 1/4, 1/2, 1/4 along both axes, which keeps long waves."""
    for axis in (0, 1):
        padded = jnp.pad(values, [(1, 1) if axis == along else (0, 0) for along in (0, 1)], mode="edge")
        low, middle, high = (lax.slice_in_dim(padded, k, k + values.shape[axis], axis=axis) for k in range(3))
        values = (low + 2 * middle + high) / 4
    return values


def _above(bound: jax.Array | float, series: jax.Array) -> jax.Array:
    """Keep a compressibility above a bound, and what long waves find of it as it is."""
    for _ in range(ROUNDS):
        added = jnp.maximum(bound - series, 0)
        series = series + added - _mean_of_neighbors(added)
    return jnp.maximum(series, bound)


def _compressibility(velocity: jax.Array, simulation: Simulation) -> tuple[jax.Array, jax.Array]:
    """Compute what the solver's grid holds of 1 / velocity^2 in its cells, and the same above its bound."""
    axes = lines(simulation)
    onto_cells = [line.projection(simulation.medium, line.solved_centers) for line in axes]
    series = _onto(onto_cells, _extended(velocity, axes) ** -2)
    return series, _above(simulation.fastest**-2, series)


def project_medium(
    velocity: Float[Array, "nz nx"], density: Float[Array, "nz nx"] | None, simulation: Simulation
) -> Medium:
    """Put a model on the solver's padded grid as `simulation.medium` says.

    The compressibility is kept at or above that of the fastest medium that the time step is stable for
    (`simulation.fastest`), densities and buoyancies above LEAST_DENSITY of the model's smallest: a bound's derivatives
    are those of what it leaves. Where none acts the stiffness is a function of linear maps of `1 / velocity^2`.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density model `(nz, nx)` [kg/m^3], or None.
        simulation: The simulation, on the model's grid.

    Returns:
        The medium on the solver's padded grid.
    """
    solved = discretize(simulation, staggered=density is not None)
    if not simulation.projects:
        return make_medium(velocity, density, solved)
    axes = lines(simulation)
    if density is None:
        return Medium(solved.step_length**2 / _compressibility(velocity, simulation)[1], None)
    extended = partial(_extended, axes=axes)
    onto_cells = [line.projection(simulation.medium, line.solved_centers) for line in axes]
    slowness, density = extended(velocity) ** -2, extended(density)
    lightest, heaviest, half = jnp.min(density), jnp.max(density), simulation.order // 2
    compressibility = _above(simulation.fastest**-2 / heaviest, _onto(onto_cells, slowness / density))

    def buoyancy(axis: int) -> jax.Array:
        onto_faces = axes[axis].projection(simulation.medium, axes[axis].half_points(half))
        behind = jnp.maximum(_along(axis, onto_faces, density), LEAST_DENSITY * lightest)
        return jnp.maximum(_along(1 - axis, onto_cells[1 - axis], 1 / behind), LEAST_DENSITY / heaviest)

    return Medium(solved.step_length**2 / compressibility, (buoyancy(0), buoyancy(1)))
