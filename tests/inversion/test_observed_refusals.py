"""Every input that observed data may get wrong: one paragraph, before anything is compiled.

The folder of the result is made before the first compilation, so that none means neither.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segyio
from segyio import TraceField as Word

from data_gen import InputError
from surrogate.config import InvertConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.runs.invert import run_inversion
from tests.inversion.segy_survey import DT, RANDOM, Written, write

HOW = Written(sources=1, complete=True)


def segy(change: Callable[[Any], None] = lambda file: None) -> Callable[[Path], Path]:
    """A SEG-Y file of the survey, changed."""

    def make(folder: Path) -> Path:
        path = write(folder / "survey.sgy", HOW)
        with segyio.open(str(path), "r+", ignore_geometry=True) as file:
            change(file)
        return path

    return make


def npz(geometry: str = "", **arrays: Any) -> Callable[[Path], Path]:
    """An .npz file of the survey with other arrays, None for none, and a geometry file beside it."""

    def make(folder: Path) -> Path:
        own = {name: value for name, value in (HOW.arrays() | arrays).items() if value is not None}
        np.savez(folder / "survey.npz", **own)
        if geometry:
            (folder / "survey.yaml").write_text(geometry)
        return folder / "survey.npz"

    return make


def npy(geometry: str) -> Callable[[Path], Path]:
    """An array of the survey with a geometry file."""

    def make(folder: Path) -> Path:
        np.save(folder / "survey.npy", RANDOM)
        (folder / "survey.yaml").write_text(geometry)
        return folder / "survey.npy"

    return make


def spoil(*words: int, value: int = 0, traces: slice = slice(None)) -> Callable[[Any], None]:
    """Write a value into header words of some traces."""

    def change(file: Any) -> None:
        for i in range(file.tracecount)[traces]:
            file.header[i] = dict.fromkeys(words, value)

    return change


def one_bad_sample(file: Any) -> None:
    where = np.flatnonzero(file.attributes(Word.FieldRecord)[:] == 703)
    east = file.attributes(Word.GroupX)[:][where]
    trace = int(where[np.argsort(east)[4]])
    samples = np.array(file.trace[trace])
    samples[7] = np.nan
    file.trace[trace] = samples


def two_units(file: Any) -> None:
    for i in range(file.tracecount):
        file.header[i] = {Word.CoordinateUnits: 1 + (i < 9)}


BAD = RANDOM.copy()
BAD[2, 5:8, 1] = np.inf
LINES = (
    "sources: {start: [10, 5000], step: [0, 100], count: 3}\nreceivers: {start: [0, 5150], step: [0, 50], count: 6}\n"
)
NEAR_KM = HOW.arrays()["sources"] * [1.0, 1e-3, 1e-3]
CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "NaN": (
        segy(one_bad_sample),
        {},
        "1 samples .* not finite, in 1 traces: the first in shot 1, trace 4, at sample 7",
    ),
    "infinite": (
        npz(gathers=BAD),
        {},
        "3 samples .* not finite, in 1 traces: the first in shot 2, trace 1, at sample 5",
    ),
    "dt of two files": (npz("dt: 2e-3\n"), {}, "do not match: the sampling interval .* 0.004 in the one, but 0.002"),
    "dt of two headers": (segy(spoil(Word.TRACE_SAMPLE_INTERVAL, value=2000)), {}, "headers disagree"),
    "samples of two headers": (segy(spoil(Word.TRACE_SAMPLE_COUNT, value=91)), {}, "say 91 to 91 samples"),
    "no dt": (npz(dt=None), {}, "sampling interval of .* is unknown"),
    "two delays": (segy(spoil(Word.DelayRecordingTime, value=40, traces=slice(0, 5))), {}, "begin at different times"),
    "delay of two files": (npz("delay: 0.1\n", delay=0.2), {}, r"time of the first sample \[s\] is 0.2 in the one"),
    "transposed": (npz(gathers=RANDOM.swapaxes(1, 2)), {}, r"as many: transpose it to \(n_shots, 90, 6\)"),
    "receivers": (npy(f"dt: {DT}\n{LINES.replace('count: 6', 'count: 5')}"), {}, "there are 5 receivers, but .* 6 rec"),
    "shots": (npy(f"dt: {DT}\n{LINES.replace('count: 3', 'count: 4')}"), {}, "sources of 4 shots, but .* gathers of 3"),
    "receivers outside": (segy(), {"width": 400.0, "origin": [0.0, 4950.0]}, "receivers lie outside the model"),
    "sources outside": (segy(), {"origin": [0.0, 5100.0]}, "1 sources lie outside the model"),
    "start outside": (segy(), {"start_velocity": 2600.0}, "start_velocity = 2600.0 m/s lies outside inversion.bounds"),
    "no positions of SEG-Y": (
        segy(spoil(Word.SourceX, Word.SourceY, Word.SourceDepth, Word.SourceSurfaceElevation)),
        {},
        "no positions of sources: SourceX",
    ),
    "no positions of .npz": (npz(receivers=None), {}, "no positions of receivers: an array `receivers` is missing"),
    "no positions of .npy": (npy(f"dt: {DT}\n"), {}, "no positions of sources"),
    "degrees": (segy(spoil(Word.CoordinateUnits, value=3)), {}, "coordinates are geographic"),
    "two units of SEG-Y": (
        segy(two_units),
        {},
        "coordinates in two units",
    ),
    "two units of .npz": (npz(sources=NEAR_KM), {}, "two units: its sources span x"),
    "unit within positions": (npy(f"dt: {DT}\n{LINES.replace('count: 6', 'count: 6, unit: km')}"), {}, "has one unit"),
    "surrogate": (segy(), {"forward": "surrogate"}, "observed=.* cannot be inverted with forward=surrogate"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_paragraph(name, tmp_path):
    make, settings, message = CASES[name]
    settings = dict(settings)
    start = InversionConfig(
        start="constant", start_velocity=settings.pop("start_velocity", 2000.0), bounds=[1500.0, 2500.0]
    )
    asked = InvertConfig(
        out=str(tmp_path / "survey"),
        forward=settings.pop("forward", "physics"),
        observed=str(make(tmp_path)),
        setup=SetupConfig(peak_frequency=10.0, **settings),
        inversion=start,
    )
    with pytest.raises(InputError, match=message) as refusal:
        run_inversion(asked)
    assert "\n" not in str(refusal.value) and not (tmp_path / "survey").exists()
