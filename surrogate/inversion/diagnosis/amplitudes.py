"""Compare amplitudes: of all data, of shots, with distance, and over frequencies.

Waves of a point source in three dimensions fall as 1 / r, those of a line source, which the solver fires, as
1 / sqrt(r): the ratio of both has the slope -1/2 on logarithmic axes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal.windows import tukey

from data_gen.solver.diagnosis import Finding, judge

FACTOR = 2.0  # that amplitudes may be off
STEEP = -0.3  # slope of the ratio of amplitudes
REACH = 3.0  # ratio of offsets that tell a slope
SHIFTED = 1.25  # ratio of peak frequencies
PART = 0.05  # of the peak of a spectrum, which a band ends at

PerTrace = Float[np.ndarray, "n_shots n_receivers"]
Mask = Bool[np.ndarray, "n_shots n_receivers"]


class Spectra(NamedTuple):
    """Hold mean amplitude spectra.

    Attributes:
        frequencies: Frequencies `(n,)` [Hz].
        observed: Mean amplitudes of the observed traces `(n,)`.
        predicted: Mean amplitudes of the predicted traces `(n,)`.
        noise: Mean amplitude of white noise as loud as what is estimated.
    """

    frequencies: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray
    noise: float


def mean_spectra(observed: np.ndarray, predicted: np.ndarray, noise: PerTrace, used: Mask, dt: float) -> Spectra:
    """Average the amplitude spectra of traces, in root mean squares.

    Args:
        observed: Observed gathers `(n_shots, nt, n_receivers)`.
        predicted: Predicted gathers, likewise.
        noise: Root mean squares of the observed traces' noise `(n_shots, n_receivers)`.
        used: Mask of the traces that count.
        dt: Time from one sample to the next [s].

    Returns:
        The spectra.
    """
    nt = observed.shape[1]
    window, means = tukey(nt, 0.1), []
    for data in (observed, predicted):
        traces = np.moveaxis(data, 1, 2)[used] * window
        means.append(np.sqrt(np.mean(np.abs(np.fft.rfft(traces, 4 * nt)) ** 2, axis=0)))
    white = np.sqrt(np.mean(noise[used] ** 2) * np.sum(window**2))
    return Spectra(np.fft.rfftfreq(4 * nt, dt), means[0], means[1], float(white))


def judge_band(spectra: Spectra) -> Finding:
    """Judge whether both sides have the same band.

    Args:
        spectra: Mean amplitude spectra.

    Returns:
        The finding.
    """
    # White noise adds to the power at every frequency.
    signal = np.sqrt(np.maximum(spectra.observed**2 - spectra.noise**2, 0))
    observed, predicted = (_center(spectra.frequencies, values) for values in (signal, spectra.predicted))
    ratio, remedy = observed / predicted, ""
    if not 1 / SHIFTED <= ratio <= SHIFTED:
        remedy = f"The wavelet has another band: scale setup.peak_frequency by {ratio:.2g}, or take wavelet=estimated."
    measured = f"centers of the spectra at {observed:.3g} Hz observed, {predicted:.3g} Hz predicted"
    return judge("band", measured, f"a ratio within {1 / SHIFTED:g} and {SHIFTED:g}", remedy)


def _center(frequencies: np.ndarray, amplitudes: np.ndarray) -> float:
    """Return the center of the power above a part of the peak."""
    power = np.where(amplitudes > PART * amplitudes.max(), amplitudes, 0) ** 2
    return float(np.sum(frequencies * power) / np.sum(power))


def judge_scale(signal: PerTrace, predicted: PerTrace, used: Mask) -> list[Finding]:
    """Judge the factor between observed and predicted amplitudes, of all traces and of each shot.

    Args:
        signal: Root mean squares of the observed traces without their noise `(n_shots, n_receivers)`.
        predicted: Root mean squares of the predicted traces, likewise.
        used: Mask of the traces that count.

    Returns:
        The findings.
    """
    shots = used.any(axis=1)
    energies = [np.sum(np.where(used, data, 0) ** 2, axis=1) for data in (signal, predicted)]
    factor, remedy = float(np.sqrt(energies[0].sum() / energies[1].sum())), ""
    if not 1 / FACTOR <= factor <= FACTOR:
        remedy = (
            f"Multiply setup.amplitude by {factor:.3g} or leave it out, which fits it; or take "
            "inversion.misfit=global_correlation, which no factor changes."
        )
    each = np.sqrt(energies[0][shots] / energies[1][shots])
    each = each / np.median(each)
    found = [judge("source scale", f"observed / predicted = {factor:.3g}", f"1 within a factor of {FACTOR:g}", remedy)]
    unequal = np.flatnonzero(shots)[(each > FACTOR) | (each < 1 / FACTOR)]
    remedy = ""
    if len(unequal):
        remedy = (
            f"Shots {', '.join(map(str, unequal[:10]))} differ: take inversion.normalize=shots, inversion.source=each, "
            "or weights."
        )
    measured = f"{each.min():.2g} to {each.max():.2g} of their median"
    return [*found, judge("scale of shots", measured, f"within a factor of {FACTOR:g}", remedy)]


def judge_spreading(signal: PerTrace, predicted: PerTrace, offsets: PerTrace, used: Mask) -> Finding:
    """Judge whether observed amplitudes fall with distance as those of line sources do.

    Args:
        signal: Root mean squares of the observed traces without their noise `(n_shots, n_receivers)`.
        predicted: Root mean squares of the predicted traces, likewise.
        offsets: Distances from the sources `(n_shots, n_receivers)` [m].
        used: Mask of the traces that count.

    Returns:
        The finding.
    """
    wanted = f"a slope of 0, above {STEEP:g}"
    counted = used & (signal > 0) & (predicted > 0) & (offsets > 0)
    if counted.sum() < 8 or offsets[counted].max() < REACH * offsets[counted].min():
        return Finding("spreading", "not told: too few offsets", wanted)
    r, ratio = np.log(offsets[counted]), np.log(signal[counted] / predicted[counted])
    slope, _ = np.polyfit(r, ratio, 1)
    likeness = float(np.corrcoef(r, ratio)[0, 1]) if np.ptp(ratio) > 0 else 0.0
    measured = f"observed / predicted changes as offset^{slope:+.2f} (correlation {likeness:+.2f})"
    remedy = ""
    if slope < STEEP and likeness < -0.5:
        remedy = (
            "Point sources in three dimensions have -0.5: turn the data into those of line sources by "
            "setup.line_source=direct, for reflections by path with setup.line_source_velocity, or take "
            "inversion.normalize=traces."
        )
    return judge("spreading", measured, wanted, remedy)
