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

from data_gen.propagator import Medium, WaveState, initial_state, step
from data_gen.simulation import Simulation


def segments(simulation: Simulation) -> list[tuple[int, int, bool]]:
    """The time axis cut at the snapshots: runs of `(count, steps, snapshot)` of equal segments.

    A snapshot at step n is the field after n steps. Equal neighbours share one compiled loop.
    """
    cuts = [n * simulation.substeps for n in simulation.snapshot_steps]
    lengths = [(b - a, True) for a, b in pairwise([0, *cuts])]
    lengths.append((simulation.steps - (cuts[-1] if cuts else 0), False))
    runs = [(sum(1 for _ in group), *key) for key, group in groupby(lengths)]
    return [(count, size, snapshot) for count, size, snapshot in runs if size or snapshot]


# unroll=2 lets XLA swap the two pressure buffers instead of copying one.
scan = partial(lax.scan, unroll=2)


def _checkpointed_scan(every: int, advance, state: WaveState, inputs: jax.Array):
    """`scan` in intervals of `every` steps, of which reverse mode keeps the first state only."""
    interval, whole, results = jax.checkpoint(partial(scan, advance)), len(inputs) // every * every, []
    if whole:
        state, inner = lax.scan(interval, state, inputs[:whole].reshape(-1, every, *inputs.shape[1:]))
        results.append(inner.reshape(whole, *inner.shape[2:]))
    if whole < len(inputs) or not results:
        state, rest = interval(state, inputs[whole:])
        results.append(rest)
    return state, jnp.concatenate(results)


def run(advance, state: WaveState, inputs: jax.Array, simulation: Simulation, scan=scan):
    """Scan `advance` over all steps; returns the last state, the results of each step, and the snapshots."""
    top, _, left, _ = simulation.widths
    nz, nx = simulation.grid.shape
    results, snapshots, start = [], [], 0

    def segment(state: WaveState, inputs):
        state, result = scan(advance, state, inputs)
        return state, (result, state.pressure[top : top + nz, left : left + nx])

    for count, size, snapshot in segments(simulation):
        chunk = inputs[start : start + count * size].reshape(count, size, *inputs.shape[1:])
        start += count * size
        state, (result, fields) = lax.scan(segment, state, chunk)
        results.append(jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), result))
        if snapshot:
            snapshots.append(fields)
    # None at all is still a part of the last field, so that it is batched where the field is.
    snapshots.append(state.pressure[None, top : top + nz, left : left + nx][:0])
    return state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *results), jnp.concatenate(snapshots)


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
) -> tuple[Float[Array, "steps n_receivers"], Float[Array, "n_snapshots nz nx"]]:
    """One shot: the pressure at the receivers at every step, and on the grid at the snapshot steps.

    injections: what the source adds to the pressure at its cells in each step; cells are numbered row by row on the
    padded grid. A receiver is a weighted sum over its cells.
    """
    mx = simulation.padded_shape[1]
    cells = (source_cells // mx, source_cells % mx)

    def advance(state: WaveState, injection):
        values = record(state, receiver_cells, receiver_weights, simulation)
        return step(state, injection, cells, medium, simulation), values

    state = initial_state(simulation, medium.stiffness.dtype, staggered=medium.buoyancy is not None)
    checkpointed = partial(_checkpointed_scan, simulation.memory.interval(simulation))
    chosen = checkpointed if simulation.memory.strategy == "recompute" else scan
    _, gathers, snapshots = run(advance, state, injections, simulation, chosen)
    return gathers, snapshots
