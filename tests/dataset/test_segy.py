"""SEG-Y files: which traces are a shot, in which order, in which units, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segyio
from segyio import BinField
from segyio import TraceField as Word

from data_gen.common.errors import InputError
from data_gen.dataset.source_files import read_gathers, read_models
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.model_files import read_velocity, to_grid

TRACES = np.random.default_rng(0).uniform(1500, 4500, (10, 9)).astype(np.float32)
SHOTS = TRACES.reshape(2, 5, 9).swapaxes(1, 2)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write `TRACES`, each with the header words `words(trace)`; `binary` are words of the binary header."""

    def write(words: Callable[[int], dict] = lambda i: {}, binary: dict | None = None, **settings) -> Path:
        file, spec = tmp_path / "file.sgy", segyio.spec()
        settings = {"format": 5, "samples": np.arange(9) * 2.0, "tracecount": 10, "endian": "big"} | settings
        for name, value in settings.items():
            setattr(spec, name, value)
        with segyio.create(str(file), spec) as written:
            for i in range(10):
                written.trace[i] = TRACES[i].astype(written.dtype)
                written.header[i] = words(i)
            written.bin.update({BinField.Interval: 2000} | (binary or {}))
        return file

    return write


FIXED = {Word.SourceGroupScalar: -10, Word.ElevationScalar: -100, Word.DelayRecordingTime: -100}


def shot_words(i: int) -> dict[Any, int]:
    """Two shots 100 m apart at 12.5 m depth, five receivers of 10 m at -3 m elevation: all agree."""
    shot, receiver = divmod(i, 5)
    return FIXED | {
        Word.FieldRecord: 7 + shot,
        Word.EnergySourcePoint: 20 - shot,
        Word.SourceX: 1000 * shot,
        Word.SourceDepth: 1250,
        Word.GroupX: 100 * receiver,
        Word.ReceiverGroupElevation: -300,
    }


def test_shots_with_their_geometry(write):
    """Words that number the shots differently but divide them alike agree; scalars apply; both byte orders are read."""
    for endian in ("big", "little"):
        found = read_gathers(write(shot_words, endian=endian))
        np.testing.assert_array_equal(found.gathers, SHOTS[None])
        assert (found.dt, found.delay) == (0.002, -0.1)
        assert found.sources is not None and found.receivers is not None
        np.testing.assert_allclose(found.sources, [[12.5, 0.0], [12.5, 100.0]])
        np.testing.assert_allclose(found.receivers, [[3.0, 10.0 * r] for r in range(5)])
        assert "2 shots by FieldRecord and EnergySourcePoint and SourceX" in found.notes
        assert ("the byte order is little-endian" in found.notes) == (endian == "little")


@pytest.mark.parametrize(
    "words",
    [
        lambda i: {Word.FieldRecord: 0, Word.EnergySourcePoint: 1 + i // 5},
        lambda i: {Word.FieldRecord: 1, Word.SourceX: 100 * (i // 5)},
        lambda i: {Word.FieldRecord: 1, Word.SourceDepth: 100 * (i // 5)},
    ],
)
def test_shots_by_the_words_that_differ(write, words):
    found = read_gathers(write(words))
    np.testing.assert_array_equal(found.gathers, SHOTS[None])
    assert "receivers have neither positions nor trace numbers and are in the order of the file" in found.notes


def test_words_that_disagree(write):
    """Five records of two points: refused with both counts, unless one word is named."""
    file = write(lambda i: {Word.FieldRecord: i % 5, Word.EnergySourcePoint: 1 + i // 5})
    with pytest.raises(InputError, match=r"5 by FieldRecord, 2 by EnergySourcePoint.*--shot-word"):
        read_gathers(file)
    np.testing.assert_array_equal(read_gathers(file, "EnergySourcePoint").gathers, SHOTS[None])
    with pytest.raises(InputError, match="does not tell its shots apart"):
        read_gathers(write(lambda i: {Word.TraceNumber: i % 5}))


@pytest.mark.parametrize("word", [Word.GroupX, Word.GroupY, Word.ReceiverGroupElevation, Word.TraceNumber])
def test_receivers_are_put_in_order(write, word):
    """The second shot's traces are stored in reverse; each word of the position, or else their number, orders them."""
    sign = -1 if word == Word.ReceiverGroupElevation else 1  # depth grows downwards
    found = read_gathers(
        write(lambda i: {Word.FieldRecord: i // 5, word: sign * 10 * (1 + (i if i < 5 else 9 - i))}),
    )
    np.testing.assert_array_equal(found.gathers[0, 1], SHOTS[1][:, ::-1])
    assert any("which is not that of the file" in note for note in found.notes)


def test_moving_spread(write):
    """Receivers that move with the source have positions for each shot."""
    found = read_gathers(write(lambda i: {Word.FieldRecord: i // 5, Word.GroupX: 10 * (i % 5) + 100 * (i // 5)}))
    assert found.receivers is not None
    np.testing.assert_allclose(found.receivers[:, :, 1], [[0, 10, 20, 30, 40], [100, 110, 120, 130, 140]])


def test_oblique_line_and_feet(write):
    """Along a line of slope 3:4 receivers are 5 units apart; a foot is 0.3048 m."""
    words = lambda i: {Word.FieldRecord: i // 5, Word.GroupX: 4 * (i % 5), Word.GroupY: 3 * (i % 5)}  # noqa: E731
    receivers = read_gathers(write(words, {BinField.MeasurementSystem: 2})).receivers
    assert receivers is not None
    np.testing.assert_allclose(receivers[:, 1], 5 * 0.3048 * np.arange(5), atol=1e-12)


def test_dead_and_auxiliary_traces(write):
    """Dead traces are zero and named; auxiliary ones are no receivers."""
    found = read_gathers(
        write(lambda i: {Word.FieldRecord: i // 5, Word.TraceIdentificationCode: {3: 2, 8: 2, 0: 7, 5: 7}.get(i, 1)})
    )
    expected = np.delete(SHOTS, 0, axis=2)
    expected[:, :, 2] = 0
    np.testing.assert_array_equal(found.gathers[0], expected)
    assert "2 auxiliary traces (identification codes [7]) are left out" in found.notes
    assert "2 traces are marked as dead and set to zero (receiver 2 of shot 0, receiver 2 of shot 1)" in found.notes


@pytest.mark.parametrize(
    ("words", "binary", "message"),
    [
        (lambda i: {Word.FieldRecord: i // 6}, {}, "shots of 4 to 6 traces by FieldRecord"),
        (
            lambda i: {Word.FieldRecord: i // 5, Word.GroupX: (i % 5) // 2},
            {},
            "Two receivers of shot 0 .* have the same",
        ),
        (lambda i: {Word.GroupX: i // 5, Word.GroupY: i % 5}, {}, "do not lie along a line"),
        (lambda i: {Word.TraceIdentificationCode: 12 + i % 2}, {}, r"several components.*\[12, 13\]"),
        (lambda i: {Word.TraceIdentificationCode: 2}, {}, "holds no live trace"),
        (lambda i: {Word.DelayRecordingTime: i}, {}, "begin at different times: .* 0 to 0.009 s"),
        (lambda i: {Word.TRACE_SAMPLE_COUNT: 8}, {}, r"say 8 to 8 samples .* binary header says 9"),
        (lambda i: {}, {BinField.Format: 0}, "no sample format that can be read: .* is 0000"),
    ],
)
def test_refused_shots(write, words, binary, message):
    with pytest.raises(InputError, match=message):
        read_gathers(write(words, binary))


def test_conflicting_intervals_and_angles(write):
    """What the headers say in two ways, or in degrees, is not taken."""
    found = read_gathers(
        write(lambda i: {Word.TRACE_SAMPLE_INTERVAL: 4000, Word.CoordinateUnits: 2, Word.GroupX: 10 * i})
    )
    assert found.dt is None and found.receivers is None
    assert any("[2000, 4000] us" in note for note in found.notes)
    assert any("geographic" in note for note in found.notes)


@pytest.mark.parametrize("code", [1, 2, 3, 5, 6, 11])
def test_sample_formats(write, code):
    """IBM numbers have 21 bits or more: 1e-6 of a value; integers lose the fraction."""
    found = read_models(write(format=code)).velocity[0]
    np.testing.assert_allclose(
        found, TRACES.T, rtol=0 if code in (5, 6) else 1e-6, atol=1.0 if code in (2, 3, 11) else 0
    )


def test_damaged_files(write):
    file = write()
    content = file.read_bytes()
    for kept, message in (
        (len(content) - 5, r"room for 9\.98 traces of 9 samples"),
        (3600, r"room for 0\.00"),
        (90, "end"),
    ):
        file.write_bytes(content[:kept])
        with pytest.raises(InputError, match=message):
            read_velocity(file)


def test_columns_of_a_model(write):
    """Columns are put in the order of x, which gives the spacing and the first position."""
    words = lambda i: {Word.CDP_X: 5000 + 125 * (9 - i), Word.SourceGroupScalar: -10}  # noqa: E731
    model = read_velocity(write(words))
    np.testing.assert_array_equal(model.velocity, TRACES[::-1].T)
    assert (model.spacing, model.first) == (12.5, 500.0)
    assert model.notes[0] == "columns are put in the order of their positions (CDP_X, CDP_Y)"
    _, where = to_grid(model, Grid((9, 10), 12.5))
    assert "window of 100 x 112.5 m" in where and "columns are put in the order of their positions" in where
    uneven = read_velocity(write(lambda i: {Word.CDP_X: 10 * i * i}))
    assert uneven.spacing is None and "10 to 170 apart" in uneven.notes[0]


@pytest.mark.parametrize(
    ("words", "binary", "message"),
    [
        (
            lambda i: {Word.INLINE_3D: i // 5, Word.CROSSLINE_3D: i % 5},
            {},
            r"volume of 2 inlines and 5 .*iline\[1\]\.T",
        ),
        (lambda i: {Word.CDP_X: 50 * (i // 5), Word.CDP_Y: 50 * (i % 5)}, {}, "columns .* do not lie along a line"),
        (lambda i: {Word.TraceIdentificationCode: 1 + i // 9}, {}, "marks 1 traces as dead, the first at index 9"),
        (lambda i: {}, {BinField.MeasurementSystem: 2}, "multiply both by 0.3048"),
    ],
)
def test_refused_sections(write, words, binary, message):
    for read in (read_velocity, read_models):
        with pytest.raises(InputError, match=message):
            read(write(words, binary))


def test_arbitrary_line_through_a_volume(write):
    """Inlines and crosslines that both change along one line are one section."""
    words = lambda i: {Word.INLINE_3D: i // 2, Word.CROSSLINE_3D: i, Word.CDP_X: 10 * i, Word.CDP_Y: 5 * i}  # noqa: E731
    file = write(words)
    np.testing.assert_array_equal(read_velocity(file).velocity, TRACES.T)
