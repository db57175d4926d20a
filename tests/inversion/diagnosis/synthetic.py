"""Gathers of known defects: a direct and a reflected wave, whose times, amplitudes and wavelets are exact."""

from typing import Any

import numpy as np
from scipy.signal import hilbert

from data_gen.solver.problem.wavelets import ricker_waveform
from surrogate.inversion.diagnosis.gathers import Record

DT, NT, PEAK, SHOTS, RECEIVERS = 4e-3, 300, 10.0, 4, 30
PERIOD, DELAY = 1 / PEAK, 1.2 / PEAK
BOUNDS = (1500.0, 4000.0)
TIMES = np.arange(NT) * DT
OFFSETS = np.abs(np.linspace(0, 1160, SHOTS)[:, None] - (40.0 * np.arange(RECEIVERS) + 15))


def gathers(velocity=2000.0, depth=600.0, rotation=0.0, peak=PEAK) -> np.ndarray:
    """Record a direct wave and its reflection, both of a Ricker wavelet that is rotated by an angle [degrees]."""
    padded = np.arange(-NT, 2 * NT) * DT
    found = np.zeros((SHOTS, 3 * NT, RECEIVERS))
    for path, factor in ((OFFSETS, 1.0), (np.hypot(OFFSETS, 2 * depth), -0.6)):
        late = padded[:, None] - path[:, None] / velocity - DELAY
        found += factor * ricker_waveform((np.pi * peak * late) ** 2) / np.sqrt(path + 20)[:, None]
    angle = np.radians(rotation)
    analytic: Any = hilbert(found, axis=1)
    analytic = analytic[:, NT : 2 * NT]
    return np.cos(angle) * analytic.real - np.sin(angle) * analytic.imag


def with_noise(data: np.ndarray, decibels: float, seed: int = 0, band: float = np.inf) -> np.ndarray:
    """Add noise of a signal-to-noise ratio of all data, white up to a frequency [Hz]."""
    noise = np.random.default_rng(seed).normal(size=data.shape)
    if np.isfinite(band):
        below = np.fft.rfftfreq(NT, DT) < band
        noise = np.fft.irfft(np.fft.rfft(noise, axis=1) * below[:, None], NT, axis=1)
    return data + noise * np.linalg.norm(data) / np.linalg.norm(noise) * 10 ** (-decibels / 20)


def some(part: float, seed: int = 1) -> np.ndarray:
    """Mark a part of the traces."""
    order = np.random.default_rng(seed).permutation(SHOTS * RECEIVERS)
    return (order < part * SHOTS * RECEIVERS).reshape(SHOTS, RECEIVERS)


def record(observed: np.ndarray, predicted: np.ndarray | None = None, **changes: Any) -> Record:
    """Both sides of the data; the prediction is a start that is 3 % slower, with a deeper reflector."""
    predicted = gathers() if predicted is None else predicted
    fired = DELAY - 0.9 * PERIOD  # a Ricker wavelet passes 2 % of its peak 0.9 periods before it
    known = Record(
        observed, predicted, np.ones(OFFSETS.shape, bool), OFFSETS, DT, fired, PEAK, 2.5 * PEAK, PEAK, BOUNDS
    )
    return known._replace(**changes)
