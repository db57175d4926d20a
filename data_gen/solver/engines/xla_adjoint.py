"""Run the adjoint of the constant-density time loop in JAX, with the past kept or run backwards.

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

from data_gen.solver.engines import field_sums
from data_gen.solver.engines.scan import (
    flat,
    in_groups,
    padded,
    padded_steps,
    record,
    run,
    scan,
    segments,
    share_of_segments,
)
from data_gen.solver.engines.time_step import WaveState, initial_state, laplacian, unstretched
from data_gen.solver.problem.medium import Medium
from data_gen.solver.problem.simulation import Simulation


def kept_cells(simulation: Simulation, strategy: str) -> np.ndarray:
    """Find the cells whose acceleration is kept.

    Args:
        simulation: The simulation.
        strategy: "full" keeps all cells, "boundary" those that the absorbing layers act on, "none" no cells.

    Returns:
        Numbers of cells of the padded grid, counted row by row.
    """
    kept = np.full(simulation.padded_shape, strategy == "full")
    if strategy == "boundary":
        # The memory's derivative reaches half the order beyond its layer.
        (mz, mx), reach = kept.shape, simulation.order // 2
        top, bottom, left, right = (width + reach if width else 0 for width in simulation.widths)
        kept[:top] = kept[mz - bottom :] = kept[:, :left] = kept[:, mx - right :] = True
    return np.flatnonzero(kept)


# Values are kept in a unit that brings the largest to about 2^14: float16 holds up to 65504.
LARGEST_KEPT = 2.0**14


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def pack(values: jax.Array, precision: str) -> tuple[jax.Array, jax.Array]:
    """Keep the values of one step in a precision.

    Args:
        values: Values `(n,)`.
        precision: "same", "bfloat16" or "float16".

    Returns:
        The values in a unit of their own, and the unit, a power of two: half precision overflows for no amplitude. A
        tangent is kept in another unit, which has nothing to do with that of the values.
    """
    if precision == "same":
        return values, jnp.ones((), values.dtype)
    # Without a mantissa: rounded to a power of two.
    largest = lax.reduce_precision(jnp.max(jnp.abs(values), initial=0.0), jnp.finfo(values.dtype).nexp, 0)
    unit = jnp.maximum(largest / LARGEST_KEPT, jnp.finfo(values.dtype).tiny)
    return (values / unit).astype(precision), unit


@pack.defjvp
def _pack_jvp(precision, primals, tangents):
    return pack(*primals, precision), pack(*tangents, precision)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def unpack(kept: jax.Array, unit: jax.Array, dtype) -> jax.Array:
    """Undo `pack`, for a tangent by its own unit.

    Args:
        kept: Values of one step `(n,)`.
        unit: Their unit.
        dtype: Type of the result.

    Returns:
        The values `(n,)`.
    """
    return kept.astype(dtype) * unit


@unpack.defjvp
def _unpack_jvp(dtype, primals, tangents):
    return unpack(*primals, dtype), unpack(*tangents, dtype)


def _forward(simulation: Simulation, strategy: str, source_cells, receiver_cells, weights, m, q):
    """Compute gathers, fields, the accelerations kept of each step, and the last two pressures, of one shot."""
    mx, kept = simulation.padded_shape[1], kept_cells(simulation, strategy)
    cells = (source_cells // mx, source_cells % mx)

    def advance(state: WaveState, injection):
        values = record(state, receiver_cells, weights, simulation)
        acceleration, memory = laplacian(state, Medium(m, None), simulation)
        change = (m * acceleration).at[cells].add(injection)
        following = 2 * state.pressure - state.previous + change
        packed = pack(acceleration.ravel()[kept], simulation.memory.precision)
        return WaveState(following, state.pressure, tuple(memory)), (values, packed)

    state = initial_state(simulation, m.dtype, staggered=False)
    state, (gathers, accelerations), fields = run(advance, state, q, simulation)
    return (
        gathers[: simulation.steps : simulation.gather_stride],
        fields,
        *accelerations,
        state.pressure,
        state.previous,
    )


def _retreat(simulation: Simulation, source_cells, receiver_cells, weights, m):
    """Make the step back: from the adjoint field, two pressures and the model's image at n + 1 to those at n."""
    kept, medium = kept_cells(simulation, simulation.memory.strategy), Medium(m, None)
    mx = simulation.padded_shape[1]
    cells = (source_cells // mx, source_cells % mx)
    everything = simulation.memory.strategy == "full"
    rest = initial_state(simulation, m.dtype, staggered=False)

    def operator(pressure, memory):
        acceleration, memory = laplacian(WaveState(pressure, pressure, memory), medium, simulation)
        return acceleration, tuple(memory)

    transposed = jax.linear_transpose(operator, rest.pressure, rest.memory)

    def retreat(carry, inputs):
        adjoint, (now, after), image = carry
        trace, injection, *saved = inputs
        acceleration = jnp.zeros_like(m) if everything else unstretched(now, medium, simulation)
        acceleration = acceleration.ravel().at[kept].set(unpack(*saved, m.dtype)).reshape(m.shape)
        image += adjoint.pressure * acceleration
        by_source = adjoint.pressure[cells]
        spread, memory = transposed((m * adjoint.pressure, adjoint.memory))
        earlier = 2 * adjoint.pressure - adjoint.previous + spread
        earlier = earlier.at[receiver_cells // mx, receiver_cells % mx].add(weights * trace[:, None])
        if not everything:
            now, after = 2 * now - after + (m * acceleration).at[cells].add(injection), now
        return (WaveState(earlier, adjoint.pressure, memory), (now, after), image), by_source

    return rest, retreat


def _segment(retreat, sums, simulation: Simulation):
    """Make all steps back between two snapshots, the later one's residual first; `sums` are the sums' residuals."""
    (top, left), (nz, nx) = simulation.field_origin, simulation.field_shape

    def receive(carry, residual):
        adjoint, *others = carry
        pressure = adjoint.pressure.at[top : top + nz, left : left + nx].add(residual)
        return adjoint._replace(pressure=pressure), *others

    def steps_back(carry, steps):
        return scan(retreat, carry, steps, reverse=True)

    def group(carry, inputs):
        steps, share = inputs
        carry, by_source = steps_back(carry, steps)
        return receive(carry, field_sums.weigh_sums(sums, share)), by_source

    def segment(carry, inputs):
        steps, shares, residual = inputs
        carry = receive(carry, residual)
        if not len(sums):
            return steps_back(carry, steps)
        groups, _ = in_groups(steps, field_sums.stride(simulation))
        carry, by_source = lax.scan(group, carry, (groups, shares), reverse=True)
        return carry, flat(by_source)

    return segment


def _adjoint(simulation: Simulation, source_cells, receiver_cells, weights, m, q, records):
    """Compute gradients by m and q of one shot from residuals of gathers and fields, and what `_forward` saved."""
    residual, fields, accelerations, units, last, before_last = records
    at_every_step = jnp.zeros((simulation.steps, residual.shape[1]), residual.dtype)
    residual = at_every_step.at[:: simulation.gather_stride].set(residual)
    images, sums = jnp.split(fields, [len(field_sums.kept_snapshots(simulation))])
    stride, shares = field_sums.stride(simulation), field_sums.shares(simulation, m.dtype)
    rest, retreat = _retreat(simulation, source_cells, receiver_cells, weights, m)
    segment, by_source, stop, taken = _segment(retreat, sums, simulation), [], padded_steps(simulation), len(images)
    inputs = (padded(residual, simulation), padded(q, simulation), accelerations, units)
    carry = (rest, (before_last, last), jnp.zeros_like(m))
    for count, size, snapshot in reversed(segments(simulation)):
        start = stop - count * size
        steps = tuple(x[start:stop].reshape(count, size, *x.shape[1:]) for x in inputs)
        first, groups = start // stride, size // stride
        share = share_of_segments(shares, first, count, groups)
        shown = images[taken - count : taken] if snapshot else jnp.zeros((count, *images.shape[1:]), m.dtype)
        carry, part = lax.scan(segment, carry, (steps, share, shown), reverse=True)
        by_source.insert(0, part.reshape(count * size, q.shape[1]))
        stop, taken = start, taken - count * snapshot
    return carry[2], jnp.concatenate(by_source)[: simulation.steps]


def _with_tangent(function, arguments, tangents):
    """Compute a function, then its change along `tangents` where there are any."""
    if tangents is None:
        return list(function(*arguments))
    # A model of a whole batch may have a tangent for each of its members, and the other way round.
    pairs = [jnp.broadcast_arrays(x, t) for x, t in zip(arguments, tangents, strict=True)]
    points, changes = zip(*pairs, strict=True)
    return [x for results in jax.jvp(function, points, changes) for x in results]


@dataclass(frozen=True)
class ReversalEngine:
    """Run the time loop and an adjoint in JAX; the second component is a jvp. See `rules.Engine`."""

    def forward(self, simulation: Simulation, strategy: str, geometry, *components) -> list[jax.Array]:
        """See `Engine.forward`. The saved block is the accelerations, their units and the last two pressures."""
        signature = "(k),(r,j),(r,j),(z,x),(t,k)->(g,r),(n,a,b),(s,c),(s),(z,x),(z,x)"
        function = jnp.vectorize(partial(_forward, simulation, strategy), signature=signature)
        return _with_tangent(partial(function, *geometry), *components, *[None] * (2 - len(components)))

    def adjoint(self, simulation: Simulation, geometry, models, records) -> list[jax.Array]:
        """See `Engine.adjoint`."""

        def one(source_cells, receiver_cells, weights, m, q, *records):
            return _adjoint(simulation, source_cells, receiver_cells, weights, m, q, records)

        signature = "(k),(r,j),(r,j),(z,x),(t,k),(g,r),(n,a,b),(s,c),(s),(z,x),(z,x)->(z,x),(t,k)"
        function = partial(jnp.vectorize(one, signature=signature), *geometry)
        components = [(*model, *record) for model, record in zip(models, records, strict=True)]
        return _with_tangent(function, *components, *[None] * (2 - len(components)))
