"""Preconditioners: illumination against the records that it sums, and diagonals of matrices that are known."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate, snapshot_energy
from surrogate.inversion.preconditioners.diagonal import damped_inverse, gauss_newton_diagonal, probed_diagonal
from surrogate.inversion.preconditioners.illumination import second_derivative, source_illumination, stride
from tests.helpers import relative
from tests.theory import BARE

GRID, TIME, PEAK = Grid((20, 24), 20.0), TimeAxis(201, 3e-3), 8.0
SIMULATION = Simulation(GRID, TIME, 2600.0, PEAK, widths=(8, 8, 8, 8), **BARE)
VELOCITY = jnp.asarray(2000.0 + 25.0 * np.arange(20)[:, None] * np.ones(24), jnp.float32)
SURVEY = make_survey([[20.0, 100.0], [20.0, 380.0]], np.zeros((0, 2)), ricker(TIME, PEAK))


def test_illumination_is_the_sum_of_squared_accelerations():
    """Against every snapshot's second difference in time: the same number, from a tenth of the snapshots.

    Both differences in time are the same, as the leap-frog commutes with them. Sampling at 8 peak frequencies, the
    square's mean is exact but for what the end of the record cuts off: 2 %. Wavelets in any unit, and groups of shots,
    give the same.
    """
    assert stride(SIMULATION) == 5
    found = source_illumination(VELOCITY, SURVEY, SIMULATION)
    every = replace(SIMULATION, snapshot_steps=tuple(range(TIME.nt)))
    fields = np.asarray(simulate(VELOCITY, SURVEY, every).snapshots, np.float64)
    total = np.sum(np.diff(fields, 2, axis=1) ** 2, axis=(0, 1))
    assert found.max() == 1
    assert relative(found, total / total.max()) < 0.02
    weak = SURVEY._replace(wavelets=1e-20 * SURVEY.wavelets)
    np.testing.assert_allclose(source_illumination(VELOCITY, weak, SIMULATION, together=2), found, rtol=1e-4)


def test_energy_on_the_solvers_own_cells():
    """On cells of 1.25 times the side, against squares of snapshots on the model's cells: within 3 %.

    Where waves meet, squares oscillate by half a wavelength, six of the solver's cells here; a straight line between
    two of these then errs by (pi / 6)^2 / 8 = 3 % of the oscillation at most. Near a source the field is singular.
    """
    sampled = tuple(range(0, TIME.nt, 4))
    coarse = Simulation(GRID, TIME, 2600.0, 5.0, internal_spacing=25.0, widths=(8, 8, 8, 8), snapshot_steps=sampled)
    survey = make_survey(SURVEY.sources, SURVEY.receivers, ricker(TIME, 5.0))
    found = np.asarray(snapshot_energy(VELOCITY, survey, coarse))
    expected = np.sum(np.asarray(simulate(VELOCITY, survey, coarse).snapshots) ** 2, axis=(0, 1))
    z, x = np.meshgrid(*(20.0 * np.arange(n) for n in GRID.shape), indexing="ij")
    far = np.min([np.hypot(z - source[0], x - source[1]) for source in SURVEY.sources], axis=0) > 100
    assert relative(found[far], expected[far]) < 0.03


def test_second_derivative(float64):
    """Of a cubic: 6 t, exactly, away from the ends; at rest before, and still after the end."""
    t = 0.1 * np.arange(20)
    found = np.asarray(second_derivative(jnp.asarray(t**3), 0.1))
    np.testing.assert_allclose(found[1:-1], 6 * t[1:-1], atol=1e-9)
    np.testing.assert_allclose(found[[0, -1]], [t[1] ** 3 / 0.01, (t[-2] ** 3 - t[-1] ** 3) / 0.01], rtol=1e-9)


def test_probed_diagonal(float64):
    """Of a diagonal matrix exactly, from one probe; of any matrix within five standard errors of the theory."""
    random = np.random.default_rng(0)
    entries = jnp.asarray(random.normal(size=(4, 5)))
    one = probed_diagonal(lambda x: entries * x, entries, jax.random.key(0), probes=1)
    np.testing.assert_allclose(one, entries, rtol=1e-12)
    matrix, probes = jnp.asarray(random.normal(size=(20, 20))), 400
    estimate = jax.jit(lambda key: probed_diagonal(lambda x: matrix @ x, jnp.zeros(20), key, probes=probes))
    errors = np.asarray(estimate(jax.random.key(1))) - np.diag(matrix)
    deviation = np.sqrt((np.sum(np.asarray(matrix) ** 2, axis=1) - np.diag(matrix) ** 2) / probes)
    assert (np.abs(errors) < 5 * deviation).all()
    assert 0.6 < np.sqrt(np.mean((errors / deviation) ** 2)) < 1.5


def test_gauss_newton_diagonal(float64):
    """Of a nonlinear forward model with weights: within five standard errors of J^T W^2 J; in any unit in float32.

    Errors are relative to the largest entry, whose own error divides all of them: it is taken from both.
    """
    random = np.random.default_rng(0)
    matrix = jnp.asarray(random.normal(size=(30, 12)) * np.linspace(0.2, 1.0, 12))
    weights = jnp.asarray(random.uniform(0.0, 1.0, size=30))
    model, probes = jnp.asarray(random.normal(size=12)), 400

    def forward(x, unit=1.0):
        return unit * (matrix.astype(x.dtype) @ jnp.sinh(x))

    jacobian = np.asarray(jax.jacobian(forward)(model)) * np.asarray(weights)[:, None]
    diagonal = np.sum(jacobian**2, axis=0)
    deviation = np.sqrt(2 * (diagonal**2 - np.sum(jacobian**4, axis=0)) / probes)
    estimate = jax.jit(lambda x, key: gauss_newton_diagonal(forward, x, key, weights=weights, probes=probes))
    found = np.asarray(estimate(model, jax.random.key(0)))
    assert found.max() == 1
    scaled = found * np.sum(found * diagonal / deviation**2) / np.sum((found / deviation) ** 2)
    assert (np.abs(scaled - diagonal) < 5 * deviation).all()
    single, few = (
        model.astype(jnp.float32),
        jax.jit(lambda x, unit: gauss_newton_diagonal(lambda x: forward(x, unit), x, jax.random.key(0), probes=4)),
    )
    for unit in map(np.float32, (1e-20, 1e20)):
        np.testing.assert_allclose(few(single, unit), few(single, np.float32(1)), rtol=1e-4)


def test_damped_inverse(float64):
    """Weights undo a diagonal that is far above the level, and stay within (1 + level) / level of each other."""
    diagonal = jnp.asarray(np.geomspace(1.0, 100.0, 50))
    weights, roots, silent = jax.jit(
        lambda: (
            damped_inverse(diagonal, level=1e-9),
            damped_inverse(diagonal, level=1e-9, power=0.5),
            damped_inverse(jnp.asarray([0.0, 1.0, 2.0]), level=0.1),
        )
    )()
    np.testing.assert_allclose(np.asarray(weights) * np.asarray(diagonal), diagonal[0], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(roots) ** 2, weights, rtol=1e-9)
    np.testing.assert_allclose(silent, [1.0, 0.1 / 1.1, 0.1 / 2.1], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: source_illumination(VELOCITY, SURVEY, SIMULATION, every=0), "every = 0"),
        (lambda: source_illumination(VELOCITY, SURVEY._replace(wavelets=0 * SURVEY.wavelets), SIMULATION), "zero"),
        (lambda: probed_diagonal(lambda x: x, jnp.ones(3), jax.random.key(0), probes=0), "probes = 0"),
        (lambda: gauss_newton_diagonal(lambda x: x, jnp.ones(3), jax.random.key(0), probes=0), "probes = 0"),
        (lambda: damped_inverse(jnp.ones(3), level=0.0), "level must be positive"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(InputError, match=message):
        call()
