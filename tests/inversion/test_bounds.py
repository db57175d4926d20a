"""Bounds of an inversion: they are minima with bounds, cells leave them again, and fixed cells never move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from data_gen.common.errors import InputError
from surrogate.inversion.bounds import Bounds, make_bounds
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.descent import invert, starting_model
from surrogate.inversion.optimizers import OPTIMIZERS, PROXIMAL
from surrogate.inversion.optimizers.precondition import make_preconditioner
from tests.inversion.toy import Toy


class Compiled:
    """A misfit of float32 models as an objective, compiled, with its exact products."""

    shots, resolution = 1, 1.2e-7

    def __init__(self, misfit):
        self.gradient = jax.jit(jax.value_and_grad(misfit))
        self.product = jax.jit(lambda model, change: jax.jvp(jax.grad(misfit), (model,), (change,))[1])

    def value_and_gradient(self, x):
        value, gradient = self.gradient(jnp.asarray(x, jnp.float32))
        return float(value), np.asarray(gradient, np.float64)

    def hessian_product(self, x, direction):
        return np.asarray(self.product(*(jnp.asarray(v, jnp.float32) for v in (x, direction))), np.float64)

    gauss_newton_product = hessian_product  # the same for a quadratic


def minimize(optimizer: str, objective, start, bounds: Bounds, **settings) -> list[np.ndarray]:
    """The start and the model after each iteration."""
    config = InversionConfig(optimizer=optimizer, **settings)
    method = OPTIMIZERS[optimizer](config, make_preconditioner((len(start), 1)))
    states = [method.start(objective, np.asarray(start, np.float64), bounds)]
    for _ in range(config.iterations):
        states.append(method.step(objective, states[-1], bounds))
    return [state["x"] for state in states]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_minimum_with_active_bounds(optimizer):
    """A quadratic with coupled cells, whose minimum with bounds has cells at both of them: SciPy's L-BFGS-B knows it.

    All end within float32, Adam within two of its steps.
    """
    random = np.random.default_rng(0)
    root = random.normal(size=(20, 20)) + 3.0 * np.eye(20)
    matrix, target = jnp.asarray(root @ root.T / 20), 2000.0 + 10.0 * jnp.asarray(random.normal(size=20))

    def misfit(velocity):
        difference = velocity - target
        return difference @ matrix @ difference

    start, box = np.full(20, 2000.0), [(1995.0, 2006.0)] * 20
    bounds = make_bounds(1995.0, 2006.0, start)

    def in_double(x):
        difference = x - np.asarray(target, np.float64)
        return difference @ np.asarray(matrix) @ difference, 2 * np.asarray(matrix) @ difference

    expected = scipy.optimize.minimize(in_double, start, jac=True, method="L-BFGS-B", bounds=box)
    assert 3 < ((expected.x == 1995.0) | (expected.x == 2006.0)).sum() < 17
    settings = {"iterations": 400, "learning_rate": 0.1} if optimizer == "adam" else {"learning_rate": 2.0}
    found = minimize(optimizer, Compiled(misfit), start, bounds, **settings)[-1]
    np.testing.assert_allclose(found, expected.x, atol=0.2 if optimizer == "adam" else 0.05)


def test_adam_leaves_a_bound_at_once():
    """After 50 gradients that lead out, the first that leads in moves the cell: the outward ones left no momentum."""
    gradients = [np.full(4, 1.0)] * 50 + [np.full(4, -1.0)] * 3

    class Given(Compiled):
        def value_and_gradient(self, x):
            return 1.0, gradients.pop(0)

    start = np.full(4, 2000.0)
    bounds = make_bounds(1990.0, 2500.0, start)
    models = minimize("adam", Given(jnp.sum), start, bounds, iterations=52, learning_rate=5.0)
    np.testing.assert_array_equal(models[50], 1990.0)
    assert (models[51] > 1990.0).all()


@pytest.mark.parametrize(
    ("optimizer", "smoothing"), [(name, s) for name in OPTIMIZERS for s in (0.0, 1.0) if not (s and name in PROXIMAL)]
)
def test_fixed_cells_keep_their_velocity(optimizer, smoothing):
    """Rows and cells that are held fixed keep the start to the bit, even outside the bounds; all others are fitted."""
    truth = jnp.asarray(2500.0 + 200.0 * np.cos(np.arange(30.0)).reshape(6, 5), jnp.float32)
    truth = truth.at[:2].set(1480.0)
    forward, mask = Toy(), np.zeros((6, 5), bool)
    mask[4, 2] = True
    config = InversionConfig(
        optimizer=optimizer, iterations=30, smoothing=2.0, fixed_rows=2, gradient_smoothing=smoothing
    )
    start = starting_model(config, truth)
    np.testing.assert_array_equal(start[:2], 1480.0)
    result = invert(forward, forward(truth), start, config, truth=truth, fixed=mask)
    np.testing.assert_array_equal(result.velocity[:2], 1480.0)
    assert result.velocity[4, 2] == start[4, 2]
    assert (result.velocity[2:] != start[2:]).sum() == 19
    assert result.misfit[result.best] < 0.1 * result.misfit[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": np.ones((6, 5), bool)}, "All cells of the model are held fixed"),
        ({"fixed": np.ones((5, 6), bool)}, r"model's shape \(6, 5\), but has the shape \(5, 6\)"),
        ({"fixed": np.ones((6, 5))}, "type float64"),
        ({"truth": np.full((6, 5), 1480.0)}, r"true model leaves inversion.bounds = \[1500, 4500\] m/s in 30"),
    ],
)
def test_bad_masks_and_true_models(options, message):
    forward, start = Toy(), jnp.full((6, 5), 2400.0)
    with pytest.raises(InputError, match=message):
        invert(forward, forward(start), start, InversionConfig(iterations=1), **options)
