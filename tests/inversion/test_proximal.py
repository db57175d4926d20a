"""Proximal L-BFGS: certified minima of misfits with total variation, descent, scale, resume, and what it refuses."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.corrected.stages import check_corrected
from surrogate.inversion.descent import invert
from surrogate.inversion.optimizers import OPTIMIZERS
from surrogate.inversion.optimizers.precondition import make_preconditioner
from surrogate.inversion.optimizers.proximal_step import flat_curvature, pairs_curvature, proximal_step
from surrogate.inversion.regularizers.proximal import ProximalTotalVariation
from surrogate.inversion.regularizers.total_variation import (
    TotalVariation,
    adjoint_differences,
    differences,
    proximal_dual,
)
from tests.helpers import relative
from tests.inversion.functions import Function, Quadratic, Rosenbrock, box
from tests.inversion.test_batches import ToyShots

SHAPE = (6, 5)


@dataclass
class Denoise(Function):
    """The identity for a forward model: |x - noisy|^2 / 2."""

    noisy: Any = None

    def residual(self, x):
        return x - self.noisy

    def jacobian(self, x):
        return np.eye(len(x))


@dataclass
class Composite:
    """A function with total variation."""

    function: Function
    nonsmooth: ProximalTotalVariation

    shots = 1

    @property
    def resolution(self):
        return self.function.resolution

    def value_and_gradient(self, x):
        return self.function.value_and_gradient(x)


def variation(weight, shape=SHAPE):
    """`weight` times the sum of |D x|."""
    return ProximalTotalVariation(weight * np.prod(shape), shape, 1.0)


def minimize(objective, x, bounds, iterations, rate=0.1, depth_power=0.0):
    """The states from the start to the last accepted iteration."""
    preconditioner = make_preconditioner((len(x), 1), 0.0, depth_power)
    optimizer = OPTIMIZERS["proximal_lbfgs"](InversionConfig(learning_rate=rate), preconditioner)
    states = [optimizer.start(objective, x, bounds)]
    while not states[-1]["done"] and len(states) <= iterations:
        states.append(optimizer.step(objective, states[-1], bounds))
    return states


def composite(objective, state):
    return float(state["value"]) + objective.nonsmooth.value(state["x"])


def test_curvature_is_that_of_bfgs():
    """B and its inverse are those of the updates one by one, with weights and pairs of condition 100: 1e-10."""
    function, random = Quadratic(n=12, condition=100.0), np.random.default_rng(1)
    steps = random.normal(size=(5, 12))
    changes = steps @ function.root.T @ function.root
    weights = np.linspace(0.3, 1.0, 12)
    dense = np.diag(weights**-2) * np.sum((weights * changes[-1]) ** 2) / (steps[-1] @ changes[-1])
    for s, y in zip(steps, changes, strict=True):
        dense += np.outer(y, y) / (s @ y) - np.outer(dense @ s, dense @ s) / (s @ dense @ s)
    for scale in (1.0, 1e-30, 1e30):
        curvature, vector = pairs_curvature(steps, scale * changes, weights), random.normal(size=12)
        forth = curvature.apply(lambda c: c, vector / weights) / weights
        back = weights * curvature.apply(lambda c: 1 / c, weights * vector)
        assert relative(forth, scale * dense @ vector) < 1e-10
        assert relative(back, np.linalg.solve(scale * dense, vector)) < 1e-10


def test_a_step_minimizes_its_model():
    """One step from b I is the proximal operator of the gradient step, to the tenth of its decrease that is allowed."""
    random = np.random.default_rng(0)
    x, gradient, bounds, tv = *random.normal(size=(2, 30)), box(30, -0.8, 1.0), variation(0.3)
    x = bounds.clip(x)
    curvature = flat_curvature(2.0, np.ones(30))
    found = proximal_step(x, gradient, curvature, tv, bounds, 0.0)
    best = denoised(x - gradient / 2, 0.3 / 2, bounds, SHAPE)

    def value(u):
        return gradient @ (u - x) + np.sum((u - x) ** 2) + tv.value(u)

    assert value(best) - 1e-9 <= value(found) <= value(best) + 0.1 * (value(x) - value(best))


def denoised(noisy, limit, bounds, shape):
    """The minimum of |u - noisy|^2 / 2 + limit sum |D u| within bounds."""
    with jax.enable_x64(True):
        parts = [jnp.asarray(part).reshape(shape) for part in (noisy, *bounds)]
        solve = jax.jit(partial(TotalVariation().proximal, spacing=1.0, iterations=5000))
        return np.asarray(solve(parts[0], limit, low=parts[1], high=parts[2])).ravel()


def test_denoising_of_an_edge():
    """Two layers move towards each other by the weight over their numbers of rows: the exact solution in 1-D.

    The end is where no decrease is left that rounding would show, 1e-15 of J = 2e4: a distance of sqrt(4e-11) = 6e-6.
    """
    noisy = np.repeat([2000.0, 2200.0], [6, 10])
    objective = Composite(Denoise(noisy=noisy), variation(90.0, (16, 1)))
    states = minimize(objective, np.full(16, 2050.0), box(16, 1500.0, 3000.0), 100, rate=20.0)
    expected = np.repeat([2000.0 + 90.0 / 6, 2200.0 - 90.0 / 10], [6, 10])
    assert states[-1]["done"]
    np.testing.assert_allclose(states[-1]["x"], expected, atol=1e-4)


@pytest.mark.parametrize("reach", [np.inf, 30.0])
def test_denoising_is_certified_by_the_dual(reach):
    """The dual bounds the minimum from below: the composite is within 1e-6 of it, in parts of its decrease.

    |u - n|^2 / 2 + p D u over the bounds is least at u = P_C(n - D^T p), for any |p| <= limit.
    """
    random, shape, limit = np.random.default_rng(0), (12, 10), 15.0
    noisy = (2000.0 + 100.0 * (np.arange(12) > 5)[:, None] + 40.0 * random.normal(size=shape)).ravel()
    bounds = box(120, 2050.0 - reach, 2050.0 + reach)
    objective = Composite(Denoise(noisy=noisy, resolution=1e-9), variation(limit, shape))
    states = minimize(objective, np.full(120, 2050.0), bounds, 8, rate=20.0)
    with jax.enable_x64(True):
        model, low, high = (vector.reshape(shape) for vector in (noisy, *bounds))
        dual = jax.jit(proximal_dual, static_argnums=4)(model, limit, low, high, 5000)
        assert float(jnp.linalg.norm(dual, axis=0).max()) <= limit * (1 + 1e-12)
        least = jnp.clip(model - adjoint_differences(dual), low, high)
        bound = float(jnp.sum((least - model) ** 2) / 2 + jnp.vdot(dual, differences(least)))
    first, last = (composite(objective, state) for state in (states[0], states[-1]))
    assert -1e-9 * first < last - bound < 1e-6 * (first - bound)
    if reach < np.inf:
        assert {2050.0 - reach, 2050.0 + reach} <= set(states[-1]["x"])


@pytest.mark.parametrize("depth_power", [0.0, 0.5])
def test_the_condition_for_a_minimum(depth_power):
    """x = prox(x - g / L) at the minimum of an ill-conditioned quadratic, with bounds and a value held fixed.

    Weights change the way, and not the minimum.
    """
    function, bounds, weight = Quadratic(n=30), box(30, -0.8, 1.0), 10.0
    bounds.low[3] = bounds.high[3] = 0.3
    objective, x = Composite(function, variation(weight)), np.full(30, 0.3)
    x[0] = 0.0

    def miss(x):
        step = 1 / function.condition
        gradient = function.value_and_gradient(x)[1]
        return np.abs(denoised(x - step * gradient, step * weight, bounds, SHAPE) - x).max()

    found = minimize(objective, x, bounds, 400, depth_power=depth_power)[-1]["x"]
    assert (found >= bounds.low).all() and (found <= bounds.high).all() and found[3] == 0.3
    assert (found == -0.8).any() or (found == 1.0).any()
    steps = np.diff(found.reshape(SHAPE), axis=0)
    assert (np.abs(steps) < 1e-6).any() and (np.abs(steps) > 1e-2).any()  # parts that are constant, and edges
    assert miss(found) < 1e-5 * miss(x)


def test_the_composite_falls():
    """On Rosenbrock's function, which is not convex, the sum falls in each iteration, though not each of its parts."""
    objective = Composite(Rosenbrock(n=10), variation(0.5, (10, 1)))
    states = minimize(objective, np.where(np.arange(10) % 2, 1.0, -1.2), box(10, -2.0, 1.5), 200)
    sums = [composite(objective, state) for state in states]
    assert len(states) > 10 and np.diff(sums).max() <= 0 and np.diff([float(s["value"]) for s in states]).max() > 0


def test_a_factor_changes_nothing():
    """A factor of misfit and weight: the same point after 12 iterations, but for rounding that grows to 1e-9."""
    paths = []
    for factor in (1.0, 1e-20, 1e20):
        objective = Composite(Rosenbrock(n=10, factor=factor), variation(0.5 * factor, (10, 1)))
        paths.append(minimize(objective, np.where(np.arange(10) % 2, 1.0, -1.2), box(10, -2.0, 1.5), 12)[-1]["x"])
    for path in paths[1:]:
        assert relative(path, paths[0]) < 1e-9


def test_a_flat_misfit_still_lets_total_variation_fall():
    """At the data themselves the gradient is zero: the first step has a length from total variation alone."""
    noisy = 2000.0 + 50.0 * np.random.default_rng(0).normal(size=30)
    objective, bounds = Composite(Denoise(noisy=noisy), variation(10.0)), box(30, 1500.0, 3000.0)
    states = minimize(objective, noisy, bounds, 60, rate=20.0)
    assert np.abs(states[1]["x"] - noisy).max() <= 20.0 * (1 + 1e-12)
    np.testing.assert_allclose(states[-1]["x"], denoised(noisy, 10.0, bounds, SHAPE), atol=1e-3)
    flat = Composite(Denoise(noisy=np.full(30, 2000.0)), variation(10.0))
    assert minimize(flat, np.full(30, 2000.0), bounds, 1)[-1]["done"]


def test_smoothed_total_variation_has_the_same_minimum_in_the_limit():
    """Smoothing by e lowers TV by e at most, so its minimum is within w e of the minimum of the exact sum.

    |g| - e <= g^2 / (sqrt(g^2 + e^2) + e) <= |g|.
    """
    function, bounds, weight = Quadratic(n=30, condition=30.0), box(30, -0.8, 1.0), 30.0
    tv = ProximalTotalVariation(weight, SHAPE, 1.0)
    least = composite(Composite(function, tv), minimize(Composite(function, tv), np.zeros(30), bounds, 300)[-1])
    excess = []
    for smoothing in (0.3, 0.03, 0.003):

        class Smoothed:
            shots, resolution = 1, 1e-15
            value_and_gradient = staticmethod(smoothed(function, weight, smoothing))

        optimizer = OPTIMIZERS["lbfgs"](InversionConfig(learning_rate=0.1), make_preconditioner((30, 1)))
        state = optimizer.start(Smoothed(), np.zeros(30), bounds)
        while not state["done"] and state["iteration"] < 500:
            state = optimizer.step(Smoothed(), state, bounds)
        excess.append(function.value(state["x"]) + tv.value(state["x"]) - least)
        assert -1e-7 * least < excess[-1] <= weight * smoothing
    assert excess[2] < 0.1 * excess[0]


def smoothed(function, weight, smoothing):
    """The function with smoothed total variation, whose value and gradient JAX gives."""
    measure = TotalVariation(smoothing)
    penalty = jax.jit(jax.value_and_grad(lambda x: weight * measure(x.reshape(SHAPE), x.reshape(SHAPE), 1.0)))

    def value_and_gradient(x):
        value, gradient = function.value_and_gradient(x)
        with jax.enable_x64(True):
            more, slope = penalty(x)
        return value + float(more), gradient + np.asarray(slope)

    return value_and_gradient


START = 2500.0 + 100.0 * np.sin(np.arange(30.0)).reshape(SHAPE)
TRUTH = 2500.0 + 300.0 * (np.arange(6) > 2)[:, None] * np.ones(5)
WEIGHT = 1e-2


def inversion(scale=1.0, iterations=10, batch=None, **changes):
    """A toy inversion with total variation and a smooth regularizer; its first row is held fixed."""
    forward = ToyShots(scale)
    observed = forward(jnp.asarray(TRUTH, jnp.float32))
    held = np.zeros(SHAPE, bool)
    held[0] = True
    config = InversionConfig(
        optimizer="proximal_lbfgs",
        iterations=iterations,
        batch=batch,
        check_every=1,
        bounds=[2400.0, 2750.0],
        regularizers={"total_variation": {"weight": WEIGHT}, "distance": {"weight": 1e-12}},
    )
    return invert(forward, observed, jnp.asarray(START), config, spacing=10.0, fixed=held, **changes)


def test_an_inversion():
    """What the history says of total variation is its exact value and that of the smooth regularizer. The sum falls.

    Where rounding hides the difference of two misfits, it is taken from gradients: a rise of 1.2e-7 may be seen.
    """
    result = inversion(iterations=30)
    tv, model = ProximalTotalVariation(WEIGHT, SHAPE, 10.0), np.asarray(result.velocity, float)
    distance = 1e-12 * np.mean((model - START) ** 2)
    assert result.penalty[result.best] == pytest.approx(tv.value(model.ravel()) + distance, rel=1e-6)
    assert np.diff(result.misfit + result.penalty).max() <= 1.2e-7 * result.misfit[-1]
    np.testing.assert_array_equal(model[0], np.asarray(START, np.float32)[0])
    assert model[1:].min() >= 2400.0 and (model[1:] == 2750.0).any()


def test_an_inversion_in_any_unit():
    """As for the other optimizers (test_scale.py), with total variation."""
    expected = inversion().velocity
    for scale in (1e-20, 1e20):
        assert relative(inversion(scale).velocity, expected) < 1e-4


@pytest.mark.parametrize("batch", [None, 2])
def test_an_interrupted_inversion_ends_with_the_same_bits(batch, tmp_path, monkeypatch):
    """Killed within a stage and resumed, with total variation, and with other shots in each iteration."""
    monkeypatch.setattr("surrogate.inversion.descent.STORE_EVERY", 0.0)
    whole, path = inversion(batch=batch), tmp_path / "progress.npz"

    def killed(iteration, values):
        if iteration == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inversion(batch=batch, resume=path, on_progress=killed)
    assert (whole.true_misfit + whole.penalty)[whole.best] < 0.7 * (whole.true_misfit + whole.penalty)[0]
    for name, value in inversion(batch=batch, resume=path)._asdict().items():
        np.testing.assert_array_equal(value, getattr(whole, name), err_msg=name)


def test_refusals():
    """What does not go with the proximal operator is refused in one paragraph that names it."""
    changes: dict[str, Any] = {
        "parametrization": "slowness",
        "gradient_smoothing": 1.0,
    }
    for name, value in changes.items():
        with pytest.raises(InputError, match=f"in a velocity model, but is given inversion.{name}={value}"):
            InversionConfig(optimizer="proximal_lbfgs", **{name: value}).check()
    with pytest.raises(InputError, match="does not smooth gradients"):
        OPTIMIZERS["proximal_lbfgs"](InversionConfig(), make_preconditioner(SHAPE, 1.0))
    with pytest.raises(InputError, match="forward=corrected minimizes by"):
        check_corrected(InversionConfig(optimizer="proximal_lbfgs"), ToyShots())
