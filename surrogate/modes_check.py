"""Whether the modes kept can hold the waves there are.

    k_max = f_max L / v_min    cycles per domain of length L, f_max the wavelet's highest frequency

What lies above the modes kept must come out of pointwise maps and local filters; in Helmholtz benchmarks the error
grows four- to sevenfold from 10 to 40 Hz at fixed modes.
"""

import warnings

from data_gen.sample import DataSpec
from data_gen.simulation import HIGHEST_FREQUENCY
from surrogate.grid_operator import OperatorConfig


class ModesWarning(UserWarning):
    """The spectral path is too short for the shortest wavelength."""


def check_modes(config: OperatorConfig, spec: DataSpec) -> None:
    """Warn with `ModesWarning` if the waves of a data set have wavenumbers that an operator does not keep."""
    reach, simulation = config.reach(), spec.simulation
    if reach is None:
        return
    frequency = HIGHEST_FREQUENCY * simulation.peak_frequency
    needed = tuple(frequency * n * simulation.grid.spacing / spec.slowest for n in simulation.grid.shape)
    if reach[0] < needed[0] or reach[1] < needed[1]:
        warnings.warn(
            f"The waves reach {needed[0]:.1f} x {needed[1]:.1f} cycles per domain ({frequency:g} Hz at "
            f"{spec.slowest:g} m/s), but the modes kept only {reach[0]:.1f} x {reach[1]:.1f}, padding counted. Expect "
            "the shortest waves to be learnt worst: keep more modes, or lower the frequency.",
            ModesWarning,
            stacklevel=3,
        )
