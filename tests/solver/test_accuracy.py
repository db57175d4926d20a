"""The expected error follows theory and holds in media it was not fitted to; the chosen simulation is the cheapest."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks.accuracy_law_cases import SETUPS, Setting, Setup
from data_gen.common.errors import InputError
from data_gen.solver.accuracy import COST, best_kappa, cost, expected_error, simulation_for_error
from data_gen.solver.error_law import LAWS, WITHIN, Traits
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.reference import converged, relative_errors
from data_gen.solver.simulator import simulate
from data_gen.velocity.registry import make_mixture

GRID, TIME = Grid((64, 64), 10.0), TimeAxis(451, 1e-3)
SIMULATION = Simulation(GRID, TIME, max_velocity=4500.0, peak_frequency=15.0, order=8, snapshot_steps=(230, 300, 450))
UNIFORM = np.full(GRID.shape, 1500.0)


def two_layers(dip: float, slow: float = 1500.0, fast: float = 2600.0) -> np.ndarray:
    """Two layers with a dipping interface [m/s]."""
    z, x = np.indices(GRID.shape)
    return np.where(z + dip * x > 32 + 32 * dip, fast, slow)


def grains(size: float, seed: int) -> np.ndarray:
    """Random velocities of 1500 to 3500 m/s that are smooth over some cells."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(GRID.shape), size, mode="wrap")
    return 1500 + 2000 * (field - field.min()) / np.ptp(field)


def root_mean_square(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("kind", LAWS)
def test_the_parts_follow_the_theory_of_phases(kind):
    """The leap-frog's phase error is w^3 dt^2 t / 24, so halving dt divides the error by 4; order 2 L errs as h^(2 L).

    With phases below 0.3, sin(x / 2) and the next terms of the series leave 5 %. A uniform medium loses nothing on a
    grid.
    """
    steps = [replace(SIMULATION, time_correction=False, substeps=n) for n in (2, 4)]
    coarse, fine = (expected_error(UNIFORM, simulation, kind=kind).time for simulation in steps)
    assert coarse / fine == pytest.approx(4, rel=0.05)
    cells = [replace(SIMULATION, order=4, internal_spacing=h) for h in (5.0, 2.5)]
    coarse, fine = (expected_error(UNIFORM, simulation, kind=kind) for simulation in cells)
    assert coarse.space / fine.space == pytest.approx(16, rel=0.05)
    for part in ("medium", "time", "samples"):
        assert getattr(coarse, part) == pytest.approx(0, abs=1e-9), part
    assert coarse.total == pytest.approx(np.hypot(coarse.space, coarse.floor))


def test_what_a_grid_cannot_hold_is_the_tail_of_the_cosine_series():
    """A step from a to b is (a + b) / 2 + (a - b) / 2 sgn: sgn has the terms 4 / (pi k) of odd k, cut off at D / h."""
    fast, slow = 1600.0**-2, 3000.0**-2
    model = np.where(np.arange(64)[:, None] < 32, 1600.0, 3000.0) * np.ones((64, 64))
    traits = Traits(model, 10.0)
    for spacing in (8.0, 10.0, 17.0):
        held = np.arange(1, np.ceil(640 / spacing - 1e-6), 2)
        tail = 1 - np.sum((4 / (np.pi * held)) ** 2) / 2
        norm = (fast**2 + slow**2) / 2
        assert traits.unheld(spacing) == pytest.approx(abs(fast - slow) / 2 * np.sqrt(tail / norm), rel=1e-6)
    assert traits.effective == pytest.approx(1600 * 2 ** (1 / 16), rel=1e-3)


def test_errors_grow_with_cells_contrast_and_time():
    """A coarser grid, a larger contrast and a later snapshot err more; slow media like fine scales, f h / v alone."""
    spacings = [replace(SIMULATION, internal_spacing=h) for h in (10.0, 12.0, 14.0, 17.0, 20.0)]
    errors = [expected_error(grains(2.0, 1), simulation).total for simulation in spacings]
    assert np.all(np.diff(errors) > 0)
    mild, strong = (expected_error(two_layers(0.3, fast=v), spacings[2]).medium for v in (1800.0, 4000.0))
    assert strong > 2 * mild
    early, late = (replace(SIMULATION, snapshot_steps=steps) for steps in ((230, 300), (300, 450)))
    assert expected_error(UNIFORM, late).total > expected_error(UNIFORM, early).total
    scaled = Simulation(Grid(GRID.shape, 20.0), TimeAxis(451, 2e-3), 4500.0, 7.5, 8, snapshot_steps=(230, 300, 450))
    same = expected_error(grains(2.0, 1), replace(scaled, internal_spacing=28.0))
    assert same == pytest.approx(expected_error(grains(2.0, 1), spacings[2]), rel=1e-6)


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("error", [0.03, 0.005])
def test_the_chosen_simulation_is_the_cheapest_within_the_error(kind, error):
    model = grains(2.0, 1)
    found = simulation_for_error(model, SIMULATION, error, kind=kind)
    assert expected_error(model, found, kind=kind).total <= error
    assert (found.grid, found.time, found.snapshot_steps) == (GRID, TIME, SIMULATION.snapshot_steps)
    assert found.time_correction
    for order in COST:
        for spacing in (8.0, None, 12.0, 13.3, 16.0, 20.0):
            kappa = best_kappa(order, spacing or 10.0, float(model.min()), 15.0)
            other = replace(SIMULATION, order=order, internal_spacing=spacing, kappa=kappa)
            if expected_error(model, other, kind=kind).total <= error:
                assert cost(found) <= cost(other) * 1.1  # spacings are tried in steps of 3 %, in three dimensions
    assert cost(simulation_for_error(model, SIMULATION, error / 2, kind=kind)) > cost(found)


def test_families_are_drawn_and_their_mean_counts():
    """A mixture of one family, the family itself and a stack of the same models get the same error and simulation."""
    mixture = make_mixture({"gaussian_lens": {"min_velocity": 1500.0, "max_velocity": 3000.0}})
    family = mixture.families[0]
    models = np.stack([family(jax.random.key(index), GRID) for index in range(8)])
    assert expected_error(family, SIMULATION) == pytest.approx(expected_error(models, SIMULATION))
    each = [expected_error(model, SIMULATION).total for model in models]
    assert expected_error(models, SIMULATION).total == pytest.approx(root_mean_square(each))
    chosen = simulation_for_error(mixture, SIMULATION, 0.01)
    assert expected_error(mixture, chosen).total <= 0.01 and cost(chosen) < cost(SIMULATION)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error": 1e-5}, "Errors from 0.001 to 0.1 were measured"),
        ({"error": 0.5}, "Errors from 0.001 to 0.1 were measured"),
        ({"models": np.zeros(GRID.shape)}, "finite, positive velocities"),
        ({"models": np.ones((3, 4))}, "velocity models of the grid's shape"),
        ({"kind": "harmonic"}, "kind must be one of"),
        ({"snapshot_steps": ()}, "keeps no snapshots"),
        ({"snapshot_steps": (450,), "models": 3 * UNIFORM}, "crossed it .* times and left"),
        ({"widths": (0, 0, 20, 20)}, "not between walls"),
        ({"staggered": True}, "at constant density"),
        ({"time": TimeAxis(3001, 1e-3), "kind": "gathers", "grid": Grid((300, 300), 10.0)}, "periods of the peak"),
    ],
)
def test_what_the_law_cannot_answer_is_refused_with_a_remedy(changes, message):
    request = {"models": UNIFORM, "error": 0.01, "kind": "snapshots"} | changes
    about = {key: request.pop(key) for key in changes if key not in ("models", "error", "kind")}
    simulation = replace(SIMULATION, **about)
    if "grid" in about:
        request["models"] = np.full(simulation.grid.shape, 1500.0)
    with pytest.raises(InputError, match=message):
        simulation_for_error(request.pop("models"), simulation, **request)


def test_cells_that_were_not_measured_are_refused():
    with pytest.raises(InputError, match=r"up to 0\.25 wavelengths .* Set internal_spacing"):
        expected_error(UNIFORM, replace(SIMULATION, internal_spacing=27.0))


def ratios(setup: Setup, models: list[np.ndarray], settings: list[Setting], kind: str) -> np.ndarray:
    """Expected and measured errors `(2, settings, models)`."""
    found = np.zeros((2, len(settings), len(models)))
    for column, model in enumerate(np.asarray(models, np.float32)):
        reference = jax.device_get(simulate(model, setup.survey, converged(setup.simulation)))
        for row, setting in enumerate(settings):
            simulation = setting.simulation(setup)
            records = jax.device_get(simulate(model, setup.survey, simulation))
            measured = root_mean_square(getattr(relative_errors(records, reference), kind))
            found[:, row, column] = expected_error(model, simulation, kind=kind).total, measured
    return found


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")
@pytest.mark.parametrize("kind", LAWS)
def test_the_expected_error_is_the_measured_one_within_the_stated_factor(kind):
    """Media of no family and none of the fit: over them within the factor, each within its square.

    A single medium may be off by more than the factor, as the law does not know which part of it the shots light up.
    """
    models = [two_layers(0.35), two_layers(-0.2, 1700.0, 3200.0), grains(1.5, 3), grains(3.0, 4)]
    setup = Setup("test", GRID.shape)
    expected, measured = ratios(setup, models, [Setting(8, 0.14, True)], kind)
    assert np.all(measured > 1e-3)
    assert np.all(np.abs(np.log(expected / measured)) < 2 * np.log(WITHIN[kind])), (expected, measured)
    ratio = root_mean_square(expected) / root_mean_square(measured)
    assert 1 / WITHIN[kind] < ratio < WITHIN[kind], (expected, measured)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")
@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("name", ["64", "64, 25 Hz", "96, free surface"])
def test_the_law_holds_in_many_media(name, kind):
    """Media and setups that the law was not fitted to: over the media most settings are within the factor, and all
    within 2, as docs/guides/solver.md says; most single media are within the factor."""
    setup = next(setup for setup in SETUPS if setup.name == name)
    models = [setup.model(medium, None) for medium in setup.others]
    settings = [Setting(8, 0.14, True), Setting(12, 0.19, True), Setting(8, 0.14)]
    expected, measured = ratios(setup, models, settings, kind)
    used = (measured > 1e-3) & (measured < 0.12)
    off = np.abs(np.log(expected / measured))[used]
    assert np.median(off) < np.log(WITHIN[kind]) and off.max() < np.log(3.5)
    over = [root_mean_square(e) / root_mean_square(m) for e, m in zip(expected, measured, strict=True)]
    assert np.median(np.abs(np.log(over))) < np.log(WITHIN[kind]) and np.max(np.abs(np.log(over))) < np.log(2)
