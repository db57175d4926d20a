"""The path of an inversion depends neither on the unit of its data nor on a factor of its misfit."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogate.inversion.config import InversionConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.forward import PhysicsForward, spread_sources
from surrogate.inversion.misfits.l2 import l2
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.optimizers import OPTIMIZERS
from tests.helpers import relative, tiny_config
from tests.inversion.toy import Toy

SCALES = [1e-20, 1e20]  # near the ends of float32: what another size would change, these would
START = 2500.0 + 100.0 * np.sin(np.arange(30.0)).reshape(6, 5)
TRUTH = 2500.0 + 300.0 * np.cos(np.arange(30.0)).reshape(6, 5)


def estimate(config: InversionConfig, scale: float = 1.0) -> np.ndarray:
    forward = Toy(scale)
    return invert(forward, forward(jnp.asarray(TRUTH, jnp.float32)), jnp.asarray(START), config).velocity


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "misfit",
    [
        "l2",
        pytest.param("global_correlation", marks=pytest.mark.slow),
        pytest.param("student_t", marks=pytest.mark.slow),
    ],
)
def test_data_and_wavelet_in_any_unit(misfit, optimizer):
    """Ten iterations end with the same model. Its float32 data differ by rounding, relative 6e-8, which ten steps of
    up to 20 m/s of 2500 m/s enlarge to far less than 1e-4."""
    config = InversionConfig(misfit=misfit, optimizer=optimizer, iterations=10, bounds=[1500.0, 3500.0])
    expected = estimate(config)
    assert relative(expected, START) > 1e-2
    for scale in SCALES:
        assert relative(estimate(config, scale), expected) < 1e-4, scale


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_misfit_times_a_constant(monkeypatch, optimizer):
    """The same for a factor of the misfit, from which the gradient has its size."""
    config = InversionConfig(optimizer=optimizer, iterations=10, bounds=[1500.0, 3500.0])
    expected = estimate(config)
    for scale in SCALES:
        monkeypatch.setitem(MISFITS, "l2", lambda p, o, weights=None, scale=scale: scale * l2(p, o, weights))
        assert relative(estimate(config), expected) < 1e-4, scale


@pytest.mark.parametrize("scale", [1e-20, pytest.param(1e20, marks=pytest.mark.slow)])
def test_wavelet_of_the_solver_in_any_unit(scale):
    """The same through the solver, whose adjoint fields have the inverse unit of its fields."""
    spec = tiny_config("unused").create()
    survey = spec.survey(spread_sources(spec.simulation.grid, 1, 20.0))
    truth = jnp.full(spec.simulation.grid.shape, 2500.0).at[12:].set(2900.0)
    config = InversionConfig(iterations=10)
    estimates = []
    for factor in (1.0, scale):
        forward = PhysicsForward(spec.simulation, survey._replace(wavelets=survey.wavelets * factor))
        observed = jax.jit(forward.__call__)(truth)
        estimates.append(invert(forward, observed, jnp.full_like(truth, 2600.0), config).velocity)
    assert relative(estimates[1], estimates[0]) < 1e-4


@pytest.mark.parametrize("name", MISFITS)
def test_misfits_in_any_unit(name):
    """Value and gradient (per unit) are the same at any scale that float32 holds; 1e-3 is far above rounding."""
    observed = jax.random.normal(jax.random.key(0), (2, 150, 8))
    predicted = observed + jnp.roll(observed, 1, axis=1) + jax.random.normal(jax.random.key(1), observed.shape)
    scales = jnp.array([1.0, 1e-25, 1e-16, 1e-8, 1e8, 1e16, 1e20])
    function = jax.value_and_grad(MISFITS[name])
    values, slopes = jax.jit(jax.vmap(lambda scale: function(predicted * scale, observed * scale)))(scales)
    for scale, value, slope in zip(scales[1:], values[1:], slopes[1:], strict=True):
        assert abs(value / values[0] - 1) < 1e-3, scale
        assert relative(slope * scale, slopes[0]) < 1e-3, scale


def test_first_step_of_adam_is_near_the_learning_rate():
    """Where the gradient is its root mean square or more, epsilon takes less than a hundredth of a step."""
    config = InversionConfig(iterations=1, learning_rate=10.0)
    forward = Toy(1e-6)
    start = jnp.asarray(START, jnp.float32)
    result = invert(forward, forward(jnp.asarray(TRUTH, jnp.float32)), start, replace(config, misfit="l2"))
    moved = np.abs(result.velocity - START)
    size = np.abs(result.gradient) / np.sqrt((result.gradient**2).mean())
    if result.best:
        np.testing.assert_allclose(moved[size > 1], 10.0, rtol=0.011)
