"""Whether the modes kept can hold the waves there are.

    k_max = f_max L / v_min    cycles per domain of length L, f_max the wavelet's highest frequency

What lies above the modes kept must come out of pointwise maps and local filters; in Helmholtz benchmarks the error
grows four- to sevenfold from 10 to 40 Hz at fixed modes.
"""

import warnings

from surrogate.operators.base import OperatorConfig
from surrogate.protocols import Task


class ModesWarning(UserWarning):
    """The spectral path is too short for the shortest wavelength."""


def check_modes(config: OperatorConfig, task: Task) -> None:
    """Warn with `ModesWarning` if a task's predictions have wavenumbers that an operator does not keep."""
    reach, needed, grid = config.reach(), task.cycles, task.spec.simulation.grid
    if reach is None:
        return
    if reach[0] < needed[0] or reach[1] < needed[1]:
        # Along the surface every task's waves are k = f L / v_min, whatever its highest frequency is.
        highest = needed[1] * task.spec.slowest / (grid.shape[1] * grid.spacing)
        warnings.warn(
            f"The waves reach {needed[0]:.1f} x {needed[1]:.1f} cycles per domain "
            f"({highest:g} Hz at {task.spec.slowest:g} m/s), but the modes kept only "
            f"{reach[0]:.1f} x {reach[1]:.1f}, padding counted. Expect the shortest waves to be learnt worst: "
            "keep more modes, or lower the frequency.",
            ModesWarning,
            stacklevel=3,
        )
