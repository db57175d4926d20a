"""A survey as programs write it to SEG-Y, and as arrays.

Three shots of two sources, with six receivers that move along, on a line of slope 3:4. All positions are multiples of
50 along the line, so that its coordinates are multiples of 10, which a header word can hold whatever its scalar; z is
10 of sources and 0 or 20 of receivers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segyio
from segyio import BinField
from segyio import TraceField as Word

SHOTS, SOURCES, RECEIVERS, NT, DT, FOOT = 3, 2, 6, 90, 4e-3, 0.3048
X_SOURCES = 5000.0 + 100 * np.arange(SHOTS)[:, None] + 50 * np.arange(SOURCES)
X_RECEIVERS = 5150.0 + 100 * np.arange(SHOTS)[:, None] + 50 * np.arange(RECEIVERS)
DEAD, LACKING = (0, 2), (1, RECEIVERS - 1)  # traces: shot, receiver
RANDOM = np.random.default_rng(0).normal(size=(SHOTS, NT, RECEIVERS)).astype(np.float32)


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
