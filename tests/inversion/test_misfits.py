"""Misfits: smallest at equality, differentiable, weighted by one rule, and blind to what each of them should be."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from benchmarks.misfit_basins import largest_shifts
from data_gen.common.errors import InputError
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion.misfits import huber as huber_file
from surrogate.inversion.misfits.cross_correlation_delay import delays
from surrogate.inversion.misfits.envelope import SMOOTHING, envelopes
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.inversion.misfits.traces import SILENCE, weigh
from tests.helpers import relative

NORMALIZED = ("global_correlation", "cross_correlation_delay", "wasserstein", "adaptive_waveform", "frequency_phase")
BALANCED = ("trace_normalized_l2", *NORMALIZED)
PERIOD, NT = 20, 600


def records(seed: int = 0, shape: tuple[int, ...] = (2, 48, 3)):
    """Ricker wavelets at random: predicted data that are partly the observed ones, a little late, and the latter."""
    wavelet = ricker_waveform((np.pi * np.arange(-12, 13) / 10.0) ** 2)[None, :, None]
    noise = np.random.default_rng(seed).normal(size=(2, *shape))
    observed, other = (scipy.signal.fftconvolve(each, wavelet, mode="same", axes=1) for each in noise)
    return jnp.asarray(0.7 * np.roll(observed, 1, axis=1) + 0.5 * other), jnp.asarray(observed)


def shifted(periods, count: int = 1):
    """A Ricker wavelet, so many periods from the middle of the record; or some, four periods apart."""
    times = (jnp.arange(NT) - NT / 2) / PERIOD - periods
    arrivals = [ricker_waveform((jnp.pi * (times - 4.0 * i)) ** 2) for i in range(count)]
    return jnp.stack(arrivals).sum(axis=0)[None, :, None]


@cache
def compiled(name: str):
    """A misfit and its gradient."""
    return jax.jit(jax.value_and_grad(MISFITS[name]))


@cache
def mapped(name: str):
    """The same for three data sets and weights at once."""
    return jax.jit(jax.vmap(jax.value_and_grad(MISFITS[name])))


def three(*arrays):
    """Three copies of each array."""
    return (jnp.stack([array] * 3) for array in arrays)


@pytest.mark.parametrize("name", MISFITS)
def test_smallest_at_equality(float64, name):
    """Zero, with no slope, at equality, and positive elsewhere. Rounding errors of 1e-16 are squared."""
    predicted, observed = records()
    value, slope = compiled(name)(observed, observed)
    assert 0 <= value < 1e-20 and jnp.abs(slope).max() < 1e-12
    value, slope = compiled(name)(predicted, observed)
    assert value > 1e-6 and jnp.abs(slope).max() > 1e-6


@pytest.mark.parametrize("name", MISFITS)
def test_gradients_are_those_of_finite_differences(float64, name):
    """Central differences of step h err by h^2 and 1e-16 / h, which is 1e-6 of the slope here. Weights vary in time."""
    predicted, observed = records()
    weights = jnp.linspace(0, 1, predicted.size).reshape(predicted.shape)
    (direction, _), h = records(seed=1), 1e-6
    batch = predicted + h * direction * jnp.array([0.0, 1.0, -1.0]).reshape(3, 1, 1, 1)
    values, slopes = mapped(name)(batch, *three(observed, weights))
    expected = (values[1] - values[2]) / (2 * h)
    assert abs(expected) > 1e-6
    np.testing.assert_allclose(jnp.sum(slopes[0] * direction), expected, rtol=1e-5)


@pytest.mark.parametrize("name", MISFITS)
def test_what_has_no_weight_changes_nothing(float64, name):
    """Behind a mute, and in a trace of weight zero, data may be anything, NaN for the observed ones."""
    predicted, observed = records()
    weights = jnp.ones_like(predicted).at[:, :20].set(0.0).at[:, :, 1].set(0.0)
    others = jnp.stack([predicted, jnp.where(weights > 0, predicted, 7.0), jnp.where(weights > 0, predicted, -1e3)])
    spoilt = jnp.stack([observed, jnp.where(weights > 0, observed, jnp.nan), jnp.where(weights > 0, observed, 1e3)])
    values, slopes = mapped(name)(others, spoilt, *three(weights))
    assert values[0] > 0 and (values == values[0]).all() and (slopes == slopes[0]).all()
    assert ((slopes[0] != 0) <= (weights > 0)).all()


@pytest.mark.parametrize("name", BALANCED)
def test_traces_count_by_the_mean_squares_of_their_weights(float64, name):
    """A trace of weight 1/2 counts a quarter: the mean of two traces is that of each, with weights 1 and 1/4."""
    predicted, observed = records()
    weights = jnp.zeros((3, *predicted.shape)).at[0, 0, :, 0].set(1.0).at[1, 0, :, 1].set(1.0)
    weights = weights.at[2].set(weights[0] + weights[1] / 2)
    (first, second, both), _ = mapped(name)(*three(predicted, observed), weights)
    np.testing.assert_allclose(both, (first + second / 4) / 1.25, rtol=1e-10)


def test_a_mute_takes_its_share_of_a_trace():
    predicted, observed = records()
    muted = jnp.where(jnp.arange(48) < 24, 0.0, 1.0)[None, :, None]
    np.testing.assert_allclose(weigh(predicted, observed, muted).weight, 0.5)


@pytest.mark.parametrize("name", MISFITS)
def test_silent_traces(float64, name):
    """Traces without observed data are left out where traces are normalized. A prediction of nothing is finite, and so
    is its gradient; a trace that is not predicted counts one, as no prediction at all does in the other misfits, but
    for the smoothing of the envelope."""
    predicted, observed = records()
    function, balanced = compiled(name), name in BALANCED
    value, slope = function(jnp.zeros_like(predicted), observed)
    assert jnp.isfinite(slope).all()
    np.testing.assert_allclose(value, 1.0, atol=10 * SMOOTHING if name == "envelope" else 1e-12)
    rest, _ = function(predicted.at[:, :, 0].set(observed[:, :, 0]), observed)
    value, slope = function(predicted.at[:, :, 0].set(0.0), observed)
    assert value > rest and jnp.isfinite(slope).all()
    assert not balanced or np.isclose(value, rest + 1 / 3, rtol=1e-10)
    value, slope = function(predicted, observed.at[:, :, 0].set(0.0))
    assert jnp.isfinite(value) and jnp.isfinite(slope).all() and (slope[..., 1:] != 0).any()
    if balanced:
        assert (slope[..., 0] == 0).all() and np.isclose(value, rest * 3 / 2, rtol=1e-10)
    else:
        assert (slope[..., 0] != 0).any()


@pytest.mark.parametrize("name", ["wasserstein", "adaptive_waveform", "frequency_phase"])
def test_float32_is_enough(float64, name):
    """Where something small divides, the gradient of a long record in float32 is that of float64, to 1e-4: thousand
    times its rounding."""
    predicted, observed = (jax.random.normal(jax.random.key(i), (1, 1000, 2), float) for i in (0, 1))
    _, exact = compiled(name)(predicted, observed)
    _, slope = compiled(name)(predicted.astype(jnp.float32), observed.astype(jnp.float32))
    assert slope.dtype == jnp.float32 and relative(slope, exact) < 1e-4


@pytest.mark.parametrize("name", NORMALIZED)
def test_blind_to_amplitude(float64, name):
    """Every trace of the prediction may have a factor of its own, and the observed one, too."""
    predicted, observed = records()
    factors = jnp.array([0.1, 1.0, 30.0])
    expected, _ = compiled(name)(predicted, observed)
    for p, o in ((factors * predicted, observed), (predicted, factors[::-1] * observed)):
        np.testing.assert_allclose(compiled(name)(p, o)[0], expected, rtol=1e-9)


def test_the_level_of_silence():
    """A factor of a predicted trace changes nothing as long as it is heard; below, it counts more the quieter it is,
    up to one."""
    predicted, observed = records()
    factors = jnp.array([1.0, 3 * SILENCE, 0.5 * SILENCE, 0.2 * SILENCE, 1e-3 * SILENCE, 0.0])
    quiet = jax.vmap(lambda factor: predicted.at[:, :, 0].multiply(factor))(factors)
    values = jax.jit(jax.vmap(partial(MISFITS["global_correlation"], observed=observed)))(quiet)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)
    np.testing.assert_allclose(values[4], values[5], rtol=1e-5)
    assert (jnp.diff(values)[1:4] > 0).all()


def test_weights_that_do_not_fit():
    predicted, observed = records()
    with pytest.raises(InputError, match=r"shape \(2, 3\) do not fit data of the shape \(2, 48, 3\)"):
        MISFITS["l2"](predicted, observed, jnp.ones((2, 3)))


def test_cells_of_wavefields_are_traces():
    """A wavefield of 2 x 3 cells is a gather of 6 traces, and weights of cells go along."""
    predicted, observed = records(shape=(2, 20, 6))
    weights = jnp.linspace(0, 1, 6).reshape(1, 1, 2, 3)
    function = jax.jit(MISFITS["global_correlation"])
    of_cells = function(predicted.reshape(2, 20, 2, 3), observed.reshape(2, 20, 2, 3), weights)
    np.testing.assert_allclose(of_cells, function(predicted, observed, weights.reshape(1, 1, 6)), rtol=1e-6)


# --- basins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_correlation_delay", "adaptive_waveform", "wasserstein", "envelope"])
def test_the_derivative_points_home_beyond_half_a_period(name):
    """At 0.7 periods the squared difference of Ricker wavelets falls with the shift, and that of the others rises, as
    it does at one period. In float32, as in an inversion."""
    shifts = jnp.array([0.7, -0.7, 1.0, -1.0])
    slopes = jax.jit(jax.vmap(jax.grad(lambda s: MISFITS[name](shifted(s), shifted(0.0)))))(shifts)
    assert (slopes * jnp.sign(shifts) > 0).all()
    wrong = jax.jit(jax.grad(lambda s: MISFITS["l2"](shifted(s), shifted(0.0))))(0.7)
    assert wrong < 0


def test_the_basin_of_l2(float64):
    """The autocorrelation of a Ricker wavelet of frequency one is He_4(x) exp(-x^2 / 2), x = pi shift. Its slope first
    vanishes with He_5, at x^2 = 5 - sqrt(10): shifts are tried at every hundredth of a period."""
    found, felt = largest_shifts(MISFITS["l2"])
    assert found is not None and felt is not None and felt <= found
    assert 0 <= np.sqrt(5 - np.sqrt(10)) / np.pi - found < 0.0101


def test_wasserstein_grows_as_the_square_of_a_shift(float64):
    """W2^2 = shift^2, in lengths of the record, but for the background: eta / mean(phi), 0.6 % here, and as much of it
    again that moves the other way."""
    shifts = jnp.array([0.5, 1.0, 2.0, 4.0])
    values = jax.jit(jax.vmap(lambda s: MISFITS["wasserstein"](shifted(s), shifted(0.0))))(shifts)
    np.testing.assert_allclose(values, (shifts * PERIOD / NT) ** 2, rtol=0.03)


def test_delays_of_shifts(float64):
    """The delay of a shifted trace is the shift, whatever the factor; a second arrival changes nothing about it."""
    shifts = jnp.array([-3.0, 0.3, 2.0])
    for count in (1, 2):
        found = jax.jit(jax.vmap(lambda s, n=count: delays(3.0 * shifted(s, n), shifted(0.0, n))))(shifts)
        np.testing.assert_allclose(found[:, 0, 0], shifts * PERIOD / NT, atol=0.02 * PERIOD / NT)


# --- each misfit's own theory ---------------------------------------------------------------------------------


def test_huber_with_a_large_threshold_is_l2(float64, monkeypatch):
    predicted, observed = records()
    monkeypatch.setattr(huber_file, "THRESHOLD", 1e6)
    huber, l2 = jax.jit(lambda p, o: (MISFITS["huber"](p, o), MISFITS["l2"](p, o)))(predicted, observed)
    np.testing.assert_allclose(huber, l2, rtol=1e-12)


def test_the_influence_of_an_outlier(float64):
    """A sample that is off by A pulls with A in l2, with a constant in Huber's misfit, and with 1 / A in Student's."""
    predicted, observed = records()
    sizes = jnp.array([1e3, 1e5])
    batch = jax.vmap(lambda size: predicted.at[0, 5, 1].set(size))(sizes)
    for name, power in (("l2", 1), ("huber", 0), ("student_t", -1)):
        slopes = jax.jit(jax.vmap(jax.grad(partial(MISFITS[name], observed=observed))))(batch)
        np.testing.assert_allclose(slopes[1, 0, 5, 1] / slopes[0, 0, 5, 1], 100.0**power, rtol=0.01)


def test_scales_are_robust(float64):
    """Observed noise in one trace of three changes no scale: the slope of the others stays, up to a common factor."""
    predicted, observed = records()
    for name in ("huber", "student_t"):
        _, clean = compiled(name)(predicted, observed)
        _, noisy = compiled(name)(predicted, observed.at[:, :, 2].multiply(1e3))
        ratio = (noisy / clean)[..., :2]
        # The median of six root mean squares moves with their order.
        assert ratio.std() < 0.1 * abs(ratio.mean())


def test_envelopes(float64):
    """A slow amplitude times a fast oscillation has the amplitude as its envelope (Bedrosian), in any phase; for any
    trace it is SciPy's of the trace with zeros behind it."""
    times = jnp.arange(400)
    slow = jnp.exp(-(((times - 200) / 40) ** 2))
    for phase in (0.0, 1.0, np.pi / 2):
        found = jax.jit(envelopes)((slow * jnp.cos(0.8 * times + phase))[None, :, None])[0, :, 0]
        np.testing.assert_allclose(found, jnp.sqrt(slow**2 + SMOOTHING**2), atol=1e-4)
    _, observed = records()
    padded = np.abs(np.asarray(scipy.signal.hilbert(np.asarray(observed), N=96, axis=1)))[:, :48]
    np.testing.assert_allclose(jax.jit(envelopes)(observed), np.sqrt(padded**2 + SMOOTHING**2), rtol=1e-10)


def test_phases(float64):
    """A filter of zero phase changes nothing, whatever it does to amplitudes; the other polarity has 1 - cos pi = 2."""
    observed = jax.random.normal(jax.random.key(0), (2, 48, 3), float).at[:, :8].set(0.0).at[:, -8:].set(0.0)
    smooth = (jnp.roll(observed, 1, axis=1) + 3 * observed + jnp.roll(observed, -1, axis=1)) / 5
    function = jax.jit(MISFITS["frequency_phase"])
    np.testing.assert_allclose(function(smooth, observed), 0.0, atol=1e-4)
    np.testing.assert_allclose(function(-observed, observed), 2.0, rtol=1e-4)


def test_adaptive_waveform_penalizes_the_lags_of_the_filter(float64):
    """Where all frequencies have more energy than the stabilization, the filter to a delayed trace is an impulse at the
    delay, and the misfit its square."""
    impulse = jnp.zeros((1, 50, 1)).at[0, 20, 0].set(1.0)
    value = jax.jit(MISFITS["adaptive_waveform"])(jnp.roll(impulse, 10, axis=1), impulse)
    # W is (exp(i w 10) + eps) / (1 + eps): an impulse of eps stays at lag zero.
    np.testing.assert_allclose(value, (10 / 50) ** 2 / (1 + 0.01**2), rtol=1e-10)
