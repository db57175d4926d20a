"""The leap-frog's dispersion in time is undone: tones, a resonator of known motion, and a box whose modes are known."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.solver.numerics import temporal_dispersion as td
from data_gen.solver.numerics.stencils import second_derivative_weights
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.solver.simulator import simulate
from tests.helpers import relative
from tests.theory import BARE

PEAK, STEP = 15.0, 3e-3  # 85 % of the longest step
TIME = TimeAxis(401, 2e-3)
STEPS = td.steps_needed(TIME.times[-1], STEP, PEAK)
STRIDE = td.read_stride(STEP, PEAK)


def read(steps, times=tuple(TIME.times)):
    """Read a record of all steps at given times."""
    samples = steps[::STRIDE]
    return td.reading(times, STEP, STRIDE, len(samples), PEAK).dense() @ samples


def fire(wavelet):
    return td.firing(TIME.dt, TIME.nt, STEP, STEPS, PEAK).dense().T @ wavelet


@pytest.mark.parametrize(("frequency", "bound"), [(0.5, 1e-3), (1.0, 1e-3), (2.0, 1e-3), (2.5, 2e-3)])
def test_tones_are_read(frequency, bound):
    """Spectra agree in w dw, so the leap-frog's tone is exp(i w_n n dt) / cos(w_n dt / 2); frequencies in peaks.

    The weights balance the error against their size: PENALTY^2 = 1e-7 of the latter, a misfit of some 3e-4 at most
    where the weight is full, twice that where it ends. The dispersion itself turns the last sample by up to a radian.
    """
    w = 2 * np.pi * frequency * PEAK
    numerical = 2 * np.pi * td.numerical_frequency(frequency * PEAK, STEP)
    # A record rests before step 0: its window there sees a tone's start, so times from half a second on.
    late = TIME.times > 0.5
    tone = np.exp(1j * numerical * STEP * np.arange(STEPS)) / np.cos(numerical * STEP / 2)
    error = np.abs(read(tone) - np.exp(1j * w * TIME.times))[late]
    assert error.max() < bound


@pytest.mark.parametrize("resonance", [0.7, 1.5, 2.4, 6.0])
def test_a_resonator_moves_as_its_equation_says(resonance):
    """p_tt = -W^2 p + s, by the leap-frog at 85 % of its longest step: a medium of one mode, in 0.8 s.

    Its motion is int sin(W (t - u)) / W s(u) du, summed 40 times as finely. Undone, 1e-3 is left; as it is, the
    leap-frog is wrong by W^3 dt^2 t / 24 of a radian: 0.02 to 0.8 in the band.
    """
    strength = (2 * np.pi * resonance * PEAK) ** 2
    fired = fire(ricker(TIME, PEAK))
    p = np.zeros(STEPS + 1)
    for n in range(STEPS - 1):
        p[n + 1] = 2 * p[n] - p[n - 1] * (n > 0) + STEP**2 * (fired[n] - strength * p[n])
    fine = TimeAxis(400 * 40 + 1, TIME.dt / 40)
    turn, source = np.exp(1j * np.sqrt(strength) * fine.times), ricker(fine, PEAK)
    exact = (turn * np.cumsum(source / turn)).imag[::40] * fine.dt / np.sqrt(strength)
    assert relative(read(p[:STEPS]), exact) < 2e-3


def test_nothing_fires_beyond_the_band():
    """An impulse, of all frequencies, fires none above the taper's end: it falls to erfc(4) = 1.5e-8 there.

    A window of RESPONSE cuts the taper's response off at about 1e-6 of its peak, which is what is left.
    """
    fired = fire(np.eye(TIME.nt)[TIME.nt // 2])
    spectrum = np.abs(np.fft.rfft(fired, 8192))
    frequencies = np.fft.rfftfreq(8192, STEP)
    beyond = frequencies > td.numerical_frequency((td.TAPER + 4 * td.TAPER_WIDTH) * PEAK, STEP)
    assert beyond.any() and spectrum[beyond].max() < 1e-5 * spectrum.max()


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.BandWarning")
def test_a_wavelet_may_be_cut_while_it_moves(float64):
    """A record with Ricker wavelets around its end is that of a longer one, but for what their jump in curvature fires.

    For a tone of angular frequency w and samples T apart that is 0.04 (w T)^2 (resampling.py): 1.4e-3 of the peak
    frequency, 9e-3 of 2.5 times it. Wavelets that ended at once fired up to 0.046.
    """
    axis, velocity = TimeAxis(201, TIME.dt), 1900.0
    whole = Simulation(Grid((16, 16), 10.0), TimeAxis(401, TIME.dt), velocity, PEAK, widths=(0, 0, 0, 0))
    late = np.pi * PEAK * (whole.time.times - axis.times[-1] - np.arange(-0.02, 0.03, 0.01)[:, None, None])
    wavelets = (1 - 2 * late**2) * np.exp(-(late**2))

    def record(simulation):
        at = np.full((len(wavelets), 1, 2), 70.0)
        survey = make_survey(at, [[70.0, 90.0], [90.0, 90.0]], wavelets[..., : simulation.time.nt])
        return simulate(jnp.full((16, 16), velocity), survey, simulation).gathers

    expected = record(whole)
    found = record(replace(whole, time=axis))
    assert jnp.abs(found - expected[:, : axis.nt]).max() < 9e-3 * jnp.abs(expected).max()


@pytest.mark.parametrize("order", [8, 12])
def test_a_mode_of_a_closed_box(order, float64):
    """A source of a mode's shape moves that mode only, whose frequency on the grid is the root of its symbol.

    Against that motion the error is the one in time alone: 1e-3 as above. The grid's own frequency is wrong by
    (k h)^order of itself, which is in both.
    """
    cells, velocity = 12, 1500.0
    grid = Grid((cells, cells), 10.0)
    options = BARE | {"time_correction": True, "snapshot_steps": (250, 400)}
    simulation = Simulation(grid, TIME, velocity, PEAK, order, (0, 0, 0, 0), **options)
    x = (np.arange(cells) + 0.5) / cells
    mode = np.cos(2 * np.pi * x)[:, None] * np.cos(np.pi * x)[None, :]
    positions = np.stack(np.meshgrid(*(np.arange(cells) * 10.0,) * 2, indexing="ij"), -1).reshape(1, -1, 2)
    wavelets = mode.reshape(1, -1, 1) * ricker(TIME, PEAK)
    fields = simulate(jnp.full(grid.shape, velocity), make_survey(positions, [], wavelets), simulation).snapshots[0]
    waves = np.array([2.0, 1.0]) * np.pi / cells
    terms = enumerate(second_derivative_weights(order), start=1)
    symbol = float(np.sum([2 * c * (1 - np.cos(n * waves)) for n, c in terms])) / grid.spacing**2
    omega = velocity * np.sqrt(symbol)
    fine = TimeAxis(400 * 40 + 1, TIME.dt / 40)
    turn = np.exp(1j * omega * fine.times)
    motion = (turn * np.cumsum(ricker(fine, PEAK) / turn)).imag[::40] * fine.dt / omega
    exact = velocity**2 / grid.spacing**2 * motion[[250, 400], None, None] * mode
    assert relative(fields, exact) < 2e-3
