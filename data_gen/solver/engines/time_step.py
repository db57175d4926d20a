"""Take one time step of the acoustic wave equation: leap-frog in time, central differences in space.

    p_{n+1} = 2 p_n - p_{n-1} + m (L p)_n + q_n                                   (second order in time)
    p_{n+1} = ... + (m lap(m (L p)_n + q_n) + q_{n+1} - 2 q_n + q_{n-1}) / 12      (fourth order)

with `m = v^2 dt^2` and L the Laplacian, or `m = kappa dt^2` and `L = div((1 / rho) grad)` for variable density; q is
the injection of the sources. Where the model is finer than the grid, m is followed by the coupling of coarse_medium.py.
The fourth order replaces the leading error `dt^4 p_tttt / 12` by the wave equation itself (the modified equation, or
Lax-Wendroff): M. A. Dablain, Geophysics 51 (1986), 54-66.

L is stretched by the CPML in each absorbing layer (cpml.py). A side without one is a rigid wall (zero normal
derivative) half a cell beyond the last cell center; the top may be a free surface instead, p = 0 at the first row.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from data_gen.solver.numerics.coarse_medium import neighbors
from data_gen.solver.numerics.cpml import Profile, Strip, profile, remember, strips
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.numerics.stencils import (
    adjoint_factor_derivative,
    factor_derivative,
    factor_offset,
    second_derivative,
    staggered_derivative,
)
from data_gen.solver.problem.simulation import Simulation


class WaveState(NamedTuple):
    """Hold the state of the time loop.

    Attributes:
        pressure: Pressure now, on the padded grid `(mz, mx)`.
        previous: Pressure one step ago `(mz, mx)`.
        memory: Memory fields (psi, zeta) of each absorbing strip; see cpml.py.
    """

    pressure: Float[Array, "mz mx"]
    previous: Float[Array, "mz mx"]
    memory: tuple[tuple[Float[Array, "..."], Float[Array, "..."]], ...]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Edges:
    """Define the ends of the grid: here the model's own walls and layers. In many_devices.py a grid has neighbors."""

    def join(self, padded: jax.Array, axis: int, cells: int, simulation: Simulation) -> jax.Array:
        """Put the neighbors' cells into their places in a padded field.

        Args:
            padded: A field that has been continued beyond both ends of an axis.
            axis: The axis.
            cells: By how many cells it has been continued.
            simulation: The simulation on this grid.

        Returns:
            The field; here as it is, since there are no neighbors.
        """
        return padded

    def profile(self, strip: Strip, simulation: Simulation, **placement) -> Profile:
        """Compute the recursion coefficients of one strip.

        Args:
            strip: The strip.
            simulation: The simulation on this grid.
            **placement: Where the points lie; see `cpml.profile`.

        Returns:
            The coefficients.
        """
        return strip_profile(strip, simulation, **placement)


OWN = Edges()


class Medium(NamedTuple):
    """Hold the model on the padded grid.

    Attributes:
        stiffness: `kappa dt^2`, or `v^2 dt^2` for constant density, `(mz, mx)`.
        buoyancy: `1 / rho` [m^3/kg] at the half points along each axis, `order - 1` more than cells; None for constant
            density.
        edges: The ends of the grid.
        coupling: Coupling `(3, 3, mz, mx)` of each cell to those around it (coarse_medium.py); None unless the model
            is finer than the grid.
    """

    stiffness: Float[Array, "mz mx"]
    buoyancy: tuple[Float[Array, "hz mx"], Float[Array, "mz hx"]] | None
    edges: Edges = OWN
    coupling: Float[Array, "3 3 mz mx"] | None = None


def extend_model(model: Float[Array, "*batch nz nx"], simulation: Simulation) -> Float[Array, "*batch mz mx"]:
    """Extend a model into the absorbing layers by its edge values, which derivatives hold with `hold_layers`.

    Args:
        model: A model `(..., nz, nx)`.
        simulation: The simulation.

    Returns:
        The model on the padded grid `(..., mz, mx)`.
    """
    (top, bottom, left, right), (nz, nx) = simulation.widths, simulation.grid.shape
    outside = [(0, 0)] * (model.ndim - 2) + [(top, bottom), (left, right)]
    if not simulation.hold_layers:
        return jnp.pad(model, outside, mode="edge")
    held = jnp.pad(lax.stop_gradient(model), outside, mode="edge")
    return held.at[..., top : top + nz, left : left + nx].set(model)


def make_medium(
    velocity: Float[Array, "nz nx"],
    density: Float[Array, "nz nx"] | None,
    simulation: Simulation,
    edges: Edges = OWN,
    coupling: Float[Array, "3 3 nz nx"] | None = None,
) -> Medium:
    """Extend a model into the absorbing layers by its edge values.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density model `(nz, nx)` [kg/m^3], or None.
        simulation: The simulation.
        edges: The ends of the grid.
        coupling: Coupling `(3, 3, nz, nx)`, or None.

    Returns:
        The medium on the padded grid.
    """
    extend = partial(extend_model, simulation=simulation)
    stiffness = extend(velocity) ** 2 * simulation.step_length**2
    coupling = None if coupling is None else extend(coupling)
    if density is None:
        return Medium(stiffness, None, edges, coupling)
    density = extend(density)
    half = simulation.order // 2

    def half_points(axis: int) -> jax.Array:
        padded = _continue(density, axis, half, simulation, rigid=(True, True), sign=1)
        padded = edges.join(padded, axis, half, simulation)
        size = padded.shape[axis]
        low = lax.slice_in_dim(padded, 0, size - 1, axis=axis)
        return 2 / (low + lax.slice_in_dim(padded, 1, size, axis=axis))

    return Medium(stiffness * density, (half_points(0), half_points(1)), edges, coupling)


def _continue(field: jax.Array, axis: int, cells: int, simulation: Simulation, rigid, sign: int = -1) -> jax.Array:
    """Continue a field by `cells` on both sides along `axis`: by its mirror image beyond a wall, zero beyond a layer.

    The image is about the wall half a cell away, or, at a free surface, about the first row, times `sign`.
    """
    size = field.shape[axis]

    def image(start: int, stop: int) -> jax.Array:
        return lax.rev(lax.slice_in_dim(field, start, stop, axis=axis), (axis,))

    def nothing() -> jax.Array:
        shape = list(field.shape)
        shape[axis] = cells
        return jnp.zeros(shape, field.dtype)

    if simulation.free_surface and axis == 0:
        low = sign * image(1, cells + 1)
    else:
        low = image(0, cells) if rigid[0] else nothing()
    high = image(size - cells, size) if rigid[1] else nothing()
    return jnp.concatenate([low, field, high], axis)


def halo(field: jax.Array, axis: int, cells: int, simulation: Simulation, edges: Edges = OWN) -> jax.Array:
    """Continue the pressure beyond both ends of an axis.

    Args:
        field: Pressure `(mz, mx)`.
        axis: The axis.
        cells: Number of cells on each side.
        simulation: The simulation.
        edges: The ends of the grid.

    Returns:
        The padded field.
    """
    low, high = simulation.widths[2 * axis : 2 * axis + 2]
    padded = _continue(field, axis, cells, simulation, (low == 0, high == 0))
    return edges.join(padded, axis, cells, simulation)


def _memory_size(strip: Strip, half: int, staggered: bool) -> tuple[int, int]:
    """Count the points of (psi, zeta) along a strip's axis; staggered psi is beyond walls too."""
    return strip.width + (half if staggered else strip.overhang), strip.width


def initial_state(simulation: Simulation, dtype, *, staggered: bool) -> WaveState:
    """Make a field at rest on the padded grid.

    Args:
        simulation: The simulation.
        dtype: Floating-point type of the field.
        staggered: Whether the medium has a density model.

    Returns:
        The state before the first step.
    """
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


def strip_profile(strip: Strip, simulation: Simulation, **placement) -> Profile:
    """Compute the recursion coefficients of one strip in one simulation.

    Args:
        strip: The strip.
        simulation: The simulation.
        **placement: Where the points lie; see `cpml.profile`.

    Returns:
        The coefficients.
    """
    return profile(
        strip,
        simulation.grid.spacing,
        simulation.step_length,
        simulation.max_velocity,
        simulation.peak_frequency,
        **placement,
    )


def factor_placement(strip: Strip, order: int) -> dict[str, float]:
    """Place psi of constant density at the one-sided first differences, which lie below their cells.

    Args:
        strip: The strip.
        order: Order of the differences in space.

    Returns:
        Arguments of `cpml.profile`.
    """
    offset = factor_offset(order)
    return {"shift": offset if strip.high else -offset, "inside": strip.overhang}


def laplacian(state: WaveState, medium: Medium, simulation: Simulation) -> tuple[jax.Array, list]:
    """Apply the Laplacian to the pressure, stretched in the absorbing strips.

    Args:
        state: The state.
        medium: The medium, of which only the ends matter.
        simulation: The simulation.

    Returns:
        The Laplacian `(mz, mx)`, and the strips' new memory fields.
    """
    order, spacing = simulation.order, simulation.grid.spacing
    half = order // 2
    total, memory = jnp.zeros((), state.pressure.dtype), []
    layers = list(zip(strips(simulation.widths), state.memory, strict=True))
    for axis in (0, 1):
        padded = halo(state.pressure, axis, half, simulation, medium.edges)
        curvature = second_derivative(padded, axis, order, spacing)
        stretched = curvature
        for strip, (psi, zeta) in layers:
            if strip.axis != axis:
                continue
            slope = factor_derivative(strip.take(padded, 2 * half + strip.overhang), axis, order, spacing)
            psi = remember(psi, slope, medium.edges.profile(strip, simulation, **factor_placement(strip, order)))
            psi_slope = adjoint_factor_derivative(strip.pad(psi, half, 2 * half), axis, order, spacing)
            extra = strip.take(curvature) + strip.take(psi_slope)
            zeta = remember(zeta, extra, medium.edges.profile(strip, simulation))
            stretched = strip.add_to(strip.add_to(stretched, psi_slope), zeta)
            memory.append((psi, zeta))
        total += stretched
    return total, memory


def _divergence(state: WaveState, medium: Medium, simulation: Simulation) -> tuple[jax.Array, list]:
    """Compute div((1 / rho) grad p) by staggered differences, stretched in the strips, and the strips' new memory."""
    assert medium.buoyancy is not None
    order, spacing = simulation.order, simulation.grid.spacing
    half = order // 2
    total, memory = jnp.zeros((), state.pressure.dtype), []
    layers = list(zip(strips(simulation.widths), state.memory, strict=True))
    for axis in (0, 1):
        padded = halo(state.pressure, axis, order - 1, simulation, medium.edges)
        slope = staggered_derivative(padded, axis, order, spacing)
        stretched, new_psi = slope, []
        own = [(strip, fields) for strip, fields in layers if strip.axis == axis]
        for strip, (psi, _) in own:
            coefficients = medium.edges.profile(strip, simulation, shift=0.5, outside=half)
            psi = remember(psi, strip.take(slope, half), coefficients)
            stretched = strip.add_to(stretched, psi)
            new_psi.append(psi)
        outflow = staggered_derivative(medium.buoyancy[axis] * stretched, axis, order, spacing)
        stretched = outflow
        for (strip, (_, zeta)), psi in zip(own, new_psi, strict=True):
            zeta = remember(zeta, strip.take(outflow), medium.edges.profile(strip, simulation))
            stretched = strip.add_to(stretched, zeta)
            memory.append((psi, zeta))
        total += stretched
    return total, memory


def unstretched(field: jax.Array, medium: Medium, simulation: Simulation) -> jax.Array:
    """Apply the operator in space without its absorbing layers.

    Args:
        field: A field `(mz, mx)`.
        medium: The medium.
        simulation: The simulation.

    Returns:
        The Laplacian of the field, or div((1 / rho) grad) of it, `(mz, mx)`.
    """
    order, spacing, total = simulation.order, simulation.grid.spacing, jnp.zeros((), field.dtype)
    for axis in (0, 1):
        cells = order // 2 if medium.buoyancy is None else order - 1
        padded = halo(field, axis, cells, simulation, medium.edges)
        if medium.buoyancy is None:
            total += second_derivative(padded, axis, order, spacing)
        else:
            slope = staggered_derivative(padded, axis, order, spacing)
            total += staggered_derivative(medium.buoyancy[axis] * slope, axis, order, spacing)
    return total


def step(
    state: WaveState,
    injection: Float[Array, "k"],
    cells: tuple[jax.Array, jax.Array],
    medium: Medium,
    simulation: Simulation,
) -> WaveState:
    """Advance by one step.

    Args:
        state: The state before the step.
        injection: Additions to the pressure at the source's cells, `(k,)`.
        cells: Rows and columns of these cells.
        medium: The medium.
        simulation: The simulation.

    Returns:
        The state after the step.
    """
    if medium.buoyancy is None:
        acceleration, memory = laplacian(state, medium, simulation)
    else:
        acceleration, memory = _divergence(state, medium, simulation)
    change = (medium.stiffness * acceleration).at[cells].add(injection)
    if medium.coupling is not None:
        change -= jnp.sum(medium.coupling * neighbors(change), axis=(0, 1))
    if simulation.time_order == 4:
        change += medium.stiffness * unstretched(change, medium, simulation) / 12
    following = 2 * state.pressure - state.previous + change
    return WaveState(following, state.pressure, tuple(memory))


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
    fine = upsample(wavelets, simulation.substeps)
    if simulation.time_order == 4:
        # dt^2 s_tt / 12, the source's part of the modified equation; the wavelet rests before its first sample.
        padded = jnp.pad(fine, ((0, 0), (0, 0), (1, 0)))
        padded = jnp.concatenate([padded, 2 * fine[..., -1:] - padded[..., -2:-1]], axis=-1)
        fine = fine + (padded[..., 2:] - 2 * fine + padded[..., :-2]) / 12
    changes = jnp.swapaxes(fine, 1, 2)[..., None] * strengths[:, None]
    return lax.collapse(changes, 2), lax.collapse(cells, 1)


def linearized_fields(simulation: Simulation, *, constant_density: bool) -> int:
    """Count the fields that the linearized step multiplies, which reverse mode keeps of each step.

    These are (L p)_n, for variable density also the two slopes, and for the fourth order lap(...).

    Args:
        simulation: The simulation.
        constant_density: Whether the medium has no density model.

    Returns:
        The number of fields.
    """
    return (1 if constant_density else 3) + (simulation.time_order == 4)
