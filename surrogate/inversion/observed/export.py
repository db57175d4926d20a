"""Write a velocity or density model with its place in the world, as .npz and as SEG-Y.

The .npz file holds `velocity` (nz, nx) [m/s] or `density` [kg/m^3], `spacing` [m], `origin` (z, x) of the first cell
[m], the elevation `datum` of z = 0 [m], and `line`, the world coordinates (X_0, Y_0) of x = 0 [m] and the unit vector
(d_x, d_y) of the line. The SEG-Y file has one trace for each column, with its world coordinates in CDP_X and CDP_Y, the
depth of the first sample [m] in DelayRecordingTime, and the datum in ReceiverDatumElevation. `read_velocity` and
`read_density` read both.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from data_gen.common.frame import Frame

UNITS = {"velocity": "m/s", "density": "kg/m^3"}
SCALARS = (1000, 100, 10, 1)  # divisors of coordinates, the finest first
LARGEST_WORD, LARGEST_SHORT = 2**31 - 1, 2**15 - 1


def write_model(
    folder: Path,
    model: Float[np.ndarray, "nz nx"],
    spacing: float,
    origin: tuple[float, float],
    frame: Frame,
    name: str = "velocity",
) -> None:
    """Write `NAME.npz` and `NAME.segy`.

    Args:
        folder: Folder of the files.
        model: Model `(nz, nx)`, in the unit of its name.
        spacing: Side of a cell [m].
        origin: Position (z, x) of the first cell [m].
        frame: Place of these positions in the world.
        name: Name of the model, one of UNITS.
    """
    line = np.array([*frame.origin, *frame.direction])
    place: dict[str, Any] = {"spacing": spacing, "origin": origin, "datum": frame.datum, "line": line}
    np.savez(folder / f"{name}.npz", **{name: model}, **place)
    _write_segy(folder / f"{name}.segy", model, spacing, origin, frame, f"{name.upper()} MODEL [{UNITS[name]}]")


def _write_segy(
    path: Path, model: np.ndarray, spacing: float, origin: tuple[float, float], frame: Frame, title: str
) -> None:
    import segyio
    from segyio import BinField
    from segyio import TraceField as Word

    nz, nx = model.shape
    x = origin[1] + np.arange(nx) * spacing
    places = frame.world(np.stack([np.full(nx, origin[0]), x], axis=1))[:, :2]
    divisor, (elevation_divisor, datum), (top_divisor, top) = (
        _divisor(places, LARGEST_WORD),
        _scaled(frame.datum, LARGEST_WORD),
        _scaled(origin[0], LARGEST_SHORT),
    )
    # The step in depth has no word of its own; millimeters are usual, where 16 bits hold them.
    step = round(1000 * spacing) if 1000 * spacing <= LARGEST_SHORT else 0
    spec: Any = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, np.arange(nz), nx
    with segyio.create(str(path), spec) as file:
        file.text[0] = segyio.tools.create_text_header(
            {
                1: f"{title}, ONE TRACE FOR EACH COLUMN",
                2: f"{nz} SAMPLES IN DEPTH, EVERY {spacing:g} m FROM {origin[0]:g} m BELOW THE DATUM",
                3: f"DATUM: {frame.datum:g} m. COLUMNS EVERY {spacing:g} m",
                4: "CDP_X, CDP_Y: WORLD COORDINATES [m]",
                5: "RECEIVER DATUM ELEVATION: THE DATUM. DELAY RECORDING TIME: DEPTH OF THE FIRST SAMPLE [m]",
            }
        )
        file.trace = np.ascontiguousarray(model.T, dtype=np.float32)
        for i, (east, north) in enumerate(places):
            file.header[i] = {
                Word.TRACE_SEQUENCE_LINE: i + 1,
                Word.CDP: i + 1,
                Word.TraceIdentificationCode: 1,
                Word.CDP_X: round(divisor * east),
                Word.CDP_Y: round(divisor * north),
                Word.SourceGroupScalar: -divisor,
                Word.CoordinateUnits: 1,
                Word.ElevationScalar: -elevation_divisor,
                Word.ReceiverDatumElevation: datum,
                Word.DelayRecordingTime: top,
                Word.ScalarTraceHeader: -top_divisor,
                Word.TRACE_SAMPLE_COUNT: nz,
                Word.TRACE_SAMPLE_INTERVAL: step,
            }
        file.bin.update({BinField.Interval: step, BinField.MeasurementSystem: 1})


def _divisor(values: np.ndarray, largest: int) -> int:
    """Choose the finest divisor at which a word holds all values."""
    size = float(np.abs(values).max(initial=0))
    return next((divisor for divisor in SCALARS if divisor * size <= largest), SCALARS[-1])


def _scaled(value: float, largest: int) -> tuple[int, int]:
    divisor = _divisor(np.array([value]), largest)
    return divisor, round(divisor * value)
