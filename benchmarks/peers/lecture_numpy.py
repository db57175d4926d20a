"""The lecture's NumPy listing in float32: variable density, order 2, rigid walls, one shot after another.

It adds `dt^2 4 pi v^2 s` to the source's cell where we add `dt^2 rho v^2 w / spacing^2`, so
`s = rho w / (4 pi spacing^2)`; sample i is at time `i dt`.
"""

from collections.abc import Callable

import numpy as np

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.memory import HostMeter

meter = HostMeter


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


def device() -> str:
    return "cpu"


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    velocities, densities = cases.velocities(case), cases.densities(case)
    rows = cases.receivers(case)[:, 0], cases.receivers(case)[:, 1]

    def run():
        return np.stack(
            [
                forward(velocity, density, tuple(source), rows, pulse(density[tuple(source)], case))
                for velocity, density in zip(velocities, densities, strict=True)
                for source in cases.sources(case)
            ]
        )

    return run


def pulse(density: float, case: Case) -> np.ndarray:
    """The listing's `s(t)` for our source at a cell of this density."""
    return (density * cases.wavelet(case) / (4 * np.pi * cases.SPACING**2)).astype(np.float32)


def forward(velocity, density, source, receivers, pulse) -> np.ndarray:
    """Gather `(steps, receivers)` of one shot."""
    dt, spacing = cases.TIME_STEP, cases.SPACING
    nz, nx = velocity.shape
    kappa = density * velocity**2
    half_z = 0.5 * (density[1:] + density[:-1])
    half_x = 0.5 * (density[:, 1:] + density[:, :-1])
    flux_z, flux_x = np.zeros((nz + 1, nx), np.float32), np.zeros((nz, nx + 1), np.float32)
    past, present = np.zeros_like(velocity), np.zeros_like(velocity)
    gather = np.empty((len(pulse), len(receivers[0])), np.float32)
    for it, value in enumerate(pulse):
        gather[it] = present[receivers]
        flux_z[1:-1] = (present[1:] - present[:-1]) / spacing / half_z
        flux_x[:, 1:-1] = (present[:, 1:] - present[:, :-1]) / spacing / half_x
        divergence = (flux_z[1:] - flux_z[:-1]) / spacing + (flux_x[:, 1:] - flux_x[:, :-1]) / spacing
        future = 2 * present - past + dt**2 * kappa * divergence
        future[source] += dt**2 * 4 * np.pi * velocity[source] ** 2 * value
        past, present = present, future
    return gather
