"""Processing of gathers: filters, mutes, normalization, resampling and the line-source correction against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid

from data_gen.common.errors import InputError
from data_gen.solver.numerics.resampling import decimate, upsample
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker, ricker_waveform
from data_gen.solver.simulator import simulate
from surrogate.inversion.processing.filters import (
    FLOOR,
    Band,
    band_gain,
    filter_gathers,
    filter_traces,
    filter_wavelets,
)
from surrogate.inversion.processing.line_source import LAWS, half_integral, line_source
from surrogate.inversion.processing.mutes import early_mute, late_mute, offset_mute, offsets
from surrogate.inversion.processing.normalization import normalize_shots, normalize_traces
from surrogate.inversion.processing.resampling import resample
from tests.helpers import relative
from tests.theory import BARE, greens_function_2d

CORNERS = (2.0, 4.0, 10.0, 14.0)
BANDS = {
    "zero": Band(CORNERS),
    "linear": Band(CORNERS, "linear", 1.0),
    "minimum": Band(CORNERS, "minimum"),
}
TIME = TimeAxis(160, 4e-3)
SURVEY = make_survey([[20.0, 20.0], [20.0, 100.0]], [[20.0, 20.0], [20.0, 60.0], [50.0, 60.0]], np.ones(TIME.nt))


def random_gathers(nt=TIME.nt, receivers=3):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, nt, receivers)))


@pytest.mark.parametrize("phase", BANDS)
def test_gain_and_delay(phase, float64):
    """The response to an impulse amid 8 s has the gain of the band, and the phase its delay says.

    The zero phase is cut off at 4 s to both sides, where 1 / t^3 leaves 1e-3; a Hann window of 1 s to each side smooths
    by half the curvature, (pi / 2)^2 / 4 in a flank of 2 Hz, times its spectrum's variance of 1 / 8 Hz^2: 0.08; folding
    the cepstrum is exact but for its length. Nothing precedes the impulse of a causal response. No causal response of
    the same gain has had more of its energy at any time than that of minimum phase.
    """
    nt, dt = 2001, 4e-3
    middle = nt // 2
    response = np.asarray(filter_traces(jnp.zeros(nt).at[middle].set(1.0), dt, BANDS[phase]))
    frequencies = np.fft.rfftfreq(nt, dt)
    spectrum = np.fft.rfft(np.roll(response, -middle)) * np.exp(2j * np.pi * frequencies * BANDS[phase].delay)
    expected = np.maximum(band_gain(frequencies, CORNERS), FLOOR * (phase == "minimum"))
    tolerance = {"zero": 2e-3, "linear": 0.08, "minimum": 2e-3}[phase]
    np.testing.assert_allclose(np.abs(spectrum), expected, atol=tolerance)
    if phase == "minimum":
        zero = np.asarray(filter_traces(jnp.zeros(nt).at[middle].set(1.0), dt, BANDS["zero"]))
        mine, other = np.cumsum(response[middle:] ** 2), np.cumsum(zero[middle - 200 : 2 * middle - 199] ** 2)
        assert (mine > other - 1e-3 * other[-1]).all() and mine[120] > 10 * other[120]
    else:
        np.testing.assert_allclose(spectrum.imag, 0, atol=1e-12)
    if phase != "zero":
        np.testing.assert_allclose(response[:middle], 0, atol=1e-15 * np.abs(response).max() * nt)


@pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")
def test_filtering_the_wavelet_is_filtering_the_gathers(float64):
    """The solver does not depend on time, so that causal filters commute with it: exactly for the bare leap-frog.

    With temporal dispersion undone, gathers and wavelets are interpolated, to 4e-4 of the band below 4 peak
    frequencies. A zero-phase filter loses what precedes the wavelet's first sample: 0.05 and more, which shows that the
    identity is not trivial.
    """
    grid, velocity = Grid((24, 30), 20.0), 2000.0 + 20.0 * np.arange(24)[:, None] * np.ones(30)
    survey = make_survey([[100.0, 100.0]], [[40.0, 300.0], [300.0, 460.0]], ricker(TIME, 10.0))
    bands = [BANDS["zero"], Band(CORNERS, "linear", 0.2), BANDS["minimum"]]
    for options, tolerance in ((BARE, 1e-12), ({}, 1e-3)):
        simulation = Simulation(grid, TIME, 2500.0, 10.0, widths=(8, 8, 8, 8), **options)
        shoot = jax.jit(lambda survey, simulation=simulation: simulate(velocity, survey, simulation).gathers)
        gathers = shoot(survey)
        for band in bands:
            found = relative(shoot(filter_wavelets(survey, TIME.dt, band)), filter_gathers(gathers, TIME.dt, band))
            assert found > 0.05 if band.phase == "zero" else found < tolerance


def test_filters_have_transposes(float64):
    """<F x, y> = <x, F^T y>, the transpose being that of reverse mode; float32 agrees with float64 for any unit."""
    x, y = random_gathers(), random_gathers()[:, ::-1]
    for band in BANDS.values():
        out, pull_back = jax.vjp(lambda g, band=band: filter_gathers(g, TIME.dt, band), x)
        assert jnp.vdot(out, y) == pytest.approx(float(jnp.vdot(x, pull_back(y)[0])), rel=1e-12)
        for unit in (1e-20, 1e20):
            single = filter_gathers(jnp.asarray(unit * x, jnp.float32), TIME.dt, band)
            assert single.dtype == jnp.float32 and relative(single / np.float32(unit), out) < 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Band(CORNERS, "mixed"), "must be one of zero, linear, minimum"),
        (lambda: Band(CORNERS, "linear"), "positive delay"),
        (lambda: Band(CORNERS, "minimum", 0.1), "none with the others"),
        (lambda: filter_gathers(random_gathers(), 4e-3, Band((2.0, 1.0, 10.0, 14.0))), "four corner frequencies"),
        (lambda: early_mute(SURVEY, TIME, -1.0), "velocity of a mute"),
        (lambda: late_mute(SURVEY, TIME, 2000.0, taper=-0.1), "taper of a mute"),
        (lambda: offset_mute(SURVEY, 100.0, 50.0), "must ascend"),
        (lambda: resample(random_gathers(), 0.0, TIME), "dt = 0"),
        (lambda: resample(random_gathers(), 2e-3, TIME), "an axis of 80 samples"),
        (lambda: line_source(random_gathers(), SURVEY, TIME, law="far"), "one of direct"),
        (lambda: line_source(random_gathers(), SURVEY, TIME, law="path"), "needs a positive velocity"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_offsets_and_mutes():
    """Weights begin and end where the geometry says, and early and late ones divide a gather; moving spreads, too.

    In float32, whose rounding of times moves tapers by 1e-6 of them.
    """
    distance = np.array([[0.0, 40.0, 50.0], [80.0, 40.0, 50.0]])
    turned = np.stack([distance[0], distance[1, ::-1]])
    moving = SURVEY._replace(receivers=jnp.stack([SURVEY.receivers, SURVEY.receivers[::-1]]))
    group = make_survey(SURVEY.sources[None], SURVEY.receivers, np.ones(TIME.nt))
    start, taper, velocity = 0.1, 0.08, 200.0

    @jax.jit
    def everything():
        wave = {"velocity": velocity, "start": start, "taper": taper}
        sharp = early_mute(SURVEY, TIME, np.inf, start=0.1, taper=0.0)
        return (
            [offsets(survey) for survey in (SURVEY, moving, group)],
            [early_mute(SURVEY, TIME, **wave), late_mute(SURVEY, TIME, **wave), sharp],
            [offset_mute(SURVEY, 45.0, 60.0, taper=10.0), offset_mute(SURVEY)],
        )

    (plain, spreads, nearest), (early, late, sharp), (near, every) = jax.tree.map(np.asarray, everything())
    for found, expected in ((plain, distance), (spreads, turned), (nearest, distance.min(axis=0, keepdims=True))):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    since = TIME.times[:, None] - start - distance[:, None] / velocity
    assert early.shape == (2, TIME.nt, 3)
    assert not early[since < -1e-6].any() and (early[since > taper + 1e-6] == 1).all()
    inside = (since > 0) & (since < taper)
    np.testing.assert_allclose(early[inside], np.sin(np.pi / 2 * since[inside] / taper) ** 2, atol=1e-5)
    np.testing.assert_allclose(early + late, 1, rtol=1e-6)
    np.testing.assert_array_equal(sharp, np.broadcast_to((TIME.times >= 0.1)[:, None], sharp.shape))
    np.testing.assert_allclose(near[:, 0], [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]], atol=1e-5)
    np.testing.assert_array_equal(every, 1)


def test_mutes_have_derivatives_at_offset_zero(float64):
    """A receiver that moves from the source makes finite changes, those of central differences elsewhere."""

    def total(receivers):
        weights = early_mute(SURVEY._replace(receivers=receivers), TIME, 200.0, start=0.05, taper=0.2)
        return jnp.sum(weights * random_gathers())

    slope = np.asarray(jax.jit(jax.grad(total))(SURVEY.receivers))
    assert np.isfinite(slope).all()
    step = jnp.zeros((3, 2)).at[2, 1].set(1e-4)
    expected = (total(SURVEY.receivers + step) - total(SURVEY.receivers - step)) / 2e-4
    assert slope[2, 1] == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(("normalize", "axes"), [(normalize_traces, 1), (normalize_shots, (1, 2))])
def test_normalization(normalize, axes):
    """Root mean square one, at any unit in float32; silent data stay silent, with a derivative of zero.

    y does not depend on a factor of x: the derivative along x is zero, and so is that of the sum of squares, which is
    constant; both to float32's rounding of sums of 160 and 480. Other derivatives are in the inverse unit.
    """
    gathers = random_gathers().astype(jnp.float32) * jnp.asarray([1.0, 30.0, 0.0], jnp.float32)
    gathers = np.asarray(gathers.at[1].set(0))
    other = np.random.default_rng(1).normal(size=gathers.shape).astype(np.float32)

    @jax.jit
    def all_of(gathers):
        out, pull_back = jax.vjp(normalize, gathers)
        return out, jax.jvp(normalize, (gathers,), (gathers,))[1], pull_back(jnp.asarray(other))[0]

    out, tangent, slope = map(np.asarray, all_of(gathers))
    np.testing.assert_allclose(np.sqrt(np.mean(out**2, axis=axes)), np.any(gathers != 0, axis=axes), atol=1e-6)
    np.testing.assert_allclose(tangent, 0, atol=1e-5)
    assert np.isfinite(slope).all() and slope[0, :, :2].any() and not slope[1].any()
    for unit in map(np.float32, (1e-20, 1e20)):
        scaled, _, flatter = all_of(unit * gathers)
        np.testing.assert_allclose(scaled, out, rtol=1e-5)
        np.testing.assert_allclose(unit * flatter, slope, rtol=1e-4, atol=1e-5)


def tone(frequency, times):
    """A wave packet of 0.6 s, at rest at the ends of 2 s."""
    return np.sin(2 * np.pi * frequency * times) * np.exp(-(((times - 1.0) / 0.2) ** 2))


def test_resampling_keeps_times_and_stops_aliases(float64):
    """From 500 Hz, recorded from -50 ms on, to steps of 3.1 ms and of 1.3 ms: packets stay where they are, to 1e-3.

    110 Hz is 0.68 of the coarser Nyquist frequency, and a packet of 0.2 s is 4 Hz wide. 200 Hz is 1.24 of it: gone by
    60 dB.
    """
    dt, start = 2e-3, -0.05
    recorded = start + dt * np.arange(1051)
    gathers = jnp.asarray(np.stack([tone(60.0, recorded), tone(110.0, recorded), tone(200.0, recorded)], 1)[None])
    for step in (3.1e-3, 1.3e-3):
        time = TimeAxis(int(2.0 / step), step)
        out = np.asarray(resample(gathers, dt, time, start=start))[0]
        for trace, frequency in zip(out.T[: 2 if step > dt else 3], (60.0, 110.0, 200.0), strict=False):
            np.testing.assert_allclose(trace, tone(frequency, time.times), atol=1e-3)
        if step > dt:
            assert np.abs(out[:, 2]).max() < 1e-3


def test_resampling_by_whole_factors(float64):
    """The same as numerics/resampling.py, beginnings and ends that move included, to rounding."""
    gathers = random_gathers(nt=101)
    time = gathers.swapaxes(1, 2)
    for expected, dt in ((upsample(time, 3), 1e-3), (decimate(time, 4), 12e-3)):
        axis = TimeAxis(expected.shape[-1], dt)
        np.testing.assert_allclose(resample(gathers, 3e-3, axis).swapaxes(1, 2), expected, atol=1e-12)


def test_half_integral(float64):
    """The half integral of a packet is itself times sqrt(pi / (i w)); twice is pi times the integral.

    Of sin(w t) g(t) with g wide, the next term is g' / (2 w) of it, 4 % at 60 Hz: so a tone of constant amplitude is
    compared, after its onset has died away as 1 / sqrt(w t). Up to 0.8 of the Nyquist frequency.
    """
    dt, times = 2e-3, 2e-3 * np.arange(1001)
    for frequency in (20.0, 110.0, 200.0):
        # A smooth onset of 0.3 s sends out nothing but the tone.
        onset = np.clip(times / 0.3, 0, 1)
        wave = np.exp(2j * np.pi * frequency * times) * (onset**3 * (10 - 15 * onset + 6 * onset**2))
        out = np.asarray(half_integral(jnp.asarray(np.stack([wave.real, wave.imag])), dt))
        expected = np.sqrt(np.pi / (2j * np.pi * frequency)) * wave
        late = slice(400, 950)
        assert relative(out[0, late] + 1j * out[1, late], expected[late]) < 2e-3
    packet = jnp.asarray(tone(30.0, times))
    integral = cumulative_trapezoid(np.asarray(upsample(packet, 4)), dx=dt / 4, initial=0)[::4]
    twice = half_integral(half_integral(packet, dt), dt)
    assert relative(twice[:950], np.pi * integral[:950]) < 5e-3


def test_line_source(float64):
    """Point sources become line sources, to the order of the laws: w(t - r / v) / (4 pi r) against the 2-D field.

    The Hankel function is its asymptote times 1 + i / (8 k r) + O(1 / (k r)^2): so with the power |W|^2 / f of the 2-D
    field, W ~ f^2 exp(-f^2), the law `offset` errs by sqrt(2) / (16 pi d), d the offset in wavelengths. The others
    multiply by 1 -+ (t - r / v) / (2 r / v) besides: by half the rms width of the field, under 0.32 periods, over d.
    """
    velocity, peak, time = 2000.0, 10.0, TimeAxis(300, 4e-3)
    wavelengths = np.array([3.0, 6.0])
    distances = wavelengths * velocity / peak
    survey = make_survey([[0.0, 0.0]], np.stack([0 * distances, distances], 1), np.ones(time.nt))

    def wavelet(t):
        return ricker_waveform((np.pi * peak * (t - 0.12)) ** 2)

    points = np.stack([wavelet(time.times - r / velocity) / (4 * np.pi * r) for r in distances], 1)[None]
    lines = np.stack([greens_function_2d(r, time.times, wavelet, velocity) for r in distances], 1)

    @jax.jit
    def convert(gathers):
        chosen = {"direct": None, "offset": velocity, "path": velocity}
        return {law: line_source(gathers, survey, time, law=law, velocity=chosen[law], onset=0.12)[0] for law in LAWS}

    for law, out in convert(jnp.asarray(points)).items():
        errors = np.array([relative(np.asarray(out)[:, i], lines[:, i]) for i in range(2)])
        expected = np.sqrt(2) / (16 * np.pi * wavelengths)
        if law == "offset":
            np.testing.assert_allclose(errors, expected, rtol=0.05)
        else:
            assert (errors < 0.16 / wavelengths).all()
            assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
