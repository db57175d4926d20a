"""The diagnosis of gathers names each defect that was put in, alone and together, and nothing in clean data."""

import numpy as np
import pytest

from surrogate.inversion.diagnosis.gathers import GathersDiagnosis, diagnose_gathers
from tests.inversion.diagnosis.synthetic import DT, NT, OFFSETS, PEAK, PERIOD, TIMES, gathers, record, some, with_noise

TRUE = {"velocity": 2060.0, "depth": 590.0}
DEAD, REVERSED = some(0.1), some(0.08, seed=2) & ~some(0.1)
SLOPE = TIMES[:, None] - OFFSETS[:, None] / 2000 - 0.3  # behind the direct wave


def faults(found: GathersDiagnosis) -> set[str]:
    return {finding.name for finding in found.findings if finding.severity != "good"}


@pytest.mark.parametrize(
    "observed",
    [gathers(), gathers(**TRUE), np.round(gathers(**TRUE), 4), gathers(2010.0).astype(np.float32).astype(float)],
    ids=["as predicted", "of a faster model", "rounded to integers", "float32"],
)
def test_clean_data_raise_no_finding(observed):
    found = diagnose_gathers(record(observed))
    assert faults(found) == set(), found.findings
    assert found.total > 40


def damaged(name: str) -> np.ndarray:
    """Data with one defect."""
    clean = gathers(**TRUE)
    change = {
        "noise": lambda: with_noise(clean, 10),
        "noise of the band": lambda: with_noise(clean, 10, band=2.5 * PEAK),
        "dead": lambda: np.where(DEAD[:, None], 0, clean),
        "noise alone": lambda: with_noise(np.where(DEAD[:, None], 0, clean), 25),
        "reversed": lambda: np.where(REVERSED[:, None], -clean, clean),
        "noisy": lambda: with_noise(clean, 25) + (with_noise(clean, 3) - clean) * some(0.03)[:, None],
        "rotated": lambda: gathers(**TRUE, rotation=30),
        "lower": lambda: gathers(**TRUE, peak=7.0),
        "slow": lambda: gathers(2700.0, 590.0),
        "louder": lambda: 5 * clean,
        "unequal": lambda: clean * np.array([1, 1, 3, 1])[:, None, None],
        "points": lambda: clean / np.sqrt(OFFSETS + 20)[:, None] * 15,
        "muted": lambda: with_noise(clean, 45) * (SLOPE > 0),
        "cut": lambda: clean * (TIMES < 0.7)[:, None],
        "late": lambda: np.where(TIMES[:, None] < 0.4, 0, np.roll(with_noise(clean, 50), round(0.4 / DT), axis=1)),
    }
    return change[name]()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("noise", {"noise"}),
        ("noise of the band", {"noise"}),
        ("dead", {"dead traces"}),
        ("noise alone", {"dead traces"}),
        ("reversed", {"reversed traces"}),
        ("noisy", {"noisy traces"}),
        ("rotated", {"wavelet phase"}),
        ("lower", {"band"}),
        ("slow", {"cycle skips"}),
        ("louder", {"source scale"}),
        ("unequal", {"scale of shots"}),
        ("points", {"spreading"}),
        ("cut", {"bottom mute"}),
        ("muted", {"top mute", "arrival times", "cycle skips"}),
        ("late", {"arrival times", "cycle skips"}),
    ],
)
def test_each_defect_is_named(name, expected):
    found = diagnose_gathers(record(damaged(name)))
    # A mute or a wrong clock shows in amplitudes, too.
    further = {"source scale", "top mute"} if len(expected) > 1 else set()
    assert expected <= faults(found) <= expected | further, found.findings
    assert all(finding.remedy for finding in found.findings if finding.severity != "good")


def test_all_defects_of_a_bad_line_are_named():
    """A wavelet 30 degrees off, a tenth of the traces dead, some reversed, and noise of 10 dB."""
    signal = np.where(REVERSED[:, None], -1, 1) * gathers(**TRUE, rotation=30)
    observed = np.where(DEAD[:, None], 0, with_noise(signal, 10))
    found = diagnose_gathers(record(observed, used=~DEAD))
    assert faults(found) == {"noise", "dead traces", "reversed traces", "wavelet phase"}
    np.testing.assert_array_equal(found.faults.dead, DEAD)
    np.testing.assert_array_equal(found.reversed, REVERSED)
    assert found.total == pytest.approx(10, abs=0.5)
    # Noise of 10 dB turns a first wave by some 20 degrees, and a fifth of the 108 live traces tells the phase.
    assert found.common.degrees == pytest.approx(30, abs=2 * 20 / np.sqrt(108 / 5))


def test_delays_are_those_of_the_models():
    """Direct waves of 2000 and 2060 m/s differ by offset (1 / 2060 - 1 / 2000), to a sample."""
    found = diagnose_gathers(record(gathers(**TRUE)))
    expected = OFFSETS * (1 / 2060 - 1 / 2000)
    far = OFFSETS > 100  # nearer ones begin within the first period of the record
    np.testing.assert_allclose(found.arrivals.delay[far], expected[far], atol=1.1 * DT)
    assert (np.abs(expected) < PERIOD / 2).all() and NT * DT > 1
