"""Independent references that the solver is held against."""

from functools import cache
from typing import Any

import numpy as np

# The leap-frog as it is, on samples of a model: what the equations of engines/time_step.py say, step by step.
BARE: dict[str, Any] = {"time_correction": False, "medium": "samples"}


_gauss = cache(np.polynomial.legendre.leggauss)  # a third of a second each


def greens_function_2d(distance, times, wavelet, velocity):
    """Pressure at `distance` [m] from a point source in a homogeneous plane, `p_tt = v^2 (lap p + w delta)`.

    p(t) = (1 / 2 pi) int_0^{acosh(v t / r)} w(t - (r / v) cosh u) du: the convolution of the wavelet with
    H(t - r / v) / (2 pi sqrt(t^2 - r^2 / v^2)), without its singularity. wavelet: a function of time [s].
    """
    arrival = distance / velocity
    nodes, weights = _gauss(400)
    result = np.zeros_like(times)
    for i, t in enumerate(times):
        if t > arrival:
            upper = np.arccosh(t / arrival)
            u = 0.5 * upper * (nodes + 1)
            result[i] = 0.5 * upper * np.sum(weights * wavelet(t - arrival * np.cosh(u))) / (2 * np.pi)
    return result


def lecture_wavefield(velocity, density, source, peak_frequency, dt, spacing, nt):
    """The lecture's NumPy listing, from its description: variable density, order 2, rigid walls, float64 or float32.

    Returns the pressure after each of `nt` steps, `(nt, nz, nx)`.
    """
    kind = velocity.dtype
    kappa = density * velocity**2
    half_z = 0.5 * (density[1:] + density[:-1])
    half_x = 0.5 * (density[:, 1:] + density[:, :-1])
    past = np.zeros_like(velocity)
    present = np.zeros_like(velocity)
    a, t0, fields = np.pi**2 * peak_frequency**2, 1.2 / peak_frequency, []
    for it in range(nt):
        flux_z = np.pad((present[1:] - present[:-1]) / spacing / half_z, ((1, 1), (0, 0)))
        flux_x = np.pad((present[:, 1:] - present[:, :-1]) / spacing / half_x, ((0, 0), (1, 1)))
        divergence = (flux_z[1:] - flux_z[:-1]) / spacing + (flux_x[:, 1:] - flux_x[:, :-1]) / spacing
        t = it * dt
        pulse = 1e-3 * (1 - 2 * a * (t - t0) ** 2) * np.exp(-a * (t - t0) ** 2)
        future = 2 * present - past + dt**2 * kappa * divergence
        future[source] += dt**2 * 4 * np.pi * velocity[source] ** 2 * pulse
        past, present = present, future.astype(kind)
        fields.append(present)
    return np.stack(fields)
