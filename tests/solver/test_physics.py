"""Free surface, plane waves, order in time, internal steps and off-grid points against theory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.numerics.stencils import factor_weights, largest_stable_step, second_derivative_weights
from data_gen.solver.problem.acquisition import Survey, make_survey, point_cells
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation, substeps_for
from data_gen.solver.problem.wavelets import gaussian_derivative, ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE, greens_function_2d

pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")


def analytic_ricker(peak_frequency):
    def wavelet(t):
        a = (np.pi * peak_frequency * (t - 1.2 / peak_frequency)) ** 2
        return (1 - 2 * a) * np.exp(-a)

    return wavelet


@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("depth", [40.0, 7.3])
def test_free_surface(staggered, depth, float64):
    """Half a plane: the source minus its mirror image above the surface. A source at 7.3 m has its sinc folded there.

    Order 8 at 16 cells a wavelength: dispersion below 2e-3, the sinc adds its 1.4e-3.
    """
    grid, time, velocity = Grid((70, 90), 5.0), TimeAxis(700, 4e-4), 2000.0
    options = {"widths": (0, 20, 20, 20), "free_surface": True, "half_width": 4}
    simulation = Simulation(grid, time, velocity, 25.0, 8, **options)
    receiver = (35.2, 301.7)
    survey = make_survey([[depth, 152.5]], [receiver, (0.0, 200.0)], ricker(time, 25.0))
    density = jnp.full(grid.shape, 1.0) if staggered else None
    # Traced positions are not checked: a concrete receiver on the surface is refused, since it records zeros.
    run = jax.jit(lambda survey: simulate(jnp.full(grid.shape, velocity), survey, simulation, density=density))
    computed = run(survey).gathers[0]
    direct, image = (
        greens_function_2d(np.hypot(receiver[0] - z, receiver[1] - 152.5), time.times, analytic_ricker(25.0), velocity)
        for z in (depth, -depth)
    )
    assert relative(computed[:, 0], direct - image) < 1e-2
    assert np.abs(computed[:, 1]).max() < 1e-25  # on the surface itself, but for the rounding of sinc(integer)


def test_plane_wave(float64):
    """d'Alembert: a sheet source w(t) delta(z) radiates (v / 2) int w, unchanged in shape, in both directions.

    Order 8 and 20 cells a wavelength: a phase of 60 rad is wrong by about 4e-6 of itself, and undoing the dispersion
    in time by 1e-3 of the band's ends. The sheet's integral starts with 2e-4 of its peak: together under 3e-3.
    """
    grid, time, velocity = Grid((400, 4), 5.0), TimeAxis(1200, 5e-4), 2000.0
    simulation = Simulation(grid, time, velocity, 20.0, 8, widths=(20, 20, 0, 0))
    # A sheet of one row: 1 / spacing a cell, where a point has 1 / spacing^2. Its integral is a Gaussian derivative.
    wavelet = grid.spacing * ricker(time, 20.0)
    survey = make_survey([[1000.0, 5.0 * i] for i in range(4)], [[600.0, 0.0], [1500.0, 5.0]], wavelet)
    gather = simulate(jnp.full(grid.shape, velocity), survey, simulation).gathers.sum(0)
    for trace, distance in zip(gather.T, (400.0, 500.0), strict=True):
        t = time.times - 1.2 / 20.0 - distance / velocity
        integral = t * np.exp(-((np.pi * 20.0 * t) ** 2))
        assert relative(trace, velocity / 2 * integral) < 3e-3


@pytest.mark.parametrize("staggered", [False, True])
def test_order_in_time(staggered, float64):
    """A mode of the rigid box has a known frequency on the grid: what is left is the error in time, slope 2.

    A source in every cell sets the mode going; it then obeys A_{n+1} + A_{n-1} = 2 cos(w dt) A_n.
    """
    cells, length, velocity = 16, 100.0, 1000.0
    grid = Grid((cells, cells), length / cells)
    # Order 2: the eigenvalue of -laplacian is the sum of (2 sin(k h / 2) / h)^2, staggered or not.
    wavenumbers = np.pi / length * np.array([4.0, 2.0])
    omega = velocity * np.sqrt(((2 * np.sin(wavenumbers * grid.spacing / 2) / grid.spacing) ** 2).sum())
    x = (np.arange(cells) + 0.5) * grid.spacing
    mode = np.cos(wavenumbers[0] * x)[:, None] * np.cos(wavenumbers[1] * x)[None, :]
    positions = jnp.asarray(np.stack(np.meshgrid(*(np.arange(cells) * grid.spacing,) * 2, indexing="ij"), -1))
    density = jnp.ones(grid.shape) if staggered else None
    errors, steps = [], (4e-3, 2e-3)
    for dt in steps:
        options: dict[str, Any] = BARE | {"snapshot_steps": (6, 7, 8)}
        simulation = Simulation(grid, TimeAxis(9, dt), velocity, 1.0, 2, (0, 0, 0, 0), **options)
        impulse = jnp.zeros((1, 9)).at[0, 0].set(1.0)

        def response(position, impulse=impulse, simulation=simulation):
            survey = Survey(position[None], jnp.zeros((0, 2)), impulse)
            return simulate(jnp.full(grid.shape, velocity), survey, simulation, density=density).snapshots[0]

        fields = jnp.einsum("s,sizx->izx", mode.ravel(), jax.vmap(response)(positions.reshape(-1, 2)))
        before, now, after = (float(jnp.vdot(field, mode)) for field in fields)
        errors.append(abs(np.arccos((before + after) / (2 * now)) / (omega * dt) - 1))
    slope = np.log2(errors[0] / errors[1])
    assert abs(slope - 2) < 0.2, errors


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_internal_steps(backend, float64):
    """A sample interval four times over the limit: the same gather as with fine samples throughout.

    The wavelet ends at 60 Hz, half the Nyquist frequency of 125 Hz: interpolation is good to 1e-3 there.
    """
    grid, fine = Grid((40, 50), 10.0), TimeAxis(4 * 99 + 1, 1e-3)
    coarse = TimeAxis(100, 4e-3)
    with pytest.raises(InputError, match="substeps="):
        Simulation(grid, coarse, 4500.0, 20.0, **BARE)
    count = substeps_for(grid, coarse, 4500.0)
    assert count == np.ceil(coarse.dt / largest_stable_step(4, 10.0, 4500.0))
    options = BARE | {"substeps": 4, "snapshot_steps": (30, 99), "backend": backend}
    simulation = Simulation(grid, coarse, 4500.0, 20.0, **options)
    geometry = ([[100.0, 120.0]], [[20.0, 400.0], [300.0, 200.0]])
    survey = make_survey(*geometry, gaussian_derivative(coarse, 20.0, 2))
    velocity = jnp.asarray(np.linspace(3000.0, 4500.0, 50) * np.ones((40, 1)))
    ours = simulate(velocity, survey, simulation)
    reference = Simulation(grid, fine, 4500.0, 20.0, snapshot_steps=(120, 396), **BARE)
    expected = simulate(velocity, make_survey(*geometry, gaussian_derivative(fine, 20.0, 2)), reference)
    assert ours.gathers.shape == (1, 100, 2)
    assert relative(ours.gathers, expected.gathers[:, ::4]) < 2e-3
    assert relative(ours.snapshots, expected.snapshots) < 2e-3


@pytest.mark.parametrize(("half_width", "bound"), [(2, 0.051), (3, 0.003), (6, 5e-4), (8, 6e-5)])
def test_sinc_half_a_cell_off(half_width, bound, float64):
    """Waves of eight cells and more, in any direction, read half a cell off the grid in z and x."""
    grid = Grid((40, 40), 1.0)
    simulation = Simulation(grid, TimeAxis(2, 1e-4), 1000.0, 1.0, widths=(0, 0, 0, 0), half_width=half_width)
    cells, weights = point_cells(jnp.array([18.5, 20.5]), simulation)
    z, x = np.divmod(np.arange(40 * 40), 40)
    for angle in np.linspace(0, np.pi, 13):
        for wavelength in (8.0, 12.0, 40.0):
            k = 2 * np.pi / wavelength * np.array([np.cos(angle), np.sin(angle)])
            wave = np.exp(1j * (k[0] * (z - 18.5) + k[1] * (x - 20.5)))
            assert abs(np.sum(np.asarray(weights) * wave[np.asarray(cells)]) - 1) < bound


def test_weights_are_exact_for_polynomials():
    """Second-derivative weights of order 2L differentiate x^2 .. x^(2L+1) exactly at 0."""
    for order in (2, 4, 6, 8):
        for power in range(2, order + 2, 2):
            value = sum(2 * c * k**power for k, c in enumerate(second_derivative_weights(order), start=1))
            assert value == pytest.approx(2.0 if power == 2 else 0.0, abs=1e-11)


@pytest.mark.parametrize(("order", "kappa"), [(8, 1.2), (10, 1.5), (12, 1.8)])
def test_weights_for_a_band(order, kappa):
    """Phase velocities are right to 1.3e-5 up to kappa, 40 to 170 times better than Taylor's, and exact at 0.

    The symbol rises up to the Nyquist wavenumber, where `largest_stable_step` takes it. Positive, it has a factor.
    """
    waves = np.linspace(1e-3, np.pi, 2000)[:, None]
    steps = np.arange(1, order // 2 + 1)

    def symbol(weights):
        return (1 - np.cos(steps * waves)) @ (2 * np.asarray(weights))

    best, taylor = second_derivative_weights(order, kappa), second_derivative_weights(order)
    assert np.sum(steps**2 * best) == pytest.approx(1, abs=1e-12)
    band = waves[:, 0] <= kappa
    error, before = (np.abs(np.sqrt(symbol(w)) / waves[:, 0] - 1)[band].max() for w in (best, taylor))
    assert error < min(1.3e-5, before / 40)
    assert np.all(np.diff(symbol(best)) > 0)
    factor = factor_weights(order, kappa)
    whole = [*best[::-1], -2 * sum(best), *best]
    np.testing.assert_allclose(-np.correlate(factor, factor, "full"), whole, atol=1e-13)
    ratio = largest_stable_step(order, 1.0, 1.0, kappa=kappa) / largest_stable_step(order, 1.0, 1.0)
    assert ratio == pytest.approx(np.sqrt(symbol(taylor)[-1] / symbol(best)[-1]), rel=1e-9)
    assert 0.96 < ratio < 1
