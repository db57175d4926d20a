"""Parametrizations: bijections with the derivatives and the bounds that they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from surrogate.inversion.parametrizations.base import ModelSpace, Parametrization
from surrogate.inversion.parametrizations.elementwise import Sigmoid, Slowness, SquaredSlowness
from surrogate.inversion.parametrizations.network import CoordinateNetwork
from surrogate.inversion.parametrizations.registry import PARAMETRIZATIONS
from surrogate.inversion.parametrizations.splines import SplineGrid, spline_matrix
from tests.helpers import relative

LOW, HIGH, SHAPE = 1500.0, 4500.0, (20, 26)
ELEMENTWISE = ("velocity", "slowness", "squared_slowness", "log", "sigmoid")
SETTINGS = {"spline": {"knot_spacing": 60.0}, "network": {"length": 60.0, "width": 8, "features": 8}}


def space():
    z, x = np.meshgrid(*(np.arange(n) / n for n in SHAPE), indexing="ij")
    return ModelSpace(jnp.asarray(2000.0 + 1500.0 * z + 200.0 * np.sin(5.0 * x)), LOW, HIGH, 10.0)


def make(name):
    return PARAMETRIZATIONS[name](space(), **SETTINGS.get(name, {}))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, float64):
    """One is the inverse of the other, increases, and touches the identity once within the bounds.

    So bounds map to bounds: a model within them has unknowns within theirs, and the other way round.
    """
    parametrization = make(name)
    velocities = np.linspace(LOW + 1.0, HIGH - 1.0, 2999)

    @jax.jit
    def there_and_back(velocities):
        unknown, ends = parametrization.to_unknown(velocities), parametrization.bounds(jnp.array(LOW), jnp.array(HIGH))
        slopes = jax.vmap(jax.grad(parametrization.to_velocity))(unknown)
        return unknown, parametrization.to_velocity(unknown), slopes, ends, parametrization.to_velocity(jnp.stack(ends))

    unknown, back, slopes, (low, high), ends = jax.tree.map(np.asarray, there_and_back(velocities))
    np.testing.assert_allclose(back, velocities, rtol=1e-12)
    assert (np.diff(unknown) > 0).all()
    touching = np.argmin(np.abs(velocities - unknown) + np.abs(slopes - 1))
    assert abs(velocities - unknown)[touching] < 1e-3 and abs(slopes[touching] - 1) < 1e-3
    assert (low < unknown).all() and (unknown < high).all()
    np.testing.assert_allclose(ends, (LOW, HIGH), atol=0.31 if name == "sigmoid" else 1e-9)


def test_unknowns_are_what_they_are_called(float64):
    """Equal steps of the unknown are equal steps of slowness, and of its square."""
    unknown = jnp.linspace(2000.0, 3000.0, 5)
    for kind, power in ((Slowness, -1), (SquaredSlowness, -2)):
        steps = jnp.diff(kind(2500.0).to_velocity(unknown) ** power)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
        assert steps[0] < 0


def test_a_sigmoid_keeps_its_bounds():
    """Any number, in float32, is a velocity within the bounds; velocities at them and beyond stay finite."""
    sigmoid = Sigmoid(LOW, HIGH)
    velocities = np.asarray(jax.jit(sigmoid.to_velocity)(np.array([-1e30, -1e4, 3000.0, 1e4, 1e30], np.float32)))
    assert (velocities >= LOW).all() and (velocities <= HIGH).all() and velocities[2] == 3000.0
    there_and_back = jax.jit(lambda v: sigmoid.to_velocity(sigmoid.to_unknown(v)))
    returned = there_and_back(np.array([1400.0, LOW, HIGH, 5000.0], np.float32))
    np.testing.assert_allclose(returned, [LOW, LOW, HIGH, HIGH], atol=0.4)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_gradients(name, float64):
    """A directional derivative by the unknowns is that of central differences; the same unknowns under jit."""
    parametrization = make(name)
    assert isinstance(parametrization, Parametrization)
    network = isinstance(parametrization, CoordinateNetwork)
    start = parametrization.weights if network else parametrization.to_unknown(space().start)
    random = np.random.default_rng(0)
    direction = jnp.asarray(random.normal(size=start.shape), start.dtype)
    start, direction = start.astype(float) + 0.1 * direction, direction.astype(float)
    probe = jnp.asarray(random.normal(size=SHAPE))

    @jax.jit
    def misfit(unknown):
        return jnp.vdot(parametrization.to_velocity(unknown), probe)

    step = 1e-3
    expected = (misfit(start + step * direction) - misfit(start - step * direction)) / (2 * step)
    found = jnp.vdot(jax.jit(jax.grad(misfit))(start), direction)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_splines(float64):
    """They hold cubic polynomials, are positive and add up to one; coefficients come back from their model."""
    grid = make("spline")
    assert isinstance(grid, SplineGrid)
    for matrix in (grid.rows, grid.columns):
        assert (matrix >= 0).all()
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-12)
    assert grid.rows.shape == (20, 3 + 3) and grid.columns.shape == (26, 4 + 3)
    z, x = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in SHAPE), indexing="ij")
    cubic = jnp.asarray(2500.0 + 400.0 * z**3 - 300.0 * x**3 * z + 200.0 * x**2)
    np.testing.assert_allclose(grid.to_velocity(grid.to_unknown(cubic)), cubic, rtol=1e-12)
    coefficients = jnp.asarray(np.random.default_rng(0).uniform(LOW, HIGH, size=(6, 7)))
    model = grid.to_velocity(coefficients)
    np.testing.assert_allclose(grid.to_unknown(model), coefficients, rtol=1e-9)
    assert (model >= LOW).all() and (model <= HIGH).all()


def test_bounds_of_splines(float64):
    """Models keep bounds that differ from cell to cell if their coefficients keep theirs, in slowness, too.

    Cells that are held fixed do not count.
    """
    rows = np.arange(SHAPE[0])[:, None] * np.ones(SHAPE)
    low, high, held = np.where(rows < 10, LOW, 2500.0), np.full(SHAPE, HIGH), rows < 4
    for inner in (None, Slowness(2500.0)):
        grid = SplineGrid.create(space(), knot_spacing=60.0, inner=inner)

        @jax.jit
        def between(low, high, grid=grid):
            lowest, highest = grid.bounds(low, high)
            return lowest, [grid.to_velocity(lowest + part * (highest - lowest)) for part in (0.0, 0.3, 1.0)]

        models = jax.tree.map(np.asarray, between(low, high)[1])
        for model in models:
            assert (model >= low - 1e-6).all() and (model <= high + 1e-6).all()
        assert models[0].min() == pytest.approx(LOW)
        if inner is None:
            lowest, _ = between(np.where(held, 1000.0, low), np.where(held, 1000.0, high))
            assert np.asarray(lowest).min() == pytest.approx(LOW)


def test_a_network_starts_from_the_start():
    """To the bit, and its weights come back; it fits a smooth change of the start to a tenth.

    A change that is as wide as the network's features: a Gaussian of 60 m.
    """
    network = make("network")
    assert isinstance(network, CoordinateNetwork)
    start = space().start
    np.testing.assert_array_equal(network.to_velocity(network.weights), start)
    z, x = np.meshgrid(*(10.0 * np.arange(n) for n in SHAPE), indexing="ij")
    change = jnp.asarray(300.0 * np.exp(-((z - 90.0) ** 2 + (x - 120.0) ** 2) / (2 * 60.0**2)), jnp.float32)
    fit = jax.jit(network.to_unknown)
    np.testing.assert_array_equal(fit(start), network.weights)
    assert relative(network.to_velocity(fit(start + change)) - start, change) < 0.1
    low, high = network.bounds(start, start)
    assert low.shape == network.weights.shape and (low == -jnp.inf).all() and (high == jnp.inf).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Slowness(-1.0), "reference velocity"),
        (lambda: Sigmoid(3.0, 2.0), "ascend"),
        (lambda: spline_matrix(10, 10.0, 5.0), "Take knots farther apart"),
        (lambda: spline_matrix(10, 10.0, 0.0), "Take knots farther apart"),
        (lambda: CoordinateNetwork.create(space(), length=0.0), "positive length"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(InputError, match=message):
        build()
