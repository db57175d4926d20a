"""Complete what files say of their survey: positions, wavelet and times, as the keys of an import give them.

Whatever is given goes into the manifest, and so into the fingerprint of the data set; `data_gen.dataset.recorded` says
which surrogates need what.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.common.array_files import read_by_suffix
from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import TimeAxis
from data_gen.solver.problem.wavelets import load_wavelet


@dataclass(frozen=True)
class ImportedSurvey:
    """Describe the survey of imported gathers, as far as it is known; all of it may stay unknown.

    Attributes:
        sources: Positions of the sources: a depth [m] for a line over the whole surface, evenly spaced; or a file
            (.npy or .txt) or array of positions `(z, x)` from the center of the first cell `(n_sources, 2)` [m].
        receivers: Positions of the receivers, in the same ways.
        peak_frequency: Peak frequency of a Ricker wavelet [Hz].
        peak_time: Time of the wavelet's peak after the start of the source [s]; None takes 1.2 / `peak_frequency`.
        amplitude: Value of the Ricker wavelet at its peak, in the units of `simulate`.
        wavelet: File of another wavelet (.npy, .npz or .txt), which begins at the start of the source.
        delay: Time of the first sample of the gathers after the start of the source [s]; None takes that of the files,
            or 0.
        free_surface: Whether the top of the models is a free surface.
    """

    sources: float | str | Path | np.ndarray | None = None
    receivers: float | str | Path | np.ndarray | None = None
    peak_frequency: float | None = None
    peak_time: float | None = None
    amplitude: float = 1.0
    wavelet: str | Path | None = None
    delay: float | None = None
    free_surface: bool = False

    def settings(self, recipe: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """Check the survey against the files.

        Args:
            recipe: Recipe of the data set, with what the files say: spacing [m] and dt [s].
            fields: Shape of every field of a record by name.

        Returns:
            Entries of the recipe, for what is known.

        Raises:
            InputError: If something is given that does not fit the files, or that needs what is unknown.
        """
        if self == ImportedSurvey():
            return {}
        if "gathers" not in fields:
            raise InputError("The files hold no gathers, so there is no survey: leave its options out.")
        spacing, dt = recipe["spacing"], recipe["dt"]
        if missing := [f"--{name}" for name, value in (("spacing", spacing), ("dt", dt)) if value is None]:
            raise InputError(
                f"A survey has positions in meters and times in seconds: give {' and '.join(missing)}, too."
            )
        shots, nt, receivers = fields["gathers"]["shape"]
        width = (fields["velocity"]["shape"][1] - 1) * spacing
        found = {
            "sources": _positions("sources", self.sources, shots, width),
            "receivers": _positions("receivers", self.receivers, receivers, width),
            "delay": self.delay,
            **self._source(TimeAxis(nt, dt), self.delay or recipe.get("delay") or 0.0),
            "free_surface": self.free_surface or None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _source(self, time: TimeAxis, delay: float) -> dict[str, Any]:
        """Return the entries of the source; the samples of a wavelet are those on the time axis of the gathers."""
        if self.wavelet is not None:
            if self.peak_frequency is not None or self.peak_time is not None or self.amplitude != 1.0:
                raise InputError(
                    "The wavelet is that of --wavelet, or a Ricker wavelet of --peak-frequency, --peak-time and "
                    "--amplitude. Give one of the two."
                )
            samples = _on_axis(self.wavelet, time, delay)
            return {"wavelet": samples.tolist(), "peak_frequency": _peak_frequency(samples) / time.dt}
        if self.amplitude != 1.0 and self.peak_frequency is None:
            raise InputError("--amplitude is that of a Ricker wavelet: give --peak-frequency, too.")
        if self.peak_frequency is not None and not 0 < self.peak_frequency < 0.5 / time.dt:
            raise InputError(
                f"The peak frequency must be between 0 and {0.5 / time.dt:g} Hz, half the sampling rate of the "
                f"gathers, but is {self.peak_frequency:g} Hz."
            )
        return {
            "peak_frequency": self.peak_frequency,
            "peak_time": self.peak_time,
            "amplitude": None if self.amplitude == 1.0 else self.amplitude,
        }


def _positions(what: str, given: Any, count: int, width: float) -> list[list[float]] | None:
    if given is None:
        return None
    depth = _number(given)
    if depth is not None:
        columns = np.linspace(0, width, count) if count > 1 else np.array([width / 2])
        points = np.stack([np.full(count, depth), columns], axis=1)
    elif isinstance(given, str | Path):
        readers = {".npy": partial(np.load, allow_pickle=False), ".txt": partial(np.loadtxt, ndmin=2)}
        points = np.asarray(read_by_suffix(Path(given), what, readers))
    else:
        points = np.asarray(given)
    if points.shape != (count, 2) or points.dtype.kind not in "iuf" or not np.isfinite(points).all():
        raise InputError(
            f"The gathers have {count} {what}, so their positions are {count} pairs (z, x) in meters, but those given "
            f"are {points.dtype} values of shape {points.shape}. A single number is the depth of a line over the whole "
            "surface."
        )
    return points.astype(float).tolist()


def _number(given: Any) -> float | None:
    """Return the number that was given, also as text; None if it is none."""
    try:
        return float(str(given))
    except ValueError:
        return None


def _on_axis(file: str | Path, time: TimeAxis, delay: float) -> np.ndarray:
    """Sample a wavelet at the times of the gathers."""
    first = round(delay / time.dt)
    if abs(delay / time.dt - first) > 1e-3:
        raise InputError(f"With --wavelet the delay must be a multiple of dt = {time.dt:g} s, but is {delay:g} s.")
    samples = load_wavelet(file, TimeAxis(time.nt + max(first, 0), time.dt))[max(first, 0) :]
    return np.concatenate([np.zeros(max(-first, 0)), samples])[: time.nt]


def peak_of_gathers(gathers: np.ndarray) -> float:
    """Find the frequency at which the traces of a sample are strongest.

    Args:
        gathers: Gathers `(n_sources, nt, n_receivers)`.

    Returns:
        Frequency [cycles per sample].
    """
    return _peak_frequency(gathers.astype(np.float64))


def _peak_frequency(traces: np.ndarray) -> float:
    """Find the frequency [cycles per sample] of the largest mean amplitude below Nyquist; time is the axis -2."""
    traces = traces[:, None] if traces.ndim == 1 else traces
    spectrum = np.abs(np.fft.rfft(traces, 8 * traces.shape[-2], axis=-2))
    mean = spectrum.mean(axis=tuple(axis for axis in range(spectrum.ndim) if axis != spectrum.ndim - 2))
    frequencies = np.fft.rfftfreq(8 * traces.shape[-2])
    return float(frequencies[1 + np.argmax(mean[1:-1])])
