"""Expect the error of a simulation against the wave equation, and choose the cheapest simulation for a wanted error.

The law is in error_law.py.
"""

from bisect import bisect_left
from dataclasses import replace
from math import ceil, sqrt
from typing import Any, NamedTuple

import jax
import numpy as np

from data_gen.common.errors import InputError
from data_gen.solver.error_law import (
    COARSEST,
    CROSSED,
    LAWS,
    LONGEST,
    Traits,
    floor_error,
    medium_error,
    samples_error,
    space_error,
    time_error,
    travel,
)
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.simulation import Simulation

RANGE = 1e-3, 0.1  # the errors that can be asked for
# The smallest cells that are tried, in wavelengths of the peak frequency in the slowest medium, and the step from one
# to the next.
FINEST, FINER = 0.05, 0.97
COST = {8: 1.0, 10: 1.13, 12: 1.22}  # measured: the time of a cell's step, relative to that of order 8
# The band of optimized differences in peak frequencies, and its end in k h.
OPTIMIZED_TO, LARGEST_KAPPA = {8: 1.6, 10: 1.85, 12: 2.0}, 2.8
MODELS = 8  # drawn of families


class ExpectedError(NamedTuple):
    """Hold the parts of an expected relative L2 error.

    Attributes:
        space: By the differences in space.
        medium: By the part of the model that the solver's grid cannot hold.
        time: By the time step; zero with the correction of temporal dispersion.
        samples: By the model's numbers, if they are samples in the simulation and were meant as constant cells.
        floor: By all else.
    """

    space: float
    medium: float
    time: float
    samples: float
    floor: float

    @property
    def total(self) -> float:
        """The error of all parts: the root of the sum of their squares."""
        return sqrt(sum(part**2 for part in self))


def best_kappa(order: int, spacing: float, slowest: float, peak_frequency: float) -> float:
    """Compute the band of k h in which optimized weights of the differences err least (measured).

    Args:
        order: Order of the differences.
        spacing: Side of a cell of the solver's grid [m].
        slowest: Smallest velocity [m/s].
        peak_frequency: Peak frequency of the wavelet [Hz].

    Returns:
        A value for `Simulation.kappa`; 0 for orders below 8, whose band was not measured.
    """
    frequency = OPTIMIZED_TO.get(order, 0.0) * peak_frequency
    return round(min(2 * np.pi * frequency * spacing / slowest, LARGEST_KAPPA), 3)


def traits_of(models: Any, grid: Grid) -> list[Traits]:
    """Take what the law asks of a model, of several models, or of MODELS models that a family draws.

    Args:
        models: Velocity model `(nz, nx)` or models `(n, nz, nx)` [m/s], or a family or mixture of families: a function
            of `(key, grid)`.
        grid: The grid of the models.

    Returns:
        What the law asks, of each model.

    Raises:
        InputError: If the models have another shape than the grid, or velocities that are not positive.
    """
    if callable(models):
        draw = jax.jit(lambda key: models(key, grid))
        drawn = [draw(jax.random.key(index)) for index in range(MODELS)]
        models = [one[0] if isinstance(one, tuple) else one for one in drawn]  # mixtures give the family, too
    stack = np.asarray(models, dtype=float)
    if stack.ndim not in (2, 3) or stack.shape[-2:] != grid.shape or not stack.size:
        raise InputError(
            f"The law of errors needs velocity models of the grid's shape {grid.shape}, one or a stack of them, or a "
            f"family that draws them, but got an array of shape {stack.shape}. Resample the models to the grid."
        )
    if not (np.isfinite(stack) & (stack > 0)).all():
        raise InputError("The law of errors needs finite, positive velocities [m/s]. Replace those that are not.")
    return [Traits(model, grid.spacing) for model in stack.reshape(-1, *grid.shape)]


def _check(simulation: Simulation, traits: list[Traits], kind: str) -> None:
    """Check that the law was measured for records of a kind of a simulation; raise `InputError` if not."""
    compare = "Compare with the converged simulation (errors_against_wave_equation)."
    if kind not in LAWS:
        raise InputError(f"kind must be one of {tuple(LAWS)}, but is {kind!r}.")
    if kind == "snapshots" and not simulation.snapshot_steps:
        raise InputError("The simulation keeps no snapshots. Set snapshot_steps, or ask for kind='gathers'.")
    if simulation.staggered:
        raise InputError(
            f"Errors were measured at constant density: with a density model they are not known. {compare}"
        )
    if sum(width > 0 for width in simulation.widths) < 3:
        raise InputError(
            f"Errors were measured with absorbing layers on three sides or four, not between walls. {compare}"
        )
    for each in traits:
        time, crossed = travel(simulation, each, kind)
        periods = time * simulation.peak_frequency
        if periods > LONGEST:
            raise InputError(
                f"Errors were measured up to {LONGEST:g} periods of the peak frequency, but waves travel for "
                f"{periods:.3g} here. {compare}"
            )
        if crossed and min(crossed) > CROSSED:
            raise InputError(
                f"Errors were measured in snapshots up to which waves cross the grid's diagonal {CROSSED:g} times, but "
                f"here they have crossed it {min(crossed):.2g} times and left. Take earlier snapshots."
            )


def expected_error(models: Any, simulation: Simulation, *, kind: str = "snapshots") -> ExpectedError:
    """Expect the error of a simulation's records against the wave equation.

    Args:
        models: Velocity model `(nz, nx)` or models `(n, nz, nx)` [m/s], or a family or mixture, which draws eight.
        simulation: The simulation, at constant density.
        kind: "snapshots" in the second half of the record, or "gathers" at 10 cells and more from their sources.

    Returns:
        The relative L2 error, in parts: the root mean square over the models. It holds within a factor of `WITHIN` for
        families and most models, if many shots or one that lights up the whole model are meant.

    Raises:
        InputError: If the models do not fit the grid, or the simulation is not of those that were measured: with a
            density model, much shorter or longer, or with much larger cells.
    """
    traits = traits_of(models, simulation.grid)
    _check(simulation, traits, kind)
    coarsest = COARSEST * min(each.slowest for each in traits) / simulation.peak_frequency
    if simulation.solved_spacing > coarsest * (1 + 1e-6):
        raise InputError(
            f"Errors were measured on cells of up to {COARSEST:g} wavelengths of the peak frequency in the slowest "
            f"medium, which are {coarsest:.4g} m here, but the solver's cells have {simulation.solved_spacing:g} m. "
            "Set internal_spacing."
        )
    return _mean([_one(each, simulation, kind) for each in traits])


def _mean(errors: list[ExpectedError]) -> ExpectedError:
    """Take the root mean square of each part over models."""
    return ExpectedError(*np.sqrt(np.mean(np.square(errors), axis=0)).tolist())


def _one(traits: Traits, simulation: Simulation, kind: str) -> ExpectedError:
    """Expect the error in one model."""
    law, peak, way = LAWS[kind], simulation.peak_frequency, travel(simulation, traits, kind)
    spacing, own, periods = simulation.solved_spacing, traits.spacing, way.time * peak
    cells, samples = peak / traits.effective, simulation.medium == "samples"
    parts = ExpectedError(
        space=space_error(law, traits.velocities, (simulation.order, simulation.kappa), spacing, peak, way.time),
        medium=medium_error(law, cells * spacing, traits.unheld(spacing), periods),
        time=0.0 if simulation.time_correction else time_error(law, simulation.step_length, peak, way.time),
        samples=samples_error(law, cells * own, traits.unheld(own), periods) if samples else 0.0,
        floor=floor_error(law, periods),
    )
    grown = way.grown(law)
    return ExpectedError(*(grown * part for part in parts))


def cost(simulation: Simulation) -> float:
    """Compute the relative cost of a simulation: cells, layers included, times steps times the cost of the order.

    Args:
        simulation: The simulation, of an order in `COST`.

    Returns:
        The cost, in steps of a cell of order 8.
    """
    return float(np.prod(discretize(simulation).padded_shape)) * simulation.steps * COST[simulation.order]


def _spacings(simulation: Simulation, slowest: float) -> list[float]:
    """List the sides of cells to try, that of the grid among them, from the coarsest to the finest [m]."""
    length, own = slowest / simulation.peak_frequency, simulation.grid.spacing
    count = ceil(np.log(FINEST / COARSEST) / np.log(FINER))
    spacings = {float(f"{COARSEST * length * FINER**step:.3g}") for step in range(count)}
    spacings |= {own} if FINEST * length <= own <= COARSEST * length else set()
    return sorted(spacings, reverse=True)


def _solved(simulation: Simulation, order: int, spacing: float, slowest: float) -> Simulation:
    """Set the order and the solver's spacing [m], without temporal dispersion."""
    own, kappa = simulation.grid.spacing, best_kappa(order, spacing, slowest, simulation.peak_frequency)
    changes = {"internal_spacing": None if spacing == own else spacing, "kappa": kappa, "time_step": None}
    return replace(simulation, order=order, time_correction=True, substeps=1, **changes)


def simulation_for_error(
    models: Any, simulation: Simulation, error: float = 0.01, *, kind: str = "snapshots"
) -> Simulation:
    """Choose the differences, the solver's spacing and its time step that reach a wanted error at the least cost.

    The grid, the time axis and all records stay as they are; temporal dispersion is undone, and the time step is at its
    limit. See `expected_error` for how well the law holds: ask for `error / WITHIN[kind]` where an error must hardly
    be exceeded, or compare with `errors_against_wave_equation`.

    Args:
        models: Velocity model `(nz, nx)` or models `(n, nz, nx)` [m/s], or a family or mixture, which draws eight. The
            error is the root mean square over them.
        simulation: The simulation, at constant density.
        error: Wanted relative L2 error against the wave equation.
        kind: Record that it is meant for: "snapshots", or "gathers" at 10 cells and more from their sources.

    Returns:
        The simulation with another `order`, `kappa` and `internal_spacing`, which is None where the grid's own is best.

    Raises:
        InputError: If the error is out of the range that was measured, or no spacing that is tried reaches it.
    """
    low, high = RANGE
    if not low <= error <= high:
        raise InputError(
            f"Errors from {low:g} to {high:g} were measured, but error = {error:g}. Ask for one of them, and compare "
            "with the converged simulation (errors_against_wave_equation) what is finer."
        )
    traits = traits_of(models, simulation.grid)
    _check(simulation, traits, kind)
    slowest = min(each.slowest for each in traits)
    spacings, reached = _spacings(simulation, slowest), []

    def good(order: int, spacing: float) -> bool:
        try:
            candidate = _solved(simulation, order, spacing, slowest)
        except InputError:  # too coarse for the stencil
            return False
        return _mean([_one(each, candidate, kind) for each in traits]).total <= error

    for order in COST:
        # All parts grow with the spacing.
        first = bisect_left(spacings, True, key=lambda spacing, order=order: good(order, spacing))
        if first < len(spacings):
            reached.append(_solved(simulation, order, spacings[first], slowest))
    if not reached:
        raise InputError(
            f"No order reaches an error of {error:g} of {kind} with cells of "
            f"{FINEST * slowest / simulation.peak_frequency:.3g} m or more, at {slowest:g} m/s and "
            f"{simulation.peak_frequency:g} Hz. Allow a larger error, or lower peak_frequency."
        )
    return min(reached, key=cost)
