"""The time loop in JAX: scans of `propagator.step`, for any device, any derivative of any order.

Reverse mode keeps what the linearised step needs (one acceleration per cell and step for constant density) of all
steps, or, with the strategy `recompute`, the state at checkpoints only. Source of square-root checkpointing:
A. Griewank, Optimization Methods and Software 1 (1992), 35-54.
"""

from functools import partial
from itertools import groupby, pairwise

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from data_gen.solver.engines import fourier_sums as harmonic
from data_gen.solver.engines.time_step import Medium, WaveState, initial_state, step
from data_gen.solver.problem.simulation import Simulation


def padded_steps(simulation: Simulation) -> int:
    """Steps that the loop runs: with time-harmonic fields whole groups of them, the last few for nothing."""
    return harmonic.sample_count(simulation) * harmonic.stride(simulation)


def segments(simulation: Simulation) -> list[tuple[int, int, bool]]:
    """The time axis cut at the snapshots: runs of `(count, steps, snapshot)` of equal segments.

    A snapshot at step n is the field after n steps. Equal neighbours share one compiled loop. All are whole groups of
    harmonic.py's steps.
    """
    cuts = [n * simulation.substeps for n in simulation.snapshot_steps]
    lengths = [(b - a, True) for a, b in pairwise([0, *cuts])]
    lengths.append((padded_steps(simulation) - (cuts[-1] if cuts else 0), False))
    runs = [(sum(1 for _ in group), *key) for key, group in groupby(lengths)]
    return [(count, size, snapshot) for count, size, snapshot in runs if size or snapshot]


# unroll=2 lets XLA swap the two pressure buffers instead of copying one.
scan = partial(lax.scan, unroll=2)


def in_groups(steps, size: int):
    """Arrays of steps as whole groups `(n // size, size, ...)`, and the steps left over."""
    whole = len(jax.tree.leaves(steps)[0]) // size
    groups = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), steps)
    return groups, jax.tree.map(lambda x: x[whole * size :], steps)


def flat(groups):
    """Arrays of groups of steps as arrays of steps."""
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), groups)


def joined(*parts):
    """Arrays of steps one after the other."""
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)


def interval(simulation: Simulation) -> int:
    """Steps between two kept states: whole groups of those that time-harmonic fields are summed over."""
    stride = harmonic.stride(simulation)
    return max(1, simulation.recompute_interval // stride) * stride


def _checkpointed_scan(every: int, advance, state, inputs):
    """`scan` in intervals of `every` steps, of which reverse mode keeps the first state only."""
    repeated, results = jax.checkpoint(partial(scan, advance)), []
    whole, rest = in_groups(inputs, every)
    if len(jax.tree.leaves(whole)[0]):
        state, result = lax.scan(repeated, state, whole)
        results.append(flat(result))
    if len(jax.tree.leaves(rest)[0]) or not results:
        state, result = repeated(state, rest)
        results.append(result)
    return state, joined(*results)


def inner(pressure: jax.Array, simulation: Simulation) -> jax.Array:
    """The field on the grid without its absorbing layers."""
    (nz, nx), (top, _, left, _) = simulation.grid.shape, simulation.widths
    return pressure[top : top + nz, left : left + nx]


def padded(inputs: jax.Array, simulation: Simulation) -> jax.Array:
    """What goes into each step, with zeros for the padded steps."""
    more = padded_steps(simulation) - len(inputs)
    return jnp.concatenate([inputs, jnp.zeros((more, *inputs.shape[1:]), inputs.dtype)]) if more else inputs


def _summing_scan(scan_groups, advance, carry, inputs, simulation: Simulation):
    """Scan groups of steps, each of which adds the field that it starts from to the sums of harmonic.py.

    carry: the state and the sums. inputs: those of the steps, and each group's weights.
    """

    def group(carry, inputs):
        (state, sums), (steps, weights) = carry, inputs
        sums += weights[:, None, None] * inner(state.pressure, simulation)
        state, result = scan(advance, state, steps)
        return (state, sums), result

    steps, weights = inputs
    carry, results = scan_groups(group, carry, (in_groups(steps, harmonic.stride(simulation))[0], weights))
    return carry, flat(results)


def run(advance, state: WaveState, inputs: jax.Array, simulation: Simulation, scan=scan):
    """Scan `advance` over the padded steps; returns the last state, the results of each step, and the fields.

    scan: over steps or, with time-harmonic fields, over groups of `harmonic.stride` steps.
    """
    results, snapshots, start, stride = [], [], 0, harmonic.stride(simulation)
    inputs = padded(inputs, simulation)
    weights = jnp.asarray(harmonic.weights(simulation), state.pressure.dtype)
    sums = jnp.zeros((weights.shape[1], *simulation.grid.shape), weights.dtype)

    def segment(carry, inputs):
        if simulation.frequencies:
            carry, result = _summing_scan(scan, advance, carry, inputs, simulation)
        else:
            state, result = scan(advance, carry[0], inputs[0])
            carry = (state, carry[1])
        return carry, (result, inner(carry[0].pressure, simulation))

    for count, size, snapshot in segments(simulation):
        chunk = inputs[start : start + count * size].reshape(count, size, *inputs.shape[1:])
        first, groups = start // stride, size // stride
        shares = weights[first : first + count * groups].reshape(count, groups, len(sums))
        start += count * size
        (state, sums), (result, fields) = lax.scan(segment, (state, sums), (chunk, shares))
        results.append(flat(result))
        if snapshot:
            snapshots.append(fields)
    # None at all is still a part of the last field, so that it is batched where the field is.
    snapshots.append(inner(state.pressure, simulation)[None][:0])
    return state, joined(*results), jnp.concatenate([*snapshots, sums])


def record(state: WaveState, cells: jax.Array, weights: jax.Array, simulation: Simulation) -> jax.Array:
    """Pressure at the receivers, each a weighted sum over its cells."""
    mx = simulation.padded_shape[1]
    return jnp.sum(state.pressure[cells // mx, cells % mx] * weights, axis=1)


def propagate(
    medium: Medium,
    injections: Float[Array, "steps k"],
    source_cells: Int[Array, " k"],
    receiver_cells: Int[Array, "n_receivers j"],
    receiver_weights: Float[Array, "n_receivers j"],
    simulation: Simulation,
) -> tuple[Float[Array, "steps n_receivers"], Float[Array, "n_fields nz nx"]]:
    """One shot: the pressure at the receivers at every step, and on the grid at the snapshot steps and summed.

    injections: what the source adds to the pressure at its cells in each step; cells are numbered row by row on the
    padded grid. A receiver is a weighted sum over its cells.
    """
    mx = simulation.padded_shape[1]
    cells = (source_cells // mx, source_cells % mx)

    def advance(state: WaveState, injection):
        values = record(state, receiver_cells, receiver_weights, simulation)
        return step(state, injection, cells, medium, simulation), values

    state = initial_state(simulation, medium.stiffness.dtype, staggered=medium.buoyancy is not None)
    checkpointed = partial(_checkpointed_scan, interval(simulation) // harmonic.stride(simulation))
    chosen = checkpointed if simulation.memory.strategy == "recompute" else scan
    _, gathers, fields = run(advance, state, injections, simulation, chosen)
    return gathers[: simulation.steps], fields
