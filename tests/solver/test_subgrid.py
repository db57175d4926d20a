"""The coarse medium of a fine model: Galerkin's coupling, its limits, and the solver that uses it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.numerics.coarse_medium import CoarseMedium, coarse_medium
from data_gen.solver.numerics.stencils import largest_stable_step
from data_gen.solver.problem.acquisition import Survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from data_gen.velocity.families.gaussian_random_field import GaussianRandomField
from tests.helpers import relative

SPACING = 20.0

pytestmark = pytest.mark.usefixtures("float64")


def rough(seed: int = 0, shape=(64, 48), low=1800.0, high=3600.0):
    """White noise smoothed over two cells: much of it finer than twice the cell."""
    noise = np.random.default_rng(seed).random((shape[0] + 1, shape[1] + 1))
    noise = (noise[1:, 1:] + noise[:-1, 1:] + noise[1:, :-1] + noise[:-1, :-1]) / 4
    return jnp.asarray(low + (high - low) * noise)


def simulation(shape=(32, 24), nt=140, **options):
    options = {"order": 8, "widths": (8, 8, 8, 8), "snapshot_steps": (60, nt - 1), "half_width": 4} | options
    return Simulation(Grid(shape, SPACING), TimeAxis(nt, 0.002), 3600.0, 8.0, **options)


def survey(nt=140):
    times = np.arange(nt) * 0.002 - 0.13
    argument = (np.pi * 8.0 * times) ** 2
    wavelet = jnp.asarray(((1 - 2 * argument) * np.exp(-argument))[None])
    return Survey(jnp.array([[203.0, 170.0]]), jnp.array([[40.0, 40.0], [310.0, 420.0]]), wavelet)


def snapshots(medium: CoarseMedium, sim: Simulation):
    return simulate(medium.velocity, survey(sim.time.nt), sim, coupling=medium.coupling).snapshots


def test_a_homogeneous_model_has_no_coupling():
    medium = coarse_medium(jnp.full((20, 16), 2500.0))
    np.testing.assert_allclose(medium.velocity, 2500.0, rtol=1e-12)
    # g_0 + 2 g_1 = 1 where q = 0, for whatever the waves: least squares finds it to rounding.
    np.testing.assert_allclose(medium.coupling, 0.0, atol=1e-12)


def test_one_harmonic_of_the_model_couples_waves_as_galerkin_does():
    """m = 1 + a cos(q x), waves exp(i k x): Galerkin's M gives each of them a / 2 at k + q, if the grid has that.

    16 cycles are the grid's limit. For q = 10, waves of k = -7 to -3 (to 3 to 7) lie well in the spectrum that the
    weights are the best for: 15 % is what two weights miss the step function by. A wave of k = 13 goes to 23, which the
    grid does not have: samples of m would give all of it back as 23 - 32 = -9, the 3 x 3 cells give less: a fifth at
    least. For q = 20, which samples would take for -12, k = -10 must go to 10.
    """
    n, a = 32, 1e-3

    def coupled(q: int, k: int) -> float:
        """The part of M exp(i k x) at k + q, in units of Galerkin's."""
        x = (np.arange(2 * n) + 0.5) / (2 * n)
        fine = jnp.asarray(np.broadcast_to(1 + a * np.cos(2 * np.pi * q * x), (8, 2 * n)) ** -0.5)
        medium = coarse_medium(fine)
        place = (np.arange(n) + 0.5) / n
        wave = np.exp(2j * np.pi * k * place)
        # C = D^-1 M - 1 to first order in a; all rows are alike.
        padded, c = np.concatenate([wave[-1:], wave, wave[:1]]), np.asarray(medium.coupling[:, :, 2]).sum(0)
        product = np.asarray(medium.velocity[2]) ** -2 * (wave + sum(c[b] * padded[b : b + n] for b in range(3))) - wave
        window = np.hanning(n - 8)  # the sides, where the model is continued, are none of this test's
        other = np.exp(2j * np.pi * (k + q) * place)
        return abs(np.sum(window * (product * other.conj())[4:-4]) / np.sum(window)) / (a / 2)

    assert all(abs(coupled(10, k) - 1) < 0.15 for k in (-7, -5, -3))
    assert coupled(10, 13) < 0.8
    assert abs(coupled(20, -10) - 1) < 0.35


def test_the_coupling_is_symmetric_so_energy_stays():
    """In a rigid box nothing is lost: after 4,000 steps the field is as large as after the source has fallen silent.

    The discrete energy of leap-frog is kept for a symmetric positive M. The pressure's share of it swings about a half:
    a factor of 2 either way; an M that was not symmetric would have grown or decayed by orders of magnitude.
    """
    medium = coarse_medium(rough(1))
    root = 1 / np.asarray(medium.velocity)
    half = np.asarray(medium.coupling) * root[None, None]  # row i of D^1/2 C
    down, up = half[2, 1, :-1] * root[:-1], half[0, 1, 1:] * root[1:]
    np.testing.assert_allclose(down, up, rtol=1e-6, atol=1e-12 * np.abs(down).max() + 1e-18)
    nt = 4000
    sim = simulation(nt=nt, widths=(0, 0, 0, 0), snapshot_steps=(200, 250, 3900, nt - 1))
    early, late = np.split(np.asarray(snapshots(medium, sim))[0], 2)
    early, late = (np.mean(part[:, 2:-2, 2:-2] ** 2) for part in (early, late))
    assert 0.5 < late / early < 2


@pytest.mark.parametrize("pattern", ["stripes", "blocks"])
def test_layers_absorb_in_the_worst_media(pattern):
    """Steps of 0.95 of the limit, threefold contrasts at the scale of the cells: energy leaves and none is made.

    After 300 steps the waves are all over the grid, after 3,000 a tenth and less is left, as without the coupling; with
    a coupling in the layers it was infinite.
    """
    cells, nt = 96, 3001
    if pattern == "stripes":
        slow = np.broadcast_to(np.arange(cells)[:, None] // 3 % 2 == 0, (cells, cells))
    else:
        slow = np.kron(np.random.default_rng(6).random((24, 24)) < 0.5, np.ones((4, 4), bool))
    medium = coarse_medium(jnp.asarray(np.where(slow, 1500.0, 4500.0)))
    dt = 0.95 * largest_stable_step(8, SPACING, 4500.0)
    argument = (np.pi * 12.0 * (np.arange(nt) * dt - 0.1)) ** 2
    shot = Survey(
        jnp.array([[400.0, 400.0]]), jnp.zeros((0, 2)), jnp.asarray(((1 - 2 * argument) * np.exp(-argument))[None])
    )
    sim = Simulation(
        Grid((48, 48), SPACING), TimeAxis(nt, dt), 4500.0, 12.0, order=8, widths=(10, 10, 10, 10),
        snapshot_steps=(300, nt - 1), half_width=4,
    )  # fmt: skip
    early, late = jax.jit(lambda m: simulate(m.velocity, shot, sim, coupling=m.coupling).snapshots[0])(medium)
    assert jnp.linalg.norm(late) < 0.2 * jnp.linalg.norm(early)


def test_the_coupling_makes_rough_media_better():
    """Against the fine grid's field at the coarse centers (cosine series), with the same time step.

    The medium and the wavelet of `data=reference`, late in the record, when waves have scattered many times; measured:
    two thirds of the error.
    """
    grid, dt, nt = Grid((80, 80), SPACING / 2), 0.00075, 481
    model = GaussianRandomField(1500.0, 4500.0, 80.0)(jax.random.key(1), grid).astype(float)
    argument = (np.pi * 15.0 * (np.arange(nt) * dt - 0.08)) ** 2
    wavelet = jnp.asarray(((1 - 2 * argument) * np.exp(-argument))[None])
    fine = Simulation(
        grid, TimeAxis(nt, dt), 4500.0, 15.0, order=8, snapshot_steps=(400, 480), half_width=4, widths=(20, 20, 20, 20)
    )
    coarse = replace(fine, grid=Grid((40, 40), SPACING), widths=(10, 10, 10, 10), order=12)
    source, nowhere = jnp.array([[403.0, 370.0]]), jnp.zeros((0, 2))

    def centers(cells: int) -> np.ndarray:
        order = np.arange(cells)
        series = np.cos(np.pi * np.outer(order, order + 0.5) / cells)
        return np.cos(np.pi * np.outer(order[1::2], order) / cells) @ (series / np.sum(series**2, axis=1)[:, None])

    @jax.jit  # as in an encoding: the shortest waves in the slowest places have two cells, of which it is not warned
    def error(coupled):
        truth = simulate(model, Survey(source, nowhere, wavelet), fine).snapshots
        truth = jnp.einsum("az,stzx,bx->stab", centers(80), truth, centers(80))
        medium = coarse_medium(model)
        # The first coarse center lies half a fine cell inside the first fine one.
        shot = Survey(source - SPACING / 4, nowhere, wavelet)
        field = simulate(medium.velocity, shot, coarse, coupling=coupled * medium.coupling).snapshots
        # Without the cells nearest to the sides, where the coarse medium is continued differently.
        field, truth = field[..., 4:-4, 4:-4], truth[..., 4:-4, 4:-4]
        return jnp.linalg.norm(field - truth) / jnp.linalg.norm(truth)

    assert error(1.0) < 0.8 * error(0.0)


@pytest.mark.parametrize("widths", [(8, 8, 8, 8), (0, 8, 0, 0)])
def test_backends_agree(widths):
    """The same sums in another order, in double precision: rounding of 140 steps."""
    sim, medium = simulation(widths=widths), coarse_medium(rough(3))
    here = simulate(medium.velocity, survey(), sim, coupling=medium.coupling)
    there = simulate(medium.velocity, survey(), replace(sim, backend="xla"), coupling=medium.coupling)
    assert relative(here.snapshots, there.snapshots) < 1e-11
    assert relative(here.gathers, there.gathers) < 1e-11


def test_derivatives_by_the_fine_model():
    """Central differences of second order, step 1e-4 of the direction: their own error is about 1e-7."""
    sim, model = simulation(nt=90, snapshot_steps=(89,), order=2, widths=(0, 0, 0, 0)), rough(4)
    direction = jnp.asarray(np.random.default_rng(5).normal(size=model.shape)) * 10

    @jax.jit
    def objective(model):
        return jnp.sum(snapshots(coarse_medium(model), sim) ** 2)

    step = 1e-4
    difference = (objective(model + step * direction) - objective(model - step * direction)) / (2 * step)
    forward = jax.jvp(objective, (model,), (direction,))[1]
    reverse = jnp.vdot(jax.grad(objective)(model), direction)
    np.testing.assert_allclose(forward, difference, rtol=1e-5)
    np.testing.assert_allclose(reverse, forward, rtol=1e-10)


def test_bad_couplings_are_refused():
    sim, medium = simulation(), coarse_medium(rough())
    with pytest.raises(InputError, match=r"shape \(3, 3, 32, 24\)"):
        simulate(medium.velocity, survey(), sim, coupling=medium.coupling[1])
    with pytest.raises(InputError, match="second order in time"):
        simulate(medium.velocity, survey(), replace(sim, time_order=4), coupling=medium.coupling)
