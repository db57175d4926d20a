"""The acoustic wave equation in two dimensions, explicit in time, differentiable in everything.

    (1 / kappa) p_tt = div((1 / rho) grad p) + s,    kappa = rho v^2                     (variable density)
    p_tt = v^2 (laplacian p + s)                                                         (constant density)

A point source is s = w(t) delta(x - x_s), with the delta spread over one cell as 1 / spacing^2, so the field does
not depend on the grid. Sample i of every record is the pressure at `i dt`; the field rests at and before t = 0.

One step is in propagator.py. backend.py says which time loop runs it: loop.py, in JAX, for any device and derivative;
native/, in C++, for CPUs; or reversal.py, in JAX with an adjoint written out.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from data_gen.solver.engines import coupled
from data_gen.solver.engines import fourier_sums as harmonic
from data_gen.solver.engines import rules as derivatives
from data_gen.solver.engines import scan as loop
from data_gen.solver.engines.choose import choose_engine
from data_gen.solver.engines.time_step import make_medium
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.problem.acquisition import Survey, point_cells
from data_gen.solver.problem.checks import check_inputs
from data_gen.solver.problem.simulation import Simulation


class Records(NamedTuple):
    """gathers: pressure at the receivers. snapshots: pressure on the grid at the snapshot steps.

    harmonic: `int p(t) exp(-i omega t) dt` on the grid at the simulation's frequencies, times seconds.
    """

    gathers: Float[Array, "n_sources nt n_receivers"]
    snapshots: Float[Array, "n_sources n_snapshots nz nx"]
    harmonic: Complex[Array, "n_sources n_frequencies nz nx"]


def injections_of(wavelets: jax.Array, strengths: jax.Array, simulation: Simulation) -> jax.Array:
    """What each source adds to the pressure at its cells in each internal step, `(n_sources, steps, k)`."""
    fine = upsample(wavelets, simulation.substeps)
    if simulation.time_order == 4:
        # dt^2 s_tt / 12, the source's part of the modified equation; the wavelet rests before its first sample.
        padded = jnp.pad(fine, ((0, 0), (1, 0)))
        padded = jnp.concatenate([padded, 2 * fine[:, -1:] - padded[:, -2:-1]], axis=1)
        fine = fine + (padded[:, 2:] - 2 * fine + padded[:, :-2]) / 12
    return fine[:, :, None] * strengths[:, None, :]


@partial(jax.jit, static_argnames="simulation")
def _simulate(velocity, survey: Survey, simulation: Simulation, density, coupling) -> Records:
    survey = jax.tree.map(lambda leaf: leaf.astype(velocity.dtype), survey)
    medium = make_medium(velocity, density, simulation, coupling=coupling)
    locate = jax.vmap(partial(point_cells, simulation=simulation))
    source_cells, source_weights = locate(survey.sources)
    receiver_cells, receiver_weights = locate(survey.receivers)
    strengths = medium.stiffness.ravel()[source_cells] * source_weights / simulation.grid.spacing**2
    injections = injections_of(survey.wavelets, strengths, simulation)
    engine = choose_engine(simulation, constant_density=density is None, coupled=coupling is not None)
    if engine and medium.coupling is not None:
        propagate = partial(coupled.propagate, medium.stiffness, medium.coupling, simulation=simulation)
        shoot = jax.vmap(propagate, in_axes=(0, 0, None, None))
    elif engine:
        propagate = partial(derivatives.propagate, medium.stiffness, simulation=simulation, engine=engine)
        shoot = jax.vmap(propagate, in_axes=(0, 0, None, None))
    else:
        # A copy of the model for each shot: its gradient is then summed over shots once, after the time loop.
        medium = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(injections), *leaf.shape)), medium)
        shoot = partial(jax.vmap(partial(loop.propagate, simulation=simulation), in_axes=(0, 0, 0, None, None)), medium)
    gathers, fields = shoot(injections, source_cells, receiver_cells, receiver_weights)
    # The field of a band-limited wavelet is band-limited: taking every n-th sample folds nothing back.
    return Records(gathers[:, :: simulation.substeps], *harmonic.split(fields, simulation))


def simulate(velocity, survey: Survey, simulation: Simulation, *, density=None, coupling=None) -> Records:
    """Simulate every shot of a survey through one model.

    velocity: `(nz, nx)` [m/s]. density: `(nz, nx)` [kg/m^3], or None for the faster constant-density path.
    coupling: `(3, 3, nz, nx)`, where the model that the velocity stands for is finer than the grid; see subgrid.py.
    Returns gathers `(n_sources, nt, n_receivers)` and snapshots `(n_sources, n_snapshots, nz, nx)` in the dtype
    of `velocity`, and harmonic fields `(n_sources, n_frequencies, nz, nx)` in its complex one. Pure: `jit`, `vmap`,
    `grad`, `jvp` and `vjp` apply, over every array argument. Batches of models:
    `jax.vmap(lambda v: simulate(v, survey, simulation))(velocities)`.

    Raises `InputError` for bad inputs (see `check_inputs`); traced inputs are trusted.
    """
    check_inputs(velocity, survey, simulation, density, coupling)
    velocity = jnp.asarray(velocity)
    # Of a type that nothing widens: JAX makes `jnp.full(shape, 2500.0)` of one that gives way to 64 bits.
    velocity = velocity.astype(velocity.dtype if jnp.issubdtype(velocity.dtype, jnp.floating) else float)
    density = None if density is None else jnp.asarray(density, velocity.dtype)
    return _simulate(velocity, survey, simulation, density, coupling)
