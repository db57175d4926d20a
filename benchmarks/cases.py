"""Define the cases that every solver computes; the arrays of a case are the same in every process.

The models are smooth random media between 1500 and 4500 m/s in cells of 10 m, stepped by 1 ms: below the CFL limit
of every order used, so that no solver takes finer steps than requested. Sources and receivers lie on cells of the
middle row, far from all walls, which leaves the longest records that no absorbing layer can have touched (see
agreement.py).
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

SPACING = 10.0  # [m]
TIME_STEP = 1e-3  # [s]
PEAK_FREQUENCY = 15.0  # [Hz]
SLOWEST, FASTEST = 1500.0, 4500.0  # [m/s]


@dataclass(frozen=True)
class Case:
    """A square grid of `side` cells; `shots` shots through each of `models` models, `steps` time steps.

    order: of the differences in space. width: cells of the absorbing layers around the grid, 0 for rigid walls.
    variable_density: whether the equation carries a density. backend: which of our own time loops runs it.
    """

    name: str
    side: int
    shots: int
    steps: int
    models: int = 1
    order: int = 4
    width: int = 20
    variable_density: bool = False
    backend: str = "auto"

    def __post_init__(self):
        if min(self.models, self.shots) > 1:
            raise ValueError(f"Several models take one shot each, but {self.name} has {self.shots} shots for each.")

    def walled(self) -> Self:
        """The lecture's physics on the same problem: order 2, rigid walls; its density is 1 everywhere."""
        return replace(self, order=2, width=0)

    def warm_up(self) -> Self:
        """A short run that starts libraries and threads."""
        return replace(self, steps=16)

    @property
    def gathers(self) -> int:
        """Gathers in all: one a shot and model."""
        return self.shots * self.models

    @property
    def cells(self) -> int:
        """Cells of one computed field, absorbing layers included."""
        return (self.side + 2 * self.width) ** 2


CASES = {
    case.name: case
    for case in (
        Case("70x70", side=70, shots=8, steps=1000),
        Case("256x256", side=256, shots=4, steps=500),
        Case("512x512", side=512, shots=1, steps=500),
        Case("64-models", side=70, shots=1, steps=1000, models=64),
    )
}


def velocities(case: Case) -> np.ndarray:
    """Models `(models, side, side)` [m/s], float32: white noise smoothed over 4 cells, stretched to the full range."""
    frequency = np.fft.fftfreq(case.side)
    smooth = np.exp(-2 * (np.pi * 4 * frequency) ** 2)
    noise = np.random.default_rng(0).standard_normal((case.models, case.side, case.side))
    field = np.fft.ifft2(np.fft.fft2(noise) * smooth[:, None] * smooth).real
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return (SLOWEST + (FASTEST - SLOWEST) * field).astype(np.float32)


def densities(case: Case) -> np.ndarray:
    """Densities `(models, side, side)` [kg/m^3], float32: by Gardner's rule `310 v^(1/4)`, or 1 if it is constant."""
    velocity = velocities(case)
    return 310 * velocity ** np.float32(0.25) if case.variable_density else np.ones_like(velocity)


def sources(case: Case) -> np.ndarray:
    """Cells `(shots, 2)` of the sources, evenly spread along the middle row."""
    columns = np.linspace(0, case.side - 1, case.shots + 2)[1:-1].round().astype(int)
    return np.stack([np.full_like(columns, case.side // 2), columns], axis=1)


def receivers(case: Case) -> np.ndarray:
    """Cells `(receivers, 2)` of the receivers: the whole middle row."""
    columns = np.arange(case.side)
    return np.stack([np.full_like(columns, case.side // 2), columns], axis=1)


def wavelet(case: Case) -> np.ndarray:
    """Ricker wavelet `(steps,)` of unit peak at 1.2 periods; `w` of `p_tt = v^2 (laplacian p + w delta)`."""
    shifted = np.arange(case.steps) * TIME_STEP - 1.2 / PEAK_FREQUENCY
    exponent = (np.pi * PEAK_FREQUENCY * shifted) ** 2
    return (1 - 2 * exponent) * np.exp(-exponent)
