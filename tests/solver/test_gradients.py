"""Every backend, strategy and storage precision gives the gradient of the plain scan; higher derivatives agree."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.engines import scan
from data_gen.solver.engines.xla_adjoint import ReversalEngine, pack, unpack
from data_gen.solver.problem.acquisition import Survey, make_survey, surface_line
from data_gen.solver.problem.gradient_memory import Memory
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.medium import copies_of_cells, project_medium
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE

pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

# Cases that another one covers in part: each takes many seconds to compile.
slow = partial(pytest.param, marks=pytest.mark.slow)

STRATEGIES = (Memory("full"), Memory("recompute"), Memory("recompute", every=1), Memory("boundary"))
SIDES = {
    "layers": {"widths": (8, 8, 8, 8)},
    "walls": {"widths": (0, 0, 0, 0)},
    "mixed": {"widths": (0, 8, 5, 0)},
    "free surface": {"widths": (0, 8, 5, 9), "free_surface": True},
}


def problem(order=4, nt=70, **options):
    """Make a rough model, points between cells, snapshots at odd steps, and sources inside and outside the layers."""
    grid, time = Grid((24, 28), 10.0), TimeAxis(nt, 1.5e-3)
    simulation = Simulation(grid, time, 3200.0, 20.0, order, half_width=3, snapshot_steps=(35,), **options)
    survey = make_survey([[53.3, 83.3], [4.0, 203.3]], surface_line(grid, 21.7, every=3)[1:-1], ricker(time, 20.0))
    velocity = 2400.0 + 600.0 * jax.random.uniform(jax.random.key(0), grid.shape)
    return velocity, survey, simulation


def loss(velocity, survey, simulation):
    """A misfit with a residual everywhere: at the receivers, on the whole grid, in the layers' reach."""
    gathers, snapshots, _ = simulate(velocity, survey, simulation)
    return jnp.sum(gathers**2) + jnp.sum(jnp.sin(snapshots))


def loss_of(engine, velocity, survey, simulation):
    """`loss`, by an engine that would not be chosen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_gen.solver.simulator.choose_engine", lambda *_, **__: engine)
        jax.clear_caches()
        result = loss(velocity, survey, simulation)
    jax.clear_caches()
    return result


def plain(simulation):
    """`jax.grad` of the scan, all steps kept."""
    return replace(simulation, backend="xla", memory=Memory("full"))


@pytest.mark.parametrize(
    ("sides", "order", "memories"),
    [
        ("free surface", 4, (Memory("full"), Memory("recompute"), Memory("boundary"))),
        slow("free surface", 8, STRATEGIES),
        slow("mixed", 8, STRATEGIES),
        slow("layers", 4, STRATEGIES),
        slow("mixed", 4, STRATEGIES),
        slow("walls", 4, STRATEGIES),
        slow("layers", 2, STRATEGIES),
    ],
)
def test_native_is_the_scan(sides, order, memories, float64):
    """Records and gradients by model, positions and wavelets: 70 steps of rounding, 1e-12, for each strategy."""
    velocity, survey, simulation = problem(order, **SIDES[sides])
    native = replace(simulation, backend="native")
    assert relative(simulate(velocity, survey, native), simulate(velocity, survey, plain(simulation))) < 1e-13
    gradient = jax.grad(loss, (0, 1))
    expected = gradient(velocity, survey, plain(simulation))
    for memory in memories:
        assert relative(gradient(velocity, survey, replace(native, memory=memory)), expected) < 1e-12, memory


@pytest.mark.slow
def test_unrolling_changes_nothing(float64, monkeypatch):
    """Tests compile a time loop with one copy of the step, users with more: 35 steps of rounding, 1e-12."""
    velocity, survey, simulation = problem(2, widths=(8, 0, 0, 0))
    expected = jax.value_and_grad(loss)(velocity, survey, plain(simulation))
    monkeypatch.setattr(scan, "UNROLL", 2)
    jax.clear_caches()
    assert relative(jax.value_and_grad(loss)(velocity, survey, plain(simulation)), expected) < 1e-12
    jax.clear_caches()


@pytest.mark.parametrize(
    ("options", "staggered"),
    [
        slow({}, True),
        slow({"free_surface": True, "widths": (0, 8, 8, 8)}, True),  # test_taylor has a variable density
        slow(BARE | {"substeps": 2}, False),
    ],
)
def test_recompute_is_the_scan(options, staggered, float64):
    """The same through checkpointed scans, for what only they compute."""
    velocity, survey, simulation = problem(**options)
    density = 1000.0 + 0.3 * velocity if staggered else None

    def misfit(velocity, survey, simulation):
        return jnp.sum(simulate(velocity, survey, simulation, density=density).gathers ** 2)

    checkpointed = replace(simulation, backend="xla", memory=Memory("recompute"))
    expected = jax.grad(misfit, (0, 1))(velocity, survey, plain(simulation))
    assert relative(jax.grad(misfit, (0, 1))(velocity, survey, checkpointed), expected) < 1e-12


@pytest.mark.parametrize(
    ("sides", "strategy"),
    [
        slow("free surface", "boundary"),  # test_derivatives.py and test_harmonic.py have it with other sides
        slow("mixed", "full"),
        slow("mixed", "boundary"),
        slow("free surface", "full"),
    ],
)
def test_reversal_is_the_scan(sides, strategy, float64):
    """The adjoint written out in JAX, with the past kept or run backwards from the layers."""
    velocity, survey, simulation = problem(**SIDES[sides])
    reversal = replace(simulation, backend="xla", memory=Memory(strategy))
    ours = jax.grad(lambda v, s: loss_of(ReversalEngine(), v, s, reversal), (0, 1))(velocity, survey)
    assert relative(ours, jax.grad(loss, (0, 1))(velocity, survey, plain(simulation))) < 1e-12


@pytest.mark.parametrize(
    ("memory", "bound"),
    [
        (Memory("full"), 1e-5),
        (Memory("recompute"), 1e-5),
        (Memory("boundary"), 1e-5),
        # Half the bytes: one rounding of each kept value, at 2^-9 and 2^-12, which partly cancel in the sum over time.
        (Memory("full", precision="bfloat16"), 4e-3),
        (Memory("recompute", precision="float16"), 5e-4),
        # A rounded layer also disturbs the field that runs backwards from it.
        (Memory("boundary", precision="float16"), 5e-3),
    ],
)
def test_float32_and_storage(memory, bound):
    """Single precision: 70 steps of rounding at 6e-8 through sums of both signs stay under 1e-5."""
    velocity, survey, simulation = problem(widths=(8, 8, 8, 8))

    def misfit(velocity, simulation):
        return jnp.sum(simulate(velocity, survey, simulation).gathers ** 2)

    expected = jax.grad(misfit)(velocity, plain(simulation))
    assert relative(jax.grad(misfit)(velocity, replace(simulation, memory=memory, backend="native")), expected) < bound


@pytest.mark.parametrize(
    ("options", "relative_bound", "bound"),
    [
        ({}, 1e-4, 0),
        ({"free_surface": True, "widths": (0, 4, 2, 5)}, 0.1, 0),
        ({"internal_spacing": 25.0}, 0.1, 1),
    ],
)
def test_copies_of_cells(options, relative_bound, bound):
    """The copies of a cell are the derivative of the extended model's sum by it, to float32's rounding.

    Under a free surface the sum is that of half a cell less, about which the series alternates by 8 %. On the solver's
    own cells of 25 m, each of which counts (25 / 10)^2 of the model's, layers end within one of the model's cells.
    """
    velocity, _, simulation = problem(**{"widths": (3, 0, 2, 5), **options})

    def total(squared_slowness):
        return jnp.sum(simulation.step_length**2 / project_medium(squared_slowness**-0.5, None, simulation).stiffness)

    found = jax.grad(total)(velocity**-2) * (simulation.solved_spacing / simulation.grid.spacing) ** 2
    copies = copies_of_cells(simulation)
    assert copies[5, 5] == 1 and copies.max() > 8
    assert (np.abs(found - copies) < relative_bound * copies + bound).all()


@pytest.mark.parametrize(
    ("backend", "strategy", "second"),
    [
        ("native", "recompute", False),
        ("xla", "boundary", False),
        *(slow(backend, strategy, True) for backend in ("native", "xla") for strategy in ("full", "boundary")),
    ],
)
def test_half_precision_has_no_unit(backend, strategy, second):
    """The wavelet times 2^66 or 2^-66, and the direction times 2^-30: the same gradient and Hessian-vector product.

    The kept values round to 2^-12, which partly cancels in the sum over time.
    """
    memory = Memory(strategy, precision="float16")
    velocity, survey, simulation = problem(nt=62, widths=(8, 8, 8, 8), backend=backend, memory=memory)
    direction = 50.0 * jnp.cos(jnp.arange(velocity.size)).reshape(velocity.shape)

    def products(unit, small, simulation=simulation):
        def misfit(v):
            records = simulate(v, survey._replace(wavelets=unit * survey.wavelets), simulation)
            return jnp.sum((records.gathers / unit) ** 2)

        if not second:
            return jax.grad(misfit)(velocity)
        return jax.jvp(jax.grad(misfit), (velocity,), (small * direction,))[1] / small

    compiled = jax.jit(products)
    expected = products(1.0, 1.0, replace(simulation, backend="native", memory=Memory(strategy)))
    for unit, small in ((1.0, 1.0), (2.0**66, 1.0), (2.0**-66, 1.0), (1.0, 2.0**-30)):
        assert relative(compiled(unit, small), expected) < 5e-3, (unit, small)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_kept_values_and_tangents_have_units_of_their_own(precision):
    """Both come back to the rounding of the format, 2^-11 or 2^-8, down to 2^-14 / 2^14 of the largest."""
    sizes = jnp.exp2(jnp.linspace(-28.0, 0.0, 50)) * jnp.cos(jnp.arange(50))

    def kept(values):
        return unpack(*pack(values, precision), jnp.float32)

    value, tangent = jax.jvp(kept, (1e-20 * sizes,), (1e20 * sizes,))
    bound = 2.0**-11 if precision == "float16" else 2.0**-8
    np.testing.assert_allclose(value, 1e-20 * sizes, rtol=bound, atol=2e-20 * 2.0**-28 * bound)
    np.testing.assert_allclose(tangent, 1e20 * sizes, rtol=bound, atol=2e20 * 2.0**-28 * bound)
    assert not kept(jnp.zeros(3)).any() and jnp.isnan(kept(jnp.array([1.0, jnp.nan]))).any()


def test_no_edge_stands_out_for_a_copy():
    """The median of the top row's gradient is 18 times that of the next one: it is that of the whole layer.

    Divided by the copies of each cell, no edge stands out by more than 3.
    """
    grid, time = Grid((50, 100), 4.0), TimeAxis(200, 0.004)
    simulation = Simulation(grid, time, 1600.0, 25.0)
    survey = make_survey([[20.0, 40.0]], [[20.0, 360.0]], ricker(time, 25.0))
    observed = simulate(jnp.full(grid.shape, 1500.0), survey, simulation).gathers

    def misfit(velocity):
        return jnp.mean((simulate(velocity, survey, simulation).gathers - observed) ** 2)

    gradient = jax.grad(misfit)(jnp.full(grid.shape, 1600.0))
    assert _edge_over_next(gradient) > 10 and _edge_over_next(gradient / copies_of_cells(simulation)) < 3


def _edge_over_next(gradient) -> float:
    sides = [(g[0], g[1]) for rows in (gradient, gradient.T) for g in (abs(rows), abs(rows[::-1]))]
    return max(float(f(edge) / f(following)) for edge, following in sides for f in (jnp.median, jnp.max))


def directions(key, velocity, survey):
    """A random change of model, positions and wavelets, of sizes that matter about equally."""
    scales = Survey(*(jnp.asarray(s, velocity.dtype) for s in (2.0, 2.0, 0.1)))
    leaves, tree = jax.tree.flatten((velocity, survey))
    keys = jax.random.split(key, len(leaves))
    noise = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.map(jnp.multiply, jax.tree.unflatten(tree, noise), (jnp.asarray(50.0, velocity.dtype), scales))


@pytest.mark.slow  # test_derivatives.py has a quick form
@pytest.mark.parametrize("strategy", ["full", "recompute", "boundary"])
def test_second_derivatives(strategy, float64):
    """jvp, Hessian-vector and Gauss-Newton products of the native loop are the scan's: 1e-11, two more sums deep."""
    velocity, survey, simulation = problem(widths=(0, 8, 5, 9))
    native = replace(simulation, backend="native", memory=Memory(strategy))
    a = directions(jax.random.key(1), velocity, survey)

    def products(simulation):
        def records(velocity, survey):
            return simulate(velocity, survey, simulation)

        born = jax.jvp(records, (velocity, survey), a)[1]
        gauss_newton = jax.vjp(records, velocity, survey)[1](born)
        gradient = jax.grad(partial(loss, simulation=simulation), (0, 1))
        return born, gauss_newton, jax.jvp(gradient, (velocity, survey), a)[1]

    for ours, expected in zip(products(native), products(plain(simulation)), strict=True):
        assert relative(ours, expected) < 1e-11


@pytest.mark.parametrize(
    "order_of_modes",
    [slow("forward over forward"), slow("reverse over forward"), slow("reverse over reverse")],
)
def test_other_second_derivatives(order_of_modes, float64):
    """Reverse over reverse is the same Hessian; derivatives of a jvp go through the scan. 1e-10: two more sums deep."""
    velocity, survey, simulation = problem(nt=62, widths=(8, 8, 8, 8))
    a, b = (directions(jax.random.key(i), velocity, survey)[0] for i in (1, 2))

    def second(simulation):
        def misfit(v):
            return loss(v, survey, simulation)

        if order_of_modes == "reverse over reverse":
            return jnp.vdot(jax.grad(lambda v: jnp.vdot(jax.grad(misfit)(v), a))(velocity), b)

        def slope(v):
            return jax.jvp(misfit, (v,), (a,))[1]

        if order_of_modes == "forward over forward":
            return jax.jvp(slope, (velocity,), (b,))[1]
        return jnp.vdot(jax.grad(slope)(velocity), b)

    expected = second(plain(simulation))
    assert abs(second(replace(simulation, backend="native")) - expected) < 1e-10 * abs(expected)


def test_batches(float64):
    """Gradients of a batch of models, positions and wavelets, nested, equal those taken one by one."""
    velocity, survey, simulation = problem(nt=62, widths=(8, 8, 8, 8), backend="native")
    models = velocity * jnp.array([0.9, 1.0, 1.1])[:, None, None]
    wavelets = survey.wavelets * jnp.array([1.0, 2.0])[:, None, None]

    def gradient(v, w):
        return jax.grad(lambda v: loss(v, survey._replace(wavelets=w), simulation))(v)

    batched = jax.vmap(lambda w: jax.vmap(lambda v: gradient(v, w))(models))(wavelets)
    looped = jnp.stack([jnp.stack([gradient(v, w) for v in models]) for w in wavelets])
    assert relative(batched, looped) < 1e-14
    # The other way round: the gradient of a batch's sum is the sum over the batch.
    total = jax.grad(lambda v: jnp.sum(jax.vmap(lambda w: loss(v, survey._replace(wavelets=w), simulation))(wavelets)))
    assert relative(total(velocity), batched[:, 1].sum(0)) < 1e-12


def test_batch_size_changes_no_bit():
    """A simulation's arithmetic does not depend on what else is in its batch, nor on how threads share the work."""
    velocity, survey, simulation = problem(widths=(8, 8, 8, 8), backend="native")
    models = jnp.stack([velocity, 0.9 * velocity, 1.05 * velocity])
    run = jax.vmap(lambda v: simulate(v, survey, simulation))
    for i in range(3):
        for whole, alone in zip(run(models), run(models[i : i + 1]), strict=True):
            np.testing.assert_array_equal(whole[i], alone[0])
    for whole, pair in zip(run(models), run(models[1:]), strict=True):
        np.testing.assert_array_equal(whole[1:], pair)


def test_backend_that_cannot():
    velocity, survey, simulation = problem(backend="native")
    with pytest.raises(InputError, match=r"computes constant density, .* has a density"):
        simulate(velocity, survey, simulation, density=velocity)
    with pytest.raises(InputError, match="strategy of"):
        Memory("optimal")
