"""The lecture's listing line by line in JAX: `lax.scan` over time, `vmap` over shots, `jax.grad` of the plain scan.

Its source is scaled as in the NumPy listing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.peers.jax_programs import compiled, device, meter, versions
from benchmarks.peers.lecture_numpy import pulse

__all__ = ["configurations", "device", "meter", "prepare", "versions"]


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    velocities, densities = cases.velocities(case), cases.densities(case)
    sources = cases.sources(case)
    pulses = np.stack([[pulse(density[tuple(source)], case) for source in sources] for density in densities])
    receivers = cases.receivers(case)

    def gathers(velocities, densities, pulses, sources, receivers):
        shots = jax.vmap(forward, in_axes=(None, None, 0, None, 0))
        models = jax.vmap(shots, in_axes=(0, 0, None, None, 0))
        return models(velocities, densities, sources, receivers, pulses).reshape(case.gathers, case.steps, -1)

    return compiled(gathers, quantity, velocities, densities, pulses, sources, receivers)


def forward(velocity, density, source, receivers, pulse) -> jax.Array:
    """Gather `(steps, receivers)` of one shot."""
    dt, spacing = cases.TIME_STEP, cases.SPACING
    source, receivers = tuple(source), tuple(receivers.T)
    kappa = density * velocity**2
    half_z = 0.5 * (density[1:] + density[:-1])
    half_x = 0.5 * (density[:, 1:] + density[:, :-1])

    def step(state, value):
        past, present = state
        flux_z = jnp.pad((present[1:] - present[:-1]) / spacing / half_z, ((1, 1), (0, 0)))
        flux_x = jnp.pad((present[:, 1:] - present[:, :-1]) / spacing / half_x, ((0, 0), (1, 1)))
        divergence = (flux_z[1:] - flux_z[:-1]) / spacing + (flux_x[:, 1:] - flux_x[:, :-1]) / spacing
        future = 2 * present - past + dt**2 * kappa * divergence
        future = future.at[source].add(dt**2 * 4 * jnp.pi * velocity[source] ** 2 * value)
        return (present, future), present[receivers]

    rest = jnp.zeros_like(velocity)
    return lax.scan(step, (rest, rest), pulse)[1]
