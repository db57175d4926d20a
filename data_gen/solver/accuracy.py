"""Expect the error of a simulation against the wave equation, and choose the cheapest simulation for a wanted error.

The law. Waves of the wavelet's frequencies f, a Ricker's, travel for a time t at a velocity v, and arrive with a phase
that is wrong by

    space    2 pi f t (1 - s(k h) / (k h)),    s(x)^2 = sum_k 2 c_k (1 - cos k x),    k = 2 pi f / v
    time     (w_n - w) t,    w_n = (2 / dt) asin(w dt / 2), which is w^3 dt^2 t / 24, without its correction

with the c_k of the differences along an axis. The relative L2 error of the wave is the mean of |exp(i phase) - 1| over
the wavelet's energy. How long waves travel as slowly as the slowest, and along an axis, depends on the medium: the
velocity is `slowness` times the smallest one, the time `way` times that of the record; by the time step all waves err,
for `duration` times that of the record.

A medium that is cut off at the grid's limit scatters no wave by an angle a with 2 k sin(a / 2) > pi / h. The energy of
a frequency f that it should scatter so is taken to be `medium`^2 times the part of all angles, which is
1 - 2 / pi asin(v / 4 h f) at the smallest velocity, and grows with the number of periods. So cells of 4 points per
shortest wavelength lose next to nothing, and larger ones soon more than their differences err.

Coefficients are least squares of the logarithms in rough and in layered, faulted media, 128 x 128 and 256 x 256 cells,
by `python -m benchmarks.accuracy --repeats 0`, then `python -m benchmarks.accuracy_law`, which prints how well they
hold there and in other media.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import ceil, floor, hypot, log10, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_gen.common.errors import InputError
from data_gen.solver.numerics.stencils import second_derivative_weights
from data_gen.solver.numerics.temporal_dispersion import numerical_frequency
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.simulation import Simulation


class Law(NamedTuple):
    """Hold the coefficients of the law for one kind of record.

    Attributes:
        slowness: Velocity of the waves that err, in parts of the smallest one.
        way: Time that they travel, in parts of the record's.
        duration: Time that all waves travel, with the time step's error, in the same parts.
        medium: Error where nothing is scattered, after ten periods of the peak frequency.
        samples: Error of constant cells that are taken as samples, at H = L and t = T, H the cell's side.
    """

    slowness: float
    way: float
    duration: float
    medium: float
    samples: float


LAWS = {
    "snapshots": Law(slowness=1.11, way=0.083, duration=0.36, medium=0.118, samples=1.11),
    "gathers": Law(slowness=1.10, way=0.064, duration=0.245, medium=0.0786, samples=0.774),
}
# The factor to which the law holds in most media. The smallest velocity does not say how much of a medium is slow, nor
# how sharp it is: ratios of expected to measured errors have root mean squares of 1.2 to 1.5 in the rough and layered
# media of the fit; 1.6 to 2.5, too small, where much of the medium is slow (salt below water, thick slow layers;
# 2.7 with half of it); and 2.4, too large, where it is smooth.
WITHIN = 3.0
ORDERS = {4: 1.0, 8: 1.2, 12: 1.5}  # those that were measured, with the relative times of a cell's step
PERIODS = 10
# The band of optimized differences in peak frequencies, and its end in k h.
OPTIMIZED_TO, LARGEST_KAPPA = {8: 1.7, 10: 1.85, 12: 2.0}, 2.8
RANGE = 3e-4, 0.1  # the errors that were measured
COARSEST, FINEST = 4.0, 0.25  # spacings that are tried, in those of the grid

# Frequencies of a Ricker wavelet in peak frequencies, and its energy there.
_RELATIVE = np.linspace(0.02, 3.5, 240)
_ENERGY = (_RELATIVE**2 * np.exp(-(_RELATIVE**2))) ** 2
_ENERGY /= _ENERGY.sum()


class ExpectedError(NamedTuple):
    """Hold the parts of an expected relative L2 error.

    Attributes:
        space: By the differences in space, and by the medium's cut at the grid's limit.
        time: By the time step; zero with the correction of temporal dispersion.
        medium: By the model's numbers, if they are samples in the simulation and were meant as constant cells.
    """

    space: float
    time: float
    medium: float

    @property
    def total(self) -> float:
        """The error of all parts: the root of the sum of their squares."""
        return sqrt(self.space**2 + self.time**2 + self.medium**2)


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


def _wave_error(phases: Float[np.ndarray, " n"]) -> float:
    """Compute the relative L2 error of a Ricker wavelet whose frequencies have wrong phases [rad]."""
    return float(np.sqrt(np.sum(_ENERGY * (2 * np.sin(np.minimum(np.abs(phases), np.pi) / 2)) ** 2)))


def spatial_error(
    law: Law, order: int, spacing: float, slowest: float, peak_frequency: float, time: float, kappa: float = 0.0
) -> float:
    """Compute the error by the differences in space and by the medium's cut.

    Args:
        law: The coefficients.
        order: Order of the differences.
        spacing: Side of a cell of the solver's grid [m].
        slowest: Smallest velocity [m/s].
        peak_frequency: Peak frequency of the wavelet [Hz].
        time: Time of the record [s].
        kappa: Band of the weights, as in `Simulation.kappa`.

    Returns:
        The relative L2 error.
    """
    w = 2 * np.pi * peak_frequency * _RELATIVE
    kh = np.minimum(w * spacing / (law.slowness * slowest), np.pi)
    weights = second_derivative_weights(order, kappa)
    symbol = sum(2 * c * (1 - np.cos(k * kh)) for k, c in enumerate(weights, start=1))
    dispersion = _wave_error(w * law.way * time * (1 - np.sqrt(symbol) / kh))
    seen = np.minimum(slowest / (4 * spacing * peak_frequency * _RELATIVE), 1)
    unscattered = np.sum(_ENERGY * (1 - 2 / np.pi * np.arcsin(seen)))
    return hypot(dispersion, law.medium * sqrt(unscattered * time * peak_frequency / PERIODS))


def temporal_error(law: Law, step: float, peak_frequency: float, time: float) -> float:
    """Compute the error by the time step of the bare leap-frog.

    Args:
        law: The coefficients.
        step: Internal time step [s].
        peak_frequency: Peak frequency of the wavelet [Hz].
        time: Time of the record [s].

    Returns:
        The relative L2 error.
    """
    frequency = np.minimum(peak_frequency * _RELATIVE, 1 / (np.pi * step))
    return _wave_error(2 * np.pi * (numerical_frequency(frequency, step) - frequency) * law.duration * time)


def samples_error(law: Law, spacing: float, slowest: float, peak_frequency: float, time: float) -> float:
    """Compute the error by constant cells that are taken as samples of a band-limited function.

    Args:
        law: The coefficients.
        spacing: Side of a cell of the model [m].
        slowest: Smallest velocity [m/s].
        peak_frequency: Peak frequency of the wavelet [Hz].
        time: Time of the record [s].

    Returns:
        The relative L2 error.
    """
    return law.samples * (spacing * peak_frequency / slowest) ** 2 * sqrt(time * peak_frequency / PERIODS)


def _travel_time(simulation: Simulation, slowest: float, kind: str) -> float:
    """Compute the time of the record, or that in which the slowest waves cross the grid and leave, if shorter [s]."""
    steps = simulation.snapshot_steps
    last = steps[-1] if kind == "snapshots" and steps else simulation.time.nt - 1
    crossing = hypot(*simulation.grid.extent) / slowest if any(simulation.widths) else np.inf
    return min(last * simulation.time.dt, crossing)


def check_request(slowest: float, kind: str) -> None:
    """Check what the law is asked about.

    Args:
        slowest: Smallest velocity [m/s].
        kind: Kind of record.

    Raises:
        InputError: If the velocity is not positive, or the kind unknown.
    """
    if not 0 < slowest < np.inf:
        raise InputError(f"slowest is the smallest velocity of the models in m/s, but is {slowest}.")
    if kind not in LAWS:
        raise InputError(f"kind must be one of {tuple(LAWS)}, but is {kind!r}.")


def expected_error(simulation: Simulation, slowest: float, *, kind: str = "snapshots") -> ExpectedError:
    """Expect the error of a simulation's records against the wave equation.

    Args:
        simulation: The simulation.
        slowest: Smallest velocity of the models [m/s].
        kind: "snapshots", or "gathers" at 60 m and more from their sources.

    Returns:
        The relative L2 error, in parts.

    Raises:
        InputError: If the velocity or the kind cannot be used.
    """
    check_request(slowest, kind)
    law, peak, time = LAWS[kind], simulation.peak_frequency, _travel_time(simulation, slowest, kind)
    space = spatial_error(law, simulation.order, simulation.solved_spacing, slowest, peak, time, simulation.kappa)
    temporal = 0.0 if simulation.time_correction else temporal_error(law, simulation.step_length, peak, time)
    meant = simulation.medium == "cells"
    medium = 0.0 if meant else samples_error(law, simulation.grid.spacing, slowest, peak, time)
    return ExpectedError(space, temporal, medium)


def cost(simulation: Simulation) -> float:
    """Compute the relative cost of a simulation: cells, layers included, times steps times the cost of the order.

    Args:
        simulation: The simulation.

    Returns:
        The cost, in steps of a cell of order 4.
    """
    return float(np.prod(discretize(simulation).padded_shape)) * simulation.steps * ORDERS[simulation.order]


def _solved(
    simulation: Simulation, order: int, spacing: float | None, *, slowest: float, optimized: bool
) -> Simulation:
    """Set the order and the solver's spacing [m], without temporal dispersion."""
    side = simulation.grid.spacing if spacing is None else spacing
    kappa = best_kappa(order, side, slowest, simulation.peak_frequency) if optimized else 0.0
    changes = {"time_correction": True, "substeps": 1, "time_step": None, "kappa": kappa}
    return replace(simulation, order=order, internal_spacing=spacing, **changes)


def _largest(good: Callable[[float], bool], fine: float, coarse: float) -> float | None:
    """Find the largest spacing that is good, between two [m], by bisection; None if the finest is not."""
    if not good(fine):
        return None
    for _ in range(24):
        middle = sqrt(fine * coarse)
        fine, coarse = (middle, coarse) if good(middle) else (fine, middle)
    return fine


def _fitting(simulation: Simulation, spacing: float) -> float | None:
    """Find the largest spacing up to a given one that fits between walls [m]; None where it is that of the grid."""
    grid = simulation.grid
    for axis, (low, high) in enumerate(np.reshape(simulation.widths, (2, 2))):
        if low == high == 0:
            length = (grid.shape[axis] - (0.5 if simulation.free_surface and axis == 0 else 0)) * grid.spacing
            half = 0.5 if simulation.free_surface and axis == 0 else 0.0
            spacing = length / (ceil(length / spacing + half - 1e-9) - half)
    if abs(spacing / grid.spacing - 1) < 1e-6:
        return None
    if np.reshape(simulation.widths, (2, 2)).any(axis=1).all():
        digit = 10.0 ** (floor(log10(spacing)) - 2)
        spacing = floor(spacing / digit + 1e-9) * digit
    return float(f"{spacing:.12g}")


def simulation_for_error(
    simulation: Simulation, slowest: float, error: float, *, kind: str = "snapshots"
) -> Simulation:
    """Choose the differences and the solver's spacing that reach a wanted error at the least cost.

    The grid, the time axis and all records stay as they are; temporal dispersion is undone, and the time step is at its
    limit. The law that is asked holds within a factor of 1.5 in media like those of its fit, and of 3 in most others:
    ask for less where an error must not be exceeded, or compare with `errors_against_wave_equation`.

    Args:
        simulation: The simulation.
        slowest: Smallest velocity of the models [m/s].
        error: Wanted relative L2 error against the wave equation.
        kind: Record that it is meant for: "snapshots", or "gathers" at 60 m and more from their sources.

    Returns:
        The simulation with another `order`, `kappa` and `internal_spacing`, which is None where the grid's own is best.

    Raises:
        InputError: If the error is out of the range that was measured, or no spacing that is tried reaches it.
    """
    check_request(slowest, kind)
    low, high = RANGE
    if not low <= error <= high:
        raise InputError(
            f"Errors from {low:g} to {high:g} were measured, but error = {error:g}. Ask for one of them, and compare "
            "with the converged simulation (errors_against_wave_equation) what is finer."
        )
    base, candidates = simulation.grid.spacing, {}
    for order in ORDERS:
        for optimized in (False, True)[: 1 + (order in OPTIMIZED_TO)]:
            described = partial(_solved, simulation, order, slowest=slowest, optimized=optimized)

            def good(spacing: float, described=described) -> bool:
                return expected_error(described(spacing), slowest, kind=kind).total <= error

            try:
                own = described(None)
                if expected_error(own, slowest, kind=kind).total <= error:
                    candidates[own] = cost(own)
                if (spacing := _largest(good, FINEST * base, COARSEST * base)) is not None:
                    chosen = described(_fitting(simulation, spacing))
                    candidates[chosen] = cost(chosen)
            except InputError:  # too coarse for the stencil, or between walls that no common spacing fits
                continue
    if not candidates:
        raise InputError(
            f"No order reaches an error of {error:g} of {kind} with cells of {FINEST * base:g} m or more, at "
            f"{slowest:g} m/s and {simulation.peak_frequency:g} Hz. Allow a larger error, or lower peak_frequency."
        )
    return min(candidates, key=candidates.__getitem__)
