"""SEG-Y as programs write it, against plain arrays: the same data, and the same model."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import segyio
from segyio import TraceField as Word

from data_gen import InputError
from data_gen.dataset.segy_shots import read_shots
from surrogate.config import InvertConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.reading import read_observed
from surrogate.inversion.observed.setup import SetupConfig, setup_inversion
from surrogate.inversion.observed.wavelet import choose_wavelet
from surrogate.runs.invert import run_inversion
from tests.inversion.segy_survey import (
    DT,
    FOOT,
    NT,
    RANDOM,
    RECEIVERS,
    SHOTS,
    SOURCES,
    X_RECEIVERS,
    X_SOURCES,
    Written,
    save,
    write,
)

BOUNDS, SETUP = (1500.0, 2500.0), SetupConfig(peak_frequency=10.0, depth=150.0, margin=60.0, layers=8)
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


MOVING = Written("little", feet=True, delay=60, delay_scalar=-10, coordinate_scalar=10, elevation_scalar=10)


@pytest.mark.slow  # test_observed.py inverts a simpler survey of both
def test_the_same_model(tmp_path, monkeypatch):
    """Two steps from SEG-Y and from arrays give one model, to rounding.

    In feet, of two sources and a spread that moves, recorded from 60 ms after the shot on.
    """
    monkeypatch.chdir(tmp_path)
    observed = read_observed(save(Path("arrays.npz"), MOVING))
    setup = setup_inversion(observed, choose_wavelet(observed, None, 10.0), BOUNDS, SETUP)
    forward = PhysicsForward(setup.simulation, setup.survey, "gather", setup.steps)
    truth = jnp.full(setup.simulation.grid.shape, 1900.0).at[4:].set(2200.0)
    gathers = np.asarray(jax.jit(forward.__call__)(truth), np.float32)
    assert gathers.shape == (SHOTS, NT, RECEIVERS) and setup.survey.sources.shape == (SHOTS, SOURCES, 2)
    files, models = (save(Path("arrays.npz"), MOVING, gathers), write(Path("shots.sgy"), MOVING, gathers)), []
    for file in files:
        settings = InversionConfig(start="gradient", iterations=2, bounds=[*BOUNDS])
        run_inversion(InvertConfig(out=file.stem, observed=str(file), setup=SETUP, inversion=settings))
        with np.load(f"{file.stem}/result.npz") as result:
            models.append(result["velocity"])
            assert np.abs(models[-1] - result["start"]).max() > 1.0
    np.testing.assert_allclose(*models, rtol=1e-5)


def test_geometry_files(tmp_path, monkeypatch):
    """A file beside plain gathers says the same as arrays do, of the survey above."""
    monkeypatch.chdir(tmp_path)
    observed = read_observed(save(Path("arrays.npz"), MOVING))
    np.save("plain.npy", observed.gathers)
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
