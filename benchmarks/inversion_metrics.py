"""How good an inverted model is: errors of the whole model, where waves pass, and by wavenumber; misfit of other shots.

    error      ||v - t|| / ||t||, v the estimate, t the truth; `masked` within the mask, `mae` the mean of |v - t|
    mask       S(x) R(x) >= PART median(S R), S the energy of the sources' waves in the starting model (their pressure's
               acceleration: surrogate/inversion/preconditioners/illumination.py), R that of the receivers', were they
               sources
    bands      of wavenumber k, by the cosine series of the models, with the wavelength l = mean of t / peak frequency:
               ||(v - t) in the band|| / ||(t - mean of t) in the band||
    SSIM       of (v - low) / (high - low), between the bounds of the inversion (surrogate/metrics/ssim.py)
    held out   sum (F(v) - d)^2 / sum d^2 over shots that were not inverted, without noise, F the solver that made d

The mask depends on the starting model and the survey alone. Waves of wavelength l tell models apart up to k l = 2.
"""

import jax.numpy as jnp
import numpy as np
from scipy.fft import dctn

from surrogate.metrics.ssim import ssim

PART = 0.5
MASK = f"S(x) R(x) >= {PART:g} median(S R), S and R the integrals of p_tt^2 of sources and receivers in the start"
BANDS = {"k l < 1/4": (0.0, 0.25), "1/4 to 1": (0.25, 1.0), "1 to 2": (1.0, 2.0), "over 2": (2.0, np.inf)}


def illuminated(sources: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """The mask of the cells that enough of both waves pass."""
    both = np.asarray(sources, np.float64) * np.asarray(receivers, np.float64)
    return both >= PART * np.median(both)


def error(model: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """The relative L2 error, of all cells or of those of a mask."""
    model, truth = (np.asarray(x, np.float64)[... if mask is None else mask] for x in (model, truth))
    return float(np.linalg.norm(model - truth) / np.linalg.norm(truth))


def band_errors(model: np.ndarray, truth: np.ndarray, spacing: float, wavelength: float) -> dict[str, float]:
    """The relative errors in `BANDS`; None where the truth has nothing there."""
    truth = np.asarray(truth, np.float64)
    difference, reference = (dctn(x, norm="ortho") for x in (model - truth, truth - truth.mean()))
    # The cosine of number n has n half periods along its axis.
    kz, kx = (np.arange(n) / (2 * n * spacing) for n in truth.shape)
    k = np.hypot(kz[:, None], kx) * wavelength
    parts = {name: (k >= low) & (k < high) for name, (low, high) in BANDS.items()}
    norms = {name: (np.linalg.norm(difference[part]), np.linalg.norm(reference[part])) for name, part in parts.items()}
    return {name: float(found / wanted) for name, (found, wanted) in norms.items() if wanted}


def similarity(model: np.ndarray, truth: np.ndarray, bounds: tuple[float, float]) -> float:
    """The structural similarity of two models."""
    low, high = bounds
    scaled = (jnp.asarray((np.asarray(x, np.float64) - low) / (high - low), jnp.float32)[None] for x in (model, truth))
    return float(ssim(*scaled)[0])


def relative_misfit(predicted: np.ndarray, observed: np.ndarray) -> float:
    """The energy of the differences over that of the data."""
    difference = np.asarray(predicted, np.float64) - observed
    return float(np.sum(difference**2) / np.sum(np.asarray(observed, np.float64) ** 2))


def mean_error(model: np.ndarray, truth: np.ndarray) -> float:
    """The mean absolute error [m/s]."""
    return float(np.mean(np.abs(np.asarray(model, np.float64) - truth)))
