"""Simulate one model over many devices: the solver's own step on slabs of rows that swap their outermost rows.

    p_{n+1} = 2 p_n - p_{n-1} + m (L p)_n + q_n         on the rows z_d .. z_{d+1} of device d

L reaches `order / 2` rows beyond a slab (`order - 1` for variable density), which the two neighbors send before every
application of it. Source of the pattern: F. B. Kjolstad and M. Snir, "Ghost cell pattern", Proc. ParaPLoP 2010.

The split is in depth: rows lie one after the other in memory, so one block is sent. Every device runs the
same program on `nz / devices` rows of the model between a layer above and one below. These layers are the model's own
on the first and the last slab; on all others their cells have no stiffness and rest: the price of one program is
`widths[0] + widths[1]` more rows per device. No array as large as the model is ever on one device, except for a model
of constant cells (`medium="cells"`) while its series is cut off, before the time loop.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from data_gen.common.errors import InputError
from data_gen.solver.engines import field_sums, scan
from data_gen.solver.engines.near_source import add_near_field, fields_on_grid
from data_gen.solver.engines.records import inject, read_gathers
from data_gen.solver.many_shots import device_mesh
from data_gen.solver.numerics.cpml import Profile, Strip
from data_gen.solver.problem.acquisition import Survey, locate
from data_gen.solver.problem.checks import check_inputs
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.edges import Edges
from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.medium import Medium, make_medium, project_medium
from data_gen.solver.problem.simulation import Simulation, field_dtype
from data_gen.solver.simulator import Records

AXIS = "slab"
MODEL, FIELDS = P(AXIS, None), P(None, None, AXIS, None)


def slab_mesh(devices=None) -> Mesh:
    """Make a mesh of slabs, top to bottom.

    Args:
        devices: The devices; None takes all, those of other processes too.

    Returns:
        A mesh for `simulate_sharded`.
    """
    return device_mesh(AXIS, devices)


@jax.tree_util.register_static
@dataclass(frozen=True)
class SlabEdges(Edges):
    """Define a slab's ends in depth: the model's own on the first and the last slab, neighbors elsewhere.

    The rows of the padded slab are `widths[0]` of the upper layer, the slab's own, and `widths[1]` of the lower layer.

    Attributes:
        slabs: Number of slabs.
    """

    slabs: int

    @property
    def ends(self) -> tuple[jax.Array, jax.Array]:
        """Whether this slab is the first, and the last."""
        index = lax.axis_index(AXIS)
        return index == 0, index == self.slabs - 1

    def join(self, padded: jax.Array, axis: int, cells: int, simulation: Simulation) -> jax.Array:
        """See `Edges.join`. Neighbors send their outermost rows."""
        if axis != 0:
            return padded
        start, count = simulation.widths[0] + cells, simulation.grid.shape[0]
        stop, down = start + count, [(i, i + 1) for i in range(self.slabs - 1)]
        above = lax.ppermute(padded[stop - cells : stop], AXIS, down)
        below = lax.ppermute(padded[start : start + cells], AXIS, [(to, of) for of, to in down])
        first, last = self.ends
        above = jnp.where(first, padded[start - cells : start], above)
        below = jnp.where(last, padded[stop : stop + cells], below)
        return jnp.concatenate([padded[: start - cells], above, padded[start:stop], below, padded[stop + cells :]])

    def profile(self, strip: Strip, simulation: Simulation, **placement) -> Profile:
        """See `Edges.profile`. Layers within the model absorb nothing."""
        a, b = super().profile(strip, simulation, **placement)
        return Profile(a, b * self.ends[strip.high]) if strip.axis == 0 else Profile(a, b)

    def owns(self, row: Int[Array, "..."], simulation: Simulation) -> Bool[Array, "..."]:
        """Tell which rows of the padded slab are this slab's: its own and, at the model's ends, the layers'.

        Args:
            row: Numbers of rows.
            simulation: The simulation of one slab.

        Returns:
            Whether each is, of the same shape.
        """
        start, (first, last) = simulation.widths[0], self.ends
        return (row >= jnp.where(first, 0, start)) & (
            row < start + simulation.grid.shape[0] + jnp.where(last, simulation.widths[1], 0)
        )


def _slab(simulation: Simulation, slabs: int) -> Simulation:
    """Make the simulation of one slab, which has fewer rows."""
    nz, nx = simulation.grid.shape
    return replace(simulation, grid=Grid((nz // slabs, nx), simulation.grid.spacing))


def _locate(
    positions: Float[Array, "*points 2"], edges: SlabEdges, simulation: Simulation
) -> tuple[Int[Array, "*points k"], Float[Array, "*points k"]]:
    """Find the cells of the padded slab that points touch, and their weights, which are zero for other slabs' cells."""
    cells, weights = locate(positions, simulation)
    slab, columns = _slab(simulation, edges.slabs), simulation.padded_shape[1]
    row = cells // columns - lax.axis_index(AXIS) * slab.grid.shape[0]
    here = edges.owns(row, slab)
    return jnp.where(here, row * columns + cells % columns, 0), jnp.where(here, weights, 0)


def _slabs_of(medium: Medium, simulation: Simulation, slabs: int) -> Medium:
    """Cut a medium on the whole padded grid into the padded slabs, one below the other."""
    own = simulation.grid.shape[0] // slabs
    rows = _slab(simulation, slabs).padded_shape[0]

    def cut(values: jax.Array) -> jax.Array:
        size = rows + values.shape[0] - simulation.padded_shape[0]  # half points are more than cells
        return jnp.concatenate([values[d * own : d * own + size] for d in range(slabs)])

    return jax.tree.map(cut, medium)


def _simulate_slab(
    velocity, density, medium: Medium | None, survey: Survey, simulation: Simulation, edges: SlabEdges
) -> tuple[jax.Array, jax.Array]:
    """Simulate every shot on this device's rows: the whole gathers, and this slab of the fields."""
    slab = _slab(simulation, edges.slabs)
    medium = make_medium(velocity, density, slab, edges) if medium is None else medium._replace(edges=edges)
    here = edges.owns(jnp.arange(slab.padded_shape[0])[:, None], slab)
    medium = medium._replace(stiffness=jnp.where(here, medium.stiffness, 0))
    receivers = _locate(survey.receivers, edges, simulation)
    injections, source_cells = inject(*_locate(survey.sources, edges, simulation), survey.wavelets, medium, simulation)
    axes = (None, 0, 0, survey.receiver_axis, survey.receiver_axis)
    shoot = jax.vmap(partial(scan.propagate, simulation=slab), in_axes=axes)
    gathers, fields = shoot(medium, injections, source_cells, *receivers)
    # Each receiver's cells may lie on two slabs: its trace is the sum of both parts.
    return lax.psum(read_gathers(gathers, simulation), AXIS), fields


@partial(jax.jit, static_argnames=("simulation", "mesh"))
def _simulate(velocity, density, survey: Survey, simulation: Simulation, mesh: Mesh) -> Records:
    survey = jax.tree.map(lambda leaf: leaf.astype(velocity.dtype), survey).with_source_axis()
    solved, slabs, medium = discretize(simulation, staggered=density is not None), mesh.shape[AXIS], None
    if simulation.medium == "cells":
        medium = _slabs_of(project_medium(velocity, density, simulation), solved, slabs)
    run = jax.shard_map(
        partial(_simulate_slab, simulation=solved, edges=SlabEdges(slabs)),
        mesh=mesh,
        in_specs=(MODEL, MODEL, MODEL, P()),
        out_specs=(P(), FIELDS),
        check_vma=False,  # the loop's fields start from zeros, which are the same on all devices, and do not stay so
    )
    gathers, fields = run(velocity, density, medium, survey)
    fields = fields_on_grid(fields, survey, simulation, density)
    return Records(add_near_field(gathers, survey, simulation, density), *field_sums.split(fields, simulation))


def check_mesh(simulation: Simulation, mesh: Mesh) -> None:
    """Check that a model divides into equal slabs that are thick enough, and that slabs can compute the simulation.

    Args:
        simulation: The simulation of the whole model.
        mesh: A mesh of `slab_mesh`.

    Raises:
        InputError: If not.
    """
    if AXIS not in mesh.shape:
        raise InputError(
            f"A model is split over a mesh axis named {AXIS!r}, but this mesh has {tuple(mesh.shape)}. "
            "Make one by data_gen.solver.many_devices.slab_mesh()."
        )
    if simulation.internal_spacing is not None:
        raise InputError(
            "A model split over devices is solved on its own cells, but internal_spacing is "
            f"{simulation.internal_spacing:g} m. Leave it out."
        )
    memory = simulation.memory
    if simulation.backend == "native" or memory.strategy == "boundary" or memory.precision != "same":
        raise InputError(
            "A model split over devices runs through XLA, and its gradient keeps or recomputes every step, but the "
            f"simulation asks for backend={simulation.backend!r} and {memory}. Choose backend='auto' or 'xla', and "
            "Memory('recompute') or Memory('full')."
        )
    (nz, _), slabs, order = simulation.grid.shape, mesh.shape[AXIS], simulation.order
    if nz % slabs or (slabs > 1 and nz // slabs < order):
        counts = [n for n in range(2, nz // order + 1) if nz % n == 0]
        rows = max(order, -(-nz // slabs)) * slabs
        raise InputError(
            f"A model must divide into equal slabs of at least {order} rows (the order in space), but it has {nz} rows "
            f"and the mesh {slabs} devices. Take {rows} rows"
            f"{', or as many devices as one of ' + str(counts) if counts else ', or one device'}."
        )


def _spans_processes(model) -> bool:
    return isinstance(model, jax.Array) and not isinstance(model, Tracer) and not model.is_fully_addressable


def simulate_sharded(velocity, survey: Survey, simulation: Simulation, mesh: Mesh, *, density=None) -> Records:
    """Simulate every shot with the model split in depth over devices: the numbers of `simulate`, to rounding.

    Arrays already split by rows over the mesh stay where they are; all others are sent there slab by slab. The function
    is pure: `jit`, `grad`, `jvp` and `vjp` apply over every array argument, and `vmap` over the survey's. Shots run
    at the same time, each with its own state; where memory is short, take one shot at a time and add the gradients.
    Traced inputs are trusted, as are models of which other processes hold a part.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: Sources, receivers and wavelets.
        simulation: The simulation of the whole model.
        mesh: A mesh of `slab_mesh`.
        density: Density model `(nz, nx)` [kg/m^3], or None for constant density.

    Returns:
        The records. Gathers are on every device; fields are split by rows, as gradients by split models are.

    Raises:
        InputError: If an input cannot be used (see `check_mesh`, `check_inputs`).
    """
    check_mesh(simulation, mesh)
    models = (velocity, density)
    if any(map(_spans_processes, models)):
        jax.eval_shape(lambda v, d: check_inputs(v, survey, simulation, d), *models)
    else:
        check_inputs(velocity, survey, simulation, density)
    dtype = field_dtype(velocity)

    def spread(model):
        # From the host in its own type: a JAX array made first would be whole on one device.
        model = model if isinstance(model, jax.Array) else np.asarray(model)
        return jax.device_put(model.astype(dtype), NamedSharding(mesh, MODEL))

    return _simulate(spread(velocity), None if density is None else spread(density), survey, simulation, mesh)
