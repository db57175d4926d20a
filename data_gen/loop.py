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


def _segments(simulation: Simulation) -> list[tuple[int, int, bool]]:
    """The time axis cut at the snapshots: runs of `(count, steps, snapshot)` of equal segments.

    A snapshot at step n is the field after n steps. Equal neighbours share one compiled loop.
    """
    cuts = [n * simulation.substeps for n in simulation.snapshot_steps]
    lengths = [(b - a, True) for a, b in pairwise([0, *cuts])]
    lengths.append((simulation.steps - (cuts[-1] if cuts else 0), False))
    runs = [(sum(1 for _ in group), *key) for key, group in groupby(lengths)]
    return [(count, size, snapshot) for count, size, snapshot in runs if size or snapshot]


def _scan(advance, state: WaveState, injections: jax.Array, simulation: Simulation):
    """`lax.scan` over the injections, in checkpointed intervals where the strategy says so."""
    # unroll=2 lets XLA swap the two pressure buffers instead of copying one.
    plain = partial(lax.scan, advance, unroll=2)
    if simulation.memory.strategy != "recompute" or not len(injections):
        return plain(state, injections)
    every, checkpointed = simulation.memory.interval(simulation), jax.checkpoint(plain)
    whole, traces = len(injections) // every * every, []
    if whole:
        intervals = injections[:whole].reshape(-1, every, *injections.shape[1:])
        state, inner = lax.scan(checkpointed, state, intervals)
        traces.append(inner.reshape(whole, *inner.shape[2:]))
    if whole < len(injections):
        state, rest = checkpointed(state, injections[whole:])
        traces.append(rest)
    return state, jnp.concatenate(traces)


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
    top, _, left, _ = simulation.widths
    (nz, nx), (_, mx) = simulation.grid.shape, simulation.padded_shape
    cells = (source_cells // mx, source_cells % mx)

    def advance(state: WaveState, injection):
        values = state.pressure[receiver_cells // mx, receiver_cells % mx]
        return step(state, injection, cells, medium, simulation), jnp.sum(values * receiver_weights, axis=1)

    def snapshot_segment(state: WaveState, values):
        state, traces = _scan(advance, state, values, simulation)
        return state, (traces, state.pressure[top : top + nz, left : left + nx])

    dtype = medium.stiffness.dtype
    state = initial_state(simulation, dtype, staggered=medium.buoyancy is not None)
    gathers, snapshots, start = [], [jnp.zeros((0, nz, nx), dtype)], 0
    for count, size, snapshot in _segments(simulation):
        values = injections[start : start + count * size]
        start += count * size
        if snapshot:
            state, (traces, fields) = lax.scan(snapshot_segment, state, values.reshape(count, size, values.shape[1]))
            traces = traces.reshape(count * size, traces.shape[-1])
            snapshots.append(fields)
        else:
            state, traces = _scan(advance, state, values, simulation)
        gathers.append(traces)
    return jnp.concatenate(gathers), jnp.concatenate(snapshots)
