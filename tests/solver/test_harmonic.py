"""Time-harmonic fields: the Hankel function, the plain Fourier sum of a movie, and derivatives that agree."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import hankel2

from data_gen.common.errors import InputError
from data_gen.solver.engines import field_sums
from data_gen.solver.many_devices import simulate_sharded, slab_mesh
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.numerics.stencils import second_derivative_weights
from data_gen.solver.problem.acquisition import make_survey, surface_line
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE

pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

FREQUENCIES = (10.0, 33.0)


def problem(nt=72, frequencies=FREQUENCIES, **options):
    """A rough model, points between the cells; 72 steps are no multiple of the stride of 5.

    Low order and one layer only, as most of a test's time is XLA's compiling.
    """
    grid, time = Grid((24, 28), 10.0), TimeAxis(nt, 1.5e-3)
    options = {"order": 2, "widths": (8, 0, 0, 0), "half_width": 2, **options}
    simulation = Simulation(grid, time, 3200.0, 20.0, frequencies=frequencies, **options)
    survey = make_survey([[53.3, 83.3], [3.3, 203.3]], surface_line(grid, 21.7, every=3)[1:-1], ricker(time, 20.0))
    velocity = 2400.0 + 600.0 * jax.random.uniform(jax.random.key(0), grid.shape)
    return velocity, survey, simulation


def plain(simulation):
    """By JAX's own derivatives of the scan, all steps kept."""
    return replace(simulation, backend="xla", memory=Memory("full"))


# --- theory -------------------------------------------------------------------------------------------------


def grid_wavenumber(frequency, velocity, simulation):
    """Solve `v^2 dt^2 symbol(k) = 4 sin^2(omega dt / 2)` for k [1/m] of a wave along an axis, where it errs most."""
    dt, spacing = simulation.step_length, simulation.grid.spacing
    wanted = (2 * np.sin(np.pi * frequency * dt) / (velocity * dt)) ** 2
    terms = list(enumerate(second_derivative_weights(simulation.order), start=1))

    def excess(k):
        return sum(2 * c * (1 - np.cos(n * k * spacing)) for n, c in terms) / spacing**2 - wanted

    exact = 2 * np.pi * frequency / velocity
    root = brentq(excess, 0.9 * exact, 1.1 * exact)
    assert isinstance(root, float)
    return root


def test_hankel_function(float64):
    """P = -(i / 4) W(f) H_0^(2)(k r), to the grid's dispersion and the layers' echo.

    A wavenumber wrong by d turns the phase by d r: a relative error of at most d r_max (the 4 steps of a sample are for
    this: 0.2 % at 30 Hz). Echoes of 20-cell layers are below -60 dB (test_absorbing.py), and what the record of 0.8 s
    cuts off of the tail, A / (pi t^3) with A the wavelet's twofold integral, 2e-4 of the field: together 1.2e-3.
    The discrete delta's own near field falls as (h / r)^8: beyond 10 cells nothing of it is left.
    """
    grid, time, velocity, frequencies = Grid((70, 70), 10.0), TimeAxis(800, 1e-3), 2000.0, (10.0, 15.0, 30.0)
    options = BARE | {"substeps": 4, "frequencies": frequencies}
    simulation = Simulation(grid, time, velocity, 15.0, 8, **options)
    source = np.array([250.0, 300.0])
    survey = make_survey([source], [], ricker(time, 15.0))
    model = jnp.full(grid.shape, velocity)
    computed = np.asarray(simulate(model, survey, simulation).harmonic[0])
    z, x = np.meshgrid(*(np.arange(n) * grid.spacing for n in grid.shape), indexing="ij")
    distance = np.hypot(z - source[0], x - source[1])
    far = distance > 100.0
    for field, frequency in zip(computed, frequencies, strict=True):
        wavelet = time.dt * np.sum(survey.wavelets[0] * np.exp(-2j * np.pi * frequency * time.times))
        k = 2 * np.pi * frequency / velocity
        exact = -0.25j * wavelet * hankel2(0, k * distance[far])
        error = np.linalg.norm(field[far] - exact) / np.linalg.norm(exact)
        assert error < abs(grid_wavenumber(frequency, velocity, simulation) - k) * distance.max() + 1.2e-3, frequency
    # The sums differ by what folds back, since only `every_step` sums every step (its snapshot at step 1 makes it so),
    # and by the last rectangle.
    every_step = replace(simulation, snapshot_steps=(1, 3196), substeps=1, time=TimeAxis(3197, 2.5e-4))
    fine = survey._replace(wavelets=upsample(survey.wavelets, 4))
    assert field_sums.stride(simulation) == 44 and field_sums.stride(every_step) == 1
    _, snapshots, expected = simulate(model, fine, every_step)
    bound = field_sums.FOLDED_PART * np.abs(expected[0, 1]) + 44 * every_step.time.dt * np.abs(snapshots[0, 1])
    assert (np.abs(computed - expected[0]) < bound)[:, far].all()


ENGINES = {
    "scan": {"backend": "xla"},
    "intervals": {"backend": "xla", "memory": Memory("recompute", every=12)},
    "reversal": {"backend": "xla", "memory": Memory("boundary")},
    "native": {"backend": "native"},
}


@pytest.mark.parametrize(
    ("engine", "options", "stride"),
    [
        ("scan", {"snapshot_steps": (0, 33)}, 3),
        ("intervals", {}, 5),
        ("reversal", {"snapshot_steps": (0, 33)}, 3),
        ("native", {}, 5),
        ("native", {"snapshot_steps": (0, 33)}, 3),
        ("native", {"snapshot_steps": (35, 40), "substeps": 2, "free_surface": True, "widths": (0, 8, 5, 0)}, 10),
    ],
)
def test_sum_of_a_movie(engine, options, stride, float64):
    """The fields are the Fourier sum over each stride-th step of a movie at the internal step; 72 roundings, 1e-12.

    The movie is the native loop's, which test_gradients.py holds against the others'.
    """
    velocity, survey, simulation = problem(**ENGINES[engine], **options, **BARE)
    assert field_sums.stride(simulation) == stride
    computed = simulate(velocity, survey, simulation)
    fine = replace(
        simulation,
        time=TimeAxis(simulation.steps, simulation.step_length),
        substeps=1,
        snapshot_steps=tuple(range(0, simulation.steps, stride)),
        frequencies=(),
        backend="native",
    )
    fine_survey = survey._replace(wavelets=upsample(survey.wavelets, simulation.substeps))
    movie = simulate(velocity, fine_survey, fine)
    turns = np.exp(-2j * np.pi * np.outer(FREQUENCIES, fine.snapshot_times))
    expected = stride * simulation.step_length * np.einsum("ft,stzx->sfzx", turns, np.asarray(movie.snapshots))
    assert relative(computed.harmonic, expected) < 1e-12
    # Neither gathers nor snapshots notice, and none are asked for by default.
    frames = np.array(simulation.snapshot_steps, int) * simulation.substeps // stride
    assert relative(computed.gathers, movie.gathers[:, :: simulation.substeps]) < 1e-12
    assert len(frames) == 0 or relative(computed.snapshots, movie.snapshots[:, frames]) < 1e-12
    assert movie.harmonic.shape == (2, 0, 24, 28) and movie.harmonic.dtype == jnp.complex128


def test_other_physics_and_float32():
    """Variable density, single precision (some 15 additions at 6e-8): the sum of its movie."""
    velocity, survey, simulation = problem(**BARE)
    simulation = replace(simulation, snapshot_steps=tuple(range(0, 72, 5)))
    computed = simulate(velocity, survey, simulation, density=1000.0 + 0.3 * velocity)
    shares = field_sums.weights(simulation)
    expected = np.einsum("ti,stzx->sizx", shares, np.asarray(computed.snapshots, dtype=np.float64))
    assert computed.harmonic.dtype == jnp.complex64
    assert relative(computed.harmonic, expected[:, :2] + 1j * expected[:, 2:]) < 1e-6


# --- derivatives --------------------------------------------------------------------------------------------


def loss(velocity, survey, simulation):
    """A residual everywhere, of both parts apart: the imaginary part of a square is not symmetric in them."""
    gathers, snapshots, fields = simulate(velocity, survey, simulation)
    fields = fields / simulation.step_length
    return jnp.sum(gathers**2) + jnp.sum(jnp.sin(snapshots)) + jnp.sum((fields**2).imag + jnp.abs(fields) ** 2)


def others_than_scan():
    """Each takes ten seconds to compile: what another one covers in part is slow."""
    # test_free_surface recomputes in native code, too.
    memories = Memory("full"), Memory("recompute"), Memory("recompute", every=7)
    slow = [{"backend": "native", "memory": memory} for memory in memories]
    return [
        pytest.param(
            [{"backend": "native", "memory": Memory("boundary")}, ENGINES["reversal"]], marks=pytest.mark.slow
        ),
        pytest.param([*slow, ENGINES["intervals"]], marks=pytest.mark.slow),
    ]


@pytest.mark.parametrize("others", others_than_scan())
def test_gradients_agree(others, float64):
    """By model, positions and wavelets, whatever computes it: 72 steps of rounding, 1e-12."""
    velocity, survey, simulation = problem(snapshot_steps=(35,))
    gradient = jax.grad(loss, (0, 1))
    expected = gradient(velocity, survey, plain(simulation))
    for other in others:
        assert relative(gradient(velocity, survey, replace(simulation, **other)), expected) < 1e-12, other


def test_free_surface(float64):
    """As above with substeps, where the first row stays zero and its residual goes nowhere."""
    options = {"widths": (0, 8, 5, 0), "free_surface": True, "substeps": 2}
    velocity, survey, simulation = problem(nt=40, **options, **BARE)
    survey = survey._replace(sources=survey.sources.at[:, 0].set(45.0))
    expected, computed = (jax.grad(loss)(velocity, survey, s) for s in (plain(simulation), simulation))
    assert relative(computed, expected) < 1e-12


def test_dot_product(float64):
    """The fields are linear in the wavelets, so Re(y . A w) = w . A^T y to rounding."""
    velocity, survey, simulation = problem(backend="native")

    def fields(wavelets):
        return simulate(velocity, survey._replace(wavelets=wavelets), simulation).harmonic

    y = jax.random.normal(jax.random.key(1), (2, 2, 24, 28), complex)

    @jax.jit
    def both(wavelets):
        computed, adjoint = jax.vjp(fields, wavelets)
        return computed, adjoint(y)[0]

    computed, back = both(survey.wavelets)
    left, right = jnp.sum(y * computed).real, jnp.vdot(survey.wavelets, back)
    assert abs(left - right) < 1e-12 * jnp.linalg.norm(y) * jnp.linalg.norm(computed)


@pytest.mark.slow
def test_forward_mode_and_second_derivatives(float64):
    """jvp against a central difference (h^2 and rounding / h: 1e-6), Hessian-vector products against the scan's."""
    velocity, survey, simulation = problem(backend="native", snapshot_steps=(35,))
    direction = 50.0 * jax.random.normal(jax.random.key(2), velocity.shape)

    def fields(v):
        return simulate(v, survey, simulation).harmonic

    born = jax.jvp(fields, (velocity,), (direction,))[1]
    central = (fields(velocity + 1e-4 * direction) - fields(velocity - 1e-4 * direction)) / 2e-4
    assert relative(born, central) < 1e-6

    def curved(simulation):
        return jax.jvp(jax.grad(lambda v: loss(v, survey, simulation)), (velocity,), (direction,))[1]

    assert relative(curved(simulation), curved(plain(simulation))) < 1e-11


@pytest.mark.parametrize("derived", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_batches(derived, float64):
    """Fields and gradients of a batch of models are those of each alone."""
    velocity, survey, simulation = problem(backend="native")
    models = velocity * jnp.array([0.9, 1.0])[:, None, None]

    def values(v):
        gradient = jax.grad(loss)(v, survey, simulation) if derived else jnp.ones(1)
        return simulate(v, survey, simulation).harmonic, gradient

    batched, alone = jax.jit(jax.vmap(values))(models), jax.jit(values)
    for i, model in enumerate(models):
        assert relative([leaf[i] for leaf in batched], alone(model)) < 1e-13


# --- the rest -----------------------------------------------------------------------------------------------


def test_split_over_devices(float64):
    """Slabs of rows have their rows of the fields."""
    velocity, survey, simulation = problem(nt=36, backend="xla", widths=(8, 8, 0, 0), snapshot_steps=(30,))
    computed = simulate_sharded(velocity, survey, simulation, slab_mesh(jax.devices()[:3]))
    assert relative(computed, simulate(velocity, survey, simulation)) < 1e-12
    assert [shard.data.shape for shard in computed.harmonic.addressable_shards] == [(2, 2, 8, 28)] * 3


@pytest.mark.parametrize("frequencies", [(0.0,), (10.0, -3.0), (400.0,), (float("nan"),)])
def test_refusals(frequencies):
    """Internal steps of 1.5 ms have a Nyquist frequency of 333 Hz."""
    with pytest.raises(InputError, match=r"between zero and 333\.333 Hz \(the Nyquist frequency|finite number"):
        problem(frequencies=frequencies, **BARE)
