"""Check concrete inputs once, at the edge, before anything is compiled."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from data_gen.common.errors import InputError
from data_gen.solver.numerics.cpml import doubling_steps
from data_gen.solver.numerics.stencils import staggered_weights
from data_gen.solver.problem.acquisition import Survey, check_survey_shapes, real_array
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.medium import project_medium
from data_gen.solver.problem.simulation import SLOWEST_MEANT, Simulation, check_cfl, check_reach
from data_gen.solver.problem.wavelets import part_above

# Points per wavelength at the highest frequency that keep the phase error near 1 % over some ten wavelengths.
POINTS_PER_WAVELENGTH = {2: 10.0, 4: 5.0, 6: 4.0, 8: 3.5, 10: 3.2, 12: 3.0}

# The most of a wavelet's amplitudes that may lie above so many peak frequencies, where its firing begins to be cut off.
BAND_PART, BAND_TOP = 0.03, 3.5
LEAST_PERIODS = 2  # of the peak frequency in a record whose wavelets have a spectrum to speak of

# The same for weights that are best up to k h = kappa, times kappa: the band then reaches 1.6 peak frequencies.
BAND_POINTS = 4.0

NEAR = 1e-3  # cells within which a point is on a cell's center


class DispersionWarning(UserWarning):
    """Warn that the grid is too coarse for the shortest wavelength."""


class GrowthWarning(UserWarning):
    """Warn that thin absorbing layers may let trapped waves grow within the simulation."""


class BandWarning(UserWarning):
    """Warn that a wavelet reaches beyond the band in which temporal dispersion is undone."""


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
    if high <= 1:
        raise InputError(
            f"{where} spans {low:g} to {high:g}, which looks like a slowness or a normalized model. "
            "Meters per second are meant: invert the slowness, or undo the normalization."
        )
    if high < SLOWEST_MEANT:
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
    if simulation.kappa:
        needed = min(needed, BAND_POINTS / simulation.kappa)
    if cells < needed:
        warnings.warn(
            f"{cells:.1f} points per wavelength at the highest frequency "
            f"({simulation.highest_frequency:g} Hz, slowest velocity {slowest:g} m/s); order "
            f"{simulation.order} needs {needed:g}. Expect numerical dispersion: refine the grid, lower the frequency "
            "or raise the order.",
            DispersionWarning,
            stacklevel=4,
        )


def safe_steps(velocity: np.ndarray, simulation: Simulation) -> float:
    """Count the internal steps in which no trapped wave more than doubles, fed by the absorbing layers.

    Only cells that are slower than a layer trap waves that it can feed; see cpml.py.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        simulation: The simulation.

    Returns:
        The number of steps; infinite where no layer can feed a wave.
    """
    edges, slowest = (velocity[0], velocity[-1], velocity[:, 0], velocity[:, -1]), velocity.min()
    bounds = zip(edges, doubling_steps(simulation.widths), strict=True)
    return min((steps for edge, steps in bounds if edge.max() > slowest), default=float("inf"))


def meeting(slowest: float, fastest: float) -> np.ndarray:
    """Make the smallest model in which slow and fast cells meet at every edge: it stands for models drawn later.

    Args:
        slowest: Smallest velocity [m/s].
        fastest: Largest velocity [m/s].

    Returns:
        The model `(2, 2)` [m/s].
    """
    return np.array([[slowest, fastest], [fastest, slowest]])


def check_layers(simulation: Simulation, velocity: np.ndarray) -> None:
    """Warn with `GrowthWarning` if the absorbing layers are too thin for the number of steps.

    Args:
        simulation: The simulation.
        velocity: Velocity model `(nz, nx)` [m/s].
    """
    safe = safe_steps(velocity, simulation)
    if simulation.steps > safe:
        warnings.warn(
            f"Absorbing layers of {simulation.widths} cells may let waves grow that are trapped in slow cells: they "
            f"can double in {safe:g} of the {simulation.steps} internal steps. Widen the layers: the safe steps grow "
            "as the square of the width.",
            GrowthWarning,
            stacklevel=4,
        )


def check_band(simulation: Simulation, wavelets: np.ndarray) -> None:
    """Warn with `BandWarning` if wavelets reach beyond the band in which temporal dispersion is undone.

    Args:
        simulation: The simulation.
        wavelets: Wavelets `(..., nt)`.
    """
    time, limit = simulation.time, BAND_TOP * simulation.peak_frequency
    if not simulation.time_correction or time.nt * time.dt * simulation.peak_frequency < LEAST_PERIODS:
        return
    part = part_above(wavelets.reshape(-1, wavelets.shape[-1]), time.dt, limit)
    if part > BAND_PART:
        warnings.warn(
            f"{part:.0%} of a wavelet's amplitudes lie above {limit:g} Hz, {BAND_TOP:g} times "
            f"peak_frequency={simulation.peak_frequency:g}: they are cut off where temporal dispersion is undone. "
            "Raise peak_frequency to that of the wavelet, smooth its onset, or set time_correction=False.",
            BandWarning,
            stacklevel=4,
        )


def check_fastest(simulation: Simulation, fastest: float) -> None:
    """Check that a model keeps below the velocity at which the solver bounds what it puts on its grid.

    Args:
        simulation: The simulation.
        fastest: Largest velocity of the model [m/s].

    Raises:
        InputError: If it does not.
    """
    if simulation.projects and fastest > simulation.fastest:
        raise InputError(
            f"The velocity model reaches {fastest:g} m/s, but the simulation's max_velocity is "
            f"{simulation.max_velocity:g} m/s, and what is above {simulation.fastest:g} m/s would be cut off. "
            f"Set max_velocity={fastest:g}, or check the units of the velocity."
        )


def check_points(points: np.ndarray, what: str, simulation: Simulation) -> None:
    """Check that points lie inside the grid, below a free surface, and on cells where no sinc places them between.

    Args:
        points: Positions `(..., 2)`, as (z, x) [m].
        what: Name of a point in errors, such as "source".
        simulation: The simulation.

    Raises:
        InputError: If a point does not.
    """
    points = points.reshape(-1, 2)
    (depth, width), spacing = simulation.grid.extent, simulation.grid.spacing
    outside = ~_inside(points, simulation)
    if outside.any():
        z, x = points[np.argmax(outside)]
        swapped = " With z and x exchanged it would not." if _inside(points[:, ::-1], simulation).all() else ""
        raise InputError(
            f"A {what} lies outside the grid: (z, x) = ({z:g}, {x:g}) m, but the cell centers span 0 to {depth:g} m "
            f"in depth and 0 to {width:g} m along the surface. Move it, or enlarge the grid.{swapped}"
        )
    silent = points[:, 0] <= NEAR * spacing
    if simulation.free_surface and silent.any():
        z, x = points[np.argmax(silent)]
        effect = "fires nothing" if what == "source" else "records zeros"
        raise InputError(
            f"A {what} lies on the free surface, where the pressure is zero, and {effect}: (z, x) = ({z:g}, {x:g}) m. "
            f"Move it down, for example by one cell to z = {spacing:g} m."
        )
    off_grid = np.abs(points / spacing - np.round(points / spacing)).max(axis=1, initial=0) > NEAR
    if simulation.half_width == 0 and simulation.internal_spacing is None and off_grid.any():
        z, x = points[np.argmax(off_grid)]
        raise InputError(
            f"A {what} lies between grid points: (z, x) = ({z:g}, {x:g}) m with cells of {spacing:g} m. "
            f"{_unit_meant(points, simulation)}"
            "Move it to a cell center, or set half_width=4 in the Simulation to interpolate by a windowed sinc."
        )


def _inside(points: np.ndarray, simulation: Simulation) -> np.ndarray:
    """Find the points `(n, 2)` [m] that lie inside the grid; NaN does not."""
    slack = NEAR * simulation.grid.spacing
    return np.all((points >= -slack) & (points <= np.array(simulation.grid.extent) + slack), axis=1)


def _unit_meant(points: np.ndarray, simulation: Simulation) -> str:
    """Name the unit that points `(n, 2)` are probably in, if not in meters."""
    if not points.any():
        return ""
    if _inside(1000 * points, simulation).all():
        return "Positions in km are meant in meters: multiply by 1000. "
    if (points == np.round(points)).all() and (points < np.array(simulation.grid.shape)).all():
        return f"If these are numbers of cells, multiply them by the spacing of {simulation.grid.spacing:g} m. "
    return ""


def check_survey(survey: Survey, simulation: Simulation) -> None:
    """Check shapes and types of a survey's arrays and, where they are concrete, their values.

    Args:
        survey: The survey.
        simulation: The simulation.

    Raises:
        InputError: If shapes or types are wrong, points lie outside the grid, on a free surface or between cells, or
            a wavelet is not finite.
    """
    if not isinstance(survey, Survey):
        raise InputError(f"A survey is made by make_survey(sources, receivers, wavelet), but got {type(survey)}.")
    for name, values in zip(("Sources", "Receivers", "Wavelets"), survey, strict=True):
        if not isinstance(values, jax.Array | np.ndarray):
            raise InputError(f"{name} of a survey must be an array, but got {type(values)}. Use make_survey.")
    check_survey_shapes(survey, simulation.time.nt)
    points = {}
    for what, positions in (("source", survey.sources), ("receiver", survey.receivers)):
        if not isinstance(positions, Tracer):
            points[what] = np.asarray(positions, dtype=float).reshape(-1, 2)
            check_points(points[what], what, simulation)
    everywhere = np.concatenate(list(points.values())) if len(points) == 2 else np.zeros((0, 2))
    within_a_cell = len(np.unique(everywhere, axis=0)) > 1 and everywhere.max() < simulation.grid.spacing
    if within_a_cell and _inside(1000 * everywhere, simulation).all():
        raise InputError(
            f"All sources and receivers lie within {everywhere.max():g} m of the grid's first cell, which looks like "
            "km. Positions are meant in meters: multiply by 1000."
        )
    if not isinstance(survey.wavelets, Tracer) and not np.isfinite(wavelets := np.asarray(survey.wavelets)).all():
        first = [int(i) for i in np.argwhere(~np.isfinite(wavelets))[0]]
        raise InputError(f"A wavelet has a value that is not finite: number {first} of {wavelets.shape}. Repair it.")


def largest_local_velocity(velocity: np.ndarray, density: np.ndarray, simulation: Simulation) -> float:
    """Bound the velocity that limits the time step where the density jumps, after Gershgorin.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density model `(nz, nx)` [kg/m^3].
        simulation: The simulation on their grid.

    Returns:
        The square root of the largest kappa / rho on the solver's grid, with 1 / rho the mean over the faces that a
        cell's stencil reaches along both axes, each by the size of its weight [m/s].
    """
    with jax.ensure_compile_time_eval():  # the survey may be traced
        medium = jax.device_get(project_medium(jnp.asarray(velocity), jnp.asarray(density), simulation))
    stiffness, half = medium.stiffness, simulation.order // 2
    weights, buoyancy = np.abs(staggered_weights(simulation.order)), np.zeros(stiffness.shape)
    for axis, between in enumerate(medium.buoyancy):
        faces, n = np.moveaxis(between, axis, 0), stiffness.shape[axis]
        reached = [faces[half - k : half - k + n] + faces[half + k - 1 : half + k - 1 + n] for k in range(1, half + 1)]
        buoyancy += np.moveaxis(np.tensordot(weights, reached, 1), 0, axis) / (4 * weights.sum())
    step = discretize(simulation, staggered=True).step_length
    return float(np.sqrt((stiffness * buoyancy).max())) / step


def check_models(velocity, simulation: Simulation, density=None) -> None:
    """Check shapes and types of models, which may be traced.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        simulation: The simulation.
        density: Density model `(nz, nx)` [kg/m^3], or None.

    Raises:
        InputError: If a shape or a type is wrong, or the simulation has no place for such a model.
    """
    shape = simulation.grid.shape
    for name, model in (("velocity", velocity), ("density", density)):
        if model is None and name == "density":
            continue
        found = np.shape(real_array(model, f"The {name} model"))
        if found != shape:
            remedy = ""
            if found == shape[::-1]:
                remedy = " Transpose it: depth comes first."
            elif found[-2:] == shape:
                remedy = " Map a batch of models by jax.vmap."
            raise InputError(f"The {name} model must have the grid's shape {shape} (nz, nx), but has {found}.{remedy}")
    if density is not None:
        check_reach(simulation, staggered=True)


def check_inputs(velocity, survey: Survey, simulation: Simulation, density=None) -> None:
    """Check shapes and types of every input and, where it is concrete (not traced), its values.

    `simulate` does so before anything is compiled. Warns with `DispersionWarning` where the points per wavelength are
    too few, with `GrowthWarning` where the absorbing layers are too thin for the number of steps, and with
    `BandWarning` where a wavelet reaches beyond the band that is free of temporal dispersion.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: The survey.
        simulation: The simulation.
        density: Density model `(nz, nx)` [kg/m^3], or None.

    Raises:
        InputError: If a shape or a type is wrong, velocities or densities are bad, the time step is over the CFL
            limit, points lie outside the grid, on a free surface or between cells, or a wavelet is not finite.
    """
    if not isinstance(simulation, Simulation):
        raise InputError(f"simulate takes a velocity, a survey, then a Simulation, but got {type(simulation)} there.")
    check_models(velocity, simulation, density)
    check_survey(survey, simulation)
    if not isinstance(survey.wavelets, Tracer):
        check_band(simulation, np.asarray(survey.wavelets))
    if isinstance(velocity, Tracer) or isinstance(density, Tracer):
        return
    velocity = np.asarray(velocity)
    check_velocity(velocity)
    check_fastest(simulation, float(velocity.max()))
    if density is None:
        check_cfl(simulation, float(velocity.max()))
    else:
        density = np.asarray(density)
        if not (np.isfinite(density).all() and density.min() > 0):
            raise InputError("The density model must be finite and positive everywhere, in kg/m^3.")
        staggered = replace(simulation, staggered=True)
        check_cfl(staggered, largest_local_velocity(velocity, density, simulation))
    check_sampling(simulation, float(velocity.min()))
    check_layers(simulation, velocity)
