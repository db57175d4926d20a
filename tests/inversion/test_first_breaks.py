"""First breaks: the arrivals of the exact field in a homogeneous plane and of the solver's, whatever comes later."""

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, simulate
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion.first_breaks import pick_first_breaks
from tests.inversion.diagnosis import synthetic
from tests.theory import greens_function_2d

VELOCITY, PEAK, TIME = 2000.0, 10.0, TimeAxis(150, 4e-3)
PERIOD = 1 / PEAK
DISTANCES = np.array([200.0, 300.0, 400.0, 510.0])
ARRIVALS = DISTANCES / VELOCITY


def wavelet(times):
    return ricker_waveform((np.pi * PEAK * (times - 1.5 / PEAK)) ** 2)


def picked(gather) -> np.ndarray:
    """The clear breaks of one shot `(nt, n_receivers)`."""
    return pick_first_breaks(np.asarray(gather, float)[None], TIME.dt, PERIOD).known[0]


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    """The exact field at each distance `(nt, n_receivers)`."""
    return np.stack([greens_function_2d(r, TIME.times, wavelet, VELOCITY) for r in DISTANCES], axis=-1)


def test_breaks_follow_the_arrivals(exact):
    """Far from the source, a trace is the delayed wavelet, so that breaks differ as arrivals do, to half a sample."""
    found = picked(exact)
    np.testing.assert_allclose(found - found[-1], ARRIVALS - ARRIVALS[-1], atol=0.5 * TIME.dt)


def test_breaks_of_the_solver(exact):
    grid = Grid((16, 64), 10.0)
    simulation = Simulation(grid, TIME, max_velocity=VELOCITY, peak_frequency=PEAK)
    receivers = np.stack([np.full(4, 80.0), 60.0 + DISTANCES], axis=1)
    survey = make_survey([[80.0, 60.0]], receivers, ricker(TIME, PEAK, 1.5 / PEAK))
    gathers = simulate(jnp.full(grid.shape, VELOCITY), survey, simulation).gathers
    np.testing.assert_allclose(picked(gathers[0]), picked(exact), atol=0.5 * TIME.dt)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_later_waves_and_units_move_no_break(exact, factor):
    """A second wave three periods later, of another unit and up to three times as strong; the record cuts some."""
    later = 1e-9 * (exact + factor * np.pad(exact[:-75], ((75, 0), (0, 0))))
    np.testing.assert_allclose(picked(later), picked(exact), atol=0.25 * PERIOD)


@pytest.mark.parametrize(("decibels", "atol"), [(30, 0.05), (15, 0.25)])
def test_noise_moves_breaks_by_less_than_a_cycle_skip(decibels, atol):
    """With the floor of the noise, or without one; a quarter period is half of what matters."""
    clean = synthetic.gathers()
    data = synthetic.with_noise(clean, decibels)
    noise = np.full(synthetic.OFFSETS.shape, np.sqrt(np.mean((data - clean) ** 2)))
    for floor in (0.0, noise):
        breaks = [pick_first_breaks(each, synthetic.DT, synthetic.PERIOD, floor).known for each in (data, clean)]
        moved = np.abs(breaks[0] - breaks[1])
        assert np.isfinite(moved).mean() > 0.9
        assert np.nanpercentile(moved, 95) < atol * synthetic.PERIOD


def test_silence_has_no_break_and_what_begins_amid_a_wave_no_clear_one(exact):
    silent, amid = np.zeros(TIME.nt), np.pad(exact[100:, 0], (0, 100))
    data = np.stack([silent, amid, exact[:, 0]], axis=-1)
    assert np.isnan(picked(data)[:2]).all() and picked(data)[2] == picked(exact)[0]
    assert np.isnan(pick_first_breaks(data[None], TIME.dt, PERIOD).times[0]).tolist() == [True, False, False]
