"""Draw the positions and the wavelet of a sample's shots; all positions are cell centers.

random   each shot anywhere along the surface, each at its own depth
line     shots evenly spaced from one end of the surface to the other, all at one depth
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.wavelets import RICKER_DELAY, ricker, ricker_waveform

PLACEMENTS = ("random", "line")


@dataclass(frozen=True)
class Shots:
    """Describe the shots of a sample.

    Attributes:
        count: Number of shots.
        placement: Placement of the shots, from `PLACEMENTS`.
        rows: First and last row of the grid for a shot.
        peak_frequencies: Lowest and highest peak frequency of the wavelet [Hz].
    """

    count: int
    placement: str
    rows: tuple[int, int]
    peak_frequencies: tuple[float, float]

    @property
    def one_wavelet(self) -> bool:
        """Whether every sample has the same wavelet."""
        return self.peak_frequencies[0] == self.peak_frequencies[1]

    def positions(self, row_key: Key[Array, ""], column_key: Key[Array, ""], grid: Grid) -> Float[Array, "n_sources 2"]:
        """Draw the positions of the shots.

        With random placement the positions of the first shots do not depend on the number of shots.

        Args:
            row_key: Random key of the depths.
            column_key: Random key of the distances.
            grid: The grid `(nz, nx)`.

        Returns:
            Positions `(z, x)` of the shots `(n_sources, 2)` [m].
        """
        first, last = self.rows
        if self.placement == "random":
            rows = jax.random.randint(row_key, (self.count,), first, last + 1)
            columns = jax.random.randint(column_key, (self.count,), 0, grid.shape[1])
        else:
            rows = jnp.full(self.count, jax.random.randint(row_key, (), first, last + 1))
            columns = jnp.asarray(self.columns(grid))
        return grid.spacing * jnp.stack([rows, columns], axis=1).astype(jnp.float32)

    def columns(self, grid: Grid) -> np.ndarray:
        """Compute the columns of a line of shots; a single shot is in the middle.

        Args:
            grid: The grid `(nz, nx)`.

        Returns:
            Column of each shot `(n_sources,)`.
        """
        last = grid.shape[1] - 1
        return np.round(np.linspace(0, last, self.count) if self.count > 1 else [last / 2]).astype(np.int32)

    def nominal_wavelet(self, time: TimeAxis) -> np.ndarray:
        """Compute the Ricker wavelet of the mean peak frequency.

        Args:
            time: The time axis.

        Returns:
            Wavelet `(nt,)` with unit peak.
        """
        return ricker(time, sum(self.peak_frequencies) / 2)

    def wavelet(self, key: Key[Array, ""], time: TimeAxis) -> Float[Array, " nt"]:
        """Draw the Ricker wavelet of one sample, with a peak frequency that is uniform over the range.

        Args:
            key: Random key of the peak frequency.
            time: The time axis.

        Returns:
            Wavelet `(nt,)` with unit peak.
        """
        if self.one_wavelet:
            return jnp.asarray(self.nominal_wavelet(time), jnp.float32)
        low, high = self.peak_frequencies
        frequency = jax.random.uniform(key, (), jnp.float32, low, high)
        # `ricker` takes no traced frequency.
        periods = frequency * jnp.asarray(time.times, jnp.float32) - RICKER_DELAY
        return ricker_waveform((jnp.pi * periods) ** 2)


def make_shots(
    count: int,
    placement: str,
    depths: Sequence[float],
    peak_frequency: float,
    spread: float,
    grid: Grid,
    *,
    free_surface: bool,
) -> Shots:
    """Check the settings of the shots and make `Shots`.

    Args:
        count: Number of shots in each sample.
        placement: Placement of the shots, from `PLACEMENTS`.
        depths: Smallest and largest depth of a shot [m].
        peak_frequency: Middle of the range of peak frequencies [Hz].
        spread: Half the width of that range [Hz].
        grid: The grid `(nz, nx)`.
        free_surface: Whether the top of the grid is a free surface.

    Returns:
        The shots.

    Raises:
        InputError: If there is no shot, the placement is unknown, shots lie outside the grid or on a free surface, or
            the range of peak frequencies is not positive.
    """
    if count < 1:
        raise InputError(f"data.sources, the shots of each sample, must be at least 1, but is {count}.")
    if placement not in PLACEMENTS:
        raise InputError(f"data.placement must be one of {', '.join(PLACEMENTS)}, but is {placement!r}.")
    if placement == "line" and count > grid.shape[1]:
        raise InputError(
            f"A line of {count} shots needs at least {count} cells along the surface, but there are {grid.shape[1]}."
        )
    if not 0 <= spread < peak_frequency:
        raise InputError(
            f"Peak frequencies are drawn from data.peak_frequency -+ data.peak_frequency_spread, which must stay "
            f"positive, but are {peak_frequency:g} and {spread:g} Hz. Lower the spread."
        )
    if len(depths) != 2 or not 0 <= depths[0] <= depths[1] <= grid.extent[0]:
        raise InputError(
            f"A source lies outside the grid: data.source_depths must be [shallowest, deepest] within 0 to "
            f"{grid.extent[0]:g} m, but is {list(depths)}."
        )
    first, last = (round(z / grid.spacing) for z in depths)
    if free_surface and first == 0:
        raise InputError(
            "A source on the free surface fires nothing, as p = 0 there: data.source_depths must begin at "
            f"{grid.spacing:g} m or deeper, but is {list(depths)}."
        )
    return Shots(count, placement, (first, last), (peak_frequency - spread, peak_frequency + spread))
