"""Check whether an operator keeps enough Fourier modes for the shortest waves.

    k_max = f_max L / v_min    cycles per domain of length L, f_max the wavelet's highest frequency

Pointwise maps and local filters must produce all waves above the kept modes; in Helmholtz benchmarks the error grows
four- to sevenfold from 10 to 40 Hz at fixed modes.
"""

import warnings

from surrogate.operators.base import OperatorConfig
from surrogate.protocols import Task


class ModesWarning(UserWarning):
    """Warn that an operator keeps too few modes for the shortest wavelength."""


def check_modes(config: OperatorConfig, task: Task) -> None:
    """Warn with `ModesWarning` if the predictions of a task have wavenumbers that an operator does not keep.

    Args:
        config: Settings of the operator.
        task: Task whose predictions are compared with the operator's modes.
    """
    reach, needed, grid = config.reach(), task.cycles, task.spec.simulation.grid
    if reach is None:
        return
    if reach[0] < needed[0] or reach[1] < needed[1]:
        # Along x every task has k = f L / v_min, whatever its highest frequency is.
        highest = needed[1] * task.spec.slowest / (grid.shape[1] * grid.spacing)
        warnings.warn(
            f"The waves reach {needed[0]:.1f} x {needed[1]:.1f} cycles per domain "
            f"({highest:g} Hz at {task.spec.slowest:g} m/s), but the modes kept reach only "
            f"{reach[0]:.1f} x {reach[1]:.1f}, padding counted. The shortest waves will have the largest errors: "
            "keep more modes, or lower the frequency.",
            ModesWarning,
            stacklevel=3,
        )
