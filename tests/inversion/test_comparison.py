"""Comparisons of synthetic gathers with known answers, and errors of models by wavelength."""

import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion import comparison
from surrogate.inversion.comparison import compare, strides
from surrogate.inversion.misfits.l2 import l2
from surrogate.inversion.model_error import error_by_wavelength

NT, DT, PEAK, VELOCITY = 200, 4e-3, 10.0, 2000.0
SOURCES = np.array([[10.0, 0.0], [10.0, 200.0], [10.0, 400.0], [10.0, 600.0]])
RECEIVERS = np.stack([np.full(16, 10.0), 40.0 * np.arange(16)], axis=1)
OFFSETS = np.abs(SOURCES[:, 1:] - RECEIVERS[:, 1])
SURVEY = make_survey(SOURCES, RECEIVERS, np.ones(NT))


def delayed(delay=0.0) -> np.ndarray:
    """Ricker wavelets that arrive at offset / VELOCITY + delay, `(n_shots, nt, n_receivers)`."""
    times = DT * np.arange(NT)[:, None] - 0.2 - OFFSETS[:, None] / VELOCITY - delay
    return ricker_waveform((np.pi * PEAK * times) ** 2).astype(np.float32)


def test_a_factor_of_each_shot_and_of_each_offset():
    """(1 - a)^2 of the shots' own a, and of a that falls with offset; spectra times a; no delay."""
    observed, by_shot = delayed(), np.array([0.5, 0.8, 1.0, 1.5])
    by_offset = 1 - OFFSETS[:, None] / 1000
    found = compare(observed, iter([by_shot[:, None, None] * observed, by_offset * observed]), SURVEY, DT)
    np.testing.assert_allclose(found.misfit_by_shot[0], (1 - by_shot) ** 2, rtol=1e-5)
    # All traces have one energy. Bins are 30 m wide, and offsets multiples of 40 m: one value in each bin.
    bins = np.clip(np.digitize(OFFSETS, found.offset_edges) - 1, 0, comparison.OFFSET_BINS - 1)
    for i, value in enumerate(found.misfit_by_offset[1]):
        expected = np.mean((OFFSETS[bins == i] / 1000) ** 2) if (bins == i).any() else np.nan
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    ratio = np.sqrt(np.mean(by_shot**2))
    np.testing.assert_allclose(found.spectra[1][:50], ratio * found.spectra[0][:50], atol=1e-6 * found.spectra.max())
    np.testing.assert_allclose(found.first_breaks[1:], found.first_breaks[[0, 0]], atol=1e-6)


def test_delays():
    """Breaks come as much later as the data, to a fifth of a sample, and later with offset at the velocity."""
    found = compare(delayed(), iter([delayed(0.0213), delayed()]), SURVEY, DT)
    assert found.first_breaks.shape == (3, 4, 16) and (found.misfit_by_shot[1] == 0).all()
    delays = found.first_breaks - found.first_breaks[0]
    np.testing.assert_allclose(delays, np.array([0, 0.0213, 0])[:, None, None] * np.ones((4, 16)), atol=0.2 * DT)
    moveout = found.first_breaks[0] - found.first_breaks[0, 0, 0]
    np.testing.assert_allclose(moveout, OFFSETS / VELOCITY, atol=0.2 * DT)
    np.testing.assert_array_equal(found.sources, SOURCES)
    np.testing.assert_array_equal(found.break_receivers[2], RECEIVERS)


def test_the_spectrum_of_an_impulse_is_flat():
    """One sample of a / dt has the amplitude a at every frequency, in every trace; a fourth of them is dead."""
    observed = np.zeros((4, NT, 16), np.float32)
    observed[:, 50, :12] = 3e-6 / DT
    found = compare(observed, iter([2 * observed, observed]), SURVEY, DT)
    np.testing.assert_allclose(found.spectra[:2], [[3e-6] * len(found.frequencies), [6e-6] * 101], rtol=1e-5)
    assert found.frequencies[-1] == pytest.approx(0.5 / DT)


def test_weights_and_units():
    """The misfits of shots add up to `l2`, and dead traces may hold NaN; no unit leaves the range of float32."""
    random = np.random.default_rng(0)
    weights = random.uniform(0.5, 1.0, (4, 1, 16)).astype(np.float32)
    weights[2, 0, 3] = 0
    observed, predicted = 1e-25 * delayed(), 1e-25 * delayed(0.01)
    observed[2, :, 3] = np.nan
    found = compare(observed, iter([predicted, predicted]), SURVEY, DT, weights)
    energy = np.nansum((weights * 1e25 * observed) ** 2, axis=(1, 2))
    whole = np.sum(found.misfit_by_shot[0] * energy) / np.sum(energy)
    assert whole == pytest.approx(float(l2(jnp.asarray(predicted), jnp.asarray(observed), jnp.asarray(weights))), 1e-5)
    assert np.isnan(found.first_breaks[:, 2, 3]).all() and np.isfinite(found.first_breaks[:, 0]).all()
    assert (found.gathers[0, 1, :, 3] == 0).all() and np.isfinite(found.gathers).all()


def test_large_comparisons_are_thinned(monkeypatch):
    """What is left is every n-th value, and says so; the sums are of all data."""
    monkeypatch.setattr(comparison, "GATHER_VALUES", 9000)
    monkeypatch.setattr(comparison, "BREAK_VALUES", 200)
    observed = delayed()
    thin = compare(observed, iter([delayed(0.01), observed]), SURVEY, DT)
    monkeypatch.undo()
    whole = compare(observed, iter([delayed(0.01), observed]), SURVEY, DT)
    time, receiver = thin.gather_steps
    np.testing.assert_array_equal(thin.gathers, whole.gathers[:, :, ::time, ::receiver])
    assert thin.gathers[0, 0].size <= 1000 and thin.gather_dt == np.float32(DT * time)
    shots, receivers = thin.break_steps
    np.testing.assert_array_equal(thin.first_breaks, whole.first_breaks[:, ::shots, ::receivers])
    assert thin.first_breaks[0].size <= 40
    for name in ("misfit_by_shot", "misfit_by_offset", "spectra", "sources"):
        np.testing.assert_array_equal(getattr(thin, name), getattr(whole, name))


def test_strides():
    """The longest axis is thinned first, and no axis more than needed."""
    assert strides((5, 7), 35) == (1, 1) and strides((5, 700), 100) == (1, 35)
    steps = strides((3000, 1000), 300_000)
    left = -(-3000 // steps[0]) * -(-1000 // steps[1])
    assert 200_000 < left <= 300_000


def test_the_error_of_one_cosine():
    """A cosine of half the amplitude's square as mean square lies in its octave alone; octaves and mean add up."""
    nz, nx, spacing = 32, 64, 10.0
    x = spacing * (np.arange(nx) + 0.5)
    truth = np.tile(2500 + 100 * np.cos(2 * np.pi * x / 320), (nz, 1))
    start, noise = np.full((nz, nx), 2450.0), np.random.default_rng(0).normal(size=(nz, nx))
    found = error_by_wavelength(np.stack([start, truth + noise]), truth, spacing)
    inside = (found.edges[:-1] <= 320) & (found.edges[1:] > 320)
    np.testing.assert_allclose(found.rms[0], np.where(inside, 100 / np.sqrt(2), 0), atol=1e-9)
    np.testing.assert_allclose(found.variation, found.rms[0], atol=1e-9)
    assert np.sum(found.rms[1] ** 2) + np.mean(noise) ** 2 == pytest.approx(np.mean(noise**2))
    assert found.edges[-1] > 2 * nx * spacing
