"""Observed data: read with their geometry, set up, inverted, and put back into the world.

The survey: three shots, eight receivers 20 m apart, on a line of slope 3:4 through (5000, 1000) m, on flat land 250 m
above the sea. The line's unit vector is (4, 3) / 5, so that x = 0.8 X + 0.6 Y is 4600 m at that point, and x = 0 is at
(5000, 1000) - 4600 (0.8, 0.6) = (1320, -1760) m.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import segyio
from segyio import BinField
from segyio import TraceField as Word

from data_gen import Grid, InputError, TimeAxis, data_source, generate, ricker
from data_gen.common.frame import Frame
from data_gen.velocity.base.model_files import read_velocity
from surrogate.commands import invert as command
from surrogate.config import InvertConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.export import write_model
from surrogate.inversion.observed.reading import read_observed
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.setup import SetupConfig, setup_inversion
from surrogate.inversion.observed.start import make_start, read_start
from surrogate.inversion.observed.wavelet import choose_wavelet
from surrogate.inversion.source_estimation import estimate_source, fit_amplitude
from surrogate.runs.invert import run_inversion
from surrogate.runs.observed_problem import observed_problem
from tests.helpers import relative, tiny_config

DT, NT, PEAK, BOUNDS = 4e-3, 100, 10.0, (1500.0, 2500.0)
FRAME = Frame(250.0, 1.0, (1320.0, -1760.0), (0.8, 0.6))
SOURCES = np.array([[8.0, 4610.0], [8.0, 4670.0], [8.0, 4730.0]])
RECEIVERS = np.array([[0.0, 4600.0 + 20 * i] for i in range(8)])
DEAD, LACKING = (0, 2), (1, 7)  # traces: shot, receiver
RANDOM = np.random.default_rng(0)
ONES = np.ones((3, NT, 8), np.float32)
SETUP = SetupConfig(peak_frequency=PEAK, depth=150.0, margin=60.0, layers=8)


def world(points: np.ndarray) -> np.ndarray:
    """Positions (z, x, y) with world coordinates."""
    horizontal = FRAME.world(points)[..., :2]
    return np.concatenate([points[..., :1], horizontal], axis=-1)


@pytest.fixture(scope="module")
def gathers() -> np.ndarray:
    """What the solver records over a slow start in a faster model, in another unit of pressure."""
    observed = arrays_of()
    setup = setup_inversion(observed, choose_wavelet(observed, None, PEAK), BOUNDS, SETUP)
    grid = setup.simulation.grid
    truth = np.full(grid.shape, 1900.0, np.float32)
    truth[4:] = 2200.0
    return 1e-6 * np.asarray(jax.jit(PhysicsForward(setup.simulation, setup.survey).__call__)(jnp.asarray(truth)))


def arrays_of(gathers: np.ndarray = ONES, **arrays: Any) -> Observed:
    """The survey as it is read from arrays."""
    with TemporaryDirectory() as folder:
        return read_observed(save(Path(folder) / "survey.npz", gathers, **arrays))


def save(path: Path, gathers: np.ndarray, **arrays: Any) -> Path:
    """Write the survey as .npz; `arrays` replace its own, and None leaves one out."""
    own = {"sources": world(SOURCES)[:, None], "receivers": world(RECEIVERS), "dt": DT, "datum": 250.0}
    np.savez(path, gathers=gathers, **{name: value for name, value in (own | arrays).items() if value is not None})
    return path


def write_segy(
    path: Path, gathers: np.ndarray, change: Callable[[int, int], dict] = lambda s, r: {}, binary: dict | None = None
) -> Path:
    """Write the survey with every quirk: little-endian, shuffled traces, a dead and a missing one, an auxiliary one."""
    traces = [(s, r) for s in range(3) for r in range(8) if (s, r) != LACKING]
    order = np.random.default_rng(1).permutation(len(traces))
    spec: Any = segyio.spec()
    spec.format, spec.samples, spec.tracecount, spec.endian = 5, np.arange(NT) * 4.0, len(traces) + 1, "little"
    with segyio.create(str(path), spec) as file:
        for i, number in enumerate([*order, -1]):
            s, r = traces[number]
            auxiliary, dead = number == -1, (s, r) == DEAD
            file.trace[i] = np.full(NT, 9e9 if auxiliary or dead else 0, np.float32) + gathers[s, :, r]
            (_, source_x, source_y), (_, group_x, group_y) = world(SOURCES)[s], world(RECEIVERS)[r]
            words = {
                Word.FieldRecord: 101 + s,
                Word.EnergySourcePoint: 900 - s,
                Word.TraceIdentificationCode: 7 if auxiliary else 2 if dead else 1,
                Word.SourceGroupScalar: -10,
                Word.SourceX: round(10 * source_x),
                Word.SourceY: round(10 * source_y),
                Word.GroupX: round(10 * group_x),
                Word.GroupY: round(10 * group_y),
                Word.ElevationScalar: -100,
                Word.SourceDepth: 800,
                Word.SourceSurfaceElevation: 25000,
                Word.ReceiverGroupElevation: 25000,
                Word.TRACE_SAMPLE_INTERVAL: 4000,
            }
            file.header[i] = words | change(s, r)
        file.bin.update({BinField.Interval: 4000} | (binary or {}))
    return path


def expected_weights() -> np.ndarray:
    weights = np.ones((3, 1, 8), np.float32)
    for shot, receiver in (DEAD, LACKING):
        weights[shot, 0, receiver] = 0
    return weights


def test_every_quirk_of_segy(tmp_path, gathers):
    """Gathers, weights, positions, times and place are those that were written, to rounding of float64 numbers."""
    found = read_observed(write_segy(tmp_path / "survey.sgy", gathers))
    np.testing.assert_array_equal(found.weights, expected_weights())
    np.testing.assert_array_equal(found.gathers, np.where(expected_weights() > 0, gathers, 0))
    np.testing.assert_allclose(found.sources, SOURCES[:, None], atol=1e-9)
    np.testing.assert_allclose(found.receivers, RECEIVERS, atol=1e-9)
    assert (found.dt, found.delay, found.frame.datum) == (DT, 0.0, 250.0)
    np.testing.assert_allclose((*found.frame.origin, *found.frame.direction), (1320, -1760, 0.8, 0.6), atol=1e-9)
    np.testing.assert_allclose(found.frame.world(found.receivers)[:, 2], 250.0)
    said = "; ".join(found.notes)
    for part in ("little-endian", "3 shots by FieldRecord and EnergySourcePoint", "shots have 7 to 8 traces"):
        assert part in said
    for part in ("1 auxiliary traces", "receiver 2 of shot 0", "the surface is flat", "offsets change by up to"):
        assert part in said


def test_moving_spreads_and_feet(tmp_path, gathers):
    """Unequal spreads that move have positions of their own, missing traces one of their shot; a foot is 0.3048 m."""
    east = lambda s, r: {Word.SourceY: 0, Word.GroupY: 0, Word.SourceX: 1000 * s, Word.GroupX: 200 * r + 1000 * s}  # noqa: E731
    found = read_observed(write_segy(tmp_path / "moving.sgy", gathers, east, {BinField.MeasurementSystem: 2}))
    foot = 0.3048
    x = foot * (20.0 * np.arange(8) + 100.0 * np.arange(3)[:, None])
    x[LACKING] = x[1, 6]
    np.testing.assert_allclose(found.receivers[..., 1], x, atol=1e-9)
    np.testing.assert_array_equal(found.weights, expected_weights())
    np.testing.assert_allclose((found.frame.datum, found.frame.unit), (250 * foot, foot))
    np.testing.assert_allclose(found.sources[:, 0, 0], 8 * foot)
    longest = 140 * foot
    np.testing.assert_allclose(found.longest_offset, longest)


def test_crooked_lines_are_projected(tmp_path, gathers):
    """A zigzag of 3 m off the line: offsets change by no more than its square over twice the shortest one."""
    aside = world(RECEIVERS)
    aside[:, 1:] += np.where(np.arange(8)[:, None] % 2, 3.0, -3.0) * [-0.6, 0.8]
    found = arrays_of(gathers, receivers=aside)
    np.testing.assert_allclose(np.diff(found.receivers[:, 1]), 20.0, atol=1.0)
    (note,) = (note for note in found.notes if "projected on a line" in note)
    assert "are up to 3" in note and "root mean square" in note
    aside[:, 1:] += np.where(np.arange(8)[:, None] % 2, 40.0, -40.0) * [-0.6, 0.8]
    with pytest.raises(InputError, match="do not lie along a line"):
        arrays_of(gathers, receivers=aside)


def test_topography_needs_a_datum(tmp_path, gathers):
    """Of hills of 250 to 320 m: refused without a datum, below the stated one otherwise; above it refused again."""
    hills = lambda s, r: {Word.ReceiverGroupElevation: 25000 + 1000 * r}  # noqa: E731
    file = write_segy(tmp_path / "hills.sgy", gathers, hills)
    with pytest.raises(InputError, match=r"has topography: .*250 to 320 m.*setup.datum=320"):
        read_observed(file)
    found = read_observed(file, datum=330.0)
    np.testing.assert_allclose(found.receivers[:, 0], 80.0 - 10 * np.arange(8))
    np.testing.assert_allclose(found.sources[:, 0, 0], 330 - 250 + 8.0)
    with pytest.raises(InputError, match="a receiver lies 20 m above the datum"):
        read_observed(file, datum=300.0)
    # At sea: depths below zero, which is the datum.
    sea = lambda s, r: {Word.SourceSurfaceElevation: 0, Word.ReceiverGroupElevation: -1200}  # noqa: E731
    found = read_observed(write_segy(tmp_path / "sea.sgy", gathers, sea))
    assert (found.frame.datum, set(found.receivers[:, 0]), set(found.sources[:, 0, 0])) == (0.0, {12.0}, {8.0})


GEOMETRY = """\
dt: 4e-3
unit: km
datum: 0.25
sources: {start: [0.008, 4.61], step: [0, 0.06], count: 3}
receivers: {start: [0, 4.6], step: [0, 0.02], count: 8}
"""


def test_geometry_files(tmp_path, gathers):
    """Lines and lists, in kilometers, beside an array or named; a spread that moves; several sources in a shot."""
    np.save(tmp_path / "survey.npy", gathers)
    (tmp_path / "survey.yaml").write_text(GEOMETRY)
    found = read_observed(tmp_path / "survey.npy")
    np.testing.assert_array_equal(found.gathers, gathers)
    np.testing.assert_allclose(found.sources, SOURCES[:, None])
    np.testing.assert_allclose(found.receivers, RECEIVERS, atol=1e-9)
    assert (found.dt, found.frame.datum, found.frame.unit) == (DT, 250.0, 1000.0)
    other = tmp_path / "other.yaml"
    other.write_text(
        "dt: 0.004\ndelay: 0.1\nsources: [[[5, 0], [5, 10]], [[5, 60], [5, 70]], [[5, 120], [5, 130]]]\n"
        "receivers: {start: [0, 0], step: [0, 20], count: 8, move: [0, 60]}\nreceiver_depth: 3\n"
    )
    found = read_observed(tmp_path / "survey.npy", geometry=other)
    assert found.sources.shape == (3, 2, 2) and found.delay == 0.1
    np.testing.assert_allclose(found.receivers[2], [[3.0, 120 + 20 * i] for i in range(8)])
    # The positions of a file stand in for those of headers.
    segy = write_segy(tmp_path / "headers.sgy", gathers)
    (tmp_path / "headers.yaml").write_text("source_depth: 11\nreceivers: {start: [0, 4600], step: [0, 20], count: 8}\n")
    found = read_observed(segy)
    np.testing.assert_allclose(found.sources[:, 0], [[11.0, x] for _, x in SOURCES], atol=1e-9)
    np.testing.assert_allclose(found.receivers, RECEIVERS)


NAN = np.where(np.arange(8) == 5, np.nan, 1.0) * np.ones((3, NT, 1), np.float32)
NPZ = {
    "NaN": ({"gathers": NAN}, "300 samples .* in 3 traces: the first in shot 0, trace 5, at sample 0"),
    "infinite": ({"gathers": np.full((3, NT, 8), np.inf, np.float32)}, "2400 samples that are not finite"),
    "silent": ({"gathers": np.zeros((3, NT, 8))}, "nothing to fit"),
    "flat": ({"gathers": np.ones(8)}, r"shape \(8,\)"),
    "complex": ({"gathers": np.ones((3, NT, 8), complex)}, "gathers are real numbers"),
    "several": ({"gathers": np.ones((2, 3, NT, 8))}, "One survey is inverted"),
    "no sources": ({"sources": None}, "has no positions of sources"),
    "no receivers": ({"receivers": None}, "has no positions of receivers"),
    "no dt": ({"dt": None}, "sampling interval of .* is unknown"),
    "dt zero": ({"dt": 0.0}, "must be a positive time"),
    "sources": ({"sources": world(SOURCES)[:2]}, "the sources of 2 shots, but there are gathers of 3"),
    "receivers": ({"receivers": world(RECEIVERS)[:5]}, "there are 5 receivers, but .* 8 receivers"),
    "transposed": ({"gathers": np.ones((3, 8, NT))}, r"as many: transpose it to \(n_shots, 100, 8\)"),
    "spreads": ({"receivers": np.ones((2, 8, 3))}, "the receivers of 2 shots"),
    "two units": (
        {"sources": SOURCES[:, None] * [1, 1e-3], "receivers": RECEIVERS},
        "two units: its sources span x = 4.61 to 4.73 m",
    ),
    "mixed": ({"sources": SOURCES[:, None]}, "must both be given as"),
    "above": ({"sources": world(SOURCES - [20, 0])[:, None]}, "a source lies 12 m above the datum"),
    "NaN position": ({"receivers": world(RECEIVERS) * np.nan}, "position of receivers .* is not finite"),
    "weights": ({"weights": np.ones((3, 7))}, "`weights` in .* must be finite"),
    "text": ({"sources": np.array(["a"])}, "must be real numbers"),
}


@pytest.mark.parametrize("name", NPZ)
def test_refused_arrays(name, tmp_path):
    arrays, message = NPZ[name]
    path = save(tmp_path / "survey.npz", **({"gathers": ONES} | arrays))
    with pytest.raises(InputError, match=message) as refusal:
        read_observed(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [[1, 2", "is no plain YAML"),
        ("- 1", "must hold keys and values"),
        ("!!python/object/apply:os.getcwd []", "is no plain YAML"),
        ("source: 3", "unknown keys source"),
        ("unit: mile", "`unit` in .* must be one of m, km, ft"),
        ("dt: fast", "`dt` in .* must be a finite number, but is 'fast'"),
        ("dt: -1", "positive time"),
        ("dt: 0.002", "do not match: the sampling interval .* is 0.004 in the one, but 0.002"),
        ("datum: 100", "do not match: the datum"),
        ("sources: {start: [0, 0], step: [0, 1], count: 3}", "Both .* have positions of sources"),
        ("receivers: {start: [0, 0], step: [0, 1]}", r"has only \['start', 'step'\]"),
        ("receivers: {start: [0, 0], step: [0, 1], count: 8, unit: km}", "A file has one unit"),
        ("receivers: {start: [0, 0], step: [1], count: 8}", r"`step` of .* must be \[z, x\]"),
        ("receivers: [[1, 2], [3]]", "lists of numbers of one length"),
    ],
)
def test_refused_geometry(text, message, tmp_path):
    path = save(tmp_path / "survey.npz", ONES)
    (tmp_path / "survey.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        read_observed(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, r: {Word.CoordinateUnits: 1 + s % 2}, "coordinates in two units: CoordinateUnits is 1 in .* 2 in"),
        (lambda s, r: {Word.CoordinateUnits: 2}, "no positions of sources: its coordinates are geographic"),
        (lambda s, r: {Word.TRACE_SAMPLE_INTERVAL: 2000}, r"sampling interval of .* unknown .*\[2000, 4000\] us"),
        (
            lambda s, r: dict.fromkeys((Word.GroupX, Word.GroupY, Word.ReceiverGroupElevation), 0),
            "positions of receivers",
        ),
        (lambda s, r: {Word.SourceX: 10 * r}, "sources of one shot have several|make different shots"),
        (lambda s, r: {Word.DelayRecordingTime: 4 * r}, "begin at different times"),
    ],
)
def test_refused_headers(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_observed(write_segy(tmp_path / "survey.sgy", ONES, change))


# --- the set-up -----------------------------------------------------------------------------------------------


def test_the_set_up_follows_from_the_data():
    """Cells of 1500 / (25 Hz 3.5) = 17.1 m, rounded down; positions inside; steps that end with the records."""
    observed = arrays_of()
    wavelet = choose_wavelet(observed, None, PEAK)
    setup = setup_inversion(observed, wavelet, BOUNDS)
    grid, (top, left) = setup.simulation.grid, setup.origin
    assert grid.spacing == 17.0 and top == 0.0
    margin = 2000.0 / PEAK
    assert margin <= 4600 - left < margin + 17 and -1e-6 <= left + grid.extent[1] - (4740 + margin) < 17
    # The longest offset, 130 m, is less than the way of an echo, v T / 2 = 396 m; but the sources need a margin below.
    assert 208 <= grid.extent[0] < 208 + 17
    np.testing.assert_allclose(setup.survey.receivers + np.array(setup.origin), RECEIVERS, atol=1e-3)
    assert setup.steps == tuple(range(NT)) and setup.first == 0 and setup.simulation.time == TimeAxis(NT, DT)
    assert (setup.simulation.half_width, setup.simulation.widths) == (4, (20, 20, 20, 20))
    np.testing.assert_allclose(setup.survey.wavelets[0], ricker(TimeAxis(NT, DT), PEAK), atol=1e-6)
    set_by_hand = SetupConfig(
        spacing=15.0, origin=[0.0, 4500.0], width=405.0, depth=105.0, free_surface=True, duration=0.2, layers=30
    )
    deeper = observed._replace(receivers=observed.receivers + np.array([5.0, 0.0]))
    setup = setup_inversion(deeper, wavelet, BOUNDS, set_by_hand)
    assert setup.simulation.grid == Grid((8, 28), 15.0) and setup.origin == (0.0, 4500.0)
    assert setup.simulation.widths == (0, 30, 30, 30) and setup.observed.gathers.shape[1] == len(setup.steps) == 51
    for wrong, message in (
        (SetupConfig(width=200.0, origin=[0.0, 4500.0]), "1 sources lie outside the model"),
        (SetupConfig(origin=[50.0, 4500.0]), r"setup.depth, setup.width or setup.origin"),
        (SetupConfig(spacing=-1.0), "setup.spacing must be null or above 0"),
        (SetupConfig(duration=1e-3), "Nothing is left of the records"),
        (SetupConfig(free_surface=True), "8 receivers lie on the free surface, .* and record zeros"),
    ):
        with pytest.raises(InputError, match=message):
            setup_inversion(observed, wavelet, BOUNDS, wrong)


@pytest.mark.parametrize(
    ("delay", "peak_time", "cut"), [(0.0, 0.0, 0), (-0.05, None, 12), (0.06, None, 0), (0.0013, 0.05, 0)]
)
def test_clocks(delay, peak_time, cut):
    """Steps are those of the records; the wavelet peaks at its time; what is before the wavelet is cut off."""
    observed = arrays_of(delay=delay)
    wavelet = choose_wavelet(observed, "ricker", PEAK, peak_time)
    setup = setup_inversion(observed, wavelet, BOUNDS, SETUP)
    axis = setup.first + setup.simulation.time.times
    data = setup.observed.delay + DT * np.arange(setup.observed.gathers.shape[1])
    np.testing.assert_allclose(axis[list(setup.steps)], data, atol=1e-12)
    peak = 1.2 / PEAK if peak_time is None else peak_time
    u = (np.pi * PEAK * (axis - peak)) ** 2
    np.testing.assert_allclose(setup.survey.wavelets[0], (1 - 2 * u) * np.exp(-u), atol=1e-6)
    assert abs(setup.survey.wavelets[0, 0]) < 1e-4
    assert len(data) == NT - cut


def test_wavelets_of_files(tmp_path):
    """A Ricker recorded every millisecond from -0.1 s on, at the samples of the data: the filter's 3e-4."""
    observed = arrays_of()
    fine = TimeAxis(301, 1e-3)
    samples = ricker(fine, PEAK, 0.12)
    np.savez(tmp_path / "w.npz", wavelet=samples, dt=1e-3, delay=-0.1)
    listed = ", ".join(f"{value:.9f}" for value in samples)
    (tmp_path / "w.yaml").write_text(f"dt: 1e-3\ndelay: -0.1\nwavelet: [{listed}]\n")
    for name in ("w.npz", "w.yaml"):
        wavelet = choose_wavelet(observed, str(tmp_path / name))
        # The set-up is that of a Ricker wavelet; its spectrum is measured at points 0.4 Hz apart.
        assert wavelet.begins == pytest.approx(-0.1) and abs(wavelet.peak_frequency - PEAK) < 0.2
        setup = setup_inversion(observed, wavelet, BOUNDS, SETUP)
        u = (np.pi * PEAK * (setup.first + setup.simulation.time.times - 0.02)) ** 2
        np.testing.assert_allclose(setup.survey.wavelets[0], (1 - 2 * u) * np.exp(-u), atol=1e-3)
    wrong: list[tuple[str, float | None, float | None, str]] = [
        (str(tmp_path / "w.npz"), 10.0, None, "Leave one out"),
        ("ricker", None, None, "give setup.peak_frequency=HZ"),
        ("ricker", 60.0, None, "must be positive and below 50 Hz"),
        ("estimated", None, 0.1, "setup.peak_time is that of wavelet=ricker"),
        (str(tmp_path / "none.npy"), None, None, "There is no wavelet file"),
    ]
    for name, peak_frequency, peak_time, message in wrong:
        with pytest.raises(InputError, match=message):
            choose_wavelet(observed, name, peak_frequency, peak_time)


# --- the source -----------------------------------------------------------------------------------------------


def rotated(samples: np.ndarray, angle: float) -> np.ndarray:
    """Turn the phase of a wavelet, which decays within its samples."""
    spectrum = np.fft.rfft(samples, 4 * len(samples))
    return np.fft.irfft(spectrum * np.exp(-1j * angle))[: len(samples)]


@pytest.mark.parametrize("angle", [0.0, np.pi / 6])
@pytest.mark.parametrize("impulse", [True, False])
def test_estimated_wavelets(angle, impulse, float64):
    """From random impulse responses, or from data of a Ricker: the wavelet, turned by 30 degrees too.

    40 random traces have no notches in common, so that impulse responses err by about the damping of 1e-8. Data of a
    Ricker of 18 Hz have more energy than that up to 60 Hz; what a turned wavelet has above is where its tails are cut
    off, at less than 1 % of its peak.
    """
    axis = TimeAxis(128, 2e-3)
    wavelet = rotated(ricker(axis, 18.0, 0.12), angle)
    responses = RANDOM.normal(size=(2, 128, 20)) * (np.arange(128) < 50)[:, None]

    def data(w):
        return np.apply_along_axis(lambda r: np.convolve(r, w)[:256], 1, responses)

    fired = np.eye(128)[0] if impulse else ricker(axis, 18.0, 0.08)
    estimate = jax.jit(lambda p, o: estimate_source(p, o, jnp.asarray(fired), damping=1e-8))
    predicted, observed = jnp.asarray(data(fired)), jnp.asarray(data(wavelet))
    found = estimate(predicted, observed)
    assert found.shape == (2, 128) and relative(found[0], wavelet) < 1e-2
    weights = jnp.ones((2, 1, 20)).at[0, 0, 3].set(0)
    spoilt = observed.at[0, :, 3].set(jnp.nan)
    each = estimate_source(predicted, spoilt, jnp.asarray(fired), weights, damping=1e-8, per_shot=True)
    assert max(relative(one, wavelet) for one in each) < 1e-2


def test_any_unit_of_the_data():
    """Data in another unit give the wavelet in that unit, in float32; the fitted amplitude is that of the energy."""
    predicted, fired = (jnp.asarray(RANDOM.normal(size=n), jnp.float32) for n in ((2, 32, 4), 16))
    observed = jnp.asarray(RANDOM.normal(size=(2, 32, 4)), jnp.float32)
    estimate, fit = jax.jit(estimate_source), jax.jit(fit_amplitude)
    found, amplitude = estimate(predicted, observed, fired), fit(predicted, observed)
    np.testing.assert_allclose(amplitude, jnp.linalg.norm(observed) / jnp.linalg.norm(predicted), rtol=1e-5)
    for factor in (1e-20, 1e20):
        np.testing.assert_allclose(fit(predicted, factor * observed), factor * amplitude, rtol=1e-5)
        scaled = np.asarray(estimate(predicted, factor * observed, fired), np.float64) / factor
        np.testing.assert_allclose(scaled, found, atol=1e-5 * float(jnp.abs(found).max()))
        # Predicted data and the wavelet that they have may both be in another unit.
        same = estimate(factor * predicted, observed, factor * fired)
        np.testing.assert_allclose(same, found, atol=1e-5 * float(jnp.abs(found).max()))


def test_an_estimated_wavelet_explains_the_data_of_its_start(tmp_path):
    """Data of a Ricker that is turned by 30 degrees, in the start itself: what is left is the damping and the taper."""
    observed = arrays_of()
    setup = setup_inversion(observed, choose_wavelet(observed, "ricker", PEAK), BOUNDS, SETUP)
    turned = jnp.broadcast_to(
        jnp.asarray(rotated(ricker(TimeAxis(NT, DT), PEAK, 0.14), np.pi / 6), jnp.float32), (3, NT)
    )
    forward = PhysicsForward(setup.simulation, setup.survey._replace(wavelets=turned))
    start = jnp.full(setup.simulation.grid.shape, 2000.0)
    path = save(tmp_path / "survey.npz", np.asarray(jax.jit(forward.__call__)(start)))
    problem = observed_problem(config(path, tmp_path, wavelet="estimated", start="constant"))
    estimated, data = problem.complete()
    assert relative(jax.jit(estimated.__call__)(start), data) < 0.05


# --- inversions -----------------------------------------------------------------------------------------------


def config(path: Path, folder: Path, wavelet: str | None = None, **settings: Any) -> InvertConfig:
    return InvertConfig(
        out=str(folder / "out"),
        observed=str(path),
        wavelet=wavelet,
        setup=SETUP,
        inversion=InversionConfig(**({"start": "gradient", "iterations": 3, "bounds": [*BOUNDS]} | settings)),
    )


def test_segy_inverts_as_arrays_do(tmp_path, gathers):
    """Three steps of either give one model to rounding; the result lies where the data do, read back by the importer.

    Positions of both agree to 1e-9 m, which float32 does not see.
    """
    segy = config(write_segy(tmp_path / "survey.sgy", gathers), tmp_path / "segy")
    arrays = config(save(tmp_path / "survey.npz", gathers, weights=expected_weights()[:, 0]), tmp_path / "arrays")
    summary = run_inversion(segy)
    run_inversion(arrays)
    with np.load(tmp_path / "segy/out/result.npz") as one, np.load(tmp_path / "arrays/out/result.npz") as other:
        np.testing.assert_allclose(one["velocity"], other["velocity"], rtol=1e-5)
        velocity, start, spacing, origin = (one[name] for name in ("velocity", "start", "spacing", "origin"))
        assert "true" not in one and np.isnan(one["model_error"]).all() and one["datum"] == 250.0
        assert np.abs(velocity - start).max() > 1.0
    assert summary["misfit"]["end"] < summary["misfit"]["start"] and summary["model_error"] is None
    files = {file.name for file in (tmp_path / "segy/out").rglob("*")}
    assert {"inversion.json", "result.npz", "report.html", "models.png", "curves.png", "velocity.segy"} <= files
    json.loads((tmp_path / "segy/out/inversion.json").read_text(), parse_constant=pytest.fail)
    for name in ("velocity.npz", "velocity.segy"):
        model = read_velocity(tmp_path / "segy/out" / name)
        np.testing.assert_array_equal(model.velocity, velocity)
        assert None not in (model.spacing, model.origin, model.datum) and model.origin and model.frame
        # Coordinates of SEG-Y are whole millimeters here.
        found = np.array([model.spacing, *model.origin, model.datum], float)
        np.testing.assert_allclose(found, (spacing, *origin, 250.0), atol=2e-3)
        np.testing.assert_allclose(model.frame.world(np.array(model.origin)), FRAME.world(origin), atol=2e-3)
    # A finished inversion is not made again, but other data are refused.
    stamp = (tmp_path / "segy/out/inversion.json").stat().st_mtime_ns
    run_inversion(segy)
    assert (tmp_path / "segy/out/inversion.json").stat().st_mtime_ns == stamp
    write_segy(tmp_path / "survey.sgy", 2 * gathers)
    with pytest.raises(InputError, match="one of them has changed since"):
        run_inversion(segy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "smooth"}, "that of observed data is unknown"),
        ({"start": "start.npz", "bounds": [2100.0, 2500.0]}, "starting model leaves inversion.bounds"),
        (
            {"start": "start.npy"},
            r"does not say how large .* Give inversion.start_spacing=M and inversion.start_origin",
        ),
        ({"start": "start.txt"}, "must be one of .* or the path of a model file"),
        ({"start": "start.npz", "start_origin": [0.0, 9e5]}, "lies outside of the model that is inverted"),
        ({"kind": "wavefield"}, "cannot be inverted with inversion.kind=wavefield"),
        ({"record_every": 6}, "would alias the data"),
    ],
)
def test_refused_inversions(changes, message, tmp_path, monkeypatch):
    """Before anything is written."""
    monkeypatch.chdir(tmp_path)
    np.savez("start.npz", velocity=np.full((20, 40), 2000.0), spacing=10.0, origin=[0.0, 4500.0])
    np.save("start.npy", np.full((20, 40), 2000.0))
    path = save(tmp_path / "survey.npz", ONES)
    with pytest.raises(InputError, match=message) as refusal:
        run_inversion(config(path, tmp_path, **changes))
    assert not (tmp_path / "out").exists() and "\n" not in str(refusal.value)


def test_starts(tmp_path):
    """A gradient is v0 + k z within the bounds; a model of a line keeps its place, in either direction of the line."""
    grid, origin = Grid((11, 21), 10.0), (20.0, 4600.0)
    settings = InversionConfig(start="gradient", start_velocity=1600.0, start_gradient=2.0, bounds=[*BOUNDS])
    start, _ = make_start(settings, grid, origin=origin, frame=FRAME)
    np.testing.assert_allclose(start[:, 3], np.minimum(1600 + 2 * (20 + 10.0 * np.arange(11)), 2500))
    default, _ = make_start(InversionConfig(start="gradient", bounds=[*BOUNDS]), grid, origin=(0.0, 0.0))
    np.testing.assert_allclose(default[[0, -1], 0], BOUNDS)
    constant, _ = make_start(InversionConfig(start="constant", bounds=[*BOUNDS]), grid)
    assert set(constant.ravel()) == {2000.0}
    # Slowness that is linear in x is resampled exactly, wherever cells lie.
    x = 4500 + 5.0 * np.arange(121)
    velocity = np.tile(1 / (5e-4 + 1e-8 * (x - 4500)), (60, 1))
    write_model(tmp_path, velocity, 5.0, (0.0, 4500.0), FRAME)
    expected = 1 / (5e-4 + 1e-8 * (100 + 10.0 * np.arange(21)))
    for name in ("velocity.npz", "velocity.segy"):
        settings = InversionConfig(start=str(tmp_path / name))
        found, how = make_start(settings, grid, file=read_start(settings), origin=origin, frame=FRAME)
        np.testing.assert_allclose(found[4], expected, rtol=1e-6)
        assert "continued" not in how
        there = Frame(250.0, 1.0, (1320.0 + 0.8 * 9200, -1760.0 + 0.6 * 9200), (-0.8, -0.6))
        back, _ = make_start(settings, grid, file=read_start(settings), origin=(20.0, 4400.0), frame=there)
        np.testing.assert_allclose(back[4], expected[::-1], rtol=1e-6)
        _, how = make_start(settings, grid, file=read_start(settings), origin=(250.0, 4600.0), frame=FRAME)
        assert "continued by 55 m in depth" in how


def test_a_sample_of_a_data_set(tmp_path):
    """The set-up predicts what was recorded in the true model, through layers of other widths; the truth is known."""
    families = {"inclusions": {"min_velocity": 2000}}
    kept = {"train": 1, "validation": 1, "test": 1, "records": ["gathers"], "families": families}
    generate(tiny_config(tmp_path / "set", **kept))
    observed = read_observed(tmp_path / "set")
    assert observed.known is not None and observed.dt == 4e-3
    np.testing.assert_array_equal(observed.known.velocity, data_source(tmp_path / "set", "test")[0]["velocity"])
    wavelet = choose_wavelet(observed, None)
    setup = setup_inversion(observed, wavelet, (1500.0, 4500.0), SetupConfig(layers=10))
    forward = PhysicsForward(setup.simulation, setup.survey, steps=setup.steps)
    predicted = jax.jit(forward.__call__)(jnp.asarray(observed.known.velocity))
    assert wavelet.calibrated and relative(predicted, observed.gathers) < 0.02
    with pytest.raises(InputError, match=r"has the samples 0 to 0, but inversion.index is 6"):
        read_observed(tmp_path / "set", index=6)


def test_the_command_takes_a_gradient(monkeypatch):
    """Unless a start is chosen, or the true model is known; keys of simulated data are refused."""
    monkeypatch.setattr(command, "keys_set", lambda prefix: [])
    monkeypatch.setattr(command, "is_chosen", lambda group: False)
    settings = InvertConfig(observed="shots.sgy")
    command.check_observed_keys(settings)
    assert settings.inversion.start == "gradient"
    monkeypatch.setattr(command, "keys_set", lambda prefix: ["nt"] if prefix == "data" else ["start"])
    with pytest.raises(InputError, match=r"data.nt is a setting of simulated data"):
        command.check_observed_keys(settings)
