"""Regularizers: values of known models, the same on every grid, and the proximal operator's optimality."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma, kv

from data_gen.common.errors import InputError
from surrogate.inversion.regularizers.base import Regularizer
from surrogate.inversion.regularizers.gaussian_prior import GaussianPrior
from surrogate.inversion.regularizers.registry import REGULARIZERS
from surrogate.inversion.regularizers.tikhonov import FirstOrder, SecondOrder
from surrogate.inversion.regularizers.total_variation import (
    TotalVariation,
    adjoint_differences,
    differences,
    proximal_dual,
)

PRIOR = GaussianPrior(100.0, 200.0)
EVERY = {name: PRIOR if name == "gaussian_prior" else REGULARIZERS[name]() for name in REGULARIZERS}


def smooth_model(cells):
    """A model of 1000 m a side and its start, sampled at the centers of cells, even at all edges."""
    u = (np.arange(cells) + 0.5) / cells
    z, x = np.meshgrid(u, u, indexing="ij")
    change = 300.0 * np.cos(np.pi * z) * np.cos(2 * np.pi * x) + 200.0 * np.cos(3 * np.pi * z)
    return jnp.asarray(2500.0 + change), jnp.full((cells, cells), 2500.0), 1000.0 / cells


@pytest.mark.parametrize("name", EVERY)
def test_free_of_the_grid(name, float64):
    """Halving the cells changes the value of a smooth model by O(h): by half as much, or less, each time."""
    value = jax.jit(EVERY[name], static_argnums=2)
    values = [float(value(*smooth_model(cells))) for cells in (32, 64, 128, 256)]
    changes = np.abs(np.diff(values)) / values[-1]
    assert changes[0] < 0.1
    assert all(later < 0.55 * earlier + 1e-12 for earlier, later in pairwise(changes))


@pytest.mark.parametrize("name", EVERY)
def test_values_and_gradients(name, float64):
    """Zero at a constant start, positive elsewhere; gradients are those of central differences, and finite at zero."""
    regularizer = EVERY[name]
    assert isinstance(regularizer, Regularizer)
    model, start, spacing = smooth_model(16)
    evaluate = jax.jit(jax.value_and_grad(lambda v: regularizer(v, start, spacing)))
    value, slope = evaluate(start)
    assert value == 0 and not slope.any()
    value, slope = evaluate(model)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=model.shape))
    difference = evaluate(model + 1e-3 * direction)[0] - evaluate(model - 1e-3 * direction)[0]
    assert value > 0 and float(jnp.vdot(slope, direction)) == pytest.approx(float(difference) / 2e-3, rel=1e-6)


def test_tikhonov_of_known_models(float64):
    """The gradient of a slope, in all but the last row and column; second derivatives of quadratics, 0 for lines."""
    z, x = np.meshgrid(10.0 * np.arange(30), 10.0 * np.arange(40), indexing="ij")
    line = jnp.asarray(2000.0 + 0.5 * z - 1.2 * x)
    expected = 0.5**2 * 29 / 30 + 1.2**2 * 39 / 40
    assert float(jax.jit(lambda v: FirstOrder()(v, v, 10.0))(line)) == pytest.approx(expected)
    second = jax.jit(lambda v: SecondOrder()(v, v, 10.0))
    assert float(second(line)) == pytest.approx(0, abs=1e-24)
    for turned, parts in ((1e-3 * z * x, 2 * 29 * 39), (5e-4 * z**2, 28 * 40), (5e-4 * x**2, 30 * 38)):
        assert float(second(jnp.asarray(turned))) == pytest.approx(1e-6 * parts / 1200)


def test_total_variation_of_known_models(float64):
    """A slope has its gradient; an edge costs its height times its length over the area, however sharp it is."""
    variation, x = TotalVariation(1e-6), 10.0 * np.arange(100) * np.ones((80, 1))
    for width in (1.0, 200.0):
        edge = jnp.asarray(2000.0 + 500.0 * np.clip((x - 400.0) / width, 0, 1))
        assert float(variation(edge, edge, 10.0)) == pytest.approx(500.0 * 800.0 / (800.0 * 1000.0), rel=1e-4)
    z, x = np.meshgrid(10.0 * np.arange(80), 10.0 * np.arange(100), indexing="ij")
    slope = jnp.asarray(0.3 * z + 0.4 * x)
    assert float(variation(slope, slope, 10.0)) == pytest.approx(0.5, rel=0.02)


def test_differences_and_their_adjoint(float64):
    """<D u, p> = <u, D^T p>."""
    random = np.random.default_rng(0)
    u, p = random.normal(size=(7, 9)), random.normal(size=(2, 7, 9))
    forth, back = map(np.asarray, jax.jit(lambda u, p: (differences(u), adjoint_differences(p)))(u, p))
    assert np.vdot(forth, p) == pytest.approx(np.vdot(u, back))


def test_proximal_of_an_edge(float64):
    """Two layers move towards each other by w / h over their numbers of rows, and meet where that is too much."""
    upper, lower, weight, spacing = 6, 10, 900.0, 10.0
    model = jnp.concatenate([jnp.full((upper, 5), 2000.0), jnp.full((lower, 5), 2200.0)])
    proximal = jax.jit(lambda w: TotalVariation().proximal(model, w, spacing, iterations=3000))
    found, shift = proximal(weight), weight / spacing
    np.testing.assert_allclose(found[:upper], 2000.0 + shift / upper, atol=1e-3)
    np.testing.assert_allclose(found[upper:], 2200.0 - shift / lower, atol=1e-3)
    np.testing.assert_allclose(proximal(1e5), model.mean(), atol=1e-3)
    np.testing.assert_array_equal(proximal(0.0), model)


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (1900.0, 2100.0)])
def test_proximal_is_optimal(bounds, float64):
    """The dual proves it: for |p| <= limit and u = P_C(v - D^T p), nothing is better by more than the gap.

    min over C of |u - v|^2 / 2 + limit |D u| is at least that of |u - v|^2 / 2 + p D u, which u attains. Accelerated
    projected gradients leave 2 |p|^2 8 / n^2 of the dual: under 1e-3 of a start of zero after 1000 iterations.
    """
    random = np.random.default_rng(0)
    noisy = 2000.0 + 100.0 * (np.arange(24) > 11)[:, None] + 50.0 * random.normal(size=(24, 20))
    weight, spacing, iterations = 400.0, 10.0, 1000
    limit = weight / spacing

    @jax.jit
    def solve(model):
        found = TotalVariation().proximal(model, weight, spacing, low=bounds[0], high=bounds[1], iterations=iterations)
        dual = proximal_dual(model, limit, bounds[0], bounds[1], iterations)
        return found, dual, differences(found), adjoint_differences(dual)

    found, dual, steps, moved = map(np.asarray, solve(noisy))
    assert (found >= bounds[0]).all() and (found <= bounds[1]).all()
    assert np.sqrt(np.sum(dual**2, axis=0)).max() <= limit * (1 + 1e-12)
    np.testing.assert_allclose(found, np.clip(noisy - moved, *bounds), rtol=1e-12)
    roughness = limit * np.sum(np.sqrt(np.sum(steps**2, axis=0)))
    gap, objective = roughness - np.vdot(dual, steps), np.sum((found - noisy) ** 2) / 2 + roughness
    assert 0 <= gap < 1e-3 * objective
    kept = np.sum((np.clip(noisy, *bounds) - noisy) ** 2) / 2
    assert objective < 0.7 * (kept + limit * np.sum(np.abs(np.diff(np.clip(noisy, *bounds), axis=0))))


def matern(distance, prior):
    """C(r) of the module, r in meters, s at zero."""
    n = prior.smoothness
    r = np.linspace(1e-9, 60.0, 30001)
    table = prior.deviation**2 * 2 ** (1 - n) / gamma(n) * r**n * kv(n, r)
    return np.interp(np.sqrt(2 * n) * distance / prior.length, r, table)


@pytest.mark.parametrize("smoothness", [1.0, 2.0])
def test_covariance_is_that_of_matern(smoothness, float64):
    """C applied to one cell, with the mirror images of cells at half-cell edges: the formula, and positive powers add.

    The grid ends at k h = pi: with a length of 8 cells and n = 1, (1 + (pi 8)^2 / 2)^-1 = 3e-3 of the variance lies
    beyond, all of it missing at r = 0, and less with n = 2.
    """
    prior, spacing, shape = GaussianPrior(100.0, 80.0, smoothness=smoothness), 10.0, (60, 70)
    cell = (5, 30)
    impulse = np.zeros(shape)
    impulse[cell] = 1.0

    @jax.jit
    def apply(impulse):
        column, root = (prior.apply_power(impulse, power, spacing) for power in (1.0, 0.5))
        again = prior.apply_power(root, 0.5, spacing)
        value = prior(column, jnp.zeros(shape), spacing)
        return column, again, prior.apply_power(column, -1.0, spacing), value

    column, again, whole, value = map(np.asarray, apply(impulse))
    z, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    expected = np.zeros(shape)
    for period in (-1, 0, 1):
        for row in (cell[0], -1 - cell[0]):
            for across in (cell[1], -1 - cell[1]):
                for sideways in (-1, 0, 1):
                    far = np.hypot(z - row - 2 * shape[0] * period, x - across - 2 * shape[1] * sideways)
                    expected += matern(spacing * far, prior)
    np.testing.assert_allclose(column, expected, atol=4e-3 * prior.deviation**2)
    np.testing.assert_allclose(again, column, atol=1e-9 * column.max())
    np.testing.assert_allclose(whole, impulse, atol=1e-9)
    assert value == pytest.approx(column[cell] / 2)


def test_covariance_of_samples(float64):
    """Of 2000 samples: the covariance with the cell amid a model, to five standard errors sqrt((1 + rho^2) / 2000).

    And one length is longer in x than in z.
    """
    prior, spacing, shape, count = GaussianPrior(100.0, 60.0, depth_length=30.0), 10.0, (28, 32), 2000
    draw = jax.jit(jax.vmap(lambda key: prior.sample(key, shape, spacing)))
    samples = np.asarray(draw(jax.random.split(jax.random.key(0), count)))
    found = np.einsum("nzx,n->zx", samples, samples[:, 14, 16]) / count
    for reach in range(1, 6):
        for value, length in ((found[14 + reach, 16], 30.0), (found[14, 16 + reach], 60.0)):
            expected = matern(spacing * reach * 60.0 / length, prior)
            assert abs(value - expected) < (5 * np.sqrt(2 / count) + 0.01) * prior.deviation**2
    assert found[14, 16] == pytest.approx(prior.deviation**2, rel=0.17)


@pytest.mark.parametrize(("smoothness", "cells"), [(1.0, 30.0), (2.0, 10.0)])
def test_prior_in_float32(smoothness, cells, float64):
    """Values and gradients of samples on 3000 m/s are those of float64 to 1e-3.

    Rounding velocities moves them by 1e-6 of a deviation of 100 m/s, and the prior is up to (pi cells)^(n + 1) = 9e3 to
    3e4 times as stiff for short waves, in standard deviations, as for long ones.
    """
    prior, shape = GaussianPrior(100.0, 10.0 * cells, smoothness=smoothness), (48, 56)

    @jax.jit
    def slope(velocity, start):
        return jax.value_and_grad(lambda v: prior(v, start, 10.0))(velocity)

    start = np.full(shape, 3000.0)
    model = start + np.asarray(jax.jit(lambda: prior.sample(jax.random.key(0), shape, 10.0))())
    value, gradient = slope(model, start)
    single, in_single = slope(model.astype(np.float32), start.astype(np.float32))
    assert in_single.dtype == jnp.float32 and float(single) == pytest.approx(float(value), rel=1e-3)
    assert np.linalg.norm(in_single - gradient) < 1e-3 * np.linalg.norm(gradient)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TotalVariation(0.0), "positive smoothing"),
        (lambda: GaussianPrior(100.0, -1.0), "length of a Gaussian prior"),
        (lambda: GaussianPrior(100.0, 50.0, smoothness=0.0), "smoothness of a Gaussian prior"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(InputError, match=message):
        build()
