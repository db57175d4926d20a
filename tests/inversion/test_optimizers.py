"""Optimizers against functions with known minima: conditions for a minimum, scale, resume, counts, and SciPy."""

import io
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from data_gen.common.smoothing import gaussian_smooth
from surrogate.inversion.bounds import Bounds, make_bounds
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.misfits import MISFITS
from surrogate.inversion.objective import DataMisfit
from surrogate.inversion.optimizers import OPTIMIZERS
from surrogate.inversion.optimizers.line_search import Point, decrease
from surrogate.inversion.optimizers.precondition import make_preconditioner
from surrogate.inversion.optimizers.protocol import COMMON, COUNTS, State
from tests.helpers import relative
from tests.inversion.functions import Function, Quadratic, Rosenbrock, box, violation
from tests.inversion.toy import Toy

NEWTON = ("gauss_newton", "newton_cg")
SECOND_ORDER = ("lbfgs", *NEWTON)


def make(name: str, n: int, smoothing: float = 0.0, **settings):
    """The optimizer of a column of n values."""
    return OPTIMIZERS[name](InversionConfig(**settings), make_preconditioner((n, 1), smoothing))


def minimize(optimizer, function, x: np.ndarray, bounds: Bounds, iterations: int) -> list[State]:
    """The states from the start to the last accepted iteration."""
    states = [optimizer.start(function, x, bounds)]
    for _ in range(iterations):
        state = optimizer.step(function, states[-1], bounds)
        if state["done"]:
            break
        states.append(state)
    return states


def rosenbrock_start(n: int) -> np.ndarray:
    return np.where(np.arange(n) % 2, 1.0, -1.2)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
@pytest.mark.parametrize("name", SECOND_ORDER)
def test_quadratic_within_bounds(name, smoothing):
    """The conditions for a minimum hold to 1e-6 of their start, with values at both bounds and one held fixed."""
    function, bounds = Quadratic(n=40), box(40, -0.8, 1.0)
    bounds.low[3] = bounds.high[3] = 0.3
    x = np.full(40, 0.3)
    found = minimize(make(name, 40, smoothing, learning_rate=0.1), function, x, bounds, 300)[-1]["x"]
    assert (found >= bounds.low).all() and (found <= bounds.high).all()
    assert (found == -0.8).any() and (found == 1.0).any() and found[3] == 0.3
    assert violation(function, found, bounds) < 1e-6 * violation(function, x, bounds)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rosenbrock_within_bounds(name):
    """The minimum within bounds is not at one: the conditions hold there. Adam has then fallen by a factor of 10."""
    function, start = Rosenbrock(n=10), rosenbrock_start(10)
    bounds = box(10, -2.0, 2.0)
    bounds.high[[4, 7]] = 0.7
    states = minimize(
        make(name, 10, learning_rate=0.01 if name == "adam" else 0.3), function, bounds.clip(start), bounds, 400
    )
    values, found = [float(state["value"]) for state in states], states[-1]["x"]
    assert (found >= bounds.low).all() and (found <= bounds.high).all()
    if name == "adam":
        assert values[-1] < 0.1 * values[0]
    else:
        assert np.diff(values).max() < 1e-14 * values[-1]
        assert (found[[4, 7]] == 0.7).any()
        assert violation(function, found, bounds) < 1e-6


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_of_the_misfit_changes_nothing(name):
    """Twelve iterations over Rosenbrock's function end at the same point. Rounding, relative 1e-16, grows with every
    iteration, but stays below 1e-9."""
    bounds, paths = box(10, -2.0, 0.9), []
    for factor in (1.0, 1e-20, 1e20):
        function = Rosenbrock(n=10, factor=factor)
        states = minimize(make(name, 10, learning_rate=0.1), function, bounds.clip(rosenbrock_start(10)), bounds, 12)
        paths.append(states[-1]["x"])
        assert len(states) == 13
    for path in paths[1:]:
        assert relative(path, paths[0]) < 1e-9


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stored_state_goes_on_with_the_same_bits(name):
    """A state passes through a file without pickle after each iteration, and all of its entries stay the same."""
    function, bounds = Rosenbrock(n=10), box(10, -2.0, 0.9)
    optimizer = make(name, 10, learning_rate=0.1)
    expected = minimize(optimizer, function, bounds.clip(rosenbrock_start(10)), bounds, 12)
    state = expected[0]
    for after in expected[1:]:
        file, entries = io.BytesIO(), cast("dict[str, Any]", state)
        np.savez(file, **entries)
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            state = optimizer.step(function, dict(stored), bounds)
        assert state.keys() == after.keys() >= set(COMMON)
        for key, value in after.items():
            assert value.dtype == state[key].dtype
            np.testing.assert_array_equal(state[key], value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_count_what_was_simulated(name):
    """Each evaluation of an objective of three shots counts thrice, and a state that is given is not changed."""
    function, bounds = Rosenbrock(n=10, shots=3), box(10, -2.0, 0.9)
    states = minimize(make(name, 10, learning_rate=0.1), function, bounds.clip(rosenbrock_start(10)), bounds, 12)
    counts = {key: int(states[-1][key]) for key in COUNTS}
    assert counts == {"forwards": 0} | {key: 3 * count for key, count in function.asked.items()}
    assert (counts["hessian_products"] > 0) == (name in NEWTON)
    assert [int(state["iteration"]) for state in states] == list(range(13))
    assert int(states[0]["gradients"]) == 3


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_the_end_is_said(name):
    """At the minimum no step is made: the state says so, and keeps its model."""
    function, bounds = Quadratic(n=6), box(6, -5.0, 5.0)
    optimizer = make(name, 6, learning_rate=0.1)
    for x in (function.target, minimize(optimizer, function, np.zeros(6), bounds, 200)[-1]["x"]):
        state = optimizer.step(function, optimizer.start(function, x, bounds), bounds)
        assert state["done"] and state["iteration"] == 0
        np.testing.assert_array_equal(state["x"], x)


@pytest.mark.parametrize("name", NEWTON)
def test_a_bad_parabola_shrinks_the_trust_region(name):
    """Products a thousand times too small promise a long step: the misfit rises, the radius shrinks, and a shorter step
    lowers it. Exact ones let the same radius grow while the steps lie at its edge."""
    x, bounds = np.zeros(10), box(10, -1e3, 1e3)
    state = {}
    for bent, rate in ((1e-3, 100.0), (1.0, 0.01)):
        function, optimizer = Quadratic(bent=bent), make(name, 10, learning_rate=rate)
        start = optimizer.start(function, x, bounds)
        after = optimizer.step(function, start, bounds)
        assert after["value"] < start["value"]
        state[bent] = float(after["radius"] / start["radius"]), int(after["gradients"]), int(after["hessian_products"])
    assert state[1e-3][0] <= 0.25 and state[1e-3][1] > 2
    # The start and one trial: at its edge, the first product is enough.
    assert state[1.0] == (2.0, 2, 1)


def test_smaller_radii_cost_no_products():
    """The path of conjugate gradients is the same for all radii: after rejections, it is only cut."""
    function, optimizer = Quadratic(bent=1e-3), make("newton_cg", 10, learning_rate=100.0, cg_iterations=4)
    bounds = box(10, -1e9, 1e9)
    after = optimizer.step(function, optimizer.start(function, np.zeros(10), bounds), bounds)
    assert after["gradients"] > 3 and after["hessian_products"] <= 4


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_misfits_that_rounding_makes_equal(name):
    """A misfit in float32 with an offset, whose differences near the minimum are below its resolution.

    Taken from the gradients, differences down to a thousandth of that count: 1.2e-9, which a gradient of
    sqrt(2 * 100 * 1.2e-9) = 5e-4 can bring at the largest curvature. Misfits alone would end thirty times earlier.
    """
    function = Quadratic(n=10, condition=100.0, offset=10.0, precision=np.float32, resolution=1.2e-7)
    bounds, x = box(10, -0.5, 3.0), np.full(10, 3.0)
    found = minimize(make(name, 10, learning_rate=0.1), function, x, bounds, 100)[-1]["x"]
    assert violation(function, found, bounds) < 5e-4


def test_decrease_of_nearly_equal_misfits():
    """On a parabola, the mean of the gradients is exact, although float32 sees no difference; larger ones are taken
    from the misfits."""
    points = [Point(np.array([x]), float(np.float32(1.0 + x**2)), np.array([2.0 * x])) for x in (3e-5, 1e-5, 1.0)]
    assert points[0].value == points[1].value
    np.testing.assert_allclose(decrease(points[0], points[1], 1.2e-7), 9e-10 - 1e-10, rtol=1e-12)
    assert decrease(points[2], points[0], 1.2e-7) == 1.0


def toy_misfit() -> tuple[DataMisfit, np.ndarray, Bounds]:
    """A small inversion, its start and its bounds, which the true model touches."""
    forward = Toy()
    truth = np.clip(2500.0 + 400.0 * np.cos(np.arange(30.0)).reshape(6, 5), 2300.0, 2800.0)
    start = np.full(30, 2500.0)
    observed = forward(jnp.asarray(truth, jnp.float32))
    return DataMisfit(forward, observed, None, MISFITS["l2"], (6, 5)), start, make_bounds(2300.0, 2800.0, start)


def gradients_to(values: list[float], target: float) -> int:
    """How many evaluations it takes to reach a value."""
    return int(np.argmax(np.minimum.accumulate(values) <= target)) + 1


def test_lbfgs_takes_no_more_gradients_than_scipy():
    """Gradients until the misfit is within 1e-6 of the minimum, in parts of the start's, on five problems with bounds.

    In all not more than SciPy's L-BFGS-B takes, which chooses its first step differently and therefore goes another
    way, and on none more than a quarter more.
    """
    random = np.random.default_rng(5)
    problems: list[tuple[Function | DataMisfit, np.ndarray, Bounds, float, int]] = [
        (Quadratic(n=60), random.uniform(-0.8, 1.0, 60), box(60, -0.8, 1.0), 0.1, 40),
        (Quadratic(n=60, condition=1e5), random.uniform(-0.8, 1.0, 60), box(60, -0.8, 1.0), 0.1, 60),
        (Rosenbrock(n=10), random.uniform(-1.5, 0.95, 10), box(10, -2.0, 0.95), 0.1, 60),
        (Rosenbrock(n=10), random.uniform(-1.5, 0.8, 10), box(10, -2.0, 0.8), 0.1, 60),
        (*toy_misfit(), 20.0, 40),
    ]
    ours, theirs = [], []
    for function, x, bounds, rate, iterations in problems:
        seen: list[list[float]] = [[], []]

        class Recording:
            shots, resolution = 1, function.resolution

            def __init__(self, values, function=function):
                self.values, self.function = values, function

            def value_and_gradient(self, x):
                value, gradient = self.function.value_and_gradient(x)
                self.values.append(value)
                return value, gradient

        minimize(make("lbfgs", len(x), learning_rate=rate), Recording(seen[0]), x, bounds, iterations)
        options = {"maxcor": 20, "maxiter": iterations, "ftol": 0, "gtol": 0}
        scipy.optimize.minimize(
            Recording(seen[1]).value_and_gradient,
            x,
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(*bounds, strict=True)),
            options=options,
        )
        least = min(min(values) for values in seen)
        target = least + 1e-6 * (seen[0][0] - least)
        ours.append(gradients_to(seen[0], target))
        theirs.append(gradients_to(seen[1], target))
        assert min(seen[0]) <= target
    assert all(a <= 1.25 * b for a, b in zip(ours, theirs, strict=True)), (ours, theirs)
    assert sum(ours) <= sum(theirs), (ours, theirs)


def test_preconditioner_is_that_of_the_module():
    """P is the Gaussian of common/smoothing.py, then depth weights by the root of copies; <P u, v> = <u, P^T v>.

    The Gaussian is computed in float32 there, hence 1e-6.
    """
    copies = np.where(np.arange(63) < 7, 20.0, 1.0)
    preconditioner = make_preconditioner((9, 7), 1.3, 0.5, copies)
    u, v = np.random.default_rng(0).normal(size=(2, 63))
    smooth = np.asarray(gaussian_smooth(jnp.asarray(u.reshape(9, 7), jnp.float32), 1.3), np.float64)
    weights = ((np.arange(9)[:, None] + 1) / 9) ** 0.5
    assert relative(preconditioner(u), (weights * smooth).ravel() / np.sqrt(copies)) < 1e-6
    np.testing.assert_allclose(preconditioner(u) @ v, u @ preconditioner.transpose(v), rtol=1e-12)
    assert relative(preconditioner.metric(u), preconditioner(preconditioner.transpose(u))) == 0


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_first_steps_go_along_the_preconditioned_gradient(power):
    """Where only the gradient is known, a step goes along -P P^T g, and its largest change is the learning rate, unless
    the line search has lengthened it."""
    function, x = Quadratic(n=12, condition=1.0), np.zeros(12)
    preconditioner = make_preconditioner((12, 1), 1.0, power)
    settings = InversionConfig(learning_rate=0.01, cg_iterations=1)
    direction = -preconditioner.metric(function.value_and_gradient(x)[1])
    for name in SECOND_ORDER:
        step = minimize(OPTIMIZERS[name](settings, preconditioner), function, x, box(12, -9.0, 9.0), 1)[-1]["x"]
        np.testing.assert_allclose(step / np.abs(step).max(), direction / np.abs(direction).max(), atol=1e-12)
        assert np.abs(step).max() > 0.0099


@pytest.mark.parametrize("misfit", ["l2", "global_correlation"])
def test_products_are_second_derivatives(misfit, float64):
    """Gauss-Newton is J^T M J from the full Jacobian, and the Hessian's product the difference quotient of gradients.

    Float64, central differences of 1e-3 m/s: their error is about (1e-3 / 500)^2, the square of the step in scales of
    the forward model, and rounding is 1e-16 / (1e-3 / 500); 1e-8 allows for both.
    """
    forward = Toy()
    truth, x = 2500.0 + 300.0 * np.cos(np.arange(30.0)), 2500.0 + 100.0 * np.sin(np.arange(30.0))
    observed = forward(jnp.asarray(truth.reshape(6, 5)))
    weights = jnp.asarray(np.random.default_rng(1).uniform(size=(3, 1, 4)))
    objective = DataMisfit(forward, observed, weights, MISFITS[misfit], (6, 5), "float64")
    u, v = np.random.default_rng(2).normal(size=(2, 30))
    predicted, jacobian = (
        np.asarray(array)
        for array in jax.jit(lambda m: (forward(m), jax.jacfwd(forward)(m)))(jnp.asarray(x.reshape(6, 5)))
    )
    inner = jax.jit(jax.hessian(lambda d: MISFITS[misfit](d, observed, weights)))(jnp.asarray(predicted))
    jacobian, inner = jacobian.reshape(96, 30), np.asarray(inner).reshape(96, 96)
    assert relative(objective.gauss_newton_product(x, u), jacobian.T @ (inner @ (jacobian @ u))) < 1e-10
    step = 1e-3
    ahead, behind = (objective.value_and_gradient(x + sign * step * u)[1] for sign in (1, -1))
    product = objective.hessian_product(x, u)
    assert relative(product, (ahead - behind) / (2 * step)) < 1e-8
    np.testing.assert_allclose(product @ v, objective.hessian_product(x, v) @ u, rtol=1e-10)
    assert relative(product, objective.gauss_newton_product(x, u)) > 1e-3


def test_misfits_of_float32_data_are_summed_in_float64():
    """The misfit of float32 data is that of the same data in float64 to 1e-12, and derivatives have their size at any
    factor of the misfit, though float32 holds neither 1e-40 nor 1e40."""
    objective, x, _ = toy_misfit()
    d = np.asarray(objective.forward(jnp.asarray(x.reshape(6, 5), jnp.float32)), np.float64)
    o = np.asarray(objective.observed, np.float64)
    value, gradient = objective.value_and_gradient(x)
    np.testing.assert_allclose(value, ((d - o) ** 2).sum() / (o**2).sum(), rtol=1e-12)
    assert objective.value(x) == value
    u = np.random.default_rng(2).normal(size=30)
    expected = gradient, objective.hessian_product(x, u), objective.gauss_newton_product(x, u)
    for scale in (1e-40, 1e40):
        scaled = replace(objective, misfit=lambda p, o, scale=scale: scale * MISFITS["l2"](p, o))
        found = scaled.value_and_gradient(x)[1], scaled.hessian_product(x, u), scaled.gauss_newton_product(x, u)
        for ours, theirs in zip(found, expected, strict=True):
            assert relative(ours / scale, theirs) < 1e-5


@pytest.mark.parametrize("name", ["lbfgs", *SECOND_ORDER, "adam"])
def test_copies_are_cells_of_their_own(name):
    """A quadratic of ten cells, of which nine are equal, and one of two unknowns of 9 and 1 copies have the same path.

    The gradient by the first unknown is the sum of nine. To rounding of sums; Adam's epsilon, 1e-3, is in units of the
    root mean square over unknowns.
    """
    rise = np.concatenate([np.ones(9), [3.0]])
    wanted = np.concatenate([np.full(9, 2.0), [-1.0]])

    class Cells:
        shots, resolution = 1, 1e-15

        def value_and_gradient(self, x):
            return 0.5 * float(rise @ (x - wanted) ** 2), rise * (x - wanted)

        def hessian_product(self, x, direction):
            return rise * direction

        gauss_newton_product = hessian_product

    class Edge(Cells):
        def value_and_gradient(self, x):
            value, gradient = super().value_and_gradient(np.repeat(x, [9, 1]))
            return value, np.array([gradient[:9].sum(), gradient[9]])

        def hessian_product(self, x, direction):
            return np.array([9.0, 3.0]) * direction

        gauss_newton_product = hessian_product

    settings = InversionConfig(learning_rate=0.1)
    ten = minimize(OPTIMIZERS[name](settings, make_preconditioner((10, 1))), Cells(), np.zeros(10), box(10, -9, 9), 4)
    preconditioner = make_preconditioner((2, 1), copies=np.array([9.0, 1.0]))
    two = minimize(OPTIMIZERS[name](settings, preconditioner), Edge(), np.zeros(2), box(2, -9, 9), 4)
    assert len(two) == len(ten) > 1
    for one, other in zip(two, ten, strict=True):
        rounding = 1e-3 if name == "adam" else 1e-9
        np.testing.assert_allclose(np.repeat(one["x"], [9, 1]), other["x"], rtol=rounding, atol=1e-12)
