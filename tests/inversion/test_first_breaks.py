"""First breaks: the arrivals of the exact field in a homogeneous plane and of the solver's, whatever comes later."""

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, simulate
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion.first_breaks import first_breaks
from tests.theory import greens_function_2d

VELOCITY, PEAK, TIME = 2000.0, 10.0, TimeAxis(150, 4e-3)
DISTANCES = np.array([200.0, 300.0, 400.0, 510.0])
ARRIVALS = DISTANCES / VELOCITY


def wavelet(times):
    return ricker_waveform((np.pi * PEAK * (times - 1.5 / PEAK)) ** 2)


def picked(gather) -> np.ndarray:
    """The breaks of one shot `(nt, n_receivers)`."""
    return np.asarray(first_breaks(jnp.asarray(gather, jnp.float32)[None], TIME.dt))[0]


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    """The exact field at each distance `(nt, n_receivers)`."""
    return np.stack([greens_function_2d(r, TIME.times, wavelet, VELOCITY) for r in DISTANCES], axis=-1)


def test_breaks_follow_the_arrivals(exact):
    """Far from the source, a trace is the delayed wavelet, its phase shifted by 45 degrees, which no envelope shows.

    Near it, that is so up to 1 / (16 pi r / wavelength): a part of 1 / 50 in amplitude one wavelength away, where the
    envelope rises to its half within a third of a period; 1 / 150 of a period are 0.17 samples.
    """
    delays = picked(exact) - picked(wavelet(TIME.times)[:, None])
    np.testing.assert_allclose(delays, ARRIVALS, atol=0.2 * TIME.dt)


def test_breaks_of_the_solver():
    grid = Grid((16, 64), 10.0)
    simulation = Simulation(grid, TIME, max_velocity=VELOCITY, peak_frequency=PEAK)
    receivers = np.stack([np.full(4, 80.0), 60.0 + DISTANCES], axis=1)
    survey = make_survey([[80.0, 60.0]], receivers, ricker(TIME, PEAK, 1.5 / PEAK))
    gathers = simulate(jnp.full(grid.shape, VELOCITY), survey, simulation).gathers
    delays = picked(gathers[0]) - picked(wavelet(TIME.times)[:, None])
    np.testing.assert_allclose(delays, ARRIVALS, atol=0.5 * TIME.dt)


@pytest.mark.parametrize("factor", [0.5, 5.0])
def test_later_waves_and_units_move_no_break(exact, factor):
    """A second wave three periods later adds the part of its envelope that precedes it, about 1 / 100 of its peak.

    The first wave's envelope rises by about two peaks in a period at the break: 1 / 200 of a period for each unit of
    the second's amplitude. Its unit is another.
    """
    later = 1e-9 * (exact + factor * np.pad(exact[:-75], ((75, 0), (0, 0))))
    np.testing.assert_allclose(picked(later), picked(exact), atol=max(1, factor) / 200 / PEAK)


def test_noise_moves_breaks_by_noise_over_slope(exact):
    """Four standard deviations, with an envelope that rises by about two peaks in a period at the break."""
    noise = 0.01 * np.abs(exact).max(axis=0) * np.random.default_rng(0).normal(size=exact.shape)
    np.testing.assert_allclose(picked(exact + noise), picked(exact), atol=4 * 0.01 / (2 * PEAK))


def test_silence_has_no_break(exact):
    dead, broken, amid = np.zeros(TIME.nt), np.full(TIME.nt, np.nan), exact[75:, 0]
    found = picked(np.stack([dead, broken, np.pad(amid, (0, 75)), exact[:, 0]], axis=-1))
    assert np.isnan(found[:2]).all() and found[3] == picked(exact)[0]
    late = np.cos(2 * np.pi * PEAK * TIME.times) * np.exp(-TIME.times / 0.05)  # loudest at the first sample
    assert np.isnan(picked(late[:, None])[0])
