"""The native time loop and its derivatives as JAX functions.

Arrays of one shot: m `(mz, mx)`; q `(steps, k)`; source cells `(k,)`; receiver cells and weights `(n_receivers, j)`;
gathers `(steps, n_receivers)`; snapshots `(n_snapshots, nz, nx)`. What the forward pass saves for the adjoint is an
opaque block of values. Each may have leading batch dimensions of size 1 or the batch's.
"""

import warnings
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from data_gen import loop
from data_gen.absorbing import Strip
from data_gen.errors import InputError
from data_gen.linear_call import linear_call
from data_gen.native.library import compiler, load, target_name, threads
from data_gen.propagator import Medium, strip_profile
from data_gen.simulation import Simulation
from data_gen.stencils import first_derivative_weights, second_derivative_weights

STRATEGIES = {"none": 0, "full": 1, "recompute": 2, "boundary": 3}
PRECISIONS = {"same": 0, "bfloat16": 1, "float16": 2}


@cache
def _warn_of_missing_compiler() -> None:
    warnings.warn(
        "No C++ compiler was found, so simulations run through XLA, several times slower. Install g++ or clang++ "
        "(or set CXX), or choose backend='xla' to say that this is meant.",
        UserWarning,
        stacklevel=4,
    )


def suits(simulation: Simulation, medium: Medium) -> bool:
    """Whether the native loop is to run this simulation; raises `InputError` where it is demanded and cannot."""
    able = medium.buoyancy is None and simulation.time_order == 2
    if simulation.backend == "native":
        if not able:
            raise InputError(
                "The native backend computes constant density of second order in time, but this simulation has "
                f"{'a density' if medium.buoyancy is not None else 'time_order=4'}. Choose backend='auto' or 'xla'."
            )
        return True
    if simulation.backend == "xla" or not able or jax.default_backend() != "cpu":
        return False
    if compiler() is None:
        _warn_of_missing_compiler()
        return False
    return True


def layout(simulation: Simulation) -> np.ndarray:
    """The padded grid as kernel.cc wants it: mz, mx, the four widths, free surface or not."""
    return np.array([*simulation.padded_shape, *simulation.widths, simulation.free_surface], np.int64)


def plan(simulation: Simulation, strategy: str) -> np.ndarray:
    """Strategy, precision, steps, interval and threads as kernel.cc wants them."""
    memory = simulation.memory
    numbers = [STRATEGIES[strategy], PRECISIONS[memory.precision], simulation.steps, memory.interval(simulation)]
    return np.array([*numbers, threads()], np.int64)


def _attributes(simulation: Simulation, strategy: str) -> dict[str, np.ndarray]:
    spacing, (top, _, left, _) = simulation.grid.spacing, simulation.widths
    second = np.array(second_derivative_weights(simulation.order)) / spacing**2
    profiles = []
    for place, width in enumerate(simulation.widths):
        if width:
            a, b = strip_profile(Strip(place // 2, bool(place % 2), width), simulation)
            profiles += [a.ravel(), b.ravel()]
    return {
        "layout": layout(simulation),
        "inner": np.array([top, left, *simulation.grid.shape], np.int64),
        "snapshots": np.array(simulation.snapshot_steps, np.int64) * simulation.substeps,
        "plan": plan(simulation, strategy),
        "second": np.concatenate([[-4 * second.sum()], second]),
        "first": np.array(first_derivative_weights(simulation.order)) / spacing,
        "profiles": np.concatenate([np.zeros(0), *profiles]),
    }


def _call(target: str, simulation: Simulation, strategy: str, operands, shapes) -> list[jax.Array]:
    """Call a handler: `shapes` of the results without batch dimensions."""
    dtype, order = operands[2].dtype, simulation.order
    load(str(dtype), order)
    batches = [np.shape(operands[0])[:-1], *(np.shape(x)[: np.ndim(operands[0]) - 1] for x in operands[1:])]
    batch = np.broadcast_shapes(*batches)
    results = [jax.ShapeDtypeStruct((*batch, *shape), dtype) for shape in shapes]
    function = jax.ffi.ffi_call(target_name(target, str(dtype), order), results, vmap_method="expand_dims")
    return list(function(*operands, **_attributes(simulation, strategy)))


def _record_shapes(simulation: Simulation, receiver_cells) -> list[tuple[int, ...]]:
    return [
        (simulation.steps, receiver_cells.shape[-2]),
        (len(simulation.snapshot_steps), *simulation.grid.shape),
    ]


def saved_values(simulation: Simulation, dtype, strategy: str) -> int:
    """Values of `dtype` that the forward pass saves for the adjoint of one shot."""
    size = load(str(dtype), simulation.order).saved_bytes(layout(simulation), plan(simulation, strategy))
    return -(-size // np.dtype(dtype).itemsize)


def _forward(simulation: Simulation, strategy: str, geometry, *components) -> list[jax.Array]:
    """Gathers, snapshots and saved block of every component `(m, q)`."""
    source_cells, receiver_cells, weights = geometry
    saved = (saved_values(simulation, weights.dtype, strategy),)
    shapes = [*_record_shapes(simulation, receiver_cells), saved] * len(components)
    operands = [source_cells, receiver_cells, weights, *(x for component in components for x in component)]
    return _call(f"forward_{len(components)}", simulation, strategy, operands, shapes)


def _adjoint(simulation: Simulation, geometry, models, records) -> list[jax.Array]:
    """Gradients by m and q of every component; models `(m, q)`, records `(gathers, snapshots, saved)` of each."""
    source_cells = geometry[0]
    shapes = [simulation.padded_shape, (simulation.steps, source_cells.shape[-1])] * len(models)
    operands = [*geometry, *(x for model in models for x in model), *(x for record in records for x in record)]
    return _call(f"adjoint_{len(models)}", simulation, simulation.memory.strategy, operands, shapes)


# ---- Derivatives -----------------------------------------------------------------------------------------------------
# Geometry: source cells, receiver cells, receiver weights. A gather is bilinear in the weights and the field.


@dataclass(frozen=True)
class Tangent:
    """(dm, dq) -> d(gathers, snapshots). Residuals: geometry, m, q, saved block."""

    simulation: Simulation

    def apply(self, residuals, operands):
        *geometry, m, q, _ = residuals
        return tuple(_forward(self.simulation, "none", geometry, (m, q), operands)[3:5])

    def transpose(self) -> "Adjoint":
        return Adjoint(self.simulation)

    def residual_tangent(self, residuals, tangents, operands):
        *cells, weights, m, q, saved = residuals
        *_, dweights, dm, dq, _ = tangents
        gathers, snapshots = _reference_hessian(
            self.simulation, (*cells, weights), (m, q), _known((dm, dq), (m, q)), operands
        )
        if dweights is not None:
            gathers = gathers + linear_call(self, (*cells, dweights, m, q, saved), operands)[0]
        return gathers, snapshots


@dataclass(frozen=True)
class Adjoint:
    """d(gathers, snapshots) -> (dm, dq): the transpose of `Tangent`, with the same residuals."""

    simulation: Simulation

    def apply(self, residuals, operands):
        *geometry, m, q, saved = residuals
        return tuple(_adjoint(self.simulation, geometry, [(m, q)], [(*operands, saved)]))

    def transpose(self) -> Tangent:
        return Tangent(self.simulation)

    def residual_tangent(self, residuals, tangents, operands):
        *cells, weights, m, q, saved = residuals
        *_, dweights, dm, dq, dsaved = tangents
        dm, dq, dsaved = _known((dm, dq, dsaved), (m, q, saved))
        result = _adjoint_tangent(self.simulation, (*cells, weights), (m, q), (dm, dq), (*operands, saved), dsaved)
        if dweights is not None:
            gathers, snapshots = operands
            extra = linear_call(self, (*cells, dweights, m, q, saved), (gathers, jnp.zeros_like(snapshots)))
            result = [a + b for a, b in zip(result, extra, strict=True)]
        return tuple(result)


def _known(tangents, primals):
    return tuple(jnp.zeros_like(p) if t is None else t for t, p in zip(tangents, primals, strict=True))


def _reference(simulation: Simulation, geometry, m, q):
    """What `propagate` computes, by loop.py; for batches too."""

    def one(source_cells, receiver_cells, weights, m, q):
        return loop.propagate(Medium(m, None), q, source_cells, receiver_cells, weights, simulation)

    return jnp.vectorize(one, signature="(k),(r,j),(r,j),(z,x),(t,k)->(t,r),(n,a,b)")(*geometry, m, q)


def _reference_hessian(simulation: Simulation, geometry, model, first, second):
    """Second derivative of `_reference` along two changes `(dm, dq)` of the model."""

    def tangent(*model):
        return jax.jvp(partial(_reference, simulation, geometry), model, second)[1]

    return jax.jvp(tangent, model, first)[1]


def _reference_adjoint(simulation: Simulation, geometry, model, records):
    return jax.vjp(partial(_reference, simulation, geometry), *model)[1](records)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _adjoint_tangent(simulation: Simulation, geometry, model, dmodel, records, dsaved):
    """Change of the adjoint's result with the model, by the adjoint of numbers x_0 + x_1 eps."""
    *residual, _ = records
    drecords = (*(jnp.zeros_like(r) for r in residual), dsaved)
    return _adjoint(simulation, geometry, [model, dmodel], [records, drecords])[2:]


@_adjoint_tangent.defjvp
def _adjoint_tangent_jvp(simulation, primals, tangents):
    def reference(geometry, model, dmodel, records, _):
        adjoint = partial(_reference_adjoint, simulation, geometry)
        return list(jax.jvp(lambda m: adjoint(m, records[:2]), (model,), (dmodel,))[1])

    return _adjoint_tangent(simulation, *primals), jax.jvp(reference, primals, tangents)[1]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _forward_saving(simulation: Simulation, geometry, m, q):
    """Gathers, snapshots and the saved block. Its derivative is forward only: what `propagate`'s saves is a residual."""
    return _forward(simulation, simulation.memory.strategy, geometry, (m, q))


@_forward_saving.defjvp
def _forward_saving_jvp(simulation, primals, tangents):
    geometry, m, q = primals
    results = _forward(simulation, simulation.memory.strategy, geometry, (m, q), tangents[1:])
    gathers, snapshots, saved = results[3:]
    source_cells, receiver_cells, _ = geometry
    # Linear in the weights: their change is a run with that for weights.
    by_weights = _forward(simulation, "none", (source_cells, receiver_cells, tangents[0][2]), (m, q))[0]
    return results[:3], [gathers + by_weights, snapshots, saved]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _propagate(simulation: Simulation, source_cells, receiver_cells, weights, m, q):
    return tuple(_forward(simulation, "none", (source_cells, receiver_cells, weights), (m, q))[:2])


@partial(_propagate.defjvp, symbolic_zeros=True)
def _propagate_jvp(simulation, primals, tangents):
    source_cells, receiver_cells, weights, m, q = primals
    *_, dweights, dm, dq = tangents
    gathers, snapshots, saved = _forward_saving(simulation, (source_cells, receiver_cells, weights), m, q)
    dm, dq = (jnp.zeros(t.shape, t.dtype) if isinstance(t, SymbolicZero) else t for t in (dm, dq))
    dgathers, dsnapshots = linear_call(
        Tangent(simulation), (source_cells, receiver_cells, weights, m, q, saved), (dm, dq)
    )
    if not isinstance(dweights, SymbolicZero):
        ones = jnp.ones((weights.size, 1), weights.dtype)
        samples, _ = _propagate(simulation, source_cells, receiver_cells.reshape(-1, 1), ones, m, q)
        dgathers += jnp.einsum("trj,rj->tr", samples.reshape(-1, *weights.shape), dweights)
    return (gathers, snapshots), (dgathers, dsnapshots)


def propagate(
    stiffness: Float[Array, "mz mx"],
    injections: Float[Array, "steps k"],
    source_cells: Int[Array, " k"],
    receiver_cells: Int[Array, "n_receivers j"],
    receiver_weights: Float[Array, "n_receivers j"],
    simulation: Simulation,
) -> tuple[Float[Array, "steps n_receivers"], Float[Array, "n_snapshots nz nx"]]:
    """`loop.propagate` for constant density, compiled; the same arguments, the medium being its stiffness."""
    return _propagate(simulation, source_cells, receiver_cells, receiver_weights, stiffness, injections)
