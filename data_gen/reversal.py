"""The adjoint of the constant-density time loop in JAX, with the past kept or run backwards.

    lambda_n = 2 lambda_{n+1} - lambda_{n+2} + L^T (m lambda_{n+1}) + R^T r_n,
    dJ/dm = sum_n lambda_{n+1} (L p)_n,    dJ/dq_n = lambda_{n+1} at the sources

The accelerations (L p)_n are kept of all cells (strategy `full`), or of the cells that the absorbing layers act on
(`boundary`): then p_{n-1} = 2 p_n - p_{n+1} + m (L p)_n + q_n gives back the past, L being the plain Laplacian
elsewhere. L^T is JAX's transpose of the forward operator.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from data_gen.loop import record, run, segments
from data_gen.propagator import Medium, WaveState, initial_state, laplacian, unstretched
from data_gen.simulation import Simulation

PRECISIONS = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}


def kept_cells(simulation: Simulation, strategy: str) -> np.ndarray:
    """Numbers of the padded grid's cells whose acceleration is kept."""
    kept = np.full(simulation.padded_shape, strategy == "full")
    if strategy == "boundary":
        # The memory's derivative reaches half the order beyond its layer.
        (mz, mx), reach = kept.shape, simulation.order // 2
        top, bottom, left, right = (width + reach if width else 0 for width in simulation.widths)
        kept[:top] = kept[mz - bottom :] = kept[:, :left] = kept[:, mx - right :] = True
    return np.flatnonzero(kept)


def _pack(acceleration: jax.Array, cells: np.ndarray, simulation: Simulation) -> jax.Array:
    values = acceleration.ravel()[cells]
    return values.astype(PRECISIONS.get(simulation.memory.precision, values.dtype))


def _forward(simulation: Simulation, strategy: str, source_cells, receiver_cells, weights, m, q):
    """Gathers, snapshots, accelerations kept of each step, and the last two fields, of one shot."""
    mx, kept = simulation.padded_shape[1], kept_cells(simulation, strategy)
    cells = (source_cells // mx, source_cells % mx)

    def advance(state: WaveState, injection):
        values = record(state, receiver_cells, weights, simulation)
        acceleration, memory = laplacian(state, Medium(m, None), simulation)
        change = (m * acceleration).at[cells].add(injection)
        following = 2 * state.pressure - state.previous + change
        return WaveState(following, state.pressure, tuple(memory)), (values, _pack(acceleration, kept, simulation))

    state = initial_state(simulation, m.dtype, staggered=False)
    state, (gathers, accelerations), snapshots = run(advance, state, q, simulation)
    return gathers, snapshots, accelerations, state.pressure, state.previous


def _adjoint(simulation: Simulation, source_cells, receiver_cells, weights, m, q, records):
    """Gradients by m and q of one shot; records: residuals of gathers and snapshots, then what `_forward` saved."""
    residual, images, accelerations, last, before_last = records
    (top, _, left, _), (nz, nx), mx = simulation.widths, simulation.grid.shape, simulation.padded_shape[1]
    kept, medium = kept_cells(simulation, simulation.memory.strategy), Medium(m, None)
    cells = (source_cells // mx, source_cells % mx)
    everything = simulation.memory.strategy == "full"
    rest = initial_state(simulation, m.dtype, staggered=False)

    def operator(pressure, memory):
        acceleration, memory = laplacian(WaveState(pressure, pressure, memory), medium, simulation)
        return acceleration, tuple(memory)

    transposed = jax.linear_transpose(operator, rest.pressure, rest.memory)

    def retreat(carry, inputs):
        adjoint, (now, after), image = carry
        trace, injection, saved = inputs
        acceleration = jnp.zeros_like(m) if everything else unstretched(now, medium, simulation)
        acceleration = acceleration.ravel().at[kept].set(saved.astype(m.dtype)).reshape(m.shape)
        image += adjoint.pressure * acceleration
        by_source = adjoint.pressure[cells]
        spread, memory = transposed((m * adjoint.pressure, adjoint.memory))
        earlier = 2 * adjoint.pressure - adjoint.previous + spread
        earlier = earlier.at[receiver_cells // mx, receiver_cells % mx].add(weights * trace[:, None])
        if not everything:
            now, after = 2 * now - after + (m * acceleration).at[cells].add(injection), now
        return (WaveState(earlier, adjoint.pressure, memory), (now, after), image), by_source

    def segment(carry, inputs):
        *steps, image = inputs
        adjoint, *others = carry
        pressure = adjoint.pressure.at[top : top + nz, left : left + nx].add(image)
        return lax.scan(retreat, (adjoint._replace(pressure=pressure), *others), tuple(steps), reverse=True, unroll=2)

    carry, by_source, stop, taken = (rest, (before_last, last), jnp.zeros_like(m)), [], simulation.steps, len(images)
    for count, size, snapshot in reversed(segments(simulation)):
        start = stop - count * size
        steps = [x[start:stop].reshape(count, size, *x.shape[1:]) for x in (residual, q, accelerations)]
        shown = images[taken - count : taken] if snapshot else jnp.zeros((count, nz, nx), m.dtype)
        carry, part = lax.scan(segment, carry, (*steps, shown), reverse=True)
        by_source.insert(0, part.reshape(count * size, q.shape[1]))
        stop, taken = start, taken - count * snapshot
    return carry[2], jnp.concatenate(by_source)


def _with_tangent(function, arguments, tangents):
    """Results of `function`, then their change along `tangents` where there are any."""
    if tangents is None:
        return list(function(*arguments))
    return [x for results in jax.jvp(function, arguments, tangents) for x in results]


@dataclass(frozen=True)
class ReversalEngine:
    """See `derivatives.Engine`. Everything is JAX, so the second component is a jvp."""

    def forward(self, simulation: Simulation, strategy: str, geometry, *components) -> list[jax.Array]:
        """Gathers, snapshots, accelerations and the last two fields of every component `(m, q)`."""
        signature = "(k),(r,j),(r,j),(z,x),(t,k)->(t,r),(n,a,b),(t,c),(z,x),(z,x)"
        function = jnp.vectorize(partial(_forward, simulation, strategy), signature=signature)
        return _with_tangent(partial(function, *geometry), *components, *[None] * (2 - len(components)))

    def adjoint(self, simulation: Simulation, geometry, models, records) -> list[jax.Array]:
        """Gradients by m and q of every component; records: residuals, then what `forward` gave beyond them."""

        def one(source_cells, receiver_cells, weights, m, q, *records):
            return _adjoint(simulation, source_cells, receiver_cells, weights, m, q, records)

        signature = "(k),(r,j),(r,j),(z,x),(t,k),(t,r),(n,a,b),(t,c),(z,x),(z,x)->(z,x),(t,k)"
        function = partial(jnp.vectorize(one, signature=signature), *geometry)
        components = [(*model, *record) for model, record in zip(models, records, strict=True)]
        return _with_tangent(function, *components, *[None] * (2 - len(components)))
