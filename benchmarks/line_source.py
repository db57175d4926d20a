"""Errors of the line-source correction against both Green's functions: `python -m benchmarks.line_source`.

Records of a point source in three dimensions, w(t - l / v) / (4 pi l), are turned into those of a line source by each
law of `surrogate.inversion.processing.line_source`, and compared with the exact field in two dimensions. `direct` is
the wave along the offset r; `reflected` one from a plane below sources and receivers, whose path is l^2 = r^2 + 4 d^2.
Errors are relative L2 norms over the record; laws with `v` know the velocity. `scaled` is the error after the factor
that fits the trace best, as normalized traces see it; `none` is the record as it is. Offsets are in wavelengths of the
peak frequency, so that all numbers hold for any velocity and frequency. It prints the table and writes
`results/line-source-cpu.json`.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import machine, table, write_rows
from benchmarks.worker import ROOT
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion.processing.line_source import LAWS, line_source
from tests.theory import greens_function_2d

VELOCITY, PEAK, STEP = 2000.0, 10.0, 2e-3
DELAY = 1.2 / PEAK
OFFSETS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # in wavelengths
DEPTH = 5.0  # of the reflecting plane, in wavelengths


def wavelet(t: np.ndarray) -> np.ndarray:
    """The Ricker wavelet, whose center is at DELAY."""
    return ricker_waveform((np.pi * PEAK * (t - DELAY)) ** 2)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The relative L2 difference, with four digits."""
    return float(f"{np.linalg.norm(found - wanted) / np.linalg.norm(wanted):.4g}")


def measure(kind: str, wavelengths: float) -> dict[str, float | str]:
    """Errors of one wave at one offset."""
    offset = wavelengths * VELOCITY / PEAK
    path = offset if kind == "direct" else float(np.hypot(offset, 2 * DEPTH * VELOCITY / PEAK))
    time = TimeAxis(int((path / VELOCITY + DELAY + 1.0) / STEP), STEP)
    survey = make_survey([[0.0, 0.0]], [[0.0, offset]], np.ones(time.nt))
    point = wavelet(time.times - path / VELOCITY) / (4 * np.pi * path)
    line = greens_function_2d(path, time.times, wavelet, VELOCITY)
    row: dict[str, float | str] = {"wave": kind, "offset_wavelengths": wavelengths}

    def add(name: str, found: np.ndarray) -> None:
        row[name] = relative(found, line)
        row[f"{name}, scaled"] = relative(found * (found @ line) / (found @ found), line)

    add("none", point)
    for law, velocity in (("direct", None), *((law, VELOCITY) for law in LAWS)):
        record = jnp.asarray(point)[None, :, None]
        found = line_source(record, survey, time, law=law, velocity=velocity, onset=DELAY)
        add(f"{law}, v" if velocity else law, np.asarray(found)[0, :, 0])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line_source", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    options = parser.parse_args()
    with jax.enable_x64(True):
        rows = [measure(kind, offset) for kind in ("direct", "reflected") for offset in OFFSETS]
    head = tuple(rows[0])
    print(table(head, [tuple(str(row[name]) for name in head) for row in rows]))
    settings = {"machine": machine(), "velocity": VELOCITY, "peak_frequency": PEAK, "dt": STEP, "depth": DEPTH}
    print(write_rows(options.out, "line-source", settings, rows))


if __name__ == "__main__":
    main()
