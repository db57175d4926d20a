"""SEG-Y as programs write it, against plain arrays: the same data, and the same model.

The survey: three shots of two sources, with six receivers that move along, on a line of slope 3:4. All positions are
multiples of 50 along the line, so that its coordinates are multiples of 10, which a header word can hold whatever its
scalar; z is 10 of sources and 0 or 20 of receivers.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import segyio
from segyio import BinField
from segyio import TraceField as Word

from data_gen import InputError
from data_gen.dataset.segy_shots import read_shots
from surrogate.config import InvertConfig
from surrogate.inversion.descent import InversionConfig
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.reading import read_observed
from surrogate.inversion.observed.setup import SetupConfig, setup_inversion
from surrogate.inversion.observed.wavelet import choose_wavelet
from surrogate.runs.invert import run_inversion

SHOTS, SOURCES, RECEIVERS, NT, DT, FOOT = 3, 2, 6, 90, 4e-3, 0.3048
X_SOURCES = 5000.0 + 100 * np.arange(SHOTS)[:, None] + 50 * np.arange(SOURCES)
X_RECEIVERS = 5150.0 + 100 * np.arange(SHOTS)[:, None] + 50 * np.arange(RECEIVERS)
DEAD, LACKING = (0, 2), (1, RECEIVERS - 1)  # traces: shot, receiver
RANDOM = np.random.default_rng(0).normal(size=(SHOTS, NT, RECEIVERS)).astype(np.float32)
BOUNDS, SETUP = (1500.0, 2500.0), SetupConfig(peak_frequency=10.0, depth=150.0, margin=60.0, layers=8)


@dataclass
class Written:
    """How a file is written: each field is something on which programs disagree."""

    endian: str = "big"
    shot_words: tuple[int, ...] = (Word.FieldRecord,)  # that differ; the sources' positions always do
    coordinate_scalar: int = -10
    elevation_scalar: int = -100
    feet: bool = False
    sea: bool = False  # depths below zero, or elevations of a flat land at 250
    binary_dt: bool = True
    trace_dt: bool = True
    delay: int = 0  # [ms]
    delay_scalar: int = 0
    sources: int = SOURCES  # 1 or 2 in a shot
    moving: bool = True
    complete: bool = False  # without dead and missing traces
    sample_format: int = 5  # IEEE; 1 is IBM

    @property
    def unit(self) -> float:
        return FOOT if self.feet else 1.0

    def x_receivers(self) -> np.ndarray:
        return X_RECEIVERS if self.moving else np.broadcast_to(X_RECEIVERS[1], X_RECEIVERS.shape)

    def weights(self) -> np.ndarray:
        weights = np.ones((SHOTS, RECEIVERS), np.float32)
        for trace in () if self.complete else (DEAD, LACKING):
            weights[trace] = 0
        return weights

    def arrays(self, gathers: np.ndarray = RANDOM) -> dict[str, Any]:
        """The same survey as arrays, in meters."""
        x_receivers = self.x_receivers().copy()
        if self.moving and not self.complete:
            x_receivers[LACKING] = x_receivers[LACKING[0], LACKING[1] - 1]  # where it does not matter

        def points(z: float, x: np.ndarray) -> np.ndarray:
            return self.unit * np.stack([np.full(x.shape, z), 0.8 * x, 0.6 * x], axis=-1)

        return {
            "gathers": gathers,
            "weights": self.weights(),
            "sources": points(10.0, X_SOURCES[:, : self.sources]),
            "receivers": points(20.0 if self.sea else 0.0, x_receivers if self.moving else x_receivers[0]),
            "dt": DT,
            "delay": self.delay / 1e3,
            "datum": 0.0 if self.sea else 250.0 * self.unit,
        }


def scaled(value: float, scalar: int) -> int:
    """The word that means a value: negative scalars divide, positive ones multiply."""
    word = value / scalar if scalar > 0 else value * max(1, -scalar)
    assert round(word) == pytest.approx(word)
    return round(word)


def write(path: Path, how: Written, gathers: np.ndarray = RANDOM) -> Path:
    """Write the survey: shuffled, once for each source, with traces that are no data or dead among them."""
    traces = [(s, r, j) for s in range(SHOTS) for r in range(RECEIVERS) for j in range(how.sources)]
    traces = [trace for trace in traces if how.complete or trace[:2] != LACKING]
    traces = [traces[i] for i in np.random.default_rng(1).permutation(len(traces))]
    others = 0 if how.complete else 2  # auxiliary traces, before all
    spec: Any = segyio.spec()
    spec.format, spec.samples, spec.tracecount = how.sample_format, np.arange(NT) * 1e3 * DT, len(traces) + others
    spec.endian = how.endian
    surface = 0.0 if how.sea else 250.0
    with segyio.create(str(path), spec) as file:
        for i, (s, r, j) in enumerate([*traces[:others], *traces]):
            dead, auxiliary = (s, r) == DEAD and not how.complete, i < others
            file.trace[i] = np.full(NT, 9e9, np.float32) if dead or auxiliary else gathers[s, :, r]
            x_source, x_receiver = float(X_SOURCES[s, j]), float(how.x_receivers()[s, r])
            words = {
                Word.TraceIdentificationCode: 7 if auxiliary else 2 if dead else 1,
                Word.SourceGroupScalar: how.coordinate_scalar,
                Word.SourceX: scaled(0.8 * x_source, how.coordinate_scalar),
                Word.SourceY: scaled(0.6 * x_source, how.coordinate_scalar),
                Word.GroupX: scaled(0.8 * x_receiver, how.coordinate_scalar),
                Word.GroupY: scaled(0.6 * x_receiver, how.coordinate_scalar),
                Word.ElevationScalar: how.elevation_scalar,
                Word.SourceDepth: scaled(10.0, how.elevation_scalar),
                Word.SourceSurfaceElevation: scaled(surface, how.elevation_scalar),
                Word.ReceiverGroupElevation: scaled(-20.0 if how.sea else surface, how.elevation_scalar),
                Word.TRACE_SAMPLE_INTERVAL: round(1e6 * DT) * how.trace_dt,
                Word.DelayRecordingTime: scaled(how.delay, how.delay_scalar),
                Word.ScalarTraceHeader: how.delay_scalar,
            }
            file.header[i] = words | {word: 700 + 3 * s for word in how.shot_words}
        binary = {BinField.Interval: round(1e6 * DT) * how.binary_dt, BinField.MeasurementSystem: 1 + how.feet}
        file.bin.update(binary)
    return path


def save(path: Path, how: Written, gathers: np.ndarray = RANDOM) -> Path:
    np.savez(path, **how.arrays(gathers))
    return path


BOTH = (Word.FieldRecord, Word.EnergySourcePoint)
VARIANTS = {
    "several sources that move": Written(),
    "EnergySourcePoint, little-endian": Written("little", (Word.EnergySourcePoint,)),
    "both words, scalars that multiply": Written(shot_words=BOTH, coordinate_scalar=10, elevation_scalar=10),
    "scalars of zero and one": Written(coordinate_scalar=0, elevation_scalar=1, delay=60),
    "feet at sea": Written("little", feet=True, sea=True),
    "delay in tenths, dt in the traces": Written(delay=60, delay_scalar=-10, binary_dt=False),
    "negative delay, dt in the file": Written(delay=-20, delay_scalar=10, trace_dt=False),
    "one source": Written(shot_words=BOTH, sources=1),
    "shots by coordinates": Written(shot_words=(), sources=1, feet=True),
    "one spread": Written(moving=False),
    "one spread, one source, by coordinates": Written(shot_words=(), sources=1, moving=False, coordinate_scalar=10),
    "complete": Written(complete=True),
    "IBM numbers": Written(sample_format=1),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_quirk(name, tmp_path):
    """Data, weights, positions, times and place in the world are those of the arrays.

    Positions agree to 1e-8 m, of which float32 at 5000 m knows nothing. IBM numbers have 21 to 24 bits.
    """
    how = VARIANTS[name]
    segy = read_observed(write(tmp_path / "survey.sgy", how))
    arrays = read_observed(save(tmp_path / "survey.npz", how))
    np.testing.assert_array_equal(segy.weights, arrays.weights)
    np.testing.assert_allclose(segy.gathers, arrays.gathers, rtol=0 if how.sample_format == 5 else 2.0**-20)
    assert segy.sources.shape == (SHOTS, how.sources, 2) and segy.receivers.ndim == 2 + how.moving
    for found, expected in ((segy.sources, arrays.sources), (segy.receivers, arrays.receivers)):
        np.testing.assert_allclose(found, expected, atol=1e-8)
        np.testing.assert_allclose(segy.frame.world(found), arrays.frame.world(expected), atol=1e-8)
    assert (segy.dt, segy.delay) == pytest.approx((arrays.dt, arrays.delay)) == (DT, how.delay / 1e3)
    assert segy.frame.datum == pytest.approx(arrays.frame.datum)


def test_the_same_model(tmp_path, monkeypatch):
    """Two steps from SEG-Y and from arrays give one model, to rounding; a geometry file says the same as arrays do.

    In feet, of two sources and a spread that moves, recorded from 60 ms after the shot on.
    """
    monkeypatch.chdir(tmp_path)
    how = Written("little", feet=True, delay=60, delay_scalar=-10, coordinate_scalar=10, elevation_scalar=10)
    observed = read_observed(save(Path("arrays.npz"), how))
    setup = setup_inversion(observed, choose_wavelet(observed, None, 10.0), BOUNDS, SETUP)
    forward = PhysicsForward(setup.simulation, setup.survey, "gather", setup.steps)
    truth = jnp.full(setup.simulation.grid.shape, 1900.0).at[4:].set(2200.0)
    gathers = np.asarray(jax.jit(forward.__call__)(truth), np.float32)
    assert gathers.shape == (SHOTS, NT, RECEIVERS) and setup.survey.sources.shape == (SHOTS, SOURCES, 2)
    files, models = (save(Path("arrays.npz"), how, gathers), write(Path("shots.sgy"), how, gathers)), []
    for file in files:
        settings = InversionConfig(start="gradient", iterations=2, bounds=[*BOUNDS])
        run_inversion(InvertConfig(out=file.stem, observed=str(file), setup=SETUP, inversion=settings))
        with np.load(f"{file.stem}/result.npz") as result:
            models.append(result["velocity"])
            assert np.abs(models[-1] - result["start"]).max() > 1.0
    np.testing.assert_allclose(*models, rtol=1e-5)
    np.save("plain.npy", gathers)
    sources = [[[10, float(x)] for x in shot] for shot in X_SOURCES]
    Path("plain.yaml").write_text(
        f"dt: {DT}\ndelay: 0.06\nunit: ft\ndatum: 250\nsources: {sources}\n"
        f"receivers: {{start: [0, {X_RECEIVERS[0, 0]}], step: [0, 50], count: {RECEIVERS}, move: [0, 100]}}\n"
    )
    plain, live = read_observed("plain.npy"), observed.weights[:, 0] > 0
    np.testing.assert_allclose(plain.sources, observed.sources)
    np.testing.assert_allclose(plain.receivers[live], observed.receivers[live])
    assert (plain.dt, plain.delay, plain.frame.datum) == pytest.approx((DT, 0.06, 250 * FOOT))


def test_shots_that_are_no_copies(tmp_path):
    """Other samples are other shots; silence is no copy; every shot has as many sources; imports take one source."""
    how = Written(complete=True)
    path = write(tmp_path / "survey.sgy", how)
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        file.trace[3] = np.ones(NT, np.float32)
    with pytest.raises(InputError, match=r"3 by FieldRecord, 6 by SourceX .*setup.shot_word"):
        read_observed(path)
    write(path, how, 0 * RANDOM)
    with pytest.raises(InputError, match="make different shots"):
        read_observed(path)
    write(path, how)
    with pytest.raises(InputError, match=r"make different shots .*--shot-word"):
        read_shots(path)
    lone = replace(how, sources=1)
    write(tmp_path / "lone.sgy", lone)
    read_shots(tmp_path / "lone.sgy")
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        # The second source of the first shot becomes the first one of a fourth.
        second = (file.attributes(Word.FieldRecord)[:] == 700) & (
            file.attributes(Word.SourceX)[:] == round(8 * X_SOURCES[0, 1])
        )
        for i in np.flatnonzero(second):
            file.header[int(i)] = {Word.FieldRecord: 1}
    with pytest.raises(InputError, match="records of 1 to 2 sources by FieldRecord"):
        read_observed(path)


def test_sources_of_a_geometry_file(tmp_path):
    """Traces of a shot with several sources, each recorded once, take the sources of a file; receivers stay."""
    how = Written(sources=1, complete=True)
    path = write(tmp_path / "survey.sgy", how)
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        east, north = (file.attributes(word)[:] for word in (Word.SourceX, Word.SourceY))
        for i in range(0, file.tracecount, 2):
            file.header[i] = {Word.SourceX: int(east[i]) + 400, Word.SourceY: int(north[i]) + 300}
    with pytest.raises(InputError, match="make different shots"):
        read_observed(path)
    with pytest.raises(InputError, match=r"no positions of sources: .* those of one shot have several"):
        read_observed(path, shot_word="FieldRecord")
    sources = [[[10, 0.8 * x, 0.6 * x] for x in shot.tolist()] for shot in X_SOURCES]
    (tmp_path / "survey.yaml").write_text(f"sources: {sources}\n")
    found = read_observed(path, shot_word="FieldRecord")
    expected = read_observed(save(tmp_path / "arrays.npz", Written(complete=True)))
    np.testing.assert_allclose(found.sources, expected.sources, atol=1e-8)
    np.testing.assert_allclose(found.receivers, expected.receivers, atol=1e-8)
