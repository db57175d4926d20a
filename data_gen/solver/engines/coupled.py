"""Media with a coupling (subgrid.py): the C++ time loop forward; derivatives of any kind by loop.py, the same map."""

from functools import partial

import jax
from jaxtyping import Array, Float, Int

from data_gen.solver.engines import scan as loop
from data_gen.solver.engines.native.engine import NativeEngine
from data_gen.solver.engines.time_step import Medium
from data_gen.solver.problem.simulation import Simulation


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _propagate(simulation: Simulation, stiffness, coupling, injections, source_cells, receiver_cells, weights):
    geometry = (source_cells, receiver_cells, weights)
    return tuple(NativeEngine().forward(simulation, "none", geometry, (stiffness, injections), coupling=coupling)[:2])


@_propagate.defjvp
def _propagate_jvp(simulation: Simulation, primals, tangents):
    source_cells, receiver_cells = primals[3:5]

    def reference(stiffness, coupling, injections, weights):
        medium = Medium(stiffness, None, coupling=coupling)
        return loop.propagate(medium, injections, source_cells, receiver_cells, weights, simulation)

    def moving(arrays):
        return (*arrays[:3], arrays[5])

    return jax.jvp(reference, moving(primals), moving(tangents))


def propagate(
    stiffness: Float[Array, "mz mx"],
    coupling: Float[Array, "3 3 mz mx"],
    injections: Float[Array, "steps k"],
    source_cells: Int[Array, " k"],
    receiver_cells: Int[Array, "n_receivers j"],
    receiver_weights: Float[Array, "n_receivers j"],
    simulation: Simulation,
) -> tuple[Float[Array, "steps n_receivers"], Float[Array, "n_fields nz nx"]]:
    """`loop.propagate` for constant density and a coupling, on a CPU with a C++ compiler."""
    return _propagate(simulation, stiffness, coupling, injections, source_cells, receiver_cells, receiver_weights)
