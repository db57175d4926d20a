"""A grid of the solver's own: any spacing, with layers, walls or a free surface; records stay on the user's grid."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.discretization import discretize, lines
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.reference import converged, errors_against_wave_equation, relative_errors
from data_gen.solver.simulator import simulate
from tests.helpers import relative

GRID, TIME = Grid((24, 27), 10.0), TimeAxis(221, 1e-3)
SIDES = {
    "layers": {"widths": (12, 12, 12, 12)},
    "free surface": {"widths": (0, 12, 12, 12), "free_surface": True},
    "walls": {"widths": (0, 0, 12, 12)},
}


def problem(sides="layers", **options):
    return Simulation(GRID, TIME, 3200.0, 15.0, 8, snapshot_steps=(150, 220), **SIDES[sides] | options)


def rough():
    model = np.random.default_rng(0).uniform(1800.0, 3200.0, (8, 9))
    return np.kron(model, np.ones((3, 3)))


SURVEY = make_survey([[110.0, 130.0]], [[40.0, 60.0], [180.0, 200.0]], ricker(TIME, 15.0))


@pytest.mark.parametrize("sides", list(SIDES))
def test_errors_against_the_wave_equation(sides):
    """15 Hz, 1800 m/s: 2e-3 on cells of 10 m, 3 % on cells of 15 m (16 m between walls), in gathers and snapshots."""
    velocity, simulation = rough(), problem(sides)
    reference = simulate(velocity, SURVEY, converged(simulation))
    coarse = replace(simulation, internal_spacing=16.0 if sides == "walls" else 15.0, order=12)
    for run, bound in ((simulation, 2e-3), (coarse, 3e-2)):
        errors = relative_errors(simulate(velocity, SURVEY, run), reference)
        assert max(errors.gathers[0], errors.snapshots[0]) < bound, errors


def test_refinements_agree():
    """Three and five cells for one: the reference is converged to 2e-4 where the solver errs by 1e-3."""
    three, five = (errors_against_wave_equation(rough(), SURVEY, problem(), refinement=n) for n in (3, 5))
    for a, b in zip((three.gathers, three.snapshots), (five.gathers, five.snapshots), strict=True):
        assert abs(a - b).max() < 2e-4
    assert np.isnan(three.harmonic).all()
    with pytest.raises(InputError, match="odd number"):
        converged(problem(), 2)


def test_the_solvers_cells_cover_the_grid():
    """Between layers anywhere, half a cell from a wall, on a free surface with the first row."""
    rows, columns = lines(problem("free surface", internal_spacing=14.3))
    assert rows.start == 0 and rows.solved_centers[0] == 0
    assert rows.solved_centers[rows.solved - 1] + 7.15 >= GRID.extent[0] + 5.0
    low, high = columns.layers
    assert columns.solved_centers[low] - 7.15 <= -5.0 + 1e-9
    assert columns.solved_centers[-high - 1] + 7.15 >= GRID.extent[1] + 5.0 - 1e-9
    walls, _ = lines(problem("walls", internal_spacing=16.0))
    assert walls.start == pytest.approx(-5.0 + 8.0) and walls.solved == 15
    with pytest.raises(InputError, match=r"Between two walls lie 24 cells .* Take 16 m"):
        discretize(problem("walls", internal_spacing=16.5))


def test_a_smooth_field_keeps_its_values_between_the_grids(float64):
    """Interpolation is exact for what the solver's cosine series hold, away from their last terms: 1e-10."""
    _, columns = lines(problem(internal_spacing=14.0))
    wave = 2 * np.pi / 200.0

    def field(x):
        return np.exp(-(((x - 130.0) / 90.0) ** 2)) * np.cos(wave * x)

    points = np.arange(GRID.shape[1]) * GRID.spacing
    assert relative(columns.interpolation @ field(columns.solved_centers), field(points)) < 1e-6


@pytest.mark.slow  # test_medium.py compares a gradient on the solver's own cells with differences
@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")
@pytest.mark.parametrize("sides", ["free surface"])
def test_gradients_agree(sides, float64):
    """By model, positions and wavelets, native and XLA's scan: 1e-12; along a direction, as differences say."""
    simulation = replace(problem(sides, internal_spacing=15.0), time=TimeAxis(61, 2e-3), snapshot_steps=(40,))
    survey = make_survey([[111.0, 133.0]], [[42.0, 61.0]], ricker(simulation.time, 15.0))
    velocity = jnp.asarray(rough())

    def energy(velocity, survey, backend):
        records = simulate(velocity, survey, replace(simulation, backend=backend))
        return jnp.sum(records.gathers**2) + jnp.sum(records.snapshots**2)

    gradient = jax.grad(energy, (0, 1))
    ours, theirs = gradient(velocity, survey, "native"), gradient(velocity, survey, "xla")
    assert relative(ours, theirs) < 1e-12
    direction, step = 10.0 * jax.random.normal(jax.random.key(0), velocity.shape), 1e-2
    ahead, behind = (energy(velocity + sign * step * direction, survey, "native") for sign in (1, -1))
    slope = jnp.vdot(ours[0], direction)
    assert abs((ahead - behind) / (2 * step) - slope) < 1e-5 * abs(slope)
