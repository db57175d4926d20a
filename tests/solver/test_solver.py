"""The solver against theory: analytic solutions, convergence, invariants, adjoints."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.solver.problem.acquisition import Survey, make_survey, surface_line
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE, greens_function_2d, lecture_wavefield

# Low orders on coarse grids are the point of many a test here.
pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

RIGID = (0, 0, 0, 0)


def small_problem(order=4, widths=(8, 8, 8, 8), nt=90, **options):
    grid, time = Grid((24, 28), 10.0), TimeAxis(nt, 1.5e-3)
    simulation = Simulation(grid, time, 3000.0, 20.0, order, widths, **options)
    survey = make_survey([[50.0, 80.0], [120.0, 200.0]], surface_line(grid, 20.0, every=3), ricker(time, 20.0))
    z, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    velocity = jnp.asarray(2000.0 + 20.0 * z + 200.0 * np.sin(x / 4.0))
    return simulation, survey, velocity


# --- analytic solutions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "bound"), [(2, 0.51), (4, 0.047), (6, 0.0070), (8, 0.0015)])
def test_greens_function(order, bound, float64):
    """The relative error is dispersion: the bounds are Deepwave's on the same set-up (12 cells a wavelength)."""
    grid, time, velocity = Grid((50, 50), 5.0), TimeAxis(2000, 1e-4), 1500.0
    simulation = Simulation(grid, time, velocity, 25.0, order)
    receivers = [[125.0, 225.0], [35.0, 125.0], [200.0, 200.0]]
    survey = make_survey([[125.0, 125.0]], receivers, ricker(time, 25.0))
    computed = simulate(jnp.full(grid.shape, velocity), survey, simulation).gathers[0]

    def wavelet(t):
        a = (np.pi * 25.0 * (t - 1.2 / 25.0)) ** 2
        return (1 - 2 * a) * np.exp(-a) * (t >= 0)

    distances = [np.hypot(z - 125.0, x - 125.0) for z, x in receivers]
    exact = np.stack([greens_function_2d(distance, time.times, wavelet, velocity) for distance in distances])
    assert relative(computed.T, exact) < bound


def test_lecture_listing(float64):
    """Order 2, variable density, rigid walls: the same arithmetic, so only rounding may differ.

    Float64: 300 steps of rounding at 1e-16. The float32 half of the check is below.
    """
    _compare_with_lecture(np.float64, 1e-12)


def test_lecture_listing_float32():
    """300 steps, each rounding at 6e-8, uncorrelated: about 6e-8 sqrt(300), well under 1e-5."""
    _compare_with_lecture(np.float32, 1e-5)


def _compare_with_lecture(dtype, bound):
    rng = np.random.default_rng(0)
    grid, time, nt = Grid((40, 36), 5.0), TimeAxis(301, 5e-4), 300
    velocity = rng.uniform(1500.0, 3500.0, grid.shape).astype(dtype)
    density = rng.uniform(1000.0, 2500.0, grid.shape).astype(dtype)
    cell = (12, 20)
    oracle = lecture_wavefield(velocity, density, cell, 30.0, time.dt, grid.spacing, nt)
    simulation = Simulation(grid, time, 4500.0, 30.0, 2, RIGID, snapshot_steps=tuple(range(1, nt + 1)), **BARE)
    # kappa s / h^2 = 4 pi v^2 s_lecture fixes the strength of our source, which is a density over the cell.
    strength = 1e-3 * 4 * np.pi * grid.spacing**2 / density[cell]
    survey = make_survey([np.array(cell) * grid.spacing], [], strength * ricker(time, 30.0))
    with pytest.warns(match="points per wavelength"):
        ours = simulate(velocity, survey, simulation, density=density).snapshots[0]
    assert np.abs(oracle[-1][0]).max() > 0  # the wave has reached the walls
    assert relative(ours, oracle) < bound


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("staggered", [False, True])
def test_standing_mode_and_convergence(order, staggered, float64):
    """A cosine mode of the rigid box oscillates at v k; its error falls as h^order.

    The mode is set going by a source spread over all cells at t = 0, and dt is so small that space dominates: the time
    step's error (w dt)^2 / 24 is 3e-7, or 3e-9 at order 8, a twentieth of the least in space. Slopes within 10 % of
    theory.
    """
    errors = []
    for cells in (8, 16) if order == 8 else (16, 32):
        length, velocity = 100.0, 1000.0
        grid = Grid((cells, cells), length / cells)
        dt = 4e-6 if order == 8 else 4e-5
        nt = round(0.01 / dt) + 1
        simulation = Simulation(grid, TimeAxis(nt, dt), velocity, 1.0, order, RIGID, snapshot_steps=(nt - 1,), **BARE)
        x = (np.arange(cells) + 0.5) / cells
        mode = np.cos(2 * np.pi * x)[:, None] * np.cos(np.pi * x)[None, :]
        omega = velocity * np.pi / length * np.sqrt(5.0)
        positions = np.stack(np.meshgrid(*(np.arange(cells) * grid.spacing,) * 2, indexing="ij"), -1).reshape(-1, 2)
        # One shot, with a source in every cell.
        wavelets = np.zeros((1, mode.size, nt))
        wavelets[0, :, 0] = mode.ravel() * grid.spacing**2 / (velocity * dt) ** 2
        survey = make_survey(positions[None], [], wavelets)
        density = jnp.ones(grid.shape) if staggered else None
        field = simulate(jnp.full(grid.shape, velocity), survey, simulation, density=density).snapshots[0, 0]
        # p(0) = 0, p(dt) = mode: a sine of frequency omega.
        exact = mode * np.sin(omega * (nt - 1) * dt) / np.sin(omega * dt)
        errors.append(relative(field, exact))
    slope = np.log2(errors[0] / errors[1])
    assert abs(slope - order) < 0.1 * order, errors


# --- invariants ---------------------------------------------------------------------------------------------


def test_energy_of_a_rigid_box(float64):
    """After the source stops, the leap-frog's own discrete energy is constant to rounding (1e-12)."""
    simulation, survey, velocity = small_problem(order=2, widths=RIGID, nt=400, **BARE)
    survey = survey._replace(wavelets=survey.wavelets.at[:, 100:].set(0.0))
    simulation = replace(simulation, snapshot_steps=tuple(range(200, 400)))
    fields = np.asarray(simulate(velocity, survey, simulation).snapshots[0])
    dt, spacing = simulation.time.dt, simulation.grid.spacing

    def energy(before, after):
        kinetic = (((after - before) / dt / velocity) ** 2).sum()
        slopes = [np.diff(before, axis=axis) * np.diff(after, axis=axis) for axis in (0, 1)]
        return float(kinetic + sum(slope.sum() for slope in slopes) / spacing**2)

    energies = [energy(a, b) for a, b in pairwise(fields)]
    assert np.ptp(energies) < 1e-12 * np.mean(energies)


@pytest.mark.parametrize("staggered", [False, True])
def test_absorption(staggered):
    """The field's norm on 50 x 50 after ten seconds (2,500 steps of 4 ms in Deepwave's test) is below its 4e-5.

    The source is scaled to Deepwave's, whose amplitude is per cell: times the cell's area.
    """
    grid, time = Grid((50, 50), 5.0), TimeAxis(10_000, 1e-3)
    simulation = Simulation(grid, time, 1500.0, 25.0, 8, snapshot_steps=(9_999,), **BARE)
    survey = make_survey([[125.0, 125.0]], [], grid.spacing**2 * ricker(time, 25.0))
    density = jnp.full(grid.shape, 1.0) if staggered else None
    field = simulate(jnp.full(grid.shape, 1500.0), survey, simulation, density=density).snapshots
    assert np.linalg.norm(field) < 4e-5


@pytest.mark.parametrize(
    ("order", "staggered"),
    [
        (8, False),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((2, False), (2, True), (4, False), (4, True), (8, True))
        ),
    ],
)
def test_layers_are_transparent(order, staggered):
    """Against the same shot on a grid too large for echoes: the layers alone change the gather by under 0.5 %.

    In 0.4 s waves go 800 m. By way of the large grid's left edge, the nearest, it is 810 m to the last receiver.
    """
    small, time = Grid((40, 40), 10.0), TimeAxis(400, 1e-3)
    big, margin = Grid((106, 106), 10.0), 33
    wavelet = ricker(time, 15.0)
    receivers = np.array([[20.0, 380.0], [380.0, 200.0], [200.0, 10.0]])

    def gather(grid, shift):
        simulation = Simulation(grid, time, 2000.0, 15.0, order)
        survey = make_survey(np.array([[200.0, 150.0]]) + shift, receivers + shift, wavelet)
        density = jnp.full(grid.shape, 1000.0) if staggered else None
        return simulate(jnp.full(grid.shape, 2000.0), survey, simulation, density=density).gathers

    assert relative(gather(small, 0.0), gather(big, 10.0 * margin)) < 5e-3


@pytest.mark.parametrize("staggered", [False, True])
def test_reciprocity(staggered, float64):
    """Swapping source and receiver leaves the trace unchanged: exact for the discrete rigid box, to rounding."""
    simulation, survey, velocity = small_problem(order=4, widths=RIGID)
    ends = [[50.0, 80.0], [190.0, 210.0]]
    density = 1000.0 + 0.3 * velocity if staggered else None
    swap = [
        simulate(velocity, make_survey([a], [b], survey.wavelets[0]), simulation, density=density).gathers
        for a, b in (ends, ends[::-1])
    ]
    # Both sides of the discrete system are scaled by kappa = rho v^2 (or v^2), which the source is multiplied by.
    assert relative(*swap) < 1e-12


def test_constant_density_is_the_special_case():
    """With order 2 and unit density both paths discretize the same operator: float32 rounding over 90 steps."""
    simulation, survey, velocity = small_problem(order=2, widths=RIGID, **BARE)
    fast = simulate(velocity, survey, simulation)
    general = simulate(velocity, survey, simulation, density=jnp.ones_like(velocity))
    assert relative(fast.gathers, general.gathers) < 1e-5


def test_snapshots_agree_with_every_step():
    """Snapshots at odd places, the first step and the last included, are slices of the full movie."""
    simulation, survey, velocity = small_problem(nt=41, **BARE)
    movie = simulate(velocity, survey, replace(simulation, snapshot_steps=tuple(range(41))))
    steps = (0, 3, 10, 17, 40)
    some = simulate(velocity, survey, replace(simulation, snapshot_steps=steps))
    np.testing.assert_allclose(some.snapshots, movie.snapshots[:, list(steps)], rtol=0, atol=1e-9)
    np.testing.assert_allclose(some.gathers, movie.gathers, rtol=0, atol=1e-9)
    rows, columns = np.round(np.asarray(survey.receivers).T / 10.0).astype(int)
    np.testing.assert_allclose(movie.snapshots[:, :, rows, columns], movie.gathers, rtol=0, atol=1e-9)


def test_off_grid_points():
    """A sinc-placed source and receiver half a cell off match the analytic solution as well as on-grid ones do."""
    grid, time, velocity = Grid((60, 60), 5.0), TimeAxis(600, 4e-4), 2000.0
    simulation = Simulation(grid, time, velocity, 25.0, 8, half_width=4)
    survey = make_survey([[152.5, 101.3]], [[121.7, 222.5]], ricker(time, 25.0))
    computed = simulate(jnp.full(grid.shape, velocity), survey, simulation).gathers[0, :, 0]

    def wavelet(t):
        a = (np.pi * 25.0 * (t - 1.2 / 25.0)) ** 2
        return (1 - 2 * a) * np.exp(-a)

    distance = np.hypot(152.5 - 121.7, 101.3 - 222.5)
    # The window's error at half a cell is 1.4e-3 for wavelengths down to 4 cells; twice that for two points.
    assert relative(computed, greens_function_2d(distance, time.times, wavelet, velocity)) < 5e-3


@pytest.mark.parametrize("half_width", [0, 4])
def test_the_precision_is_the_models(half_width):
    """A float32 model is simulated in float32, with 64-bit numbers enabled too: rounding only, some 1e-6."""
    grid, time = Grid((30, 30), 10.0), TimeAxis(100, 1e-3)
    simulation = Simulation(grid, time, 2500.0, 20.0, half_width=half_width)
    survey = make_survey([[50.0, 100.0]], [[20.0, 200.0]], ricker(time, 20.0))
    velocity, records = jnp.full(grid.shape, 2500.0), []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            records.append(simulate(velocity, survey, simulation).gathers)
    assert records[1].dtype == jnp.float32
    assert relative(records[1], records[0]) < 1e-5


# --- transformations ----------------------------------------------------------------------------------------


def test_vmap_equals_a_loop():
    """Over models and over source positions; float32 rounding only, and no NaN."""
    simulation, survey, velocity = small_problem()
    models = jnp.stack([velocity, 0.9 * velocity, velocity[::-1]])
    batched = jax.vmap(lambda v: simulate(v, survey, simulation).gathers)(models)
    looped = jnp.stack([simulate(v, survey, simulation).gathers for v in models])
    assert relative(batched, looped) < 1e-6
    positions = jnp.array([[[30.0, 40.0]], [[60.0, 110.0]]])
    batched = jax.vmap(
        lambda s: simulate(velocity, Survey(s, survey.receivers, survey.wavelets[:1]), simulation).gathers
    )(positions)
    looped = jnp.stack(
        [simulate(velocity, Survey(s, survey.receivers, survey.wavelets[:1]), simulation).gathers for s in positions]
    )
    assert relative(batched, looped) < 1e-6


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.BandWarning")
@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("widths", [RIGID, (8, 8, 8, 8), (0, 8, 5, 9)])
def test_dot_product(staggered, widths, float64):
    """<F w, d> = <w, F* d> for the map from wavelets to gathers: 1e-12, its linearity too."""
    simulation, survey, velocity = small_problem(widths=widths)
    density = 1000.0 + 0.3 * velocity if staggered else None

    def forward(wavelets):
        return simulate(velocity, survey._replace(wavelets=wavelets), simulation, density=density).gathers

    @jax.jit
    def both(wavelets):
        data, adjoint = jax.vjp(forward, wavelets)
        return data, adjoint(weights)[0]

    keys = jax.random.split(jax.random.key(0), 3)
    wavelets, other = (jax.random.normal(key, survey.wavelets.shape) for key in keys[:2])
    weights = jax.random.normal(keys[2], (2, 90, len(survey.receivers)))
    data, back = both(wavelets)
    left, right = jnp.vdot(data, weights), jnp.vdot(wavelets, back)
    assert abs(left - right) < 1e-12 * jnp.linalg.norm(data) * jnp.linalg.norm(weights)
    assert relative(both(2.0 * wavelets - 3.0 * other)[0], 2.0 * data - 3.0 * both(other)[0]) < 1e-12


def test_dot_product_float32():
    """The same identity in single precision: 5e-4, as Devito asks."""
    simulation, survey, velocity = small_problem()

    @jax.jit
    def both(wavelets):
        data, adjoint = jax.vjp(lambda w: simulate(velocity, survey._replace(wavelets=w), simulation).gathers, wavelets)
        return data, adjoint(data)[0]

    data, back = both(survey.wavelets)
    left, right = jnp.vdot(data, data), jnp.vdot(survey.wavelets, back)
    assert abs(left - right) < 5e-4 * abs(left)


@pytest.mark.parametrize("staggered", [False, True])
def test_taylor(staggered, float64):
    """phi(v + e q) - phi(v) falls as e, and as e^2 once the gradient's term is taken off; q is random."""
    simulation, survey, velocity = small_problem()
    observed = simulate(1.05 * velocity, survey, simulation).gathers

    @jax.jit
    @jax.value_and_grad
    def misfit(v):
        density = 1000.0 + 0.3 * velocity if staggered else None
        return jnp.sum((simulate(v, survey, simulation, density=density).gathers - observed) ** 2)

    direction = 100.0 * jax.random.normal(jax.random.key(1), velocity.shape)
    value, gradient = misfit(velocity)
    slope = jnp.vdot(gradient, direction)
    sizes = 0.1 * 0.5 ** jnp.arange(5)
    changes = jnp.array([misfit(velocity + e * direction)[0] - value for e in sizes])
    first, second = (
        np.polyfit(np.log(sizes), np.log(np.abs(rest)), 1)[0] for rest in (changes, changes - sizes * slope)
    )
    assert abs(first - 1) < 0.1
    assert abs(second - 2) < 0.2


def test_derivatives_agree(float64):
    """jvp against a central difference, vjp against jvp, Hessian-vector product symmetric, over all arguments."""
    simulation, survey, velocity = small_problem(half_width=4, nt=60)
    keys = jax.random.split(jax.random.key(2), 2)
    point = (velocity, survey._replace(sources=survey.sources + 3.3, receivers=survey.receivers[1:-1] + 1.7))

    def misfit(arguments):
        v, s = arguments
        return 1e3 * jnp.sum(simulate(v, s, simulation).gathers ** 2)

    def draw(key):
        scales = (50.0, Survey(*(jnp.asarray(s) for s in (2.0, 2.0, 0.1))))
        leaves, tree = jax.tree.flatten(point)
        noise = [jax.random.normal(k, leaf.shape) for k, leaf in zip(jax.random.split(key, 4), leaves, strict=True)]
        return jax.tree.map(lambda a, b: a * b, jax.tree.unflatten(tree, noise), scales)

    def dot(a, b):
        return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

    @jax.jit
    def first(at, direction):
        """The misfit and its derivative by forward mode."""
        return jax.jvp(misfit, (at,), (direction,))

    @jax.jit
    def second(direction):
        """The gradient by reverse mode and its derivative."""
        return jax.jvp(jax.grad(misfit), (point,), (direction,))

    def moved(step):
        return jax.tree.map(lambda p, q: p + step * q, point, a)

    a, b = draw(keys[0]), draw(keys[1])
    h = 1e-5
    forward_mode = first(point, a)[1]
    central = (first(moved(h), a)[0] - first(moved(-h), a)[0]) / (2 * h)
    (gradient, hessian_a), (_, hessian_b) = second(a), second(b)
    assert abs(forward_mode - dot(gradient, a)) < 1e-10 * abs(forward_mode)
    assert abs(forward_mode - central) < 1e-6 * abs(forward_mode)
    assert abs(dot(hessian_a, b) - dot(hessian_b, a)) < 1e-9 * abs(dot(hessian_a, b))


def test_checkpointing_changes_nothing(float64):
    """Recomputing between checkpoints gives the plain scan's gradient to rounding, absorbing layers included."""
    simulation, survey, velocity = small_problem()

    def gradient(simulation):
        return jax.grad(lambda v: jnp.sum(simulate(v, survey, simulation).gathers ** 2))(velocity)

    assert relative(gradient(replace(simulation, memory=Memory(every=20))), gradient(simulation)) < 1e-12
