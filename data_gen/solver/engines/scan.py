"""Run the time loop in JAX: scans of `time_step.step`, for any device, any derivative of any order.

Reverse mode keeps what the linearized step needs (one acceleration per cell and step for constant density) of all
steps, or, with the strategy `recompute`, the state at checkpoints only. Source of square-root checkpointing:
A. Griewank, Optimization Methods and Software 1 (1992), 35-54.
"""

from functools import partial
from itertools import groupby, pairwise

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from data_gen.solver.engines import field_sums
from data_gen.solver.engines.time_step import Medium, WaveState, initial_state, step
from data_gen.solver.problem.simulation import Simulation


def padded_steps(simulation: Simulation) -> int:
    """Count the steps that the loop runs; with sums of fields it fills up the last group of steps.

    Args:
        simulation: The simulation.

    Returns:
        The number of steps, `simulation.steps` or a few more.
    """
    return field_sums.sample_count(simulation) * field_sums.stride(simulation)


def segments(simulation: Simulation) -> list[tuple[int, int, bool]]:
    """Cut the time axis at the snapshots that are kept as they are.

    Such a snapshot at step n is the field after n steps. Neighbors of equal length share one compiled loop. All
    segments are whole groups of the steps of field_sums.py.

    Args:
        simulation: The simulation.

    Returns:
        Runs of equal segments as `(count, steps, snapshot)`: how many, how long, and whether a snapshot follows each.
    """
    cuts = field_sums.kept_snapshots(simulation)
    lengths = [(b - a, True) for a, b in pairwise([0, *cuts])]
    lengths.append((padded_steps(simulation) - (cuts[-1] if cuts else 0), False))
    runs = [(sum(1 for _ in group), *key) for key, group in groupby(lengths)]
    return [(count, size, snapshot) for count, size, snapshot in runs if size or snapshot]


# Two steps in a row let XLA swap the two pressure buffers instead of copying one.
UNROLL = 2


def scan(advance, state, inputs, *, reverse: bool = False):
    """Run `lax.scan`, `UNROLL` steps in a row.

    Args:
        advance: One step, `(state, input) -> (state, result)`.
        state: State before the first step.
        inputs: Inputs of the steps, one after the other on the leading axis.
        reverse: Whether to begin with the last input.

    Returns:
        The last state, and the results of the steps.
    """
    return lax.scan(advance, state, inputs, reverse=reverse, unroll=UNROLL)


def in_groups(steps, size: int):
    """Divide arrays of steps into groups.

    Args:
        steps: A pytree of arrays `(n, ...)`.
        size: Steps in a group.

    Returns:
        The whole groups `(n // size, size, ...)`, and the steps left over.
    """
    whole = len(jax.tree.leaves(steps)[0]) // size
    groups = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), steps)
    return groups, jax.tree.map(lambda x: x[whole * size :], steps)


def flat(groups):
    """Undo `in_groups`.

    Args:
        groups: A pytree of arrays `(groups, size, ...)`.

    Returns:
        Arrays of steps `(groups * size, ...)`.
    """
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), groups)


def joined(*parts):
    """Concatenate arrays of steps.

    Args:
        *parts: Pytrees of the same structure.

    Returns:
        A pytree of all steps, one after the other.
    """
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)


def interval(simulation: Simulation) -> int:
    """Compute the steps between two kept states, in whole groups of those that fields are summed over.

    Args:
        simulation: The simulation.

    Returns:
        The number of steps.
    """
    stride = field_sums.stride(simulation)
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
    """Cut the absorbing layers off, unless they are recorded too.

    Args:
        pressure: A field `(mz, mx)` on the padded grid.
        simulation: The simulation.

    Returns:
        The field `(nz, nx)` as it is recorded.
    """
    (nz, nx), (top, left) = simulation.field_shape, simulation.field_origin
    return pressure[top : top + nz, left : left + nx]


def padded(inputs: jax.Array, simulation: Simulation) -> jax.Array:
    """Append zeros for the steps that fill up the last group.

    Args:
        inputs: Inputs of each step, `(steps, ...)`.
        simulation: The simulation.

    Returns:
        Inputs of `padded_steps` steps.
    """
    more = padded_steps(simulation) - len(inputs)
    return jnp.concatenate([inputs, jnp.zeros((more, *inputs.shape[1:]), inputs.dtype)]) if more else inputs


def _summing_scan(scan_groups, advance, carry, inputs, simulation: Simulation):
    """Scan groups of steps, each of which adds the field that it starts from to the sums of field_sums.py.

    carry: the state and the sums. inputs: those of the steps, and each group's shares.
    """

    def group(carry, inputs):
        (state, sums), (steps, share) = carry, inputs
        sums = field_sums.add_to_sums(sums, share, inner(state.pressure, simulation))
        state, result = scan(advance, state, steps)
        return (state, sums), result

    steps, shares = inputs
    carry, results = scan_groups(group, carry, (in_groups(steps, field_sums.stride(simulation))[0], shares))
    return carry, flat(results)


def share_of_segments(shares: field_sums.Shares, first: int, count: int, groups: int) -> field_sums.Shares:
    """Cut out the shares of equal segments.

    Args:
        shares: Shares of all samples.
        first: First sample of the first segment.
        count: Number of segments.
        groups: Samples of each segment.

    Returns:
        Shares `(count, groups, m)`.
    """
    return jax.tree.map(lambda x: x[first : first + count * groups].reshape(count, groups, x.shape[1]), shares)


def run(advance, state: WaveState, inputs: jax.Array, simulation: Simulation, scan=scan):
    """Scan over the padded steps.

    Args:
        advance: One step: from a state and an input to the next state and a result.
        state: The first state.
        inputs: Inputs of each step, `(steps, ...)`.
        simulation: The simulation.
        scan: The scan over steps or, with sums of fields, over groups of `field_sums.stride` steps.

    Returns:
        The last state, the results of each step, and the fields `(n_fields, nz, nx)`: snapshots, then sums.
    """
    results, snapshots, start, stride = [], [], 0, field_sums.stride(simulation)
    inputs = padded(inputs, simulation)
    shares = field_sums.shares(simulation, state.pressure.dtype)
    sums = jnp.zeros((field_sums.sum_count(simulation), *simulation.field_shape), state.pressure.dtype)

    def segment(carry, inputs):
        if len(sums):
            carry, result = _summing_scan(scan, advance, carry, inputs, simulation)
        else:
            state, result = scan(advance, carry[0], inputs[0])
            carry = (state, carry[1])
        return carry, (result, inner(carry[0].pressure, simulation))

    for count, size, snapshot in segments(simulation):
        chunk = inputs[start : start + count * size].reshape(count, size, *inputs.shape[1:])
        first, groups = start // stride, size // stride
        share = share_of_segments(shares, first, count, groups)
        start += count * size
        (state, sums), (result, fields) = lax.scan(segment, (state, sums), (chunk, share))
        results.append(flat(result))
        if snapshot:
            snapshots.append(fields)
    # An empty part of the last field, so that no snapshots at all are still batched as the field is.
    snapshots.append(inner(state.pressure, simulation)[None][:0])
    return state, joined(*results), jnp.concatenate([*snapshots, sums])


def record(state: WaveState, cells: jax.Array, weights: jax.Array, simulation: Simulation) -> jax.Array:
    """Record the pressure at the receivers, each a weighted sum over its cells.

    Args:
        state: The state.
        cells: Numbers `(n_receivers, j)` of the receivers' cells.
        weights: Their weights `(n_receivers, j)`.
        simulation: The simulation.

    Returns:
        The pressure `(n_receivers,)`.
    """
    mx = simulation.padded_shape[1]
    return jnp.sum(state.pressure[cells // mx, cells % mx] * weights, axis=1)


def propagate(
    medium: Medium,
    injections: Float[Array, "steps k"],
    source_cells: Int[Array, " k"],
    receiver_cells: Int[Array, "n_receivers j"],
    receiver_weights: Float[Array, "n_receivers j"],
    simulation: Simulation,
) -> tuple[Float[Array, "gather_steps n_receivers"], Float[Array, "n_fields nz nx"]]:
    """Propagate one shot. Cells are numbered row by row on the padded grid.

    Args:
        medium: The medium.
        injections: Additions to the pressure at the source's cells in each step, `(steps, k)`.
        source_cells: Numbers `(k,)` of the source's cells.
        receiver_cells: Numbers `(n_receivers, j)` of the receivers' cells.
        receiver_weights: Weights `(n_receivers, j)`: a receiver is a weighted sum over its cells.
        simulation: The simulation.

    Returns:
        The pressure at the receivers at every `gather_stride`-th step, `(gather_steps, n_receivers)`, and the fields
        `(n_fields, nz, nx)`: the snapshots, then the sums of field_sums.py.
    """
    mx = simulation.padded_shape[1]
    cells = (source_cells // mx, source_cells % mx)

    def advance(state: WaveState, injection):
        values = record(state, receiver_cells, receiver_weights, simulation)
        return step(state, injection, cells, medium, simulation), values

    state = initial_state(simulation, medium.stiffness.dtype, staggered=medium.buoyancy is not None)
    checkpointed = partial(_checkpointed_scan, interval(simulation) // field_sums.stride(simulation))
    chosen = checkpointed if simulation.memory.strategy == "recompute" else scan
    _, gathers, fields = run(advance, state, injections, simulation, chosen)
    return gathers[: simulation.steps : simulation.gather_stride], fields
