"""Differentiate the constant-density time loop of engines that compute forward and adjoint themselves.

    gathers, fields = propagate(m, q)              m = v^2 dt^2 on the padded grid, q the sources' injections
    d(gathers, fields) = tangent(m, q) (dm, dq)    Born modeling
    (dm, dq) = adjoint(m, q) d(gathers, fields)    the exact transpose of the tangent

An engine does these for the model and, with a second component, for its tangent: so jvp, vjp, Gauss-Newton products
and Hessian-vector products (forward or reverse over reverse) run on it. Other derivatives (of a jvp, third
derivatives) go through scan.py, which computes the same discrete map.

Arrays of one shot: m `(mz, mx)`; q `(steps, k)`; source cells `(k,)`; receiver cells and weights `(n_receivers, j)`;
gathers `(gather_steps, n_receivers)`; fields `(n_fields, nz, nx)`, the snapshots and the sums of field_sums.py. The
forward pass saves an opaque block of values for the adjoint. Each may have leading batch dimensions of size 1 or the
batch's. Residuals are the constants of a linear map, which JAX differentiates separately.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from data_gen.common.differentiable import call
from data_gen.common.linear_map import linear_call
from data_gen.solver.engines import scan
from data_gen.solver.engines.field_sums import field_count
from data_gen.solver.problem.medium import Medium
from data_gen.solver.problem.simulation import Simulation

# Geometry: source cells, receiver cells, receiver weights. A gather is bilinear in the weights and the field.


@runtime_checkable
class Engine(Protocol):
    """Run the time loop and its adjoint. Hashable. One component is a field, two a field and its tangent."""

    def forward(self, simulation: Simulation, strategy: str, geometry, *components) -> list[jax.Array]:
        """Run the time loop.

        Args:
            simulation: The simulation.
            strategy: Selects the blocks to save for the adjoint (see `Memory.strategy`); "none" saves nothing.
            geometry: Source cells, receiver cells and receiver weights.
            *components: Model and injections (m, q), then their tangent if it is wanted.

        Returns:
            Gathers, fields and saved block of the first component, then of the second.
        """
        ...

    def adjoint(self, simulation: Simulation, geometry, models, records) -> list[jax.Array]:
        """Run the adjoint.

        Args:
            simulation: The simulation, whose strategy the forward pass used.
            geometry: Source cells, receiver cells and receiver weights.
            models: (m, q) of each component.
            records: (gathers, fields, saved block) of each component: cotangents, then what `forward` saved.

        Returns:
            Gradients by m and q of the first component, then of the second.
        """
        ...


@dataclass(frozen=True)
class Tangent:
    """Map (dm, dq) to d(gathers, fields). Residuals are geometry, m, q and saved blocks.

    Attributes:
        engine: The engine.
        simulation: The simulation.
        saving: Whether the change of the saved blocks follows.
    """

    engine: Engine
    simulation: Simulation
    saving: bool = False

    def apply(self, residuals, operands):
        """See `LinearMap.apply`."""
        strategy = self.simulation.memory.strategy if self.saving else "none"
        results = self.engine.forward(self.simulation, strategy, residuals[:3], residuals[3:5], operands)
        return tuple(results[len(results) // 2 :][: None if self.saving else 2])

    def shapes(self, residuals, operands):
        """See `LinearMap.shapes`."""
        dtype, simulation = operands[0].dtype, self.simulation
        gathers = jax.ShapeDtypeStruct((simulation.gather_steps, residuals[1].shape[-2]), dtype)
        fields = jax.ShapeDtypeStruct((field_count(simulation), *simulation.field_shape), dtype)
        batch = _batch((*residuals, *operands))
        return (*_batched((gathers, fields), batch), *(_like(residuals[5:], batch) if self.saving else ()))

    def transpose(self) -> "Adjoint":
        """See `LinearMap.transpose`."""
        return Adjoint(self.engine, self.simulation)

    def residual_tangent(self, residuals, tangents, operands):
        """See `LinearMap.residual_tangent`."""
        geometry, model = residuals[:3], residuals[3:5]
        dweights, *dmodel = tangents[2:5]
        dmodel = _known(dmodel, model)
        gathers, fields = _reference_hessian(self.simulation, geometry, model, dmodel, operands)
        if dweights is not None:
            recording = replace(self, saving=False)
            samples, _ = linear_call(recording, (*_one_receiver_a_cell(geometry), *residuals[3:]), operands)
            gathers = gathers + _gathered(samples, dweights)
        # Saved blocks need no second derivative: higher derivatives go through the scan.
        return gathers, fields, *(jnp.zeros_like(x) for x in (residuals[5:] if self.saving else ()))


@dataclass(frozen=True)
class Adjoint:
    """Map d(gathers, fields) to (dm, dq): the transpose of `Tangent`, with the same residuals.

    Cotangents of saved blocks may follow; they belong to residuals and are zero.

    Attributes:
        engine: The engine.
        simulation: The simulation.
    """

    engine: Engine
    simulation: Simulation

    def apply(self, residuals, operands):
        """See `LinearMap.apply`."""
        geometry, model, saved = residuals[:3], residuals[3:5], residuals[5:]
        return tuple(self.engine.adjoint(self.simulation, geometry, [model], [(*operands[:2], *saved)]))

    def shapes(self, residuals, operands):
        """See `LinearMap.shapes`."""
        return _like(residuals[3:5], _batch((*residuals, *operands)))

    def transpose(self) -> Tangent:
        """See `LinearMap.transpose`."""
        return Tangent(self.engine, self.simulation)

    def residual_tangent(self, residuals, tangents, operands):
        """See `LinearMap.residual_tangent`."""
        changes = _known(tangents[3:], residuals[3:])
        result = linear_call(Curvature(self.engine, self.simulation), (*residuals, *operands[:2]), changes)
        if (dweights := tangents[2]) is not None:
            samples, nothing = _spread(operands[0], dweights), jnp.zeros_like(operands[1])
            extra = linear_call(self, (*_one_receiver_a_cell(residuals[:3]), *residuals[3:]), (samples, nothing))
            result = [a + b for a, b in zip(result, extra, strict=True)]
        return tuple(result)


@dataclass(frozen=True)
class Curvature:
    """Map (dm, dq, d(saved blocks)) to the change of the adjoint's (dm, dq): the second derivative, weighted by data.

    Residuals are those of `Adjoint`, then gathers and fields. The map is symmetric in the model and so its own
    transpose, but the transpose computes the change of the saved blocks itself, and returns none for them.

    Attributes:
        engine: The engine.
        simulation: The simulation.
        tied: Whether this is the transpose.
    """

    engine: Engine
    simulation: Simulation
    tied: bool = False

    def apply(self, residuals, operands):
        """See `LinearMap.apply`."""
        geometry, model, (*saved, gathers, fields) = residuals[:3], residuals[3:5], residuals[5:]
        dmodel, dsaved = operands[:2], operands[2:]
        if self.tied:
            both = self.engine.forward(self.simulation, self.simulation.memory.strategy, geometry, model, dmodel)
            dsaved = both[len(both) // 2 + 2 :]
        nothing = (jnp.zeros_like(gathers), jnp.zeros_like(fields))
        records = [(gathers, fields, *saved), (*nothing, *dsaved)]
        result = self.engine.adjoint(self.simulation, geometry, [model, dmodel], records)[2:]
        return *result, *((jnp.zeros_like(x) for x in dsaved) if self.tied else ())

    def shapes(self, residuals, operands):
        """See `LinearMap.shapes`."""
        return _like(residuals[3 : -2 if self.tied else 5], _batch((*residuals, *operands)))

    def transpose(self) -> "Curvature":
        """See `LinearMap.transpose`."""
        return replace(self, tied=not self.tied)

    def residual_tangent(self, residuals, tangents, operands):
        """See `LinearMap.residual_tangent`."""

        def reference(weights, model, records):
            adjoint = partial(_reference_adjoint, self.simulation, (*residuals[:2], weights))
            return jax.jvp(lambda m: adjoint(m, records), (model,), (operands[:2],))[1]

        moving = (residuals[2], residuals[3:5], residuals[-2:])
        changes = _known(tangents[2:5] + tangents[-2:], (*residuals[2:5], *residuals[-2:]))
        result = jax.jvp(reference, moving, (changes[0], changes[1:3], changes[3:]))[1]
        return *result, *((jnp.zeros_like(x) for x in residuals[5:-2]) if self.tied else ())


def _batch(arrays) -> tuple[int, ...]:
    """Find the batch dimensions that arrays share; the first array is source cells, which have one dimension."""
    rank = len(arrays[0].shape) - 1
    return np.broadcast_shapes(*(x.shape[:rank] for x in arrays))


def _batched(unbatched, batch: tuple[int, ...]):
    return tuple(jax.ShapeDtypeStruct((*batch, *x.shape), x.dtype) for x in unbatched)


def _like(arrays, batch: tuple[int, ...]):
    return tuple(jax.ShapeDtypeStruct((*batch, *x.shape[len(batch) :]), x.dtype) for x in arrays)


def _known(tangents, primals):
    return tuple(jnp.zeros_like(p) if t is None else t for t, p in zip(tangents, primals, strict=True))


def _one_receiver_a_cell(geometry):
    """Put receivers of weight one into all cells of the receivers: derivatives by the weights are then JAX's own."""
    source_cells, receiver_cells, weights = geometry
    shape = (*weights.shape[:-2], weights.shape[-2] * weights.shape[-1], 1)
    return source_cells, receiver_cells.reshape(shape), jnp.ones(shape, weights.dtype)


def _gathered(samples, weights):
    """Compute gathers `(steps, r)` from samples in each cell `(steps, r j)`."""
    samples = samples.reshape(*samples.shape[:-1], *weights.shape[-2:])
    return jnp.sum(samples * weights[..., None, :, :], axis=-1)


def _spread(gathers, weights):
    """Transpose `_gathered`."""
    samples = gathers[..., None] * weights[..., None, :, :]
    return jax.lax.collapse(samples, samples.ndim - 2)


def _reference(simulation: Simulation, geometry, m, q):
    """Compute `propagate` by scan.py, for batches too."""

    def one(source_cells, receiver_cells, weights, m, q):
        return scan.propagate(Medium(m, None), q, source_cells, receiver_cells, weights, simulation)

    return jnp.vectorize(one, signature="(k),(r,j),(r,j),(z,x),(t,k)->(g,r),(n,a,b)")(*geometry, m, q)


def _reference_hessian(simulation: Simulation, geometry, model, first, second):
    """Differentiate `_reference` twice, along two changes `(dm, dq)` of the model."""

    def tangent(*model):
        return jax.jvp(partial(_reference, simulation, geometry), model, tuple(second))[1]

    return jax.jvp(tangent, tuple(model), tuple(first))[1]


def _reference_adjoint(simulation: Simulation, geometry, model, records):
    return jax.vjp(partial(_reference, simulation, geometry), *model)[1](tuple(records))


@dataclass(frozen=True)
class Propagation:
    """Map source cells, receiver cells, receiver weights, m and q to gathers and fields: a `Differentiable`.

    Attributes:
        engine: The engine.
        simulation: The simulation.
        saving: Whether the saved block of the simulation's strategy follows.
    """

    engine: Engine
    simulation: Simulation
    saving: bool = False

    def apply(self, *arguments):
        """See `Differentiable.apply`."""
        strategy = self.simulation.memory.strategy if self.saving else "none"
        results = self.engine.forward(self.simulation, strategy, arguments[:3], arguments[3:])
        return tuple(results if self.saving else results[:2])

    def shapes(self, *arguments):
        """See `Differentiable.shapes`."""
        return jax.eval_shape(self.apply, *arguments)

    def jvp(self, arguments, tangents):
        """See `Differentiable.jvp`."""
        dweights, dm, dq = tangents[2:]
        if dm is None and dq is not None:
            # Linear in q: nothing of the field is needed again.
            results, changes = call(self, *arguments), call(self, *arguments[:4], dq)
        else:
            results = call(replace(self, saving=True), *arguments)
            tangent = Tangent(self.engine, self.simulation, self.saving)
            changes = linear_call(tangent, (*arguments, *results[2:]), _known((dm, dq), arguments[3:]))
            results = results[: len(changes)]
        if dweights is not None:
            samples, _ = call(replace(self, saving=False), *_one_receiver_a_cell(arguments[:3]), *arguments[3:])
            changes[0] += _gathered(samples, dweights)
        return results, changes

    def transpose(self, arguments, cotangents):
        """See `Differentiable.transpose`; only q is wanted. It is the adjoint where the field is zero."""
        saved = replace(self, saving=True).shapes(*arguments)[2:]
        nothing = [jnp.zeros(x.shape, x.dtype) for x in (arguments[4], *saved)]
        adjoint = Adjoint(self.engine, self.simulation)
        return *[None] * 4, linear_call(adjoint, (*arguments[:4], *nothing), cotangents[:2])[1]


def propagate(
    stiffness: Float[Array, "mz mx"],
    injections: Float[Array, "steps k"],
    source_cells: Int[Array, " k"],
    receiver_cells: Int[Array, "n_receivers j"],
    receiver_weights: Float[Array, "n_receivers j"],
    simulation: Simulation,
    engine: Engine,
) -> tuple[Float[Array, "gather_steps n_receivers"], Float[Array, "n_fields nz nx"]]:
    """Propagate one shot through constant density by an engine.

    Args:
        stiffness: `v^2 dt^2` on the padded grid `(mz, mx)`.
        injections: Additions to the pressure at the source's cells in each step, `(steps, k)`.
        source_cells: Numbers `(k,)` of the source's cells.
        receiver_cells: Numbers `(n_receivers, j)` of the receivers' cells.
        receiver_weights: Weights `(n_receivers, j)` of these cells.
        simulation: The simulation.
        engine: The engine.

    Returns:
        See `scan.propagate`.
    """
    arguments = (source_cells, receiver_cells, receiver_weights, stiffness, injections)
    gathers, fields = call(Propagation(engine, simulation), *arguments)
    return gathers, fields
