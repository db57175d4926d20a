"""Take one time step of the acoustic wave equation: leap-frog in time, central differences in space.

    p_{n+1} = 2 p_n - p_{n-1} + m (L p)_n + q_n

with `m = v^2 dt^2` and L the Laplacian, or `m = kappa dt^2` and `L = div((1 / rho) grad)` for variable density; q is
the injection of the sources.

L is stretched by the CPML in each absorbing layer (cpml.py). A side without one is a rigid wall (zero normal
derivative) half a cell beyond the last cell center; the top may be a free surface instead, p = 0 at the first row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.solver.numerics.cpml import Strip, remember, strips
from data_gen.solver.numerics.stencils import (
    adjoint_factor_derivative,
    factor_derivative,
    factor_offset,
    second_derivative,
    staggered_derivative,
)
from data_gen.solver.problem.edges import halo
from data_gen.solver.problem.medium import Medium
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


def factor_placement(strip: Strip, simulation: Simulation) -> dict[str, float]:
    """Place psi of constant density at the one-sided first differences, which lie below their cells.

    Args:
        strip: The strip.
        simulation: The simulation.

    Returns:
        Arguments of `cpml.profile`.
    """
    offset = factor_offset(simulation.order, simulation.kappa)
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
    order, spacing, kappa = simulation.order, simulation.grid.spacing, simulation.kappa
    half = order // 2
    total, memory = jnp.zeros((), state.pressure.dtype), []
    layers = list(zip(strips(simulation.widths), state.memory, strict=True))
    for axis in (0, 1):
        padded = halo(state.pressure, axis, half, simulation, medium.edges)
        curvature = second_derivative(padded, axis, order, spacing, simulation.kappa)
        stretched = curvature
        for strip, (psi, zeta) in layers:
            if strip.axis != axis:
                continue
            slope = factor_derivative(strip.take(padded, 2 * half + strip.overhang), axis, order, spacing, kappa)
            psi = remember(psi, slope, medium.edges.profile(strip, simulation, **factor_placement(strip, simulation)))
            psi_slope = adjoint_factor_derivative(strip.pad(psi, half, 2 * half), axis, order, spacing, kappa)
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
            total += second_derivative(padded, axis, order, spacing, simulation.kappa)
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
    following = 2 * state.pressure - state.previous + change
    return WaveState(following, state.pressure, tuple(memory))


def linearized_fields(*, constant_density: bool) -> int:
    """Count the fields that the linearized step multiplies, which reverse mode keeps of each step.

    These are (L p)_n and, for variable density, also the two slopes.

    Args:
        constant_density: Whether the medium has no density model.

    Returns:
        The number of fields.
    """
    return 1 if constant_density else 3
