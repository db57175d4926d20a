"""Read the traces of a SEG-Y file with the header words that say what and where they are.

Layout and words: SEG Technical Standards Committee, *SEG-Y revision 2.0*, 2017. Programs fill these words very
differently. Each choice is therefore a sentence in `notes`, and what can be read in two ways is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_gen.common.errors import InputError

# The words that are read, by their names in segyio. Elevations and depths share one scalar, and so do all x and y.
WORDS = (
    *("FieldRecord", "TraceNumber", "EnergySourcePoint", "CDP", "TraceIdentificationCode"),
    *("SourceX", "SourceY", "SourceDepth", "SourceSurfaceElevation", "GroupX", "GroupY", "ReceiverGroupElevation"),
    *("CDP_X", "CDP_Y", "SourceGroupScalar", "ElevationScalar", "CoordinateUnits", "INLINE_3D", "CROSSLINE_3D"),
    *("DelayRecordingTime", "ScalarTraceHeader", "TRACE_SAMPLE_COUNT", "TRACE_SAMPLE_INTERVAL"),
    "ReceiverDatumElevation",
)
# Sample formats by code, of those that segyio decodes, and the bytes of a sample.
SAMPLE_BYTES = {1: 4, 2: 4, 3: 2, 5: 4, 6: 8, 8: 1, 10: 4, 11: 2, 12: 8, 16: 1}
TEXT, HEADERS, TRACE_HEADER = 3200, 3600, 240  # bytes
# First bytes of the words of the binary header, counted from one.
BINARY = {"interval": 3217, "samples": 3221, "format": 3225, "measurement": 3255, "texts": 3505}
FEET, METERS_PER_FOOT = 2, 0.3048
# Trace identification codes: unknown and seismic data; dead and dummy; pressure and the components of motion.
SEISMIC, DEAD, COMPONENTS = (0, 1), (2, 3), tuple(range(11, 18))
ROUNDING = 1e-9  # of a line's length: distances from it that are none
OFF_LINE = 0.05  # of a line's length: the largest distance from it of points that are said to lie along it


@dataclass(frozen=True)
class SegyTraces:
    """Hold the traces of a SEG-Y file that are data.

    Attributes:
        path: Path of the file.
        samples: Samples `(n, nt)` of the traces in the order of the file.
        words: Words of the trace headers `(n,)` by their names in segyio; see `WORDS`.
        interval: Sampling interval [s] (in files of models its meaning is free), or None if it is not known.
        unit: Length of the coordinates' unit [m], or None if they are angles.
        notes: Sentences on what was decided.
    """

    path: Path
    samples: np.ndarray
    words: Mapping[str, np.ndarray]
    interval: float | None
    unit: float | None
    notes: tuple[str, ...]

    @property
    def dead(self) -> np.ndarray:
        """Which traces `(n,)` are marked as dead or as dummies."""
        return np.isin(self.words["TraceIdentificationCode"], DEAD)

    @property
    def delay(self) -> float:
        """The time of the first sample [s].

        Raises:
            InputError: If it is not the same for all traces.
        """
        delays = self.starts / 1e3
        if delays.min() < delays.max():
            raise InputError(
                f"The traces of {self.path} begin at different times: DelayRecordingTime is {delays.min():g} to "
                f"{delays.max():g} s. Shift them to one time of the first sample."
            )
        return float(delays[0])

    @property
    def resolution(self) -> float:
        """The difference to which horizontal positions are rounded, in the file's unit."""
        return float(_scale(self.words["SourceGroupScalar"]).max())

    def take(self, traces: np.ndarray) -> "SegyTraces":
        """Take some of the traces.

        Args:
            traces: Their numbers `(n,)`.

        Returns:
            These traces, in this order.
        """
        words = {name: values[traces] for name, values in self.words.items()}
        return replace(self, samples=self.samples[traces], words=words)

    def positions(self, x: str, y: str) -> np.ndarray:
        """Read horizontal positions.

        Args:
            x: Word of the first coordinate.
            y: Word of the second coordinate.

        Returns:
            Coordinates `(n, 2)` in the file's unit, their scalar applied.
        """
        scale = _scale(self.words["SourceGroupScalar"])
        return np.stack([self.words[x] * scale, self.words[y] * scale], axis=1)

    def depths(self, *, source: bool) -> np.ndarray:
        """Read depths below the datum, down being positive.

        Args:
            source: Whether those of the sources, else those of the receivers.

        Returns:
            Depths `(n,)` in the file's unit, their scalar applied.
        """
        words = self.words
        down = words["SourceDepth"] - words["SourceSurfaceElevation"] if source else -words["ReceiverGroupElevation"]
        return down * _scale(words["ElevationScalar"])

    def elevations(self, word: str) -> np.ndarray:
        """Read elevations above the datum.

        Args:
            word: Word of the elevation.

        Returns:
            Elevations `(n,)` in the file's unit, their scalar applied.
        """
        return self.words[word] * _scale(self.words["ElevationScalar"])

    @property
    def starts(self) -> np.ndarray:
        """The words of the time of the first sample `(n,)`, their scalar applied; in files of models, of its depth."""
        return self.words["DelayRecordingTime"] * _scale(self.words["ScalarTraceHeader"])


def _scale(scalars: np.ndarray) -> np.ndarray:
    """Return the factors that scalars of trace headers mean: negative ones divide, and zero means one."""
    scalars = np.where(scalars == 0, 1, scalars).astype(np.float64)
    return np.where(scalars > 0, scalars, 1 / np.abs(scalars))


def read_segy_traces(path: Path) -> SegyTraces:
    """Read the traces of a SEG-Y file in either byte order, without those that its codes say are no data.

    Args:
        path: Path of the file.

    Returns:
        The traces and their header words.

    Raises:
        InputError: If the file is cut off or has an unknown sample format, traces of different lengths, several
            components, coordinates in two units, or no data.
    """
    import segyio

    endian, binary = _binary_header(path)
    try:
        with segyio.open(path, ignore_geometry=True, endian=endian) as file:
            samples = file.trace.raw[:]
            words = {name: file.attributes(int(getattr(segyio.TraceField, name)))[:].astype(int) for name in WORDS}
    except (RuntimeError, IndexError, OSError) as error:
        raise InputError(_incomplete(path, binary)) from error
    notes = ["the byte order is little-endian"] if endian == "little" else []
    counts = np.unique(words["TRACE_SAMPLE_COUNT"][words["TRACE_SAMPLE_COUNT"] != 0])
    if set(counts.tolist()) - {samples.shape[1]}:
        raise InputError(
            f"The trace headers of {path} say {counts.min()} to {counts.max()} samples (TRACE_SAMPLE_COUNT), but its "
            f"binary header says {samples.shape[1]}. Make all traces equally long, and both headers agree."
        )
    interval, conflict = _interval(words["TRACE_SAMPLE_INTERVAL"], binary["interval"])
    keep, left_out = _data_traces(path, words["TraceIdentificationCode"])
    unit, unknown = _unit(path, words["CoordinateUnits"][keep], binary["measurement"])
    words = {name: values[keep] for name, values in words.items()}
    return SegyTraces(path, samples[keep], words, interval, unit, (*notes, *conflict, *unknown, *left_out))


def _binary_header(path: Path) -> tuple[str, dict[str, int]]:
    """Find the byte order, by which the code of the sample format is a known one, and read some words."""
    with path.open("rb") as file:
        header = file.read(HEADERS)[TEXT:]
    for order in ("big", "little"):
        words = {name: int.from_bytes(header[at - TEXT - 1 : at - TEXT + 1], order) for name, at in BINARY.items()}
        if words["format"] in SAMPLE_BYTES:
            return order, words
    if len(header) < HEADERS - TEXT:
        raise InputError(f"{path} ends within its {HEADERS} bytes of headers: it is no SEG-Y file, or is cut off.")
    raise InputError(
        f"{path} has no sample format that can be read: the code in bytes 3225-3226 is {header[24:26].hex()} "
        f"(hexadecimal), but known are {', '.join(map(str, SAMPLE_BYTES))}, in either byte order (1 is IBM and 5 IEEE "
        "floating point). Set the code, or write the file again."
    )


def _incomplete(path: Path, binary: Mapping[str, int]) -> str:
    length = TRACE_HEADER + binary["samples"] * SAMPLE_BYTES[binary["format"]]
    traces = (path.stat().st_size - HEADERS - TEXT * binary["texts"]) / length
    return (
        f"{path} does not hold a whole number of traces: after its headers there is room for {traces:.2f} traces of "
        f"{binary['samples']} samples (format {binary['format']}). It is cut off, or its traces have different "
        "lengths: copy it again, or make all traces equally long."
    )


def _interval(of_traces: np.ndarray, of_file: int) -> tuple[float | None, list[str]]:
    """Return the sampling interval [s], or None and a note if the headers disagree."""
    found = {int(value) for value in (*np.unique(of_traces), of_file)} - {0}
    if len(found) > 1:
        return None, [f"its headers disagree on the sampling interval ({sorted(found)} us), so none is taken"]
    return (found.pop() / 1e6 if found else None), []


def _unit(path: Path, units: np.ndarray, measurement: int) -> tuple[float | None, list[str]]:
    """Return the unit of length [m], or None and a note if the coordinates are angles."""
    several = sorted(set(units.tolist()) - {0})  # zero says nothing
    if len(several) > 1:
        counts = ", ".join(f"{unit} in {np.sum(units == unit)} traces" for unit in several)
        raise InputError(
            f"{path} has coordinates in two units: CoordinateUnits is {counts} (1 are meters or feet, 2 to 4 are "
            "angles). Convert all coordinates to one unit of length, and set that word to 1."
        )
    if not np.isin(units, (0, 1)).all():
        return None, ["its coordinates are geographic (CoordinateUnits), so no positions are taken"]
    if measurement == FEET:
        return METERS_PER_FOOT, ["lengths are in feet (MeasurementSystem), and are converted to meters"]
    return 1.0, []


def _data_traces(path: Path, codes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return which traces are data (dead ones included), and a note on the others."""
    components = sorted({int(code) for code in codes} & set(COMPONENTS))
    if len(components) > 1:
        raise InputError(
            f"{path} holds several components: its traces have the identification codes {components}. Write one of "
            "them (pressure is 11, the vertical one 12) to a file of its own."
        )
    keep = np.isin(codes, (*SEISMIC, *DEAD, *COMPONENTS))
    others = sorted({int(code) for code in codes[~keep]})
    if not np.isin(codes[keep], (*SEISMIC, *COMPONENTS)).any():
        raise InputError(
            f"{path} holds no live trace: the identification codes are {sorted({int(code) for code in codes})}, but "
            "data have 1 (or 0, or 11 to 17). Correct TraceIdentificationCode in its trace headers."
        )
    note = f"{(~keep).sum()} auxiliary traces (identification codes {others}) are left out"
    return keep, [note] if others else []


def along_line(
    points: np.ndarray, path: Path, what: str, *, off_line: float = OFF_LINE
) -> tuple[np.ndarray, list[str]]:
    """Project horizontal positions on the line along which they lie.

    Args:
        points: Positions `(n, 2)`.
        path: File that they come from.
        what: Name of the points in errors.
        off_line: Largest distance from the line that is allowed, as a part of its length.

    Returns:
        Unit vector `(2,)` of the line, which is an axis if one coordinate is the same for all points, and whose larger
        component is positive; and a note if the line is no axis.

    Raises:
        InputError: If the points do not lie along a line.
    """
    spread = np.ptp(points, axis=0)
    if spread.min() == 0:
        return np.eye(2)[int(np.argmax(spread))], []
    centered = points - points.mean(axis=0)
    direction = np.linalg.svd(centered, full_matrices=False)[2][0]
    direction *= np.sign(direction[np.argmax(np.abs(direction))])
    length = np.ptp(centered @ direction)
    apart = centered @ (direction[::-1] * [-1, 1])
    away = np.abs(apart).max()
    if away > off_line * length:
        raise InputError(
            f"The {what} of {path} do not lie along a line: they are up to {away:g} away from one of length "
            f"{length:g}. Models and shots are two-dimensional: write one line or section of them to a file of its own."
        )
    apart[np.abs(apart) < ROUNDING * length] = 0
    away, typical = np.abs(apart).max(), np.sqrt(np.mean(apart**2))
    residual = f"{away:.3g} away (root mean square {typical:.3g})"
    return direction, [f"positions are projected on a line, from which they are up to {residual}"]
