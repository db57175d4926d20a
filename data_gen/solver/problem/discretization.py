"""Lay the solver's own grid under the grid of a simulation.

Along each axis the solver has cells of `internal_spacing`. Where a layer ends the grid they may lie anywhere: they
cover the grid's cells, and what they cover beyond is divided between both sides. A wall is half a cell beyond the
outermost center of both grids, a free surface is the first row of both; between two of these, a whole number of cells
must fit. Layers keep their width in meters, but not fewer than LEAST_LAYER cells.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import ceil

import numpy as np
from jaxtyping import Float

from data_gen.common.errors import InputError
from data_gen.common.one_thread import on_one_thread
from data_gen.solver.numerics import band_limited
from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.simulation import Simulation

LEAST_LAYER = 12  # cells: fewer reflect as much as a coarse grid errs
# Half the width of the sinc that places points on the solver's own cells: a wider one rings near sources (measured).
HALF_WIDTH = 4
SLACK = 1e-6  # of a cell, for rounding


@dataclass(frozen=True)
class Line:
    """Describe one axis of a grid and of the solver's grid under it. Positions count from the grid's first center.

    Attributes:
        cells: Cells of the grid.
        spacing: Their size [m].
        solved: Cells of the solver's grid, without layers.
        solved_spacing: Their size [m].
        start: Position of the first of them, its center [m].
        layers: Cells of the solver's absorbing layers at the low and the high end.
        free: Whether the first row is a free surface.
    """

    cells: int
    spacing: float
    solved: int
    solved_spacing: float
    start: float
    layers: tuple[int, int]
    free: bool

    @cached_property
    def solved_centers(self) -> Float[np.ndarray, " n"]:
        """Centers of the solver's cells, layers included [m]."""
        low, high = self.layers
        return self.start + np.arange(-low, self.solved + high) * self.solved_spacing

    def half_points(self, half: int) -> Float[np.ndarray, " n"]:
        """Compute the points half-way between the solver's cells, of which `half` more lie beyond each end.

        Args:
            half: Half the order of the differences.

        Returns:
            Positions [m], `2 half - 1` more than cells.
        """
        first, count = self.solved_centers[0], len(self.solved_centers)
        return first + (np.arange(count + 2 * half - 1) - half + 0.5) * self.solved_spacing

    @cached_property
    def padding(self) -> tuple[int, int]:
        """Whole cells of the grid to add at the low and the high end to cover the solver's cells, layers included."""
        reach = self.solved_spacing / 2
        low, high = self.solved_centers[0] - reach, self.solved_centers[-1] + reach
        below = (-self.spacing / 2 - low) / self.spacing if self.layers[0] else 0
        above = (high - (self.cells - 0.5) * self.spacing) / self.spacing if self.layers[1] else 0
        return tuple(max(0, ceil(cells - SLACK)) for cells in (below, above))  # pyright: ignore[reportReturnType]

    @on_one_thread
    def projection(self, medium: str, points: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m n"]:
        """Compute the matrix from the padded model to what the solver's grid can hold of it, at given points.

        Args:
            medium: Meaning of the model's numbers, as in `Simulation.medium`.
            points: Positions [m].

        Returns:
            Matrix of one row for each point and one column for each cell of the padded model.
        """
        low, high = self.padding
        # The series is even about the low end: the wall there, the layer's end, or the free surface itself.
        end = 0.0 if self.free else -(low + 0.5) * self.spacing
        centers = np.arange(-low, self.cells + high) * self.spacing - end
        length = (self.cells + high - 0.5) * self.spacing - end
        terms = ceil(length / self.solved_spacing - SLACK)
        if medium == "cells":
            coefficients = band_limited.coefficients_of_cells(centers, self.spacing, terms, length)
        else:
            coefficients = band_limited.coefficients_of_samples(centers, terms, length)
        return band_limited.cosines(points - end, terms, length) @ coefficients

    @cached_property
    @on_one_thread
    def interpolation(self) -> Float[np.ndarray, "n m"]:
        """The matrix from a field on the solver's cells, layers included, to the centers of the grid's cells."""
        spacing, centers = self.solved_spacing, self.solved_centers
        points = np.arange(self.cells) * self.spacing
        if self.free:
            length, count = (len(centers) - 0.5) * spacing, len(centers) - 1
            inverse = np.linalg.inv(band_limited.half_sines(centers[1:], count, length))
            return band_limited.half_sines(points, count, length) @ np.pad(inverse, ((0, 0), (1, 0)))
        end, count = centers[0] - spacing / 2, len(centers)
        inverse = np.linalg.inv(band_limited.cosines(centers - end, count, count * spacing))
        return band_limited.cosines(points - end, count, count * spacing) @ inverse


def _line(simulation: Simulation, axis: int) -> Line:
    """Lay the solver's cells along an axis."""
    cells, spacing, solved_spacing = simulation.grid.shape[axis], simulation.grid.spacing, simulation.solved_spacing
    free = simulation.free_surface and axis == 0
    widths = simulation.widths[2:] if axis else simulation.widths[:2]
    if simulation.internal_spacing is None:
        return Line(cells, spacing, cells, spacing, 0.0, widths, free)
    layers = tuple(max(LEAST_LAYER, ceil(w * spacing / solved_spacing - SLACK)) if w else 0 for w in widths)
    low, length = (0.0, cells - 0.5) if free else (-0.5, cells)
    exact = length * spacing / solved_spacing
    count = ceil(exact - SLACK)
    if not any(layers) and abs((exact + (0.5 if free else 0)) % 1 - 0.5) < 0.5 - SLACK:
        side, ends = ("nz", "nx")[axis], "free surface and a wall" if free else "two walls"
        raise InputError(
            f"Between {ends} lie {length:g} cells of {spacing:g} m, which is not a whole number of cells of "
            f"internal_spacing = {solved_spacing:g} m. Take {length * spacing / max(1, round(exact)):g} m, or put an "
            f"absorbing layer at an end of {side}."
        )
    # A free surface is a row of cells itself, of which half a cell lies above it.
    solved = ceil(exact + 0.5 - SLACK) if free else count
    beyond = (solved - (0.5 if free else 0)) - exact
    shift = 0 if not layers[0] else beyond / 2 if layers[1] else beyond
    start = 0.0 if free else low * spacing + (0.5 - shift) * solved_spacing
    return Line(cells, spacing, solved, solved_spacing, start, layers, free)  # pyright: ignore[reportArgumentType]


@cache
def lines(simulation: Simulation) -> tuple[Line, Line]:
    """Lay the solver's cells along both axes.

    Args:
        simulation: The simulation.

    Returns:
        The axes, depth first.

    Raises:
        InputError: If no whole number of cells fits between two walls.
    """
    return _line(simulation, 0), _line(simulation, 1)


@cache
def discretize(simulation: Simulation, *, staggered: bool = False) -> Simulation:
    """Describe the simulation on the solver's own grid, which the engines run.

    Args:
        simulation: The simulation.
        staggered: Whether the medium has a density model.

    Returns:
        A simulation of the same records, whose grid is the solver's, and whose models are samples on it.

    Raises:
        InputError: See `lines`.
    """
    simulation = replace(simulation, staggered=staggered)
    changes = {"medium": "samples", "internal_spacing": None}
    if simulation.time_correction:
        changes["time_step"] = simulation.step_length
    if simulation.internal_spacing is not None:
        rows, columns = lines(simulation)
        changes |= {
            "grid": Grid((rows.solved, columns.solved), simulation.internal_spacing),
            "widths": (*rows.layers, *columns.layers),
            "half_width": simulation.half_width or HALF_WIDTH,
            "record_layers": True,
        }
    return replace(simulation, **changes)
