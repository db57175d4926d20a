"""Check concrete inputs once, at the edge, before anything is compiled."""

import warnings

import numpy as np
from jax.core import Tracer

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.simulation import Simulation, check_cfl

# Points per wavelength at the highest frequency that keep the phase error near 1 % over some ten wavelengths.
POINTS_PER_WAVELENGTH = {2: 10.0, 4: 5.0, 6: 4.0, 8: 3.5, 10: 3.2, 12: 3.0}


class DispersionWarning(UserWarning):
    """Warn that the grid is too coarse for the shortest wavelength."""


def check_velocity(velocity: np.ndarray, where: str = "The velocity model") -> None:
    """Check that a velocity model is finite, positive and plausibly in meters per second.

    Args:
        velocity: A velocity model of any shape [m/s].
        where: Its name in errors.

    Raises:
        InputError: If it is not.
    """
    bad = ~np.isfinite(velocity)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{where} has {bad.sum()} values that are not finite, the first at index {first}. Repair them."
        )
    low, high = float(velocity.min()), float(velocity.max())
    if low <= 0:
        raise InputError(f"{where} must be positive everywhere, but its smallest value is {low:g} m/s.")
    if high < 20:
        raise InputError(
            f"{where} spans {low:g} to {high:g}, which looks like km/s. Meters per second are meant: multiply by 1000."
        )


def check_sampling(simulation: Simulation, slowest: float) -> None:
    """Warn with `DispersionWarning` if the shortest wavelength has too few points.

    Args:
        simulation: The simulation.
        slowest: Smallest velocity of the model [m/s].
    """
    cells, needed = simulation.points_per_wavelength(slowest), POINTS_PER_WAVELENGTH[simulation.order]
    if cells < needed:
        warnings.warn(
            f"{cells:.1f} points per wavelength at the highest frequency "
            f"({simulation.highest_frequency:g} Hz, slowest velocity {slowest:g} m/s); order "
            f"{simulation.order} needs {needed:g}. Expect numerical dispersion: refine the grid, lower the frequency "
            "or raise the order.",
            DispersionWarning,
            stacklevel=4,
        )


def check_points(points: np.ndarray, what: str, simulation: Simulation) -> None:
    """Check that points lie inside the grid, and on it where the simulation has no sinc to place them between cells.

    Args:
        points: Positions `(n, 2)`, as (z, x) [m].
        what: Name of a point in errors, such as "source".
        simulation: The simulation.

    Raises:
        InputError: If a point does not.
    """
    (depth, width), spacing = simulation.grid.extent, simulation.grid.spacing
    slack = 1e-3 * spacing
    # Written so that NaN counts as outside.
    outside = ~((points >= -slack) & (points <= np.array([depth, width]) + slack)).all(axis=1)
    if outside.any():
        z, x = points[np.argmax(outside)]
        raise InputError(
            f"A {what} lies outside the grid: (z, x) = ({z:g}, {x:g}) m, but the cell centers span 0 to {depth:g} m "
            f"in depth and 0 to {width:g} m along the surface. Move it, or enlarge the grid."
        )
    off_grid = np.abs(points / spacing - np.round(points / spacing)).max(axis=1, initial=0) > 1e-3
    if simulation.half_width == 0 and off_grid.any():
        z, x = points[np.argmax(off_grid)]
        raise InputError(
            f"A {what} lies between grid points: (z, x) = ({z:g}, {x:g}) m with cells of {spacing:g} m. "
            "Move it to a cell center, or set half_width=4 in the Simulation to interpolate by a windowed sinc."
        )


def largest_local_velocity(velocity: np.ndarray, density: np.ndarray) -> float:
    """Bound the velocity that limits the time step where the density jumps, after Gershgorin.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density model `(nz, nx)` [kg/m^3].

    Returns:
        The square root of the largest kappa / rho, with rho at each cell's four faces [m/s].
    """
    padded = np.pad(density, 1, mode="edge")
    faces = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    buoyancy = sum(2 / (density + face) for face in faces) / 4
    return float(np.sqrt((velocity**2 * density * buoyancy).max()))


def check_inputs(velocity, survey: Survey, simulation: Simulation, density=None, coupling=None) -> None:
    """Check every concrete (not traced) input; `simulate` does so before anything is compiled.

    Warns with `DispersionWarning` where the points per wavelength are too few.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: The survey.
        simulation: The simulation.
        density: Density model `(nz, nx)` [kg/m^3], or None.
        coupling: Coupling `(3, 3, nz, nx)` of coarse_medium.py, or None.

    Raises:
        InputError: If a shape is wrong, velocities or densities are bad, the time step is over the CFL limit, or points
            lie outside the grid or between cells.
    """
    shape = simulation.grid.shape
    for name, model in (("velocity", velocity), ("density", density)):
        if model is not None and np.shape(model) != shape:
            raise InputError(
                f"The {name} model must have the grid's shape {shape} (nz, nx), but has {np.shape(model)}."
            )
    if coupling is not None and np.shape(coupling) != (3, 3, *shape):
        raise InputError(
            f"The coupling must have the shape {(3, 3, *shape)}, but has {np.shape(coupling)}. Take it, and the "
            "velocity, from coarse_medium.coarse_medium."
        )
    if coupling is not None and (simulation.time_order != 2 or simulation.free_surface):
        raise InputError(
            f"A coupling needs second order in time and no free surface, but time_order={simulation.time_order} and "
            f"free_surface={simulation.free_surface}."
        )
    n_sources, nt = np.shape(survey.sources)[0], simulation.time.nt
    if np.shape(survey.wavelets) != (n_sources, nt):
        raise InputError(
            f"Wavelets must be sampled on the time axis, one per source: expected {(n_sources, nt)}, "
            f"got {np.shape(survey.wavelets)}."
        )
    for points, what in ((survey.sources, "source"), (survey.receivers, "receiver")):
        if not isinstance(points, Tracer):
            check_points(np.asarray(points, dtype=float).reshape(-1, 2), what, simulation)
    if isinstance(velocity, Tracer) or isinstance(density, Tracer):
        return
    velocity = np.asarray(velocity)
    check_velocity(velocity)
    if density is None:
        check_cfl(simulation, float(velocity.max()))
    else:
        density = np.asarray(density)
        if not (np.isfinite(density).all() and density.min() > 0):
            raise InputError("The density model must be finite and positive everywhere, in kg/m^3.")
        check_cfl(simulation, largest_local_velocity(velocity, density), staggered=True)
    check_sampling(simulation, float(velocity.min()))
