"""Solve the acoustic wave equation in two dimensions, explicit in time, differentiable in everything.

    (1 / kappa) p_tt = div((1 / rho) grad p) + s,    kappa = rho v^2                     (variable density)
    p_tt = v^2 (laplacian p + s)                                                         (constant density)

A point source is s = w(t) delta(x - x_s), with the delta spread over one cell as 1 / spacing^2, so the field does
not depend on the grid. Sample i of every record is the pressure at `i dt`; the field rests at and before t = 0.

The solver runs on a grid and in time steps of its own (problem/discretization.py), puts the model there
(problem/medium.py), and undoes the leap-frog's dispersion in time (numerics/temporal_dispersion.py). One time step is
in engines/time_step.py. engines/choose.py chooses the time loop that repeats it: engines/scan.py, in JAX, for any
device and derivative; engines/native/, in C++, for CPUs; or engines/xla_adjoint.py, in JAX with an adjoint written out.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Complex, Float

from data_gen.solver.engines import field_sums, rules, scan
from data_gen.solver.engines.choose import choose_engine
from data_gen.solver.engines.near_source import add_near_field, fields_on_grid
from data_gen.solver.engines.records import inject, read_gathers
from data_gen.solver.problem.acquisition import Survey, locate
from data_gen.solver.problem.checks import check_inputs
from data_gen.solver.problem.discretization import discretize, lines
from data_gen.solver.problem.medium import project_medium
from data_gen.solver.problem.simulation import Simulation, field_dtype


class Records(NamedTuple):
    """Hold everything that a simulation records; pressures are in units of the wavelet.

    Attributes:
        gathers: Pressure at the receivers, `(n_shots, nt, n_receivers)`.
        snapshots: Pressure on the grid at the simulation's snapshot steps, `(n_shots, n_snapshots, nz, nx)`.
        harmonic: Fourier integrals `int p(t) exp(-i omega t) dt` on the grid at the simulation's frequencies,
            `(n_shots, n_frequencies, nz, nx)`, in units of the pressure times seconds.
    """

    gathers: Float[Array, "n_shots nt n_receivers"]
    snapshots: Float[Array, "n_shots n_snapshots nz nx"]
    harmonic: Complex[Array, "n_shots n_frequencies nz nx"]


def between_cells(values: jax.Array, simulation: Simulation) -> jax.Array:
    """Interpolate values that have no sign between the solver's cells, linearly: a series would ring below zero.

    Args:
        values: Values `(mz, mx)` on the solver's grid, layers included if it is another one.
        simulation: The simulation.

    Returns:
        Values `(nz, nx)` on the simulation's grid.
    """
    if simulation.internal_spacing is None:
        return values
    at = [(np.arange(a.cells) * a.spacing - a.solved_centers[0]) / a.solved_spacing for a in lines(simulation)]
    return map_coordinates(values, jnp.meshgrid(*at, indexing="ij"), order=1, mode="nearest")


def _solve(velocity, survey: Survey, simulation: Simulation, density) -> tuple[jax.Array, jax.Array]:
    """Run the time loop of a survey with an axis of sources: gathers, and fields on the solver's grid."""
    solved = discretize(simulation, staggered=density is not None)
    medium = project_medium(velocity, density, simulation)
    start = jnp.asarray([line.start for line in lines(simulation)], velocity.dtype)
    receivers = locate(survey.receivers - start, solved)
    injections, source_cells = inject(*locate(survey.sources - start, solved), survey.wavelets, medium, solved)
    axes = (0, 0, survey.receiver_axis, survey.receiver_axis)
    engine = choose_engine(solved, dtype=str(velocity.dtype), constant_density=density is None)
    if engine:
        propagate = partial(rules.propagate, medium.stiffness, simulation=solved, engine=engine)
        shoot = jax.vmap(propagate, in_axes=axes)
    else:
        # A copy of the model for each shot: its gradient is then summed over shots once, after the time loop.
        medium = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(injections), *leaf.shape)), medium)
        shoot = partial(jax.vmap(partial(scan.propagate, simulation=solved), in_axes=(0, *axes)), medium)
    pressures, fields = shoot(injections, source_cells, *receivers)
    return add_near_field(read_gathers(pressures, solved), survey, simulation, density), fields


def _survey(survey: Survey, dtype) -> Survey:
    """Give a survey a floating-point type and an axis of sources."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), survey).with_source_axis()


@partial(jax.jit, static_argnames="simulation")
def _simulate(velocity, survey: Survey, simulation: Simulation, density) -> Records:
    survey = _survey(survey, velocity.dtype)
    gathers, fields = _solve(velocity, survey, simulation, density)
    fields = fields_on_grid(fields, survey, simulation, density)
    return Records(gathers, *field_sums.split(fields, simulation))


@partial(jax.jit, static_argnames="simulation")
def _snapshot_energy(velocity, survey: Survey, simulation: Simulation, density) -> jax.Array:
    solved = discretize(simulation, staggered=density is not None)
    _, fields = _solve(velocity, _survey(survey, velocity.dtype), simulation, density)
    snapshots, _ = field_sums.split(fields, solved)
    return between_cells(jnp.sum(snapshots**2, axis=(0, 1)), simulation)


def snapshot_energy(velocity, survey: Survey, simulation: Simulation, *, density=None) -> Float[Array, "nz nx"]:
    """Sum the squares of all snapshots of all shots.

    They are squared on the solver's own cells, so that one sum is interpolated to the grid, and not every snapshot.

    Args:
        velocity: See `simulate`.
        survey: See `simulate`.
        simulation: See `simulate`.
        density: See `simulate`.

    Returns:
        The sum `(nz, nx)`, in the square of the pressure's unit.

    Raises:
        InputError: See `simulate`.
    """
    check_inputs(velocity, survey, simulation, density)
    velocity, density = _typed(velocity, density)
    return _snapshot_energy(velocity, survey, simulation, density)


def _typed(velocity, density) -> tuple[jax.Array, jax.Array | None]:
    """Give both models one floating-point type."""
    velocity = jnp.asarray(velocity)
    # JAX makes `jnp.full(shape, 2500.0)` weakly typed, so that 64-bit arrays would widen it; fix its type.
    velocity = velocity.astype(field_dtype(velocity))
    return velocity, None if density is None else jnp.asarray(density, velocity.dtype)


def simulate(velocity, survey: Survey, simulation: Simulation, *, density=None) -> Records:
    """Simulate every shot of a survey through one model.

    The function is pure: `jit`, `vmap`, `grad`, `jvp` and `vjp` apply over every array argument. For a batch of models
    call `jax.vmap(lambda v: simulate(v, survey, simulation))(velocities)`. Concrete inputs are checked here, once;
    traced ones are trusted.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: Sources, receivers and wavelets.
        simulation: The static part: grid, time axis, orders, boundaries, what to record.
        density: Density model `(nz, nx)` [kg/m^3]; None takes the faster path of constant density.

    Returns:
        The records, in the floating-point type of `velocity` and, for harmonic fields, its complex type; in single
        precision for models in half precision.

    Raises:
        InputError: If an input cannot be used (see `check_inputs`), or the backend cannot compute this physics.
    """
    check_inputs(velocity, survey, simulation, density)
    velocity, density = _typed(velocity, density)
    return _simulate(velocity, survey, simulation, density)
