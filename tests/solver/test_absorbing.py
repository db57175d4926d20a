"""The absorbing layers against theory: what comes back, at normal and at grazing incidence, and that nothing grows.

Echoes are in dB of the wave itself at the same receiver: the gather against that on a grid too large for echoes.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import hankel2

from data_gen.solver.engines.time_step import initial_state, step
from data_gen.solver.numerics.cpml import REDUCTION, Strip, doubling_steps, profile
from data_gen.solver.numerics.stencils import (
    ORDERS,
    adjoint_factor_derivative,
    factor_derivative,
    factor_offset,
    factor_weights,
    largest_stable_step,
    second_derivative,
    second_derivative_weights,
)
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.checks import safe_steps
from data_gen.solver.problem.edges import strip_profile
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.medium import make_medium
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY, Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.theory import BARE

# Impulses, coarse grids and thin layers are the point of many a test here.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::data_gen.solver.problem.checks.{name}")
    for name in ("DispersionWarning", "GrowthWarning")
]

SPACING, VELOCITY, DT = 10.0, 2000.0, 2e-3


def echoes(
    shape, widths, source, receivers, *, ppw, nt, margin, order=8, staggered=False, velocity=VELOCITY, **options
):
    """Echo of the layers at each receiver [dB]; `source` and `receivers` in cells, ppw at the highest frequency.

    The reference has `margin` more cells in place of each layer, the same walls elsewhere.
    """
    frequency, time = velocity / (HIGHEST_FREQUENCY * ppw * SPACING), TimeAxis(nt, DT)

    def gather(widths, more):
        size = (shape[0] + more[0] + more[1], shape[1] + more[2] + more[3])
        simulation = Simulation(Grid(size, SPACING), time, VELOCITY, frequency, order, widths, **options)
        corner = np.array([more[0], more[2]])
        sources, points = ((np.asarray(p) + corner) * SPACING for p in ([source], receivers))
        density = jnp.full(size, 1000.0) if staggered else None
        survey = make_survey(sources, points, ricker(time, frequency))
        return np.asarray(simulate(jnp.full(size, velocity), survey, simulation, density=density).gathers[0])

    more = [margin if width else 0 for width in widths]
    reference = gather(tuple(20 if width else 0 for width in widths), more)
    difference = gather(widths, (0, 0, 0, 0)) - reference
    return 20 * np.log10(np.linalg.norm(difference, axis=0) / np.linalg.norm(reference, axis=0))


@pytest.mark.parametrize("high", [False, True])
def test_profile(high):
    """With alpha = 0, `a` multiplied over there and back leaves the theoretical reflection: R = 5^-N at v_ref.

    The sum over N cells of d^2 is (N / 3)(1 + 3 / (2 N) + 1 / (2 N^2)), against the integral's N / 3.
    """
    cells = 12
    a, b = profile(Strip(1, high, cells), SPACING, DT, VELOCITY, 1e-12)
    assert a.shape == b.shape == (1, cells)
    there_and_back = np.prod(a) ** (2 * SPACING / (VELOCITY * DT))
    excess = 1 + 1.5 / cells + 0.5 / cells**2
    assert abs(np.log(there_and_back) / (-cells * np.log(REDUCTION) * excess) - 1) < 1e-9
    assert np.all(np.diff(a[0, ::-1] if high else a[0]) > 0)  # the wall absorbs most
    # At rest the stretch is b / (1 - a) = -sigma / (sigma + alpha): never beyond -1, which would amplify.
    a, b = profile(Strip(1, high, cells), SPACING, DT, VELOCITY, 15.0)
    assert np.all((b / (1 - a) >= -1) & (b <= 0))


@pytest.mark.parametrize("order", ORDERS)
def test_one_sided_difference_factors_the_second(order):
    """-W^T W is the second difference to rounding, and W x^2 = 2 (x - delta): first order about x - delta h."""
    weights, second = factor_weights(order), second_derivative_weights(order)
    symbol = np.array([*second[::-1], -2 * sum(second), *second])
    np.testing.assert_allclose(-np.correlate(weights, weights, "full"), symbol, atol=1e-13)
    x = jnp.arange(30.0)
    slopes = factor_derivative(x**2, 0, order, 1.0)
    np.testing.assert_allclose(slopes, 2 * (x[order // 2 : 30 - order // 2] - factor_offset(order)), atol=1e-3)
    twice = adjoint_factor_derivative(factor_derivative(jnp.sin(x), 0, order, 1.0), 0, order, 1.0)
    np.testing.assert_allclose(twice, second_derivative(jnp.sin(x), 0, order, 1.0)[order // 2 : -order // 2], atol=1e-6)


@pytest.mark.parametrize(
    ("order", "staggered", "bound"),
    [(2, False, -75), (4, False, -65), (8, False, -70), (12, False, -70), (4, True, -70)],
)
@pytest.mark.parametrize(("ppw", "velocity", "nt"), [(6.0, VELOCITY, 300), (12.0, VELOCITY / 2, 650)])
def test_normal_incidence(order, staggered, bound, ppw, velocity, nt):
    """Echoes within a box, its corner included; R is 5^-20, -280 dB, so this is the grid's error alone.

    The constant-density form differences psi and the pressure by factors of one operator, so that low orders absorb as
    high ones do; off the half points (order 2), W is a first derivative to second order only, times the profile's
    change over a cell. In the slower medium sigma h / v is twice as large and a wavelength 1.5 times the layer.
    Measured, at worst: -84, -72, -77 and -84 dB.
    """
    receivers = [(2, 14), (27, 14), (14, 2), (14, 27), (2, 2)]
    options = {"order": order, "staggered": staggered, "velocity": velocity, "margin": 60}
    assert echoes((30, 30), (20,) * 4, (14, 12), receivers, ppw=ppw, nt=nt, **options).max() < bound


def image(simulation, offset, distance):
    """Level [dB] of the complex image's field against the direct one, `distance` from source and receiver to layer.

    The stretch of each cell is that of the recursion itself, 1 / (1 + b / (1 - a exp(-i omega dt))).
    """
    dt = simulation.time.dt
    spectrum = np.fft.rfft(ricker(TimeAxis(4096, dt), simulation.peak_frequency))[1:]
    omega = 2 * np.pi * np.fft.rfftfreq(4096, dt)[1:]
    strong = np.abs(spectrum) > 1e-3 * np.abs(spectrum).max()
    spectrum, omega = spectrum[strong], omega[strong]
    a, b = (c.ravel() for c in strip_profile(Strip(0, False, simulation.widths[0]), simulation, shift=0.5))
    width = simulation.grid.spacing * (1 / (1 + b / (1 - a * np.exp(-1j * omega[:, None] * dt)))).sum(axis=1)
    far = np.sqrt(offset**2 + (2 * distance + 2 * width) ** 2)
    levels = [np.linalg.norm(spectrum * hankel2(0, omega * r / simulation.max_velocity)) for r in (far, offset)]
    return 20 * np.log10(levels[0] / levels[1])


@pytest.mark.parametrize("staggered", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_grazing_incidence(staggered):
    """Along a layer 10 cells wide, offsets up to 20 widths: the complex image's level, or the grid's error of -55 dB.

    The image is the layer's exact far field but for its wall, hence 3 dB of slack where it rules, at 20 widths.
    """
    width, offsets = 10, np.array([1, 2, 5, 10, 20])
    widths = (width, width, width, width)
    shape, source = (30, 10 * 20 + 24), (2, 12)
    receivers = [(2, 12 + width * k) for k in offsets]
    levels = echoes(shape, widths, source, receivers, ppw=6.0, nt=680, margin=80, staggered=staggered)
    frequency = VELOCITY / (HIGHEST_FREQUENCY * 6.0 * SPACING)
    simulation = Simulation(Grid(shape, SPACING), TimeAxis(680, DT), VELOCITY, frequency, 8, widths)
    theory = np.array([image(simulation, width * k * SPACING, 3 * SPACING) for k in offsets])
    assert theory[-1] < -30  # R = 1e-5, the usual choice, gives -21
    assert np.all(levels < np.maximum(theory + 3.0, -55.0)), (levels, theory)


@pytest.mark.parametrize("free_surface", [False, True])
def test_layers_on_some_sides(free_surface):
    """A width for each side, none on the left and on top: the walls stay, the layers' echoes are under -55 dB."""
    receivers = [(5, 5), (28, 5), (5, 28), (27, 27)]
    widths = (0, 12, 0, 10)
    levels = echoes((30, 30), widths, (10, 8), receivers, ppw=6.0, nt=400, margin=90, free_surface=free_surface)
    assert levels.max() < -55


def rough(shape):
    """A model of grid-scale contrasts, the slowest cells at 40 % of the reference velocity."""
    return jnp.asarray(np.random.default_rng(0).uniform(0.4, 1.0, shape) * VELOCITY)


@pytest.mark.parametrize("staggered", [False, True])
def test_no_growth(staggered):
    """20,000 steps at 99 % of the CFL limit after an impulse, which excites every mode: the field only decays."""
    shape, nt = (12, 14), 20_000
    dt = 0.99 * largest_stable_step(4, SPACING, VELOCITY, staggered=staggered)
    steps = tuple(range(250, nt, 250))
    simulation = Simulation(
        Grid(shape, SPACING), TimeAxis(nt, dt), VELOCITY, 15.0, 4, (8, 4, 5, 10), snapshot_steps=steps, **BARE
    )
    survey = make_survey([[50.0, 80.0]], [], np.eye(1, nt)[0])
    density = jnp.full(shape, 1000.0) if staggered else None
    fields = simulate(rough(shape), survey, simulation, density=density).snapshots[0]
    quarters = [np.linalg.norm(part, axis=(1, 2)).max() for part in np.array_split(fields, 4)]
    assert np.all(np.diff(quarters) < 0), quarters


@partial(jax.jit, static_argnames=("simulation", "staggered"))
def step_matrix(velocity, simulation, staggered=False):
    """Matrix of one whole step, layers and their memory included."""
    density = 1000.0 * jnp.ones(velocity.shape) if staggered else None
    medium = make_medium(velocity, density, simulation)
    flat, unravel = ravel_pytree(initial_state(simulation, velocity.dtype, staggered=staggered))

    def advance(values):
        nowhere = jnp.zeros(1, int)
        return ravel_pytree(step(unravel(values), jnp.zeros(1), (nowhere, nowhere), medium, simulation))[0]

    return jax.jacfwd(advance)(flat)


def radius(velocity, simulation, staggered=False):
    """Spectral radius of one step: unlike a run of any length, a statement for all times."""
    return np.abs(np.linalg.eigvals(step_matrix(jnp.asarray(velocity), simulation, staggered))).max()


@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("order", [8, 4])
def test_spectral_radius(staggered, order, float64):
    """Every eigenvalue of one step lies inside the unit circle: layers on three sides, a rigid wall on the fourth."""
    grid = Grid((4, 5), SPACING)
    dt = 0.99 * largest_stable_step(order, SPACING, VELOCITY, staggered=staggered)
    simulation = Simulation(grid, TimeAxis(2, dt), VELOCITY, 15.0, order, (2, 3, 0, 2), **BARE)
    assert radius(rough(grid.shape), simulation, staggered) < 1 - 1e-6


FAST = 6000.0


def trapping():
    """Models `(6, 8)` that trap waves: slow cells at random, and slow strips and boxes one cell from the edges."""
    random = np.random.default_rng(0)
    models = [np.where(random.random((6, 8)) < 0.5, FAST / 4, FAST) for _ in range(3)]
    for part in (0.25, 0.5, 0.75):
        for rows, columns in ((slice(1, 2), slice(None)), (slice(1, 5), slice(1, 7))):
            model = np.full((6, 8), FAST)
            model[rows, columns] *= part
            models.append(model)
    return models


def growing(order, widths, courant=0.9, staggered=False):
    dt = courant * largest_stable_step(order, SPACING, FAST, staggered=staggered)
    return Simulation(Grid((6, 8), SPACING), TimeAxis(2, dt), FAST, 15.0, order, widths, **BARE)


@pytest.mark.parametrize(
    ("order", "widths", "staggered"),
    [
        (2, (1, 1, 0, 0), False),
        (8, (3, 0, 0, 0), False),
        (2, (0, 4, 0, 0), True),
        (4, (2, 0, 2, 0), False),
        (4, (1, 2, 0, 1), True),
        (8, (1, 1, 1, 1), False),
    ],
)
def test_trapped_waves_double_in_the_stated_steps_at_the_earliest(order, widths, staggered, float64):
    """The radius to the power of the safe steps is 2 at most; where no cell is slower than the layers, it is 1.

    1e-9 is left for eigenvalues on the unit circle, those of waves that never meet a layer.
    """
    simulation = growing(order, widths, staggered=staggered)
    largest = max(radius(model, simulation, staggered) for model in trapping())
    assert largest ** min(doubling_steps(widths)) < 2
    slow_edges = np.pad(trapping()[0][1:-1, 1:-1], 1, constant_values=FAST / 4)
    assert safe_steps(slow_edges, simulation) == np.inf
    assert radius(slow_edges, simulation, staggered) < 1 + 1e-9


def test_growth_is_the_stretchs_own(float64):
    """A slow strip feeds on the one layer of a box: the growth per second has a limit as the time step falls.

    The recursion is exact for a derivative held over a step, an error of first order: halving the step from 0.1 of the
    CFL limit changes the rate by omega dt / 2 or less, 3 % at 70 Hz. Measured: 2.63 and 2.62 per second.
    """
    model = np.full((6, 8), FAST)
    model[1, 1:7] /= 2
    simulations = [growing(2, (3, 0, 0, 0), courant) for courant in (0.1, 0.05)]
    rates = [np.log(radius(model, simulation)) / simulation.time.dt for simulation in simulations]
    assert rates[1] > 1
    assert abs(rates[0] / rates[1] - 1) < 0.03


def test_absorption_ignores_the_model():
    """The coefficients are numbers of the simulation, not of the velocity: the gradient sees a fixed layer."""
    grid, time = Grid((12, 12), SPACING), TimeAxis(30, DT)
    simulation = Simulation(grid, time, VELOCITY, 15.0, **BARE)
    coefficients = strip_profile(Strip(0, False, 20), simulation)
    assert all(isinstance(c, np.ndarray) for c in coefficients)
    slower = strip_profile(Strip(0, False, 20), replace(simulation, max_velocity=VELOCITY / 2))
    assert np.all(slower.a > coefficients.a)
