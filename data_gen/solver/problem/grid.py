"""Define the grid and the time axis, which every simulation has."""

from dataclasses import dataclass

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.plain import real, settle, whole, wholes


@dataclass(frozen=True)
class Grid:
    """Describe a grid of square cells. Positions are `(z, x)` [m] from the center of the first cell.

    Attributes:
        shape: Number of cells `(nz, nx)`, depth first.
        spacing: Side of a cell [m].

    Raises:
        InputError: If a side has fewer than two cells, or the spacing is not positive and finite.
    """

    shape: tuple[int, int]
    spacing: float

    def __post_init__(self):
        settle(self, {"shape": wholes, "spacing": real})
        if len(self.shape) != 2 or min(self.shape) < 2:
            raise InputError(
                f"A grid needs a shape (nz, nx) of at least two cells a side, but got {self.shape}. "
                "Give the number of cells in depth, then along the surface."
            )
        if not 0 < self.spacing < np.inf:
            raise InputError(f"The grid spacing must be a positive length in meters, but got {self.spacing}.")

    @property
    def extent(self) -> tuple[float, float]:
        """Position `(z, x)` of the center of the last cell [m]."""
        nz, nx = self.shape
        return (nz - 1) * self.spacing, (nx - 1) * self.spacing

    @property
    def centers(self) -> np.ndarray:
        """Positions `(z, x)` of the centers of all cells `(nz, nx, 2)` [m]."""
        return self.spacing * np.moveaxis(np.indices(self.shape), 0, -1)


@dataclass(frozen=True)
class TimeAxis:
    """Describe the samples of a record, at the times `0, dt, ..., (nt - 1) dt`.

    Attributes:
        nt: Number of samples.
        dt: Time from one sample to the next [s].

    Raises:
        InputError: If there are fewer than two samples, or the step is not positive and finite.
    """

    nt: int
    dt: float

    def __post_init__(self):
        settle(self, {"nt": whole, "dt": real})
        if self.nt < 2 or not 0 < self.dt < np.inf:
            raise InputError(
                f"A time axis needs nt >= 2 samples and a positive step dt in seconds, "
                f"but got nt={self.nt} and dt={self.dt}."
            )

    @property
    def times(self) -> np.ndarray:
        """Sample times [s], shape `(nt,)`."""
        return np.arange(self.nt) * self.dt


def milliseconds_meant(dt: float, peak_frequency: float) -> str:
    """Say that a time step looks like milliseconds, where a thousandth of it would suit the peak frequency.

    Args:
        dt: Time step [s].
        peak_frequency: Peak frequency of the wavelets [Hz].

    Returns:
        A sentence with a space before it, or nothing.
    """
    # A wavelet has some ten samples a period or more, and no record of hertz and more has so few as one.
    if dt * peak_frequency < 0.5 or dt * peak_frequency / 1000 >= 0.5:
        return ""
    return f" If dt is in milliseconds, write dt={dt / 1000:g}: seconds are meant."
