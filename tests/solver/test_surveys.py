"""Several sources in a shot and receivers of each shot, against shots of one source and shared receivers."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.solver.diagnosis import diagnose
from data_gen.solver.experimental.on_chip import simulate_on_chip
from data_gen.solver.many_devices import simulate_sharded, slab_mesh
from data_gen.solver.memory_plan import peak_bytes
from data_gen.solver.problem.acquisition import Survey, make_survey
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import Records, simulate
from surrogate.inversion.forward import PhysicsForward
from tests.helpers import relative

pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

SHOTS, SOURCES, RECEIVERS = 2, 2, 3


def problem(half_width=2, **options):
    """A rough model; two shots of two sources with wavelets of their own, one pair of which share cells."""
    grid, time = Grid((16, 18), 10.0), TimeAxis(40, 1.5e-3)
    options = {"order": 2, "widths": (0, 5, 0, 0), "snapshot_steps": (30,)} | options
    simulation = Simulation(grid, time, 3200.0, 20.0, half_width=half_width, **options)
    sources = [[[53.3, 63.3], [53.3, 71.1]], [[31.7, 103.3], [101.2, 33.3]]]
    receivers = [[[21.7, 41.1], [21.7, 91.3], [66.6, 111.1]], [[44.4, 77.7], [88.8, 33.3], [21.7, 133.0]]]
    wavelets = np.array([[1.0, -0.5], [0.7, 2.0]])[..., None] * ricker(time, 20.0)
    velocity = 2400.0 + 600.0 * jax.random.uniform(jax.random.key(0), grid.shape)
    return velocity, make_survey(sources, receivers, wavelets), simulation


def separately(run, velocity, survey, *arguments):
    """The records by shots of one source into all receivers: each shot is a sum of such shots, by linearity."""
    alone = Survey(*(leaf.reshape(-1, leaf.shape[-1]) for leaf in survey))
    records = run(velocity, alone, *arguments)

    def summed(leaf):
        return leaf.reshape(SHOTS, SOURCES, *leaf.shape[1:]).sum(axis=1)

    gathers = summed(records.gathers).reshape(SHOTS, -1, SHOTS, RECEIVERS)
    own = jnp.stack([gathers[shot, :, shot] for shot in range(SHOTS)])
    return Records(own, summed(records.snapshots), summed(records.harmonic))


def directions(velocity, survey, seed):
    """A random change of model, positions and wavelets."""
    scales = (jnp.asarray(50.0), Survey(*map(jnp.asarray, (2.0, 2.0, 0.1))))
    leaves, tree = jax.tree.flatten((velocity, survey))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noise = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.map(jnp.multiply, jax.tree.unflatten(tree, noise), scales)


def by_scan(velocity, survey, simulation):
    return simulate(velocity, survey, replace(simulation, backend="xla", memory=Memory("full")))


def by_dense_scan(velocity, survey, simulation):
    return simulate(velocity, survey, simulation, density=1000.0 + 0.3 * velocity)


def by_native_code(velocity, survey, simulation):
    return simulate(velocity, survey, replace(simulation, backend="native"))


def by_reversal(velocity, survey, simulation):
    return simulate(velocity, survey, replace(simulation, backend="xla", memory=Memory("boundary")))


def by_other_cells(velocity, survey, simulation):
    return simulate(velocity, survey, replace(simulation, internal_spacing=1.5 * simulation.grid.spacing))


def by_slabs(velocity, survey, simulation):
    at = replace(simulation, backend="xla", memory=Memory("full"))
    return simulate_sharded(velocity, survey, at, slab_mesh(jax.devices()[:2]))


def loss(shoot, velocity, survey, simulation):
    records = shoot(velocity, survey, simulation)
    return jnp.sum(records.gathers**2) + jnp.sum(jnp.sin(records.snapshots)), records


def gradient(shoot):
    """Gradients by model, positions and wavelets, and the records."""
    velocity, survey, simulation = problem()
    return jax.grad(partial(loss, shoot), (0, 1), has_aux=True)(velocity, survey, simulation)


@pytest.fixture(scope="module")
def expected():
    with jax.enable_x64(True):
        return gradient(partial(separately, by_native_code))


@pytest.mark.parametrize(
    "run",
    [by_native_code, *(pytest.param(run, marks=pytest.mark.slow) for run in (by_scan, by_reversal, by_slabs))],
    ids=lambda run: run.__name__,
)
def test_gradients_are_those_of_separate_shots(run, expected, float64):
    """Records and gradients by model, positions and wavelets, 40 steps of rounding: 1e-12."""
    found = gradient(run)
    assert found[1].gathers.shape == (SHOTS, 40, RECEIVERS)
    assert relative(found, expected) < 1e-12


@pytest.mark.slow  # test_derivatives.py has those of a shot of several sources
def test_hessian_vector_product(float64):
    """The native loop's is the central difference of its gradient: h^2 / 6 of the third derivative, 1e-6 here."""
    velocity, survey, simulation = problem()

    slope = jax.grad(lambda v: loss(by_native_code, v, survey, simulation)[0])
    change, small = directions(velocity, survey, 1)[0], 1e-3

    @jax.jit
    def both(velocity):
        return jax.jvp(slope, (velocity,), (change,))

    difference = (both(velocity + small * change)[0] - both(velocity - small * change)[0]) / (2 * small)
    assert relative(both(velocity)[1], difference) < 1e-6


@pytest.mark.slow
def test_second_derivatives(float64):
    """By model, positions and wavelets, the native loop's is the scan's; 1e-11, two more sums deep."""
    velocity, survey, simulation = problem()
    change = directions(velocity, survey, 1)

    def product(run):
        def slope(velocity, survey):
            return jax.grad(lambda v, s: loss(run, v, s, simulation)[0], (0, 1))(velocity, survey)

        return jax.jvp(slope, (velocity, survey), change)[1]

    assert relative(product(by_native_code), product(by_scan)) < 1e-11


@pytest.mark.parametrize(
    "run", [by_other_cells, pytest.param(by_dense_scan, marks=pytest.mark.slow)], ids=lambda run: run.__name__
)
def test_other_media(run, float64):
    """Media that only some engines compute: the sum of single shots, to 40 steps of rounding."""
    velocity, survey, simulation = problem()
    assert relative(run(velocity, survey, simulation), separately(run, velocity, survey, simulation)) < 1e-12


@pytest.mark.slow  # test_gradients.py has batches of models and wavelets, test_solver.py of positions
def test_batches(float64):
    """`vmap` over whole surveys equals a loop."""
    velocity, survey, simulation = problem(backend="native")
    surveys = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.9 * leaf]), survey)
    batched = jax.vmap(lambda s: simulate(velocity, s, simulation))(surveys)
    for i in range(2):
        alone = simulate(velocity, jax.tree.map(lambda leaf, i=i: leaf[i], surveys), simulation)
        assert relative(jax.tree.map(lambda leaf, i=i: leaf[i], batched), alone) < 1e-14


def test_shared_receivers_and_some_shots(float64):
    """Shared receivers are the same as a spread that does not move; a shot is the same without the others."""
    velocity, survey, simulation = problem(backend="native")
    shared = survey._replace(receivers=survey.receivers[0])
    moving = survey._replace(receivers=jnp.stack([survey.receivers[0]] * SHOTS))
    assert relative(simulate(velocity, shared, simulation), simulate(velocity, moving, simulation)) < 1e-14
    whole = simulate(velocity, survey, simulation).gathers
    assert relative(simulate(velocity, survey.select([1]), simulation).gathers, whole[1:]) < 1e-14


def test_reciprocity(float64):
    """Exchange source and receiver in the second shot: constant density, so the wavelet's strength is v^2 each."""
    velocity, _, simulation = problem(half_width=0, widths=(5, 5, 5, 5))
    ends = np.array([[50.0, 30.0], [110.0, 140.0]])
    wavelet = ricker(simulation.time, 20.0)
    gathers = simulate(velocity, make_survey(ends, ends[::-1, None], wavelet), simulation).gathers
    assert relative(gathers[0], gathers[1]) < 1e-12


def test_plane_wave(float64):
    """A line of sources between rigid walls is the one-dimensional wave p = v / (2 h) int_0^(t - z / v) w.

    The bound is the time step's dispersion, (w dt)^2 / 24 of the phase w z / v: up to 1e-3 at twice the peak frequency.
    """
    grid, time, velocity = Grid((60, 12), 5.0), TimeAxis(400, 2e-4), 1500.0
    simulation = Simulation(grid, time, velocity, 25.0, 8, (10, 10, 0, 0))
    wavelet, columns = ricker(time, 25.0), np.arange(12) * 5.0
    line = np.stack([np.full(12, 100.0), columns], axis=1)
    survey = make_survey(line[None], [[125.0, 20.0], [175.0, 35.0]], wavelet)
    gathers = simulate(jnp.full(grid.shape, velocity), survey, simulation).gathers[0]
    total = np.concatenate([[0.0], np.cumsum((wavelet[1:] + wavelet[:-1]) / 2 * time.dt)])
    exact = [np.interp(time.times - d / velocity, time.times, total, left=0.0) for d in (25.0, 75.0)]
    assert relative(gathers.T, velocity / (2 * grid.spacing) * np.stack(exact)) < 1e-3


@pytest.mark.slow  # test_pallas.py has the kernel with one source in a shot
def test_kernel_on_a_chip():
    """Single precision: 40 steps, each rounding at 6e-8."""
    velocity, survey, simulation = problem(1, order=2, widths=(0, 0, 0, 0), snapshot_steps=())
    expected = simulate(velocity, survey, simulation).gathers
    assert relative(simulate_on_chip(velocity, survey, simulation, interpret=True), expected) < 1e-5


def test_plans_diagnoses_and_forward_models_count_them():
    """Each source injects into cells of its own; a forward model predicts the survey's gathers and plans with it."""
    velocity, survey, simulation = problem()
    one, two = (peak_bytes(simulation, SHOTS, RECEIVERS, n_sources=n) for n in (1, 2))
    assert two - one == SHOTS * simulation.steps * 16 * 4
    found = diagnose(velocity, survey, simulation)
    assert found["sources"].measured.startswith("4 in place") and found["receivers"].severity == "good"
    silent = survey._replace(wavelets=survey.wavelets.at[0].set(0.0))
    assert found.ok and diagnose(velocity, silent, simulation)["wavelets"].severity == "error"
    forward, plan = PhysicsForward(simulation, survey).within(1e9)
    assert forward.peak() == plan.peak
    assert relative(forward(velocity), simulate(velocity, survey, simulation).gathers) < 1e-6
