"""Derivatives of the constant-density time loop for engines that compute forward and adjoint themselves.

    gathers, snapshots = propagate(m, q)              m = v^2 dt^2 on the padded grid, q the sources' injections
    d(gathers, snapshots) = tangent(m, q) (dm, dq)    Born modelling
    (dm, dq) = adjoint(m, q) d(gathers, snapshots)    the exact transpose of the tangent

An engine does these for the model and, with a second component, for its tangent: so jvp, vjp, Gauss-Newton products
and Hessian-vector products (forward over reverse) run on it. What is left (other orders of the modes, third
derivatives) goes through loop.py, which computes the same discrete map.

Arrays of one shot: m `(mz, mx)`; q `(steps, k)`; source cells `(k,)`; receiver cells and weights `(n_receivers, j)`;
gathers `(steps, n_receivers)`; snapshots `(n_snapshots, nz, nx)`. What the forward pass saves for the adjoint is an
opaque block of values. Each may have leading batch dimensions of size 1 or the batch's.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from data_gen import loop
from data_gen.linear_call import linear_call
from data_gen.propagator import Medium
from data_gen.simulation import Simulation

# Geometry: source cells, receiver cells, receiver weights. A gather is bilinear in the weights and the field.


@runtime_checkable
class Engine(Protocol):
    """Hashable. One component is a field; two are a field and its tangent."""

    def forward(self, simulation: Simulation, strategy: str, geometry, *components) -> list[jax.Array]:
        """Gathers, snapshots and saved block of every component `(m, q)`; strategy "none" saves nothing."""
        ...

    def adjoint(self, simulation: Simulation, geometry, models, records) -> list[jax.Array]:
        """Gradients by m and q of every component; models `(m, q)`, records `(gathers, snapshots, saved)`."""
        ...


@dataclass(frozen=True)
class Tangent:
    """(dm, dq) -> d(gathers, snapshots). Residuals: geometry, m, q, saved blocks."""

    engine: Engine
    simulation: Simulation

    def apply(self, residuals, operands):
        geometry, (m, q) = residuals[:3], residuals[3:5]
        results = self.engine.forward(self.simulation, "none", geometry, (m, q), operands)
        return tuple(results[len(results) // 2 :][:2])

    def transpose(self) -> "Adjoint":
        return Adjoint(self.engine, self.simulation)

    def residual_tangent(self, residuals, tangents, operands):
        geometry, model = residuals[:3], residuals[3:5]
        dweights, *dmodel = tangents[2:5]
        dmodel = _known(dmodel, model)
        gathers, snapshots = _reference_hessian(self.simulation, geometry, model, dmodel, operands)
        if dweights is not None:
            gathers = gathers + linear_call(self, (*geometry[:2], dweights, *residuals[3:]), operands)[0]
        return gathers, snapshots


@dataclass(frozen=True)
class Adjoint:
    """d(gathers, snapshots) -> (dm, dq): the transpose of `Tangent`, with the same residuals."""

    engine: Engine
    simulation: Simulation

    def apply(self, residuals, operands):
        geometry, model, saved = residuals[:3], residuals[3:5], residuals[5:]
        return tuple(self.engine.adjoint(self.simulation, geometry, [model], [(*operands, *saved)]))

    def transpose(self) -> Tangent:
        return Tangent(self.engine, self.simulation)

    def residual_tangent(self, residuals, tangents, operands):
        geometry, model, saved = residuals[:3], residuals[3:5], residuals[5:]
        dmodel, dsaved = _known(tangents[3:5], model), _known(tangents[5:], saved)
        settings, records = (self.engine, self.simulation), (*operands, *saved)
        result = _adjoint_tangent(*settings, geometry, model, dmodel, records, dsaved)
        if (dweights := tangents[2]) is not None:
            gathers, snapshots = operands
            residuals = (*geometry[:2], dweights, *residuals[3:])
            extra = linear_call(self, residuals, (gathers, jnp.zeros_like(snapshots)))
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


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _adjoint_tangent(engine: Engine, simulation: Simulation, geometry, model, dmodel, records, dsaved):
    """Change of the adjoint's result with the model, by the adjoint of numbers x_0 + x_1 eps."""
    drecords = (*(jnp.zeros_like(r) for r in records[:2]), *dsaved)
    return engine.adjoint(simulation, geometry, [model, dmodel], [records, drecords])[2:]


@_adjoint_tangent.defjvp
def _adjoint_tangent_jvp(engine, simulation, primals, tangents):
    def reference(geometry, model, dmodel, records, _):
        adjoint = partial(_reference_adjoint, simulation, geometry)
        return list(jax.jvp(lambda m: adjoint(m, records[:2]), (model,), (dmodel,))[1])

    return _adjoint_tangent(engine, simulation, *primals), jax.jvp(reference, primals, tangents)[1]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _forward_saving(engine: Engine, simulation: Simulation, geometry, m, q):
    """Gathers, snapshots and the saved blocks, which are residuals: only forward mode gets here."""
    return engine.forward(simulation, simulation.memory.strategy, geometry, (m, q))


@_forward_saving.defjvp
def _forward_saving_jvp(engine, simulation, primals, tangents):
    (*cells, weights), m, q = primals
    (*_, dweights), dm, dq = tangents
    both = engine.forward(simulation, simulation.memory.strategy, (*cells, weights), (m, q), (dm, dq))
    results, (gathers, *others) = both[: len(both) // 2], both[len(both) // 2 :]
    # Linear in the weights: their change is a run with that for weights.
    by_weights = engine.forward(simulation, "none", (*cells, dweights), (m, q))[0]
    return results, [gathers + by_weights, *others]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _propagate(engine: Engine, simulation: Simulation, source_cells, receiver_cells, weights, m, q):
    return tuple(engine.forward(simulation, "none", (source_cells, receiver_cells, weights), (m, q))[:2])


@partial(_propagate.defjvp, symbolic_zeros=True)
def _propagate_jvp(engine, simulation, primals, tangents):
    *cells, weights, m, q = primals
    *_, dweights, dm, dq = tangents
    gathers, snapshots, *saved = _forward_saving(engine, simulation, (*cells, weights), m, q)
    dm, dq = (jnp.zeros(t.shape, t.dtype) if isinstance(t, SymbolicZero) else t for t in (dm, dq))
    dgathers, dsnapshots = linear_call(Tangent(engine, simulation), (*cells, weights, m, q, *saved), (dm, dq))
    if not isinstance(dweights, SymbolicZero):
        samples, ones = cells[1].reshape(-1, 1), jnp.ones((weights.size, 1), weights.dtype)
        samples, _ = _propagate(engine, simulation, cells[0], samples, ones, m, q)
        dgathers += jnp.einsum("trj,rj->tr", samples.reshape(-1, *weights.shape), dweights)
    return (gathers, snapshots), (dgathers, dsnapshots)


def propagate(
    stiffness: Float[Array, "mz mx"],
    injections: Float[Array, "steps k"],
    source_cells: Int[Array, " k"],
    receiver_cells: Int[Array, "n_receivers j"],
    receiver_weights: Float[Array, "n_receivers j"],
    simulation: Simulation,
    engine: Engine,
) -> tuple[Float[Array, "steps n_receivers"], Float[Array, "n_snapshots nz nx"]]:
    """`loop.propagate` for constant density, run by an engine; the medium is its stiffness."""
    return _propagate(engine, simulation, source_cells, receiver_cells, receiver_weights, stiffness, injections)
