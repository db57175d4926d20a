"""The acoustic wave equation in two dimensions, explicit in time, differentiable in everything.

    (1 / kappa) p_tt = div((1 / rho) grad p) + s,    kappa = rho v^2                     (variable density)
    p_tt = v^2 (laplacian p + s)                                                         (constant density)

A point source is s = w(t) delta(x - x_s), with the delta spread over one cell as 1 / spacing^2, so the field does
not depend on the grid. Leap-frog in time (second order), central differences of order 2 to 8 in space, CPML on
each side or a rigid wall (zero normal derivative) half a cell beyond the last cell centre.

`step` is one pure step; `simulate` scans it. Sample i of every record is the pressure at `i dt`; the field rests
at and before t = 0.
"""

from functools import partial
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from data_gen.absorbing import Profile, Strip, profile, remember, strips
from data_gen.acquisition import PointWeights, Survey, point_weights
from data_gen.checks import check_inputs
from data_gen.simulation import Simulation
from data_gen.stencils import first_derivative, second_derivative, staggered_derivative


class WaveState(NamedTuple):
    """Pressure now and one step ago on the padded grid, and the memory `(psi, zeta)` of each absorbing strip."""

    pressure: Float[Array, "mz mx"]
    previous: Float[Array, "mz mx"]
    memory: tuple[tuple[Float[Array, "..."], Float[Array, "..."]], ...]


class Records(NamedTuple):
    """gathers: pressure at the receivers. snapshots: pressure on the grid at the snapshot steps."""

    gathers: Float[Array, "n_sources nt n_receivers"]
    snapshots: Float[Array, "n_sources n_snapshots nz nx"]


class Medium(NamedTuple):
    """The model on the padded grid. stiffness: `kappa dt^2`, or `v^2 dt^2` for constant density.

    buoyancy: `1 / rho` at the half points along each axis, `order - 1` more than cells; None for constant density.
    """

    stiffness: Float[Array, "mz mx"]
    buoyancy: tuple[Float[Array, "hz mx"], Float[Array, "mz hx"]] | None


def make_medium(
    velocity: Float[Array, "nz nx"], density: Float[Array, "nz nx"] | None, simulation: Simulation
) -> Medium:
    """Extend velocity [m/s] and density [kg/m^3] into the absorbing layers by their edge values."""
    top, bottom, left, right = simulation.widths
    extend = partial(jnp.pad, pad_width=((top, bottom), (left, right)), mode="edge")
    stiffness = extend(velocity) ** 2 * simulation.time.dt**2
    if density is None:
        return Medium(stiffness, None)
    density = extend(density)
    half = simulation.order // 2

    def half_points(axis: int) -> jax.Array:
        widths = [(0, 0), (0, 0)]
        widths[axis] = (half, half)
        padded = jnp.pad(density, widths, mode="symmetric")
        size = padded.shape[axis]
        low = lax.slice_in_dim(padded, 0, size - 1, axis=axis)
        return 2 / (low + lax.slice_in_dim(padded, 1, size, axis=axis))

    return Medium(stiffness * density, (half_points(0), half_points(1)))


def _halo(field: jax.Array, axis: int, cells: int, simulation: Simulation) -> jax.Array:
    """`field` continued along `axis`: mirrored beyond a rigid wall, zero beyond an absorbing layer."""
    low, high = simulation.widths[2 * axis : 2 * axis + 2]
    for width, sides in ((low, (cells, 0)), (high, (0, cells))):
        widths = [(0, 0), (0, 0)]
        widths[axis] = sides
        field = jnp.pad(field, widths, mode="constant" if width else "symmetric")
    return field


def _memory_size(strip: Strip, half: int, staggered: bool) -> tuple[int, int]:
    """Points of (psi, zeta) along the strip's axis; staggered psi also lives beyond the wall."""
    return (strip.width + half if staggered else strip.width), strip.width


def initial_state(simulation: Simulation, dtype, *, staggered: bool) -> WaveState:
    """A field at rest on the padded grid; `staggered` for variable density."""
    shape = simulation.padded_shape

    def zeros(strip: Strip, size: int) -> jax.Array:
        return jnp.zeros((size, shape[1]) if strip.axis == 0 else (shape[0], size), dtype)

    half = simulation.order // 2
    memory = tuple(
        (zeros(strip, psi), zeros(strip, zeta))
        for strip in strips(simulation.widths)
        for psi, zeta in [_memory_size(strip, half, staggered)]
    )
    return WaveState(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), memory)


def _profile(strip: Strip, simulation: Simulation, **placement) -> Profile:
    return profile(
        strip,
        simulation.grid.spacing,
        simulation.time.dt,
        simulation.max_velocity,
        simulation.peak_frequency,
        **placement,
    )


def _laplacian(state: WaveState, simulation: Simulation) -> tuple[jax.Array, list]:
    """Laplacian of the pressure, stretched in the absorbing strips, and the strips' new memory."""
    order, spacing = simulation.order, simulation.grid.spacing
    half = order // 2
    total, memory = jnp.zeros((), state.pressure.dtype), []
    layers = list(zip(strips(simulation.widths), state.memory, strict=True))
    for axis in (0, 1):
        padded = _halo(state.pressure, axis, half, simulation)
        curvature = second_derivative(padded, axis, order, spacing)
        stretched = curvature
        for strip, (psi, zeta) in layers:
            if strip.axis != axis:
                continue
            coefficients = _profile(strip, simulation)
            slope = first_derivative(strip.take(padded, 2 * half), axis, order, spacing)
            psi = remember(psi, slope, coefficients)
            psi_slope = first_derivative(strip.pad(psi, half, 2 * half), axis, order, spacing)
            zeta = remember(zeta, strip.take(curvature) + strip.take(psi_slope), coefficients)
            stretched = strip.add_to(strip.add_to(stretched, psi_slope), zeta)
            memory.append((psi, zeta))
        total += stretched
    return total, memory


def _divergence(state: WaveState, medium: Medium, simulation: Simulation) -> tuple[jax.Array, list]:
    """div((1 / rho) grad p) by staggered differences, stretched in the strips, and the strips' new memory."""
    assert medium.buoyancy is not None
    order, spacing = simulation.order, simulation.grid.spacing
    half = order // 2
    total, memory = jnp.zeros((), state.pressure.dtype), []
    layers = list(zip(strips(simulation.widths), state.memory, strict=True))
    for axis in (0, 1):
        padded = _halo(state.pressure, axis, order - 1, simulation)
        slope = staggered_derivative(padded, axis, order, spacing)
        stretched, new_psi = slope, []
        own = [(strip, fields) for strip, fields in layers if strip.axis == axis]
        for strip, (psi, _) in own:
            coefficients = _profile(strip, simulation, shift=0.5, outside=half)
            psi = remember(psi, strip.take(slope, half), coefficients)
            stretched = strip.add_to(stretched, psi)
            new_psi.append(psi)
        outflow = staggered_derivative(medium.buoyancy[axis] * stretched, axis, order, spacing)
        stretched = outflow
        for (strip, (_, zeta)), psi in zip(own, new_psi, strict=True):
            zeta = remember(zeta, strip.take(outflow), _profile(strip, simulation))
            stretched = strip.add_to(stretched, zeta)
            memory.append((psi, zeta))
        total += stretched
    return total, memory


def step(
    state: WaveState, source: Float[Array, ""], where: PointWeights, medium: Medium, simulation: Simulation
) -> WaveState:
    """Advance by dt. source: the wavelet's value now. Returns the state one step later."""
    if medium.buoyancy is None:
        acceleration, memory = _laplacian(state, simulation)
    else:
        acceleration, memory = _divergence(state, medium, simulation)
    following = 2 * state.pressure - state.previous + medium.stiffness * acceleration
    cells = (where.rows[:, None], where.columns[None, :])
    spread = where.row_weights[:, None] * where.column_weights[None, :] / simulation.grid.spacing**2
    following = following.at[cells].add(medium.stiffness[cells] * spread * source)
    return WaveState(following, state.pressure, tuple(memory))


def _segments(simulation: Simulation) -> list[tuple[int, int, bool]]:
    """The time axis cut at the snapshots (or checkpoints): runs of `(count, steps, snapshot)` of equal segments.

    A snapshot at step n is the field after n steps. Equal neighbours share one compiled loop.
    """
    nt, steps = simulation.time.nt, simulation.snapshot_steps
    if steps:
        lengths = [(b - a, True) for a, b in zip((0, *steps[:-1]), steps, strict=True)]
        lengths += [(nt - steps[-1], False)]
    elif every := simulation.checkpoint_every:
        lengths = [(every, False)] * (nt // every) + [(nt % every, False)]
    else:
        lengths = [(nt, False)]
    runs = [(sum(1 for _ in group), *key) for key, group in groupby(lengths)]
    return [(count, size, snapshot) for count, size, snapshot in runs if size or snapshot]


def _record(field: jax.Array, receivers: PointWeights) -> jax.Array:
    values = field[receivers.rows[:, :, None], receivers.columns[:, None, :]]
    return jnp.einsum("rij,ri,rj->r", values, receivers.row_weights, receivers.column_weights)


def _shot(wavelet, where: PointWeights, receivers: PointWeights, medium: Medium, simulation: Simulation):
    """One shot: gather `(nt, n_receivers)` and snapshots `(n_snapshots, nz, nx)`."""
    top, _, left, _ = simulation.widths
    nz, nx = simulation.grid.shape

    def advance(state: WaveState, value):
        return step(state, value, where, medium, simulation), _record(state.pressure, receivers)

    def segment(state: WaveState, values):
        # unroll=2 lets XLA swap the two pressure buffers instead of copying one.
        state, traces = lax.scan(advance, state, values, unroll=2)
        return state, traces

    if simulation.checkpoint_every is not None:
        segment = jax.checkpoint(segment)

    def snapshot_segment(state: WaveState, values):
        state, traces = segment(state, values)
        return state, (traces, state.pressure[top : top + nz, left : left + nx])

    state = initial_state(simulation, medium.stiffness.dtype, staggered=medium.buoyancy is not None)
    gathers, snapshots, start = [], [jnp.zeros((0, nz, nx), medium.stiffness.dtype)], 0
    for count, size, snapshot in _segments(simulation):
        values = wavelet[start : start + count * size].reshape(count, size)
        start += count * size
        if snapshot:
            state, (traces, fields) = lax.scan(snapshot_segment, state, values)
            snapshots.append(fields)
        else:
            state, traces = lax.scan(segment, state, values)
        gathers.append(traces.reshape(count * size, traces.shape[-1]))
    return jnp.concatenate(gathers), jnp.concatenate(snapshots)


@partial(jax.jit, static_argnames="simulation")
def _simulate(velocity, survey: Survey, simulation: Simulation, density) -> Records:
    survey = jax.tree.map(lambda leaf: leaf.astype(velocity.dtype), survey)
    medium = make_medium(velocity, density, simulation)
    locate = jax.vmap(lambda x: point_weights(x, simulation.grid, simulation.widths, simulation.half_width))
    shoot = jax.vmap(_shot, in_axes=(0, 0, None, None, None))
    return Records(*shoot(survey.wavelets, locate(survey.sources), locate(survey.receivers), medium, simulation))


def simulate(velocity, survey: Survey, simulation: Simulation, *, density=None) -> Records:
    """Simulate every shot of a survey through one model.

    velocity: `(nz, nx)` [m/s]. density: `(nz, nx)` [kg/m^3], or None for the faster constant-density path.
    Returns gathers `(n_sources, nt, n_receivers)` and snapshots `(n_sources, n_snapshots, nz, nx)` in the dtype
    of `velocity`. Pure: `jit`, `vmap`, `grad`, `jvp` and `vjp` apply, over every array argument. Batches of
    models: `jax.vmap(lambda v: simulate(v, survey, simulation))(velocities)`.

    Raises `InputError` for bad inputs (see `check_inputs`); traced inputs are trusted.
    """
    check_inputs(velocity, survey, simulation, density)
    velocity = jnp.asarray(velocity)
    if not jnp.issubdtype(velocity.dtype, jnp.floating):
        velocity = velocity.astype(float)
    density = None if density is None else jnp.asarray(density, velocity.dtype)
    return _simulate(velocity, survey, simulation, density)
