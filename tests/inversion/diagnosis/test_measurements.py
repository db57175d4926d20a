"""Noise, phases, mutes and Taylor's remainder are what they are known to be."""

import numpy as np
import pytest

from surrogate.inversion.bounds import make_bounds
from surrogate.inversion.diagnosis.arrivals import Arrivals, common_phase, compare_arrivals, find_reversed
from surrogate.inversion.diagnosis.gathers import INTERFERENCE
from surrogate.inversion.diagnosis.inverse_crime import judge_crime
from surrogate.inversion.diagnosis.mutes import find_mutes
from surrogate.inversion.diagnosis.noise import (
    noise_before,
    noise_beyond,
    noise_level,
    signal_to_noise,
    total_ratio,
)
from surrogate.inversion.diagnosis.taylor import inward, judge_gradient, taylor_test
from surrogate.inversion.diagnosis.trace_faults import listed
from surrogate.inversion.first_breaks import pick_first_breaks
from tests.inversion.diagnosis.synthetic import DELAY, DT, OFFSETS, PEAK, PERIOD, gathers, with_noise

USED = np.ones(OFFSETS.shape, bool)
EXACT = OFFSETS / 2000 + DELAY  # peaks of the direct wave


@pytest.mark.parametrize("decibels", [0, 10, 30])
def test_noise_is_measured_in_both_ways(decibels):
    """To half a decibel: tens of thousands of samples, whose power has a relative deviation of 1 %."""
    data = with_noise(gathers(), decibels)
    rms = np.sqrt(np.mean(data**2, axis=1))
    before = noise_before(data, EXACT - PERIOD, DT, PERIOD)
    beyond = noise_beyond(data, DT, 2.5 * PEAK)
    assert 0 < np.isnan(before).mean() < 0.5 and np.isfinite(beyond).all()
    for noise in (before[np.isfinite(before)], beyond, noise_level(before, beyond)):
        assert total_ratio(rms, noise) == pytest.approx(decibels, abs=0.5)
    assert np.isnan(noise_beyond(data, DT, 0.5 / DT)).all()


def test_ratios_of_nothing_are_finite():
    found = signal_to_noise(np.array([[1.0, 0.0, 1.0, 2.0]]), np.array([[0.0, 0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(found, [[120, -120, -120, 10 * np.log10(3)]])


@pytest.mark.parametrize("angle", [-90, -45, 0, 30, 150])
def test_the_phase_is_the_rotation(angle):
    """To 7 degrees, whatever the delay: windows cut the tails of rotated wavelets off, the most at 90 degrees."""
    observed, predicted = gathers(2060.0, rotation=angle), gathers()
    observed[1, :, 3:6] *= -1
    breaks = (pick_first_breaks(observed, DT, PERIOD), pick_first_breaks(predicted, DT, PERIOD))
    arrivals = compare_arrivals(observed, predicted, breaks, USED, DT, PERIOD)
    common = common_phase(arrivals, OFFSETS, PERIOD)
    assert common.degrees == pytest.approx(angle, abs=7) and common.told
    assert np.argwhere(find_reversed(arrivals, common, PERIOD)).tolist() == [[1, 3], [1, 4], [1, 5]]


def test_interfering_waves_are_not_reversed_traces():
    """Around an offset where a wave of another path overtakes, first waves have any phase: no receiver has one sign.

    One trace that is reversed among others that agree is found, in the midst of 40 such zones of eight receivers.
    """
    random, shots, receivers = np.random.default_rng(0), np.arange(40)[:, None], np.arange(200)
    zone = np.abs(receivers - 20 - 4 * shots) < 4
    phase = np.where(zone, random.uniform(-180, 180, zone.shape), random.normal(0, 10, zone.shape))
    delay = np.where(zone, random.uniform(-0.4, 0.4, zone.shape) * PERIOD, 0.0)
    phase[7, 150] += 180
    arrivals = Arrivals(delay, phase, np.full(zone.shape, 0.9))
    found = find_reversed(arrivals, common_phase(arrivals, np.abs(receivers - 5.0 * shots), PERIOD), PERIOD)
    assert found[7, 150]
    assert found.sum() - 1 <= INTERFERENCE * found.size


def test_the_nearest_waves_tell_the_phase():
    """Where the start turns first waves beyond some offset, by 50 degrees and more with the offset, nearer ones do not.

    No trace is reversed: where all turn slowly, some are the first beyond the threshold against the common phase.
    """
    random, offsets = np.random.default_rng(0), np.abs(np.arange(200) - 20.0 * np.arange(10)[:, None])
    turned = np.where(offsets < 30, 0.0, 50 + offsets) + random.normal(0, 5, offsets.shape)
    arrivals = Arrivals(np.zeros(offsets.shape), 30 + turned, np.full(offsets.shape, 0.9))
    common = common_phase(arrivals, offsets, PERIOD)
    assert common.told and common.degrees == pytest.approx(30, abs=1)
    assert not find_reversed(arrivals, common, PERIOD).any()


def test_waves_that_are_not_alike_tell_no_phase():
    observed, predicted = np.random.default_rng(0).normal(size=(2, *gathers().shape))
    breaks = (pick_first_breaks(observed, DT, PERIOD), pick_first_breaks(predicted, DT, PERIOD))
    arrivals = compare_arrivals(observed, predicted, breaks, USED, DT, PERIOD)
    common = common_phase(arrivals, OFFSETS, PERIOD)
    assert not common.told and not find_reversed(arrivals, common, PERIOD).any()


def test_mutes_are_found_at_their_samples():
    predicted = with_noise(gathers(), 60, seed=1)
    observed = with_noise(gathers(), 30)
    muted = OFFSETS < 300
    observed[:, :100] = np.where(muted[:, None], 0, observed[:, :100])
    observed[:, -50:] = np.where(OFFSETS[:, None] > 900, 0, observed[:, -50:])
    top, bottom = find_mutes(observed, predicted, USED)
    # What is predicted there is loud: direct waves of less than 300 m peak before 0.28 s.
    np.testing.assert_array_equal(top.muted, muted)
    assert (top.samples[muted] == 100).all()
    assert (bottom.muted <= (OFFSETS > 900)).all() and bottom.muted.any()
    assert (bottom.samples[bottom.muted] == 50).all()


def test_a_field_that_fades_is_not_muted():
    """Of float32 numbers, of integers, and of a wave that a faster prediction is ahead of."""
    for digits in (3, 4, 38):
        observed = np.round(gathers(1700.0), digits).astype(np.float32).astype(float)
        assert not any(mutes.muted.any() for mutes in find_mutes(observed, gathers(3000.0), USED))


class Cubic:
    """J(x) = sum x^2 + 1e-3 sum x^3, with a factor that spoils the gradient."""

    shots, resolution = 1, 1e-16

    def __init__(self, factor: float = 1.0):
        self.factor = factor

    def value(self, x):
        return float(np.sum(x**2) + 1e-3 * np.sum(x**3))

    def value_and_gradient(self, x):
        return self.value(x), self.factor * (2 * x + 3e-3 * x**2)


def test_taylor_tells_a_gradient_from_another():
    """The slope of the remainder is 2 with the gradient; an error of 1 % of it makes it 1 at short steps."""
    x = direction = np.linspace(1, 2, 50)
    right, wrong = (taylor_test(Cubic(factor), x, 0.05 * direction) for factor in (1.0, 1.01))
    assert right.slope == pytest.approx(2, abs=0.01)
    assert wrong.slope == pytest.approx(1, abs=0.4)
    assert judge_gradient({"the start": right}).severity == "good"
    finding = judge_gradient({"the start": right, "a model": wrong})
    assert finding.severity == "warning" and "at a model" in finding.remedy
    rounding = taylor_test(Cubic(), x, 5e-10 * direction)
    assert np.isnan(rounding.slope) and judge_gradient({"the start": rounding}).severity == "good"


def test_directions_stay_within_the_bounds():
    x = np.array([1500.0, 2000.0, 4499.0, 3000.0])
    bounds = make_bounds(1500.0, 4500.0, x, np.array([False, False, False, True]))
    np.testing.assert_array_equal(inward(x, np.array([-10.0, 10.0, 10.0, 10.0]), bounds), [0, 10, 0, 0])


def test_lists_of_traces_are_short():
    mask = np.zeros((3, 20), bool)
    assert listed(mask) == ""
    mask[0], mask[1, 3] = True, True
    assert listed(mask) == "shot 0: all; shot 1: 3"
    mask[2, :15] = True
    assert listed(mask).endswith("...")


def test_the_inverse_crime_is_one_of_three():
    assert judge_crime(False, None, None, 30.0).severity == "good"
    assert judge_crime(False, 0.02, 1e-2, 30.0).severity == "good"
    for crime in ((True, None, None), (False, 1e-4, None), (False, None, 1e-7)):
        finding = judge_crime(*crime, 30.0)
        assert finding.severity == "warning" and "internal_spacing" in finding.remedy
