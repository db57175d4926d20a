"""The field next to a source: the grid's response to short waves, gathers and fields against the analytic field."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import hankel2

from data_gen.solver.engines.near_source import add_near_field, fields_on_grid
from data_gen.solver.numerics.near_field import NOTHING, grid_response
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker, ricker_waveform
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import greens_function_2d

GRID, TIME, VELOCITY, PEAK = Grid((48, 48), 10.0), TimeAxis(101, 2e-3), 2500.0, 15.0
OFFSETS = np.array([10.0, 20.0, 30.0, 50.0])
MODEL = np.full(GRID.shape, VELOCITY)


def problem(**options):
    return Simulation(GRID, TIME, VELOCITY, PEAK, **{"order": 12, "widths": (12, 12, 12, 12)} | options)


def exact(distances, times=TIME.times):
    """The field of a source w(t) in a homogeneous plane at distances [m], `(nt, n)`."""

    def wavelet(t):
        return ricker_waveform((np.pi * PEAK * (t - 1.2 / PEAK)) ** 2)

    return np.stack([greens_function_2d(d, times, wavelet, VELOCITY) for d in distances], axis=1)


def shoot(source, receivers, simulation, density=None):
    """The gather, and what was added to it."""
    survey = make_survey([source], receivers, ricker(TIME, PEAK))
    gathers = simulate(MODEL, survey, simulation, density=density).gathers
    add = jax.jit(add_near_field, static_argnames="simulation")
    added = add(jnp.zeros_like(gathers), survey.with_source_axis(), simulation, density)
    return np.asarray(gathers[0]), np.asarray(added[0])


def test_the_grids_response_is_that_of_the_lattice():
    """Differences of order 2, by known integrals: G(0) = (g + 3/2 ln 2) / 2 pi, G(0) - G(1, 0) = 1 / 4, and 1 / pi.

    Their symbol errs by k^4 / 12, so that the integrand jumps at k = 0 by a part of 1 / 12: over POINTS^2 cells, 1e-6.
    """
    response = grid_response(2, 0.0, 0, staggered=False)
    assert response[0, 0] == pytest.approx((np.euler_gamma + 1.5 * np.log(2)) / (2 * np.pi), abs=2e-6)
    assert response[0, 0] - response[1, 0] == pytest.approx(1 / 4, abs=2e-6)
    assert response[0, 0] - response[1, 1] == pytest.approx(1 / np.pi, abs=2e-6)


@pytest.mark.parametrize("order", [4, 12])
@pytest.mark.parametrize("staggered", [False, True])
def test_the_grids_response_tends_to_the_logarithm(order, staggered):
    """And as fast as the order says: the part that is left falls as distance^-order, here from 7 to 14 cells."""
    distance = np.array([7, 14])
    left = np.abs(grid_response(order, 0.0, 4, staggered=staggered)[0, distance] + np.log(distance) / (2 * np.pi))
    assert left[0] < 1e-4
    assert left[1] < max(left[0] * 2.0 ** (1 - order), 1e-10)


@pytest.mark.parametrize("spacing", [None, 15.0])
def test_gathers_near_a_source_against_the_analytic_field(spacing):
    """At 1, 2, 3 and 5 cells. What is left is of the next order, (w h / v pi)^2 / 2 of what was missing: below a tenth.

    And the error of the differences and of the sinc between cells, 1e-3 each.
    """
    source = np.array([240.0, 230.0])
    direction = np.array([0.0, 1.0])
    gather, added = shoot(source, source + OFFSETS[:, None] * direction, problem(internal_spacing=spacing))
    expected = exact(OFFSETS)
    for i, offset in enumerate(OFFSETS):
        before = relative(gather[:, i] - added[:, i], expected[:, i])
        after = relative(gather[:, i], expected[:, i])
        assert after < before / 10 + 2e-3, (offset, before, after)
    assert relative(gather[:, 0] - added[:, 0], expected[:, 0]) > 0.01


@pytest.mark.parametrize("sides", ["free surface", "wall"])
def test_images(sides):
    """A source 13 m below the surface, receivers 11 m below it: the field of the source and of its image."""
    free = sides == "free surface"
    simulation = problem(widths=(0, 12, 12, 12), free_surface=free, half_width=4)
    source, columns = np.array([13.0, 237.0]), np.array([0.0, 12.0, 31.0])
    receivers = np.stack([np.full(3, 11.0), source[1] + columns], axis=1)
    gather, added = shoot(source, receivers, simulation)
    surface = 0.0 if free else -5.0
    direct, image = np.hypot(2.0, columns), np.hypot(24.0 - 2 * surface, columns)
    direct[0] = max(direct[0], 3.0)  # a receiver's ring, of 0.3 cells: the mean of the field over it
    expected = exact(direct) + (-1 if free else 1) * exact(image)
    assert relative(gather, expected) < 4e-3
    assert relative(gather - added, expected) > 0.02


def test_density():
    """Constant density scales the field, and what is missing with it: rho G."""
    density = jnp.full(GRID.shape, 2000.0)
    source = np.array([240.0, 230.0])
    receivers = source + np.array([[0.0, 10.0], [20.0, 20.0]])
    gather, added = shoot(source, receivers, problem(), density)
    expected = 2000.0 * exact([10.0, np.hypot(20.0, 20.0)])
    assert relative(gather, expected) < 2e-3 < 4e-3 < relative(gather - added, expected)


def test_nothing_is_added_far_away_or_to_the_bare_solver():
    far = NOTHING * GRID.spacing + 1e-3
    survey = make_survey([[200.0, 200.0]], [[200.0, 200.0 + far]], ricker(TIME, PEAK)).with_source_axis()
    gathers = jax.random.normal(jax.random.key(0), (1, TIME.nt, 1))
    assert np.array_equal(add_near_field(gathers, survey, problem(half_width=4), None), gathers)
    bare = replace(problem(half_width=4), time_correction=False, substeps=2, medium="samples")
    assert add_near_field(gathers, survey, bare, None) is gathers


def test_derivatives_by_positions_and_wavelets(float64):
    """By positions as central differences say, to their error of step^2; the gathers are linear in the wavelets."""
    simulation = replace(problem(half_width=4), time=TimeAxis(41, 2e-3))
    survey = make_survey([[231.0, 233.0]], [[243.0, 238.0], [222.0, 261.0]], ricker(simulation.time, PEAK))

    @jax.jit
    @jax.value_and_grad
    def energy(survey):
        return jnp.sum(simulate(jnp.asarray(MODEL), survey, simulation).gathers ** 2)

    _, gradient = energy(survey)
    keys = jax.random.split(jax.random.key(0), 3)
    direction = type(survey)(*(jax.random.normal(k, x.shape) for k, x in zip(keys, survey, strict=True)))
    for name in ("sources", "receivers"):
        along = jax.tree.map(jnp.zeros_like, survey)._replace(**{name: getattr(direction, name)})
        ahead, behind = (energy(jax.tree.map(lambda x, d, s=s: x + s * d, survey, along))[0] for s in (1e-3, -1e-3))
        slope = sum(jnp.vdot(a, b) for a, b in zip(gradient, along, strict=True))
        assert (ahead - behind) / 2e-3 == pytest.approx(float(slope), rel=1e-6)

    def gathers(wavelets):
        return simulate(jnp.asarray(MODEL), survey._replace(wavelets=wavelets), simulation).gathers

    weights = jax.random.normal(keys[0], (1, 41, 2))

    @jax.jit
    def both(wavelets):
        out, transposed = jax.vjp(gathers, wavelets)
        return out, transposed(weights)[0]

    out, back = both(direction.wavelets)
    left, right = jnp.vdot(weights, out), jnp.vdot(back, direction.wavelets)
    assert left == pytest.approx(float(right), rel=1e-10)


# --- whole fields -------------------------------------------------------------------------------------------

LONG, STEPS, FREQUENCIES = TimeAxis(501, 2e-3), (35, 45, 80), (10.0, 20.0)


def distances_of(points):
    """Of the grid's centers from a point, of at least the radius of a ring."""
    return np.maximum(np.linalg.norm(GRID.centers - points, axis=-1), 0.3 * GRID.spacing)


def exact_fields(distances):
    """Snapshots while the source fires and after it, and time-harmonic fields, in a homogeneous plane."""
    wavelet, k = np.asarray(ricker(LONG, PEAK)), 2 * np.pi * np.array(FREQUENCIES)[:, None, None] / VELOCITY
    spectrum = LONG.dt * np.exp(-2j * np.pi * np.outer(FREQUENCIES, LONG.times)) @ wavelet
    harmonic = -0.25j * spectrum[:, None, None] * hankel2(0, k * distances)
    table = np.geomspace(distances.min(), distances.max(), 200)  # a spline between its points errs by 1e-5
    snapshots = CubicSpline(np.log(table), exact(table, LONG.times[list(STEPS)]), axis=1)(np.log(distances))
    return snapshots, harmonic


def fields(source, simulation, density=None):
    """Snapshots and time-harmonic fields of one source."""
    simulation = replace(simulation, time=LONG, snapshot_steps=STEPS, frequencies=FREQUENCIES)
    records = simulate(MODEL, make_survey([source], [], ricker(LONG, PEAK)), simulation, density=density)
    return [np.asarray(part[0]) for part in (records.snapshots, records.harmonic)]


@pytest.mark.parametrize("spacing", [None, 8.0, 12.0, 15.0])
def test_fields_near_a_source_against_the_analytic_field(spacing):
    """Whatever the solver's cells are: at the source, near it, and along its row and column, where its peak would ring.

    Bounds are twice what the sinc between cells errs by in a plane, 8e-4. Near the source, that once more for the next
    order, of the waves above the grid's band: (2 h f / v)^2 = 0.06 of them, with 20 Hz on cells of 15 m.
    """
    source = np.array([243.0, 228.0]) if spacing else np.array([240.0, 230.0])
    found = fields(source, problem(internal_spacing=spacing, half_width=4 if spacing else 0))
    distances, beside = distances_of(source), np.abs(GRID.centers - source).min(axis=-1)
    for got, wanted in zip(found, exact_fields(distances), strict=True):
        for each, right in zip(got, wanted, strict=True):
            assert relative(each, right) < 1.6e-3
            for near in (distances < 45.0, beside < 15.0):
                assert relative(each[near], right[near]) < 3.2e-3


@pytest.mark.parametrize("sides", ["free surface", "wall"])
def test_images_of_fields(sides):
    """A source 13 m below the surface, and cells of 8 m or 10 m, of which a whole number fits."""
    free = sides == "free surface"
    simulation = problem(widths=(0, 12, 12, 12), free_surface=free, internal_spacing=8.0, half_width=4)
    source = np.array([13.0, 237.0])
    image = source * [-1, 1] if free else [-10 - source[0], source[1]]
    direct, mirrored = (exact_fields(distances_of(np.array(point))) for point in (source, image))
    for got, one, other in zip(fields(source, simulation), direct, mirrored, strict=True):
        assert relative(got, one - other if free else one + other) < 4e-3
        if free:
            assert np.abs(got[:, 0]).max() < 1e-6 * np.abs(got).max()


def test_fields_in_a_density():
    """Constant density scales the field, and its peak with it."""
    density = jnp.full(GRID.shape, 2000.0)
    source = np.array([243.0, 228.0])
    for spacing in (10.0, 12.0):
        found = fields(source, problem(internal_spacing=spacing), density)
        for got, wanted in zip(found, exact_fields(distances_of(source)), strict=True):
            assert relative(got, 2000.0 * wanted) < 3e-3


def test_a_gather_is_the_field_at_its_receivers():
    """On the model's centers, next to the source: both are the field that is heard there, to the sinc of receivers."""
    simulation = replace(problem(internal_spacing=12.0), snapshot_steps=(35, 45), time=TIME)
    source, rows = np.array([243.0, 228.0]), np.arange(22, 28)
    survey = make_survey([source], np.stack([rows * 10.0, np.full(6, 230.0)], axis=1), ricker(TIME, PEAK))
    records = simulate(MODEL, survey, simulation)
    assert relative(records.gathers[0, (35, 45), :], records.snapshots[0][:, rows, 23]) < 3e-3


def test_several_sources_of_a_shot_add_up(float64):
    """And their peaks with them, also on a wall."""
    simulation = problem(internal_spacing=12.0, half_width=4, widths=(0, 12, 12, 12))
    simulation = replace(simulation, snapshot_steps=(35,), frequencies=(10.0,))
    sources, wavelets = jnp.array([[5.0, 230.0], [33.0, 251.0]]), ricker(TIME, PEAK) * np.array([[1.0], [-0.7]])
    each = simulate(MODEL, make_survey(sources, [], wavelets), simulation)
    both = simulate(MODEL, make_survey(sources[None], [], wavelets[None]), simulation)
    for apart, together in zip(each[1:], both[1:], strict=True):
        assert relative(together[0], apart.sum(axis=0)) < 1e-12


def test_the_bare_solvers_fields_are_as_its_grid_has_them():
    """Without the correction of temporal dispersion nothing is exchanged: here the response of the lattice is left."""
    bare = problem(time_correction=False, substeps=2, medium="samples", half_width=4, snapshot_steps=(35,))
    survey = make_survey([[243.0, 228.0]], [], ricker(TIME, PEAK)).with_source_axis()
    fields = jax.random.normal(jax.random.key(0), (1, 1, *GRID.shape))
    assert fields_on_grid(fields, survey, bare, None) is fields
    assert not np.array_equal(fields_on_grid(fields, survey, problem(half_width=4, snapshot_steps=(35,)), None), fields)


def test_derivatives_of_fields_by_positions_and_wavelets(float64):
    """By positions as central differences say, to their error of step^2; the fields are linear in the wavelets."""
    simulation = replace(problem(internal_spacing=12.0), time=TimeAxis(41, 2e-3), snapshot_steps=(30, 40))
    simulation = replace(simulation, frequencies=(15.0,))
    survey = make_survey([[231.0, 233.0]], [], ricker(simulation.time, PEAK))

    def observed(survey):
        records = simulate(jnp.asarray(MODEL), survey, simulation)
        return records.snapshots, records.harmonic.real, records.harmonic.imag

    @jax.jit
    @jax.value_and_grad
    def energy(survey):
        return sum(jnp.sum(part**2) for part in observed(survey))

    _, gradient = energy(survey)
    direction = jnp.array([[0.8, -0.5]])
    ahead, behind = (energy(survey._replace(sources=survey.sources + s * direction))[0] for s in (1e-3, -1e-3))
    assert (ahead - behind) / 2e-3 == pytest.approx(float(jnp.vdot(gradient.sources, direction)), rel=1e-6)

    wavelets = jax.random.normal(jax.random.key(1), survey.wavelets.shape)
    weights = jax.tree.map(lambda x: jax.random.normal(jax.random.key(2), x.shape), jax.eval_shape(observed, survey))

    @jax.jit
    def both(wavelets):
        out, transposed = jax.vjp(lambda w: observed(survey._replace(wavelets=w)), wavelets)
        return out, transposed(weights)[0]

    out, back = both(wavelets)
    left = sum(jnp.vdot(a, b) for a, b in zip(weights, out, strict=True))
    assert left == pytest.approx(float(jnp.vdot(back, wavelets)), rel=1e-10)
