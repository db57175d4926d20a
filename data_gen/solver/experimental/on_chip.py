"""Run the solver's recursion as one GPU kernel that keeps a small grid on chip for the whole simulation.

    p_{n+1} = 2 p_n - p_{n-1} + v^2 dt^2 (D_zz p + V_z psi_z + zeta_z + D_xx p + V_x psi_x + zeta_x) + q_n
    psi = a psi + b W p,    zeta = c zeta + d (DD p + V psi),    V = -W^T     (CPML; b = d = 0 off its layers)

One thread block per shot (and per model, under `vmap`) takes all the steps: it reads the model and the wavelet, writes
the traces, and never pays the 16 bytes per cell and step of a leap-frog through global memory. Values that neighbors
read are in shared memory, values that only their own cell reads are in registers. A row of up to 128 cells is a vector
of 128:

    shared      512 (mz + order) bytes each for p, psi_z and psi_x            (psi only along axes with a layer)
    registers   512 mz bytes each for p_{n-1}, v^2 dt^2, zeta_z and zeta_x    (zeta likewise)

70 x 70 cells in layers of 20 at order 4 take 174 of the 227 KB of shared memory of an H100's multiprocessor, and 224
of its 256 KB of registers.

Only one of Pallas' two GPU backends, Mosaic (Hopper and later), has shared memory to allocate and a barrier for the
block.
"""

from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.solver.engines.near_source import add_near_field
from data_gen.solver.engines.records import fire, read_gathers
from data_gen.solver.engines.time_step import factor_placement
from data_gen.solver.numerics.cpml import strips
from data_gen.solver.numerics.stencils import factor_weights, second_derivative, second_derivative_weights
from data_gen.solver.problem.acquisition import Survey, locate
from data_gen.solver.problem.checks import check_inputs
from data_gen.solver.problem.edges import halo, strip_profile
from data_gen.solver.problem.medium import project_medium
from data_gen.solver.problem.simulation import Simulation

# A warpgroup, Mosaic's unit of execution, is 128 threads: one column of cells each. With four of them ptxas spills 24
# of the 112 numbers that a thread keeps of the 110 x 110 cells above (order 4, sm_90a); with three, 14 of 148.
LANES, WARPGROUPS = 128, 4
# Resources of one block on one multiprocessor of an H100. Each array starts a unit of shared memory, the barrier too.
SHARED_BYTES, REGISTER_BYTES, SHARED_UNIT = 227 * 1024, 256 * 1024, 1024


class ChipLayout(NamedTuple):
    """Lay the padded grid out on the chip: each warpgroup owns some rows of LANES cells.

    A field in shared memory is flat, with `half` more rows above and below. Cells beyond the grid have no stiffness
    and stay zero, as the field beyond an absorbing layer is.

    Attributes:
        groups: Number of warpgroups.
        rows: Rows of each warpgroup.
        stride: Numbers from one row of a field to the next.
        half: Half the order in space.
        layered_axes: Axes with absorbing layers.
    """

    groups: int
    rows: int
    stride: int
    half: int
    layered_axes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Count of numbers in one field in shared memory: whole vectors for each warpgroup."""
        cells, vectors = (self.groups * self.rows + 2 * self.half) * self.stride, self.groups * LANES
        return -(-cells // vectors) * vectors

    def at(self, row, column):
        """Find the place of a cell in a flat field.

        Args:
            row: The cell's row.
            column: The cell's column.

        Returns:
            The index.
        """
        return (row + self.half) * self.stride + column


class Inputs(NamedTuple):
    """Hold what the kernel reads from global memory.

    Attributes:
        stiffness: `v^2 dt^2` `(groups rows, LANES)`.
        z_profile: The a, b, c and d of the CPML along z, `(4, groups rows)`, zero off the layers.
        x_profile: The same along x, `(4, LANES)`.
        x_weights: Weights of D_xx, `(2 half + 1, LANES)`.
        source_rows: Rows of the sources' cells `(n_shots, n_sources, k)`.
        strengths: Additions to these rows by a unit of the wavelet, `(n_shots, n_sources, k, LANES)`.
        wavelets: Wavelets `(n_shots, n_sources, steps)`.
        cells: Places of the receivers' cells in a flat field, `(n_spreads, n_receivers, j)`; one spread for all shots,
            or one for each.
        weights: Weights of these cells `(n_spreads, n_receivers, j)`.
    """

    stiffness: Any
    z_profile: Any
    x_profile: Any
    x_weights: Any
    source_rows: Any
    strengths: Any
    wavelets: Any
    cells: Any
    weights: Any


def make_layout(simulation: Simulation, groups: int) -> ChipLayout:
    """Lay one shot out.

    Args:
        simulation: The simulation.
        groups: Number of warpgroups.

    Returns:
        The layout.

    Raises:
        InputError: If the state of a shot is too large for one multiprocessor.
    """
    (mz, mx), half = simulation.padded_shape, simulation.order // 2
    axes = tuple(sorted({strip.axis for strip in strips(simulation.widths)}))
    layout = ChipLayout(groups, -(-mz // groups), max(LANES, mx + half), half, axes)
    shared = SHARED_UNIT * (1 + (1 + len(axes)) * -(-4 * layout.size // SHARED_UNIT))
    registers = 4 * groups * layout.rows * LANES * (2 + len(axes))
    if mx > LANES or shared > SHARED_BYTES or registers > REGISTER_BYTES:
        raise InputError(
            f"One shot must fit on one multiprocessor, in rows of at most {LANES} cells, but {mz} x {mx} cells (layers "
            f"included) at order {simulation.order} take {shared} bytes of shared memory and {registers} bytes of "
            f"registers, of {SHARED_BYTES} and {REGISTER_BYTES}. Use simulate, a smaller grid or thinner layers."
        )
    return layout


def _stencils(simulation: Simulation) -> tuple[list[float], list[float], list[float]]:
    """Compute weights of W, -W^T and the second derivative on a cell and its `half` neighbors on each side."""
    factor = [w / simulation.grid.spacing for w in factor_weights(simulation.order, simulation.kappa)]
    nothing = [0.0] * (simulation.order // 2)
    second = [c / simulation.grid.spacing**2 for c in second_derivative_weights(simulation.order, simulation.kappa)]
    lower, higher = [*factor[::-1], *nothing], [*nothing, *(-w for w in factor)]
    return lower, higher, [*second[::-1], -2 * sum(second), *second]


def _walled_weights(simulation: Simulation, layout: ChipLayout) -> jax.Array:
    """Compute weights of the second derivative along x for each column, the walls' mirror images folded in."""
    columns, half = np.arange(simulation.padded_shape[1]), layout.half
    padded = halo(jnp.eye(len(columns)), 1, half, simulation)
    matrix = jnp.pad(
        second_derivative(padded, 1, simulation.order, simulation.grid.spacing, simulation.kappa),
        ((half, half), (0, 0)),
    )
    band = matrix[columns + np.arange(2 * half + 1)[:, None], columns]
    return jnp.pad(band, ((0, 0), (0, LANES - len(columns)))).astype(jnp.float32)


def _profiles(simulation: Simulation, layout: ChipLayout) -> list[np.ndarray]:
    tables = [np.zeros((4, size), np.float32) for size in (layout.groups * layout.rows, LANES)]
    for strip in strips(simulation.widths):
        psi = strip_profile(strip, simulation, **factor_placement(strip, simulation))
        for row, values in enumerate((*psi, *strip_profile(strip, simulation))):
            start = simulation.padded_shape[strip.axis] - values.size if strip.high else 0
            tables[strip.axis][row, start : start + values.size] = values.ravel()
    return tables


def _weighted(weights: list, values: list):
    return reduce(add, [w * v for w, v in zip(weights, values, strict=True) if not (isinstance(w, float) and w == 0)])


class _Warpgroup:
    """Do one warpgroup's work on its rows. Column c of every row and field is thread c's."""

    def __init__(self, refs, simulation: Simulation, layout: ChipLayout, shot, index):
        self.simulation, self.layout, self.shot, self.index = simulation, layout, shot, index
        count = len(Inputs._fields)
        self.inputs, (self.gathers, self.pressure, *rest) = Inputs(*refs[:count]), refs[count:]
        self.psi = {axis: rest.pop(0) for axis in layout.layered_axes}
        self.barrier = rest.pop() if rest else None
        self.rows = [index * layout.rows + i for i in range(layout.rows)]
        self.stiffness = [self.inputs.stiffness[row] for row in self.rows]
        self.x_profile = [self.inputs.x_profile[k] for k in range(4)]
        self.lower, self.higher, curvature = _stencils(simulation)
        walled = [self.inputs.x_weights[k] for k in range(len(curvature))] if 0 in simulation.widths[2:] else curvature
        self.curvature = (curvature, walled)

    def wait(self):
        """Wait until all warpgroups are here: each then sees what the others wrote."""
        if self.barrier is not None:
            plgpu.barrier_arrive(self.barrier)
            plgpu.barrier_wait(self.barrier)

    def place(self, row, column=0):
        return pl.ds(self.layout.at(row, column), LANES)

    def along(self, axis: int, field, row) -> list:
        """Read a row and its neighbors along an axis."""
        shifts = range(-self.layout.half, self.layout.half + 1)
        return [field[self.place(row + k) if axis == 0 else self.place(row, k)] for k in shifts]

    def profile(self, axis: int, row) -> list:
        return self.x_profile if axis else [self.inputs.z_profile[k, row] for k in range(4)]

    def clear(self):
        for field in [self.pressure, *self.psi.values()]:
            for start in range(0, self.layout.size, self.layout.groups * LANES):
                field[pl.ds(start + self.index * LANES, LANES)] = jnp.zeros(LANES, jnp.float32)

    def remember(self):
        """Advance psi, from the pressure."""
        for axis, psi in self.psi.items():
            for row in self.rows:
                (a, b, *_), here = self.profile(axis, row), self.place(row)
                psi[here] = a * psi[here] + b * _weighted(self.lower, self.along(axis, self.pressure, row))

    def record(self, n):
        cells, weights, groups = self.inputs.cells, self.inputs.weights, self.layout.groups
        spread = self.shot if cells.shape[0] > 1 else 0

        def receiver(i, _):
            r = i * groups + self.index
            terms = [weights[spread, r, j] * self.pressure[cells[spread, r, j]] for j in range(cells.shape[2])]
            self.gathers[self.shot, n, r] = reduce(add, terms)

        lax.fori_loop(0, cells.shape[1] // groups, receiver, None)

    def advance(self, previous: list, zeta: dict[int, list]) -> tuple[list, dict[int, list]]:
        """Compute the pressure one step later and zeta, from the pressure and psi."""
        later, new_zeta = [], {axis: [] for axis in self.psi}
        for i, row in enumerate(self.rows):
            laplacian = []
            for axis in (0, 1):
                total = _weighted(self.curvature[axis], self.along(axis, self.pressure, row))
                if axis in self.psi:
                    total += _weighted(self.higher, self.along(axis, self.psi[axis], row))
                    *_, c, d = self.profile(axis, row)
                    new_zeta[axis].append(c * zeta[axis][i] + d * total)
                    total += new_zeta[axis][i]
                laplacian.append(total)
            inertia = 2 * self.pressure[self.place(row)] - previous[i]
            later.append(inertia + self.stiffness[i] * (laplacian[0] + laplacian[1]))
        return later, new_zeta

    def exchange(self, later: list) -> list:
        """Store the pressure one step later, and return that of now."""
        now = []
        for row, values in zip(self.rows, later, strict=True):
            now.append(self.pressure[self.place(row)])
            self.pressure[self.place(row)] = values
        return now

    def change_row(self, row, target, change):
        """Let the owner of a row store its `change` in the place of another."""

        @pl.when(row // self.layout.rows == self.index)
        def _():
            self.pressure[self.place(target)] = change(self.pressure[self.place(row)])

    def inject(self, n):
        strengths = self.inputs.strengths
        for source, k in np.ndindex(*strengths.shape[1:3]):
            row, wavelet = self.inputs.source_rows[self.shot, source, k], self.inputs.wavelets[self.shot, source, n]
            change = wavelet * strengths[self.shot, source, k]
            self.change_row(row, row, lambda values, change=change: values + change)

    def mirror(self):
        """At a rigid wall or a free surface, continue the field beyond the grid along z."""
        mz, free = self.simulation.padded_shape[0], self.simulation.free_surface
        if 0 in self.simulation.widths[:2]:
            self.wait()  # The last warpgroup's share may reach into a wall's images.
        for d in range(self.layout.half):
            if self.simulation.widths[0] == 0:
                self.change_row(d + free, -1 - d, lambda values: -1 * values if free else values)
            if self.simulation.widths[1] == 0:
                self.change_row(mz - 1 - d, mz + d, lambda values: values)

    def run(self):
        self.clear()
        self.wait()

        def step(n, registers):
            self.remember()
            self.record(n)
            self.wait()
            later, zeta = self.advance(*registers)
            self.wait()
            now = self.exchange(later)
            self.inject(n)
            self.mirror()
            self.wait()
            return now, zeta

        still = [self.pressure[self.place(row)] for row in self.rows]
        lax.fori_loop(0, self.simulation.steps, step, (still, dict.fromkeys(self.psi, still)))


def _make_inputs(velocity, survey: Survey, simulation: Simulation, layout: ChipLayout) -> Inputs:
    (mz, mx), (z_profile, x_profile) = simulation.padded_shape, _profiles(simulation, layout)
    stiffness = project_medium(velocity, None, simulation).stiffness
    cells, weights = locate(survey.sources, simulation)
    spreads = survey.receivers if survey.receiver_axis == 0 else survey.receivers[None]
    receiver_cells, receiver_weights = locate(spreads, simulation)
    # The cells of a point come row by row, in a square.
    side = max(1, 2 * simulation.half_width)
    shots, sources = (np.arange(n)[:, None, None] for n in cells.shape[:2])
    places = (shots, sources[:, 0], np.arange(side**2) // side, cells % mx)
    amounts = stiffness.ravel()[cells] * weights / simulation.grid.spacing**2
    equal_shares = ((0, 0), (0, -survey.n_receivers % layout.groups), (0, 0))
    return Inputs(
        jnp.pad(stiffness, ((0, layout.groups * layout.rows - mz), (0, LANES - mx))),
        z_profile,
        x_profile,
        _walled_weights(simulation, layout),
        source_rows=cells[..., ::side] // mx,
        strengths=jnp.zeros((*cells.shape[:2], side, LANES), jnp.float32).at[places].add(amounts),
        wavelets=fire(survey.wavelets, simulation),
        cells=jnp.pad(layout.at(receiver_cells // mx, receiver_cells % mx), equal_shares),
        weights=jnp.pad(receiver_weights, equal_shares),
    )


@partial(jax.jit, static_argnames=("simulation", "layout", "interpret"))
def _simulate(velocity, survey: Survey, simulation: Simulation, layout: ChipLayout, interpret):
    velocity, survey = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (velocity, survey))
    alone, survey = interpret is True, survey.with_source_axis()
    inputs = _make_inputs(velocity, survey, simulation, layout)
    gathers = jax.ShapeDtypeStruct((survey.n_shots, simulation.steps, inputs.cells.shape[1]), jnp.float32)
    grid, fields = gathers.shape[:1], [plgpu.SMEM((layout.size,), jnp.float32)] * (1 + len(layout.layered_axes))

    def wave_on_chip(*refs):
        shot, index = (pl.program_id(0), 0) if alone else (lax.axis_index("shot"), lax.axis_index("warpgroup"))
        _Warpgroup(refs, simulation, layout, shot, index).run()

    if alone:
        run = pl.pallas_call(wave_on_chip, gathers, grid=grid, scratch_shapes=fields, interpret=True)
    else:
        # `wait` parts every store from the other threads' loads: no further barriers are needed.
        options = {"compiler_params": plgpu.CompilerParams(unsafe_no_auto_barriers=True), "interpret": interpret}
        threads = {"grid_names": ("shot",), "num_threads": layout.groups, "thread_name": "warpgroup"}
        scratch = [*fields, plgpu.Barrier(num_arrivals=layout.groups)]
        run = plgpu.kernel(wave_on_chip, out_type=gathers, scratch_types=scratch, grid=grid, **threads, **options)
    pressures = run(*inputs)[:, :: simulation.gather_stride, : survey.n_receivers]
    return add_near_field(read_gathers(pressures, simulation), survey, simulation, None)


def simulate_on_chip(
    velocity, survey: Survey, simulation: Simulation, *, density=None, interpret: Any = False
) -> Float[Array, "n_shots nt n_receivers"]:
    """Compute `simulate(...).gathers` by one kernel on a GPU (Hopper or later), in float32, without derivatives.

    For batches of models use `vmap`.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: Sources, receivers and wavelets.
        simulation: The simulation.
        density: None; the kernel knows constant density only.
        interpret: True runs the kernel as XLA operations on any device, for tests; parameters of Mosaic's interpreter
            simulate its threads too.

    Returns:
        The gathers `(n_shots, nt, n_receivers)`.

    Raises:
        InputError: If an input cannot be used, the kernel cannot compute it, or a shot does not fit on the chip.
    """
    check_inputs(velocity, survey, simulation, density)
    fields = simulation.snapshot_steps or simulation.frequencies
    if density is not None or fields or simulation.internal_spacing is not None or not survey.n_receivers:
        raise InputError(
            "The kernel that keeps the grid on chip knows constant density, the models' own cells and gathers only: "
            "give no density, snapshot_steps, frequencies or internal_spacing, and at least one receiver, or use "
            "simulate."
        )
    layout = make_layout(simulation, 1 if interpret is True else WARPGROUPS)
    return _simulate(jnp.asarray(velocity), survey, simulation, layout, interpret)
