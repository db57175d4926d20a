"""Make source wavelets on a time axis, and filter data to the same band.

    ricker       w(t) = (1 - 2 a t^2) exp(-a t^2),    a = (pi f)^2
    Gaussian     w(t) ~ d^n/dt^n exp(-a t^2) = (-sqrt(a))^n H_n(sqrt(a) t) exp(-a t^2),    a = 2 (pi f)^2 / n
    Ormsby       w(t) ~ L(t; f3, f4) - L(t; f1, f2),    L(t; p, q) = (q^2 sinc^2(q t) - p^2 sinc^2(p t)) / (q - p)

t counts from the delay; each has unit peak. L is the low-pass whose spectrum is 1 up to p and falls along a line to 0
at q; the band-pass filter has cosine flanks in its place. Sources: N. Ricker, Geophysics 18 (1953), 10-40; W. M.
Heigl, "Computing Gaussian derivative waveforms of any order", Geophysics 72 (2007), H_n being the physicists' Hermite
polynomial; H. Ryan, "Ricker, Ormsby, Klauder, Butterworth: a choice of wavelets", CSEG Recorder (September 1994).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial.hermite import hermroots, hermval

from data_gen.common.array_files import read_by_suffix, read_npy, read_npz
from data_gen.common.errors import InputError
from data_gen.common.yaml_files import read_yaml, yaml_number
from data_gen.solver.numerics.resampling import HALF_WIDTH, INTERPOLATE, LOW_PASS, windowed_sinc
from data_gen.solver.problem.grid import TimeAxis, milliseconds_meant

# Side lobes of an Ormsby wavelet are below this part of its peak where the default delay cuts them.
ORMSBY_CUT = 0.01


# The peak of a Ricker wavelet lies so many peak periods after its first sample, which is then below 2e-5.
RICKER_DELAY = 1.2


def ricker_waveform(exponent):
    """Evaluate a Ricker wavelet of unit peak.

    Args:
        exponent: `(pi f t)^2`, with t the time from the peak, as an array of NumPy or JAX.

    Returns:
        The wavelet's values.
    """
    exp = np.exp if isinstance(exponent, np.ndarray) else jnp.exp
    return (1 - 2 * exponent) * exp(-exponent)


def ricker(time: TimeAxis, peak_frequency: float, delay: float | None = None) -> Float[np.ndarray, " nt"]:
    """Sample a Ricker wavelet of unit peak.

    Args:
        time: The time axis.
        peak_frequency: Frequency at which the spectrum peaks [Hz].
        delay: Time of the peak [s]; None takes 1.2 / peak_frequency.

    Returns:
        The wavelet `(nt,)`.

    Raises:
        InputError: If the peak frequency is not between zero and the Nyquist frequency.
    """
    _check_frequency(peak_frequency, time)
    shifted = time.times - (RICKER_DELAY / peak_frequency if delay is None else delay)
    return ricker_waveform((np.pi * peak_frequency * shifted) ** 2)


def gaussian_derivative(
    time: TimeAxis, peak_frequency: float, derivative: int = 1, delay: float | None = None
) -> Float[np.ndarray, " nt"]:
    """Sample the n-th derivative of a Gaussian, with unit peak.

    The sign makes an even derivative positive at its center, and an odd one positive just before its center.

    Args:
        time: The time axis.
        peak_frequency: Frequency at which the spectrum `f^n exp(-(pi f)^2 / a)` peaks [Hz].
        derivative: The order n of the derivative; 2 is the Ricker wavelet.
        delay: Time of the center [s]; None takes (0.5 + 0.35 n) / peak_frequency, at which the first sample is below
            2e-5.

    Returns:
        The wavelet `(nt,)`.

    Raises:
        InputError: If n is below 1, or the peak frequency is not between zero and the Nyquist frequency.
    """
    _check_frequency(peak_frequency, time)
    n = derivative
    if n < 1:
        raise InputError(f"The derivative of a Gaussian must be of order 1 or more to have a peak frequency, not {n}.")
    shifted = time.times - ((0.5 + 0.35 * n) / peak_frequency if delay is None else delay)

    def waveform(x: np.ndarray) -> np.ndarray:
        return hermval(x, [0.0] * n + [1.0]) * np.exp(-(x**2))

    # The slope of H_n exp(-x^2) is -H_{n+1} exp(-x^2): the extrema are the next polynomial's roots.
    peak = np.abs(waveform(hermroots([0.0] * (n + 1) + [1.0]).real)).max()
    return (-1) ** ((n + 1) // 2) * waveform(np.sqrt(2 / n) * np.pi * peak_frequency * shifted) / peak


def ormsby(time: TimeAxis, corners: Sequence[float], delay: float | None = None) -> Float[np.ndarray, " nt"]:
    """Sample an Ormsby wavelet of unit peak, whose spectrum is a trapezoid over four corners.

    Args:
        time: The time axis.
        corners: Frequencies (f1, f2, f3, f4) [Hz]: the spectrum rises from f1 to f2, is flat to f3 and falls to zero at
            f4; f1 = f2 = 0 has no low cut.
        delay: Time of the peak [s]; None takes the time after which the side lobes, which fall as 1 / t^2, are below
            1 % of the peak.

    Returns:
        The wavelet `(nt,)`.

    Raises:
        InputError: If the corners do not ascend, or reach the Nyquist frequency.
    """
    f1, f2, f3, f4 = check_corners(corners, time.dt)
    sides = f4 + f3 - f2 - f1
    if delay is None:
        # A flank's terms are each sin^2 / (pi t)^2 over its width: their difference stays under one of them.
        widths = [q - p for p, q in ((f1, f2), (f3, f4)) if q > 0]
        delay = float(np.sqrt(sum(1 / width for width in widths) / (np.pi**2 * ORMSBY_CUT * sides)))
    t = time.times - delay

    def low_pass(p: float, q: float) -> np.ndarray:
        return ((q * np.sinc(q * t)) ** 2 - (p * np.sinc(p * t)) ** 2) / (q - p) if q > 0 else np.zeros_like(t)

    return (low_pass(f3, f4) - low_pass(f1, f2)) / sides


def check_corners(corners: Sequence[float], dt: float) -> tuple[float, float, float, float]:
    """Check the four corner frequencies of a band.

    Args:
        corners: Frequencies (f1, f2, f3, f4) [Hz]; f1 = f2 = 0 is a low-pass.
        dt: Time from one sample to the next [s].

    Returns:
        The corners.

    Raises:
        InputError: If they do not ascend from zero or more to below the Nyquist frequency.
    """
    nyquist = 0.5 / dt
    ascending = len(corners) == 4 and 0 <= corners[0] <= corners[1] < corners[2] < corners[3]
    if not (ascending and (corners[0] < corners[1] or corners[1] == 0) and corners[3] < nyquist):
        raise InputError(
            f"A band needs four corner frequencies 0 <= f1 < f2 < f3 < f4 in Hz (f1 = f2 = 0 for no low cut), with f4 "
            f"below the Nyquist frequency of {nyquist:g} Hz (dt = {dt:g} s), but got {tuple(corners)}. Spread them, or "
            "shorten dt."
        )
    f1, f2, f3, f4 = corners
    return f1, f2, f3, f4


def _check_frequency(peak_frequency: float, time: TimeAxis) -> None:
    if not 0 < peak_frequency < 0.5 / time.dt:
        raise InputError(
            f"A wavelet's peak frequency must lie between zero and the Nyquist frequency of {0.5 / time.dt:g} Hz "
            f"(dt = {time.dt:g} s), but is {peak_frequency} Hz.{milliseconds_meant(time.dt, peak_frequency)}"
        )


def band_response(times: Float[np.ndarray, " n"], corners: Sequence[float]) -> Float[np.ndarray, " n"]:
    """Evaluate the response of `band_pass` to a unit impulse at t = 0.

    Args:
        times: Times t, before and after the impulse `(n,)` [s].
        corners: Frequencies (f1, f2, f3, f4) [Hz], as `check_corners` allows them.

    Returns:
        The response `(n,)` [1/s], which is even in t.
    """
    f1, f2, f3, f4 = corners

    def low_pass(p: float, q: float) -> np.ndarray:
        # Raised cosine (J. G. Proakis, Digital Communications, 4th ed., 9.2), its cos(pi u / 2) / (1 - u^2) written as
        # two sincs, which have no pole at u = 1.
        u = 2 * (q - p) * times
        return (p + q) * np.sinc((p + q) * times) * np.pi / 4 * (np.sinc((u + 1) / 2) + np.sinc((u - 1) / 2))

    return low_pass(f3, f4) - low_pass(f1, f2)


def band_pass(traces: Float[Array, "*batch nt"], dt: float, corners: Sequence[float]) -> Float[Array, "*batch nt"]:
    """Filter traces to a band, with zero phase: gain 1 from f2 to f3, cosine flanks to 0 at f1 and f4.

    A trace is taken to be zero outside its samples, and the filter's output beyond them is cut off. The map is
    therefore linear, symmetric, and its own adjoint. `jit`, `vmap` and derivatives of any order apply.

    Args:
        traces: Traces `(..., nt)`.
        dt: Time from one sample to the next [s].
        corners: Frequencies (f1, f2, f3, f4) [Hz]; f1 = f2 = 0 is a low-pass.

    Returns:
        The filtered traces `(..., nt)`.

    Raises:
        InputError: If the corners do not ascend, or reach the Nyquist frequency.
    """
    corners = check_corners(corners, dt)
    nt = traces.shape[-1]
    response = dt * band_response(np.arange(nt) * dt, corners)
    # Every lag between two samples, and no other, so the circular convolution is the plain one: nothing wraps round.
    size = 1 << (2 * nt - 2).bit_length()
    circular = np.concatenate([response, np.zeros(size - 2 * nt + 1), response[:0:-1]])
    gain = jnp.asarray(np.fft.rfft(circular).real, traces.dtype)
    return jnp.fft.irfft(jnp.fft.rfft(traces, size) * gain, size)[..., :nt]


class RecordedWavelet(NamedTuple):
    """Hold a wavelet that was read from a file; it is zero before its first sample and after its last one.

    Attributes:
        samples: Samples `(n,)`.
        dt: Time from one sample to the next [s], or None if the file does not give it.
        delay: Time of the first sample [s].
    """

    samples: np.ndarray
    dt: float | None
    delay: float


def load_wavelet(path: str | Path, time: TimeAxis, *, dt: float | None = None) -> Float[np.ndarray, " nt"]:
    """Read a recorded wavelet and resample it to a time axis.

    Resampling to a coarser axis keeps 0.9 of its Nyquist frequency and does not alias. Resampling to a finer axis is
    exact at the record's own samples. The wavelet starts at t = 0, or at the `delay` of its file, and is zero after its
    end.

    Args:
        path: File of kind .npy, .npz (`wavelet`, optionally `dt` and `delay` [s]), .yaml (the same keys) or .txt (a
            number a line).
        time: The time axis.
        dt: Time from one sample of the file to the next [s]; None takes the file's own, or else the time axis's.

    Returns:
        The wavelet `(nt,)`.

    Raises:
        InputError: If the file is missing or of another kind, is no sequence of two or more finite numbers, is zero
            throughout, or reaches beyond the time axis; cutting it would silently change the source.
    """
    samples, own_dt, delay = read_wavelet(Path(path))
    step = next(known for known in (dt, own_dt, time.dt) if known is not None)
    if not 0 < step < np.inf:
        raise InputError(f"The samples of the wavelet in {path} must be a positive time apart, not dt = {step} s.")
    end = delay + (len(samples) - 1) * step
    if end > time.times[-1] + 1e-6 * time.dt:
        raise InputError(
            f"The wavelet in {path} lasts {end - delay:g} s ({len(samples)} samples, dt = {step:g} s), but the time "
            f"axis ends at {time.times[-1]:g} s. Lengthen the axis, shorten the record, or give its true dt."
        )
    if delay < -1e-6 * time.dt:
        raise InputError(
            f"The wavelet in {path} begins at {delay:g} s, before the time axis. Set its delay to 0 or more."
        )
    return resample_wavelet(samples, step, time, delay)


def read_wavelet(path: Path) -> RecordedWavelet:
    """Read a recorded wavelet as it is, without the zeros at its end.

    Args:
        path: File of a wavelet, as for `load_wavelet`.

    Returns:
        Its samples and their times.

    Raises:
        InputError: If the file is missing or of another kind, is no sequence of two or more finite numbers, or is zero
            throughout.
    """
    samples, dt, delay = _read_samples(path)
    samples = np.trim_zeros(samples, "b")
    if not samples.size:
        raise InputError(f"The wavelet in {path} is zero throughout: it would fire nothing. Check the file.")
    return RecordedWavelet(samples, dt, delay or 0.0)


def resample_wavelet(
    samples: Float[np.ndarray, " n"], step: float, time: TimeAxis, delay: float = 0.0
) -> Float[np.ndarray, " nt"]:
    """Interpolate a wavelet at the times of an axis, band-limited, with a low-pass if the axis is coarser.

    Args:
        samples: Samples of the wavelet `(n,)`, which is zero before and after them.
        step: Time from one to the next [s].
        time: The time axis.
        delay: Time of the first sample on the axis [s], which may be negative.

    Returns:
        The wavelet on the axis `(nt,)`.
    """
    shift = delay / time.dt
    if np.isclose(step, time.dt, rtol=1e-9, atol=0) and abs(shift - round(shift)) < 1e-9:
        padded = np.concatenate([np.zeros(max(0, round(shift))), samples[max(0, -round(shift)) :], np.zeros(time.nt)])
        return padded[: time.nt]
    coarse, cutoff = (step, INTERPOLATE) if step >= time.dt else (time.dt, LOW_PASS)
    reach = HALF_WIDTH * coarse / step
    result = np.zeros(time.nt)
    for i, position in enumerate((time.times - delay) / step):
        last = max(0, min(len(samples), int(np.floor(position + reach)) + 1))
        first = min(last, max(0, int(np.ceil(position - reach))))
        distance = (position - np.arange(first, last)) * (step / coarse)
        result[i] = windowed_sinc(distance, cutoff) @ samples[first:last] * (step / coarse)
    return result


def _read_samples(path: Path) -> tuple[np.ndarray, float | None, float | None]:
    """Read samples `(n,)`, and the step and the time of the first one [s] if the file gives them."""
    readers = {".npy": _read_npy, ".npz": _read_npz, ".txt": _read_txt, ".yaml": _read_yaml, ".yml": _read_yaml}
    samples, dt, delay = read_by_suffix(path, "wavelet", readers)
    if samples.ndim != 1 or samples.size < 2 or samples.dtype.kind not in "iuf":
        raise InputError(
            f"{path} holds {samples.dtype} values of shape {samples.shape}, but a wavelet is one sequence of two or "
            "more real numbers. Take one trace of it."
        )
    samples = samples.astype(np.float64)
    if not np.isfinite(samples).all():
        bad = np.flatnonzero(~np.isfinite(samples))
        raise InputError(f"The wavelet in {path} has {len(bad)} samples that are not finite, the first at {bad[0]}.")
    return samples, dt, delay


def _read_npz(path: Path) -> tuple[np.ndarray, float | None, float | None]:
    arrays = read_npz(path, ("wavelet",), "samples", any_name=False)
    return arrays.main, arrays.number("dt"), arrays.number("delay")


def _read_npy(path: Path) -> tuple[np.ndarray, None, None]:
    return read_npy(path), None, None


def _read_txt(path: Path) -> tuple[np.ndarray, float | None, None]:
    return np.loadtxt(path), None, None


def _read_yaml(path: Path) -> tuple[np.ndarray, float | None, float | None]:
    content = read_yaml(path, "wavelet", ("wavelet", "dt", "delay"))
    values = content.get("wavelet")
    if not isinstance(values, list):
        raise InputError(f"`wavelet` in {path} must be a list of numbers, but is a {type(values).__name__}.")
    samples = np.array([yaml_number(value, f"Each sample of `wavelet` in {path}") for value in values])
    dt, delay = (
        yaml_number(content[name], f"`{name}` in {path}") if name in content else None for name in ("dt", "delay")
    )
    return samples, dt, delay


LOWEST_PART, HIGHEST_PART = 0.1, 0.05  # of the spectrum's peak, at the ends of the band


def wavelet_band(wavelets: Float[np.ndarray, "n nt"], dt: float) -> tuple[float, float]:
    """Find the band of wavelets, from their amplitude spectra.

    Args:
        wavelets: Wavelets `(n, nt)`.
        dt: Time from one sample to the next [s].

    Returns:
        The lowest frequency at which a spectrum has 10 % of its peak, but not less than 1 / (nt dt), which the record
        resolves, and the highest frequency at which one has 5 % of its peak [Hz].
    """
    distinct = np.unique(wavelets, axis=0)
    nt = distinct.shape[1]
    spectra, frequencies = np.abs(np.fft.rfft(distinct, 8 * nt)), np.fft.rfftfreq(8 * nt, dt)
    relative = (spectra / spectra.max(axis=1, keepdims=True)).max(axis=0)
    low, high = frequencies[relative >= LOWEST_PART][0], frequencies[relative >= HIGHEST_PART][-1]
    return float(max(low, 1 / (nt * dt))), float(high)


def part_above(wavelets: Float[np.ndarray, "n nt"], dt: float, frequency: float) -> float:
    """Compute how much of the spectra of wavelets lies above a frequency.

    A wavelet that is cut off at the end of the record is continued by its image: nothing hears the cut.

    Args:
        wavelets: Wavelets `(n, nt)`; silent ones do not count.
        dt: Time from one sample to the next [s].
        frequency: The frequency [Hz].

    Returns:
        The sum of a wavelet's amplitudes above it over the sum of all, of the wavelet with the most.
    """
    distinct = np.unique(wavelets[np.any(wavelets != 0, axis=1)], axis=0)
    continued, count = np.concatenate([distinct, distinct[:, ::-1]], axis=1), 4 * wavelets.shape[1]
    spectra, above = np.abs(np.fft.rfft(continued, count)), np.fft.rfftfreq(count, dt) > frequency
    return float(np.max(spectra[:, above].sum(axis=1) / spectra.sum(axis=1), initial=0))
