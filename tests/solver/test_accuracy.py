"""The expected error follows the theory of phases, and the simulation that is chosen for an error is the cheapest."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.accuracy import LAWS, ORDERS, RANGE, WITHIN, cost, expected_error, simulation_for_error
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.reference import errors_against_wave_equation

GRID, TIME = Grid((128, 128), 10.0), TimeAxis(701, 1e-3)
SIMULATION = Simulation(GRID, TIME, max_velocity=4500.0, peak_frequency=15.0, order=8, snapshot_steps=(700,))


@pytest.mark.parametrize("kind", LAWS)
def test_the_parts_follow_the_theory_of_phases(kind):
    """The leap-frog's phase error is w^3 dt^2 t / 24, so halving dt divides the error by 4; order 2 L errs as h^(2 L).

    With phases below 0.3, sin(x / 2) and the next terms of the series leave 5 %.
    """
    bare = replace(SIMULATION, time_correction=False, substeps=2)
    x = np.linspace(0.01, 5, 1000)
    energy = (x**2 * np.exp(-(x**2))) ** 2
    phase = (2 * np.pi * 15.0 * x) ** 3 * (0.5e-3) ** 2 * LAWS[kind].duration * 0.7 / 24
    theory = np.sqrt(np.sum(energy * phase**2) / energy.sum())
    assert expected_error(bare, 1500.0, kind=kind).time == pytest.approx(theory, rel=0.05)
    assert expected_error(SIMULATION, 1500.0, kind=kind).time == 0

    # Points enough that no medium is cut off: 1500 / (3.5 * 15) / 5 = 5.7 cells.
    fine = [replace(SIMULATION, order=4, internal_spacing=h) for h in (5.0, 2.5)]
    coarse, finer = (expected_error(simulation, 1500.0, kind=kind).space for simulation in fine)
    assert coarse / finer == pytest.approx(16, rel=0.05)
    assert expected_error(SIMULATION, 1500.0, kind=kind).medium == 0
    halved = replace(SIMULATION, medium="samples", grid=Grid((256, 256), 5.0))
    whole = expected_error(replace(SIMULATION, medium="samples"), 1500.0, kind=kind).medium
    assert whole / expected_error(halved, 1500.0, kind=kind).medium == pytest.approx(4)


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("error", [0.05, 0.01, 0.003])
def test_the_chosen_simulation_is_the_cheapest_within_the_error(kind, error):
    found = simulation_for_error(SIMULATION, 1500.0, error, kind=kind)
    assert expected_error(found, 1500.0, kind=kind).total <= error
    assert (found.grid, found.time, found.snapshot_steps) == (GRID, TIME, (700,)) and found.time_correction
    for order in ORDERS:
        for spacing in (5.0, 8.0, None, 12.0, 13.3, 16.0, 20.0, 25.0):
            other = replace(SIMULATION, order=order, internal_spacing=spacing)
            if expected_error(other, 1500.0, kind=kind).total <= error:
                assert cost(found) <= cost(other) * 1.02  # spacings are rounded down to three digits
    tighter = simulation_for_error(SIMULATION, 1500.0, error / 2, kind=kind)
    assert cost(tighter) > cost(found)


def test_a_spacing_is_chosen_that_fits_between_walls_and_below_free_surfaces():
    for widths, free in (((0, 0, 20, 20), False), ((0, 0, 0, 0), False), ((0, 0, 20, 20), True)):
        walled = replace(SIMULATION, widths=widths, free_surface=free)
        found = simulation_for_error(walled, 1500.0, 0.02)
        assert found.internal_spacing is not None and cost(found) < cost(walled)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error": 1e-5}, "Errors from 0.0003 to 0.1 were measured"),
        ({"error": 0.5}, "Errors from 0.0003 to 0.1 were measured"),
        ({"slowest": 0.0}, "smallest velocity of the models in m/s"),
        ({"kind": "harmonic"}, "kind must be one of"),
        ({"slowest": 150.0}, "No order reaches an error of 0.01 .* or lower peak_frequency"),
    ],
)
def test_what_the_law_cannot_answer_is_refused_with_a_remedy(changes, message):
    request = {"slowest": 1500.0, "error": 0.01, "kind": "snapshots"} | changes
    with pytest.raises(InputError, match=message):
        simulation_for_error(SIMULATION, **request)


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")
def test_the_expected_error_is_the_measured_one_within_the_stated_factor():
    """Two layers on 48 x 48 cells, another model than those of the fit and a smaller one, with coarse cells."""
    grid, time = Grid((48, 48), 10.0), TimeAxis(301, 1e-3)
    velocity = jnp.where(jnp.arange(48)[:, None] + jnp.arange(48) // 6 > 30, 2600.0, 1600.0) * jnp.ones((48, 48))
    simulation = Simulation(grid, time, 2600.0, 15.0, 8, internal_spacing=16.0, snapshot_steps=(220, 300))
    survey = make_survey([[140.0, 240.0]], [[40.0, x] for x in (60.0, 120.0, 360.0, 420.0)], ricker(time, 15.0))
    measured = errors_against_wave_equation(velocity.astype(jnp.float32), survey, simulation)
    for kind in LAWS:
        expected, found = expected_error(simulation, 1600.0, kind=kind).total, float(getattr(measured, kind)[0])
        assert RANGE[0] < found < RANGE[1]
        assert 1 / WITHIN < expected / found < WITHIN, (kind, expected, found)
