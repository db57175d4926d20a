"""What the cards of inversions measure: identities of the errors, the bands and the mask."""

import numpy as np
import pytest

from benchmarks.inversion_metrics import (
    BANDS,
    PART,
    band_errors,
    error,
    illuminated,
    mean_error,
    relative_misfit,
    similarity,
)


@pytest.fixture
def models() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = 3000 + 500 * rng.standard_normal((24, 40))
    return truth + 100 * rng.standard_normal(truth.shape), truth


def test_errors_of_the_truth_and_of_a_scaled_truth(models):
    _, truth = models
    assert error(truth, truth) == mean_error(truth, truth) == 0
    assert error(1.1 * truth, truth) == pytest.approx(0.1)
    assert similarity(truth, truth, (1500.0, 4500.0)) == pytest.approx(1.0, abs=1e-5)


def test_a_mask_leaves_out_what_lies_outside(models):
    model, truth = models
    mask = np.zeros(truth.shape, bool)
    mask[:10] = True
    elsewhere = np.where(mask, model, 0.0)
    assert error(elsewhere, truth, mask) == error(model, truth, mask)
    assert error(model, truth, np.ones_like(mask)) == error(model, truth)


def test_bands_are_parts_of_the_whole(models):
    """Cosines of unit norm keep the sum of squares: errors of the bands add up to that of all wavenumbers."""
    model, truth = models
    spacing, wavelength = 10.0, 60.0
    parts = band_errors(model, truth, spacing, wavelength)
    kept = {name: band_errors(0 * truth, truth - truth.mean(), spacing, wavelength)[name] for name in parts}
    assert set(parts) == set(BANDS)
    assert kept == pytest.approx(dict.fromkeys(BANDS, 1.0))
    # Wavelengths at which all of it lies in one band: that band has the whole error.
    whole = np.linalg.norm(model - truth) / np.linalg.norm(truth - truth.mean())
    assert band_errors(model, truth, spacing, 0.1) == pytest.approx({"k l < 1/4": whole})


def test_a_cosine_is_in_the_band_of_its_wavenumber():
    """A cosine of 8 half periods over 40 cells of 10 m has a wavelength of 100 m: k l = 1.5 with l = 150 m."""
    centers = (np.arange(40) + 0.5) / 40
    truth = 3000 + 100 * np.cos(8 * np.pi * centers) * np.ones((24, 1))
    found = band_errors(np.full_like(truth, 3000.0), truth, 10.0, 150.0)
    # In the other bands both truth and error are rounding.
    assert found["1 to 2"] == pytest.approx(1.0)
    assert np.all(band_errors(truth, truth, 10.0, 150.0)["1 to 2"] == 0)


def test_the_mask_is_free_of_units_and_of_a_few_bright_cells():
    rng = np.random.default_rng(1)
    sources, receivers = rng.uniform(0.1, 1.0, (2, 21, 29))  # an odd number: the median is that of a cell
    mask = illuminated(sources, receivers)
    np.testing.assert_array_equal(illuminated(1e-12 * sources, 1e9 * receivers), mask)
    bright = sources.copy()
    above = sources * receivers > np.median(sources * receivers)
    bright[above] *= 1e6  # the median stays
    np.testing.assert_array_equal(illuminated(bright, receivers), mask)
    assert 0.5 < mask.mean() < 1
    assert illuminated(np.ones((3, 3)), np.ones((3, 3))).all() and PART < 1


def test_the_misfit_is_that_of_energies():
    observed = np.random.default_rng(2).standard_normal((3, 50, 7)).astype(np.float32)
    assert relative_misfit(observed, observed) == 0
    assert relative_misfit(0 * observed, observed) == 1
    assert relative_misfit(0.9 * observed, observed) == pytest.approx(0.01, rel=1e-5)
