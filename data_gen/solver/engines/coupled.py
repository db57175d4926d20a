"""Propagate through media with a coupling (coarse_medium.py).

The C++ time loop runs forward; derivatives of any kind go through scan.py, which computes the same map.
"""

from functools import partial

import jax
from jaxtyping import Array, Float, Int

from data_gen.solver.engines import scan
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
        return scan.propagate(medium, injections, source_cells, receiver_cells, weights, simulation)

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
    """Propagate one shot through constant density and a coupling, on a CPU with a C++ compiler.

    Args:
        stiffness: `v^2 dt^2` on the padded grid `(mz, mx)`.
        coupling: Coupling `(3, 3, mz, mx)` of each cell to those around it.
        injections: Additions to the pressure at the source's cells in each step, `(steps, k)`.
        source_cells: Numbers `(k,)` of the source's cells.
        receiver_cells: Numbers `(n_receivers, j)` of the receivers' cells.
        receiver_weights: Weights `(n_receivers, j)` of these cells.
        simulation: The simulation.

    Returns:
        See `scan.propagate`.
    """
    return _propagate(simulation, stiffness, coupling, injections, source_cells, receiver_cells, receiver_weights)
