"""What the solver's grid gets of a model: constant cells, samples of a band-limited function, densities, bounds."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.medium import LEAST_DENSITY, project_medium
from data_gen.solver.problem.simulation import OVERSHOOT, Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE

TIME = TimeAxis(201, 1e-3)
POINTS = np.array([[80.0, 150.0], [200.0, 60.0]])


def blocks(cells=24, of=3, low=1800.0, high=3600.0):
    """Blocks of equal cells, of random velocities [m/s]."""
    values = np.random.default_rng(1).uniform(low, high, (cells // of, cells // of))
    return np.kron(values, np.ones((of, of)))


def problem(cells=24, **options):
    grid = Grid((cells, cells), 10.0)
    return Simulation(grid, TIME, 3600.0, 15.0, 8, (12, 12, 12, 12), snapshot_steps=(140, 200), **options)


def shoot(velocity, simulation, shift=0.0):
    survey = make_survey([[120.0 + shift, 100.0 + shift]], POINTS + shift, ricker(simulation.time, 15.0))
    return simulate(velocity, survey, simulation)


def test_constant_cells_are_cells_of_five_by_five():
    """Cells replicated five times, bare leap-frog at a seventh of the step: its own error is below 1e-3 of the field.

    The cells' series errs by about as little; samples, the reading of the bare leap-frog, by the blocks' corners.
    """
    velocity, simulation = blocks(), problem()
    fine = replace(
        simulation, grid=Grid((120, 120), 2.0), widths=(60, 60, 60, 60), substeps=5, snapshot_steps=(140, 200), **BARE
    )
    expected = shoot(np.kron(velocity, np.ones((5, 5))), fine, shift=4.0)
    expected = expected._replace(snapshots=expected.snapshots[..., 2::5, 2::5])
    cells, samples = (shoot(velocity, replace(simulation, medium=medium)) for medium in ("cells", "samples"))
    assert relative(cells.snapshots, expected.snapshots) < 2e-3
    assert relative(cells.gathers, expected.gathers) < 2e-3
    assert relative(samples.gathers, expected.gathers) > 4 * relative(cells.gathers, expected.gathers)


def test_samples_stand_for_a_band_limited_function():
    """A smooth model on 10 m and the same function on 5 m: equal up to the error of the differences, 1e-3."""

    def model(spacing, cells):
        z, x = np.meshgrid(*(np.arange(cells) * spacing,) * 2, indexing="ij")
        return 2500.0 + 500.0 * np.cos(2 * np.pi * z / 160.0) * np.cos(2 * np.pi * x / 120.0)

    coarse = problem(medium="samples")
    fine = replace(coarse, grid=Grid((47, 47), 5.0), widths=(24, 24, 24, 24))
    ours, theirs = shoot(model(10.0, 24), coarse), shoot(model(5.0, 47), fine)
    assert relative(ours.gathers, theirs.gathers) < 2e-3
    assert relative(ours.snapshots, theirs.snapshots[..., ::2, ::2]) < 2e-3


@pytest.mark.parametrize("spacing", [None, 14.0])
def test_the_projection_is_linear_and_its_gradient_is_the_transpose(spacing, float64):
    """In 1 / v^2, away from the bound: superposition and <P m, y> = <m, P^T y> to rounding."""
    simulation = problem(internal_spacing=spacing)

    def compressibility(slowness):
        return 1 / project_medium(slowness**-0.5, None, simulation).stiffness

    first, second = (jnp.asarray(blocks(low=low, high=3000.0)) ** -2.0 for low in (1800.0, 2400.0))
    both = compressibility(0.3 * first + 0.7 * second)
    assert relative(both, 0.3 * compressibility(first) + 0.7 * compressibility(second)) < 1e-12
    out, transposed = jax.vjp(compressibility, first)
    weights = jax.random.normal(jax.random.key(0), out.shape)
    left, right = jnp.vdot(weights, compressibility(second)), jnp.vdot(transposed(weights)[0], second)
    assert abs(left - right) < 1e-12 * jnp.linalg.norm(weights) * jnp.linalg.norm(out)


def test_bounds():
    """Salt in water overshoots on larger cells: velocities stay below the bound, buoyancies within theirs."""
    velocity = np.where(blocks(of=8) > 2700.0, 3600.0, 1500.0)
    simulation = problem(internal_spacing=17.0)
    medium = project_medium(jnp.asarray(velocity), None, simulation)
    fastest = np.sqrt(np.max(medium.stiffness)) / simulation.step_length
    assert fastest <= 3600.0 * OVERSHOOT * (1 + 1e-6)
    density = np.where(velocity > 2000.0, 2500.0, 1.0)
    dense = project_medium(jnp.asarray(velocity), jnp.asarray(density), simulation)
    assert dense.buoyancy is not None
    for buoyancy in dense.buoyancy:
        assert buoyancy.min() >= LEAST_DENSITY / 2500.0 * (1 - 1e-6)
        # 1 / density is at most 1 / (LEAST_DENSITY 1.0), and its own series overshoots by less than a half.
        assert buoyancy.max() < 1.5 / LEAST_DENSITY


def test_long_waves_find_the_model_where_the_bound_acts(float64):
    """Salt in water on larger cells: what the bound adds to long waves is less than half of what it does alone."""
    velocity = jnp.asarray(np.where(blocks(of=8) > 2700.0, 3600.0, 1500.0))
    simulation = problem(internal_spacing=17.0)
    loose = replace(simulation, max_velocity=2e4)
    series = (loose.step_length**2) / project_medium(velocity, None, loose).stiffness
    found = (simulation.step_length**2) / project_medium(velocity, None, simulation).stiffness
    bounded = jnp.maximum(series, simulation.fastest**-2)
    assert jnp.sum(bounded - series) > 0

    def long_waves(values):
        """The half of the cosines along each axis that is longer."""
        coefficients = np.asarray(scipy.fft.dctn(np.asarray(values), norm="ortho"))
        return np.linalg.norm(coefficients[: values.shape[0] // 2, : values.shape[1] // 2])

    assert long_waves(found - series) < long_waves(bounded - series) / 2


def test_derivatives_where_the_bound_acts(float64):
    """Those of what the bound leaves: equal to central differences, as no value lies at the bound itself.

    Differences of 0.1 m/s err by their third derivative, 1e-9 of the value, and by rounding, 1e-11 of it, over
    0.1 / 3000: 1e-6. A gradient and a tangent are one number to rounding.
    """
    salt = jnp.asarray(np.where(blocks(of=8) > 2700.0, 3500.0, 1500.0))
    velocity = salt + 50.0 * jax.random.uniform(jax.random.key(0), salt.shape)
    direction = jax.random.normal(jax.random.key(1), salt.shape)
    simulation = replace(problem(internal_spacing=17.0), time=TimeAxis(81, 1e-3), snapshot_steps=(80,))
    loose = replace(simulation, max_velocity=2e4)
    series = loose.step_length**2 / project_medium(velocity, None, loose).stiffness
    assert jnp.sum(series < simulation.fastest**-2) > 10

    @jax.jit
    def misfit(velocity):
        records = shoot(velocity, simulation)
        return jnp.sum(records.gathers**2) + jnp.sum(jnp.sin(records.snapshots))

    @jax.jit
    def derivatives(velocity):
        return jax.jvp(misfit, (velocity,), (direction,))[1], jax.grad(misfit)(velocity)

    step = 0.1
    difference = (misfit(velocity + step * direction) - misfit(velocity - step * direction)) / (2 * step)
    along, gradient = derivatives(velocity)
    assert abs(along - difference) < 1e-6 * abs(along)
    assert abs(jnp.vdot(gradient, direction) - along) < 1e-10 * abs(along)


def test_a_constant_model_stays_constant(float64):
    """On any cells, with any density, to rounding."""
    for spacing in (None, 7.0, 23.0):
        simulation = problem(internal_spacing=spacing)
        flat = jnp.full((24, 24), 2000.0)
        medium = project_medium(flat, flat, simulation)
        step = replace(simulation, staggered=True).step_length
        assert relative(medium.stiffness, jnp.full_like(medium.stiffness, 2000.0**3 * step**2)) < 1e-12
        assert medium.buoyancy is not None
        for buoyancy in medium.buoyancy:
            assert relative(buoyancy, jnp.full_like(buoyancy, 1 / 2000.0)) < 1e-12
