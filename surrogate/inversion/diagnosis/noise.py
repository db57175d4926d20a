"""Estimate the noise of each trace in two ways, and the signal-to-noise ratio that it leaves.

    before    the root mean square until half a period before the first wave
    beyond    from the power at frequencies that the wavelet lacks, taken to be as dense in its band (white noise)

Noise of the band itself is seen only before the first wave, and near traces have no time before it: they are taken to
have as much as the others usually have.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal.windows import tukey

from data_gen.solver.diagnosis import Finding, judge

BEYOND = 1.25  # in highest frequencies of the wavelet: from there on there is no signal
LEAST = 0.1  # part of the frequencies that must lie beyond
TAPER = 0.2  # part of a trace over which both ends together fall to zero
WANTED, POOR = 20.0, 3.0  # dB
MOST = 120.0  # dB that are told apart

PerTrace = Float[np.ndarray, "n_shots n_receivers"]


def noise_before(
    gathers: Float[np.ndarray, "n_shots nt n_receivers"], breaks: PerTrace, dt: float, period: float
) -> PerTrace:
    """Measure what is recorded before the first wave.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`.
        breaks: Time of the first wave after the first sample `(n_shots, n_receivers)` [s].
        dt: Time from one sample to the next [s].
        period: Period of the waves [s].

    Returns:
        Root mean squares `(n_shots, n_receivers)`; NaN where less than a period of them is left.
    """
    quiet = quiet_samples(breaks, gathers.shape[1], dt, period)
    samples = quiet.sum(axis=1)
    return np.where(samples > 0, np.sqrt((gathers**2 * quiet).sum(axis=1) / np.maximum(samples, 1)), np.nan)


def quiet_samples(breaks: PerTrace, nt: int, dt: float, period: float) -> Bool[np.ndarray, "n_shots nt n_receivers"]:
    """Mark what is recorded until half a period before the first wave, of traces with a period or more of it.

    Args:
        breaks: Time of the first wave after the first sample `(n_shots, n_receivers)` [s], or NaN.
        nt: Number of samples.
        dt: Time from one sample to the next [s].
        period: Period of the waves [s].

    Returns:
        The mask `(n_shots, nt, n_receivers)`.
    """
    samples = np.floor((np.nan_to_num(breaks) - period / 2) / dt)
    samples = np.where(samples >= max(8, period / dt), samples, 0)
    return np.arange(nt)[:, None] < samples[:, None]


def noise_beyond(gathers: Float[np.ndarray, "n_shots nt n_receivers"], dt: float, highest: float) -> PerTrace:
    """Measure the noise by frequencies that the wavelet lacks.

    Args:
        gathers: Gathers `(n_shots, nt, n_receivers)`.
        dt: Time from one sample to the next [s].
        highest: Highest frequency of the wavelet [Hz].

    Returns:
        Root mean squares of white noise as dense as what is found `(n_shots, n_receivers)`; NaN where the sampling
        leaves too few frequencies.
    """
    nt = gathers.shape[1]
    frequencies = np.fft.rfftfreq(nt, dt)
    beyond = frequencies > BEYOND * highest
    if beyond.sum() < max(4, LEAST * len(frequencies)):
        return np.full(gathers.shape[::2], np.nan)
    window = tukey(nt, TAPER)
    spectra = np.fft.rfft(gathers * window[:, None], axis=1)[:, beyond]
    return np.sqrt(np.mean(np.abs(spectra) ** 2, axis=1) / np.sum(window**2))


def noise_level(before: PerTrace, beyond: PerTrace) -> PerTrace:
    """Take the larger of both estimates, or the one that there is.

    Args:
        before: Estimate before the first wave `(n_shots, n_receivers)`; where it is NaN, the median takes its place.
        beyond: Estimate beyond the band `(n_shots, n_receivers)`, or NaN.

    Returns:
        Root mean square of the noise `(n_shots, n_receivers)`; zero where nothing tells it.
    """
    known = np.isfinite(before)
    if known.any():
        before = np.where(known, before, np.median(before[known]))
    return np.nan_to_num(np.fmax(before, beyond))


def signal_to_noise(
    rms: Float[np.ndarray, "*shape"], noise: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Compute the ratio of the signal's power to the noise's.

    Args:
        rms: Root mean squares of traces, noise included.
        noise: Root mean squares of their noise.

    Returns:
        The ratio of powers [dB], from -MOST to MOST.
    """
    power, lost = rms**2, noise**2
    least = 10 ** (-MOST / 10)
    signal = np.maximum(power - lost, least * power)
    ratio = signal / np.maximum(lost, np.maximum(least * power, np.finfo(float).tiny))
    return np.clip(10 * np.log10(np.maximum(ratio, least)), -MOST, MOST)


def total_ratio(rms: np.ndarray, noise: np.ndarray) -> float:
    """Compute the signal-to-noise ratio of several traces together.

    Args:
        rms: Root mean squares of the traces, noise included.
        noise: Root mean squares of the noise, perhaps of some of them only.

    Returns:
        The ratio of mean powers [dB].
    """
    return float(signal_to_noise(*(np.sqrt(np.mean(x**2, keepdims=True)).reshape(1) for x in (rms, noise)))[0])


def judge_noise(rms: PerTrace, before: PerTrace, beyond: PerTrace, used: np.ndarray) -> Finding:
    """Judge the noise of all traces together.

    Args:
        rms: Root mean square of each trace `(n_shots, n_receivers)`.
        before: Noise before the first wave `(n_shots, n_receivers)`, or NaN.
        beyond: Noise beyond the band `(n_shots, n_receivers)`, or NaN.
        used: Mask of the traces that count `(n_shots, n_receivers)`.

    Returns:
        The finding.
    """
    noise = noise_level(before, beyond)

    def together(level: PerTrace) -> float:
        known = used & np.isfinite(level)
        return total_ratio(rms[used], level[known]) if known.any() else np.nan

    total, remedy = together(noise), ""
    if total < WANTED:
        part = 1 / (1 + 10 ** (total / 10))
        remedy = (
            f"Noise makes up {part:.2g} of the data's energy, and l2 below about that fits noise. Take "
            "inversion.noise=estimated, which stops there, inversion.misfit=huber or student_t where few traces are "
            "noisy, and leave out frequencies without signal by inversion.stages."
        )
    ways = (("before the first waves", together(before)), ("beyond the wavelet's band", together(beyond)))
    shown = ", ".join(f"{value:.3g} dB {way}" for way, value in ways if np.isfinite(value)) or "cannot be told"
    return judge("noise", shown, f">= {WANTED:g} dB", remedy, "error" if total < POOR else "warning")
