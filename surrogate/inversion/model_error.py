"""Divide the error of a model among wavelengths: an inversion finds long ones from the start, and short ones last.

The error is expanded in cosines (DCT-II), which have no jump at the model's edges. The mode (i, j) has the wavenumber
k = |(i / (2 nz), j / (2 nx))| / spacing and the wavelength 1 / k. The rms of the error within an octave of wavelengths
is that of the modes in it, so that the squares of all octaves and of the mean add up to the square of the whole rms.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.fft import dctn


class ErrorByWavelength(NamedTuple):
    """Hold the error of models by octave of wavelengths, from short to long.

    Attributes:
        edges: Ends of the octaves `(n + 1,)` [m]; the first is zero, so that the first octave has all that is shorter
            than four cells.
        rms: Root mean square of each model's error within each octave `(n_models, n)` [m/s].
        variation: Likewise, of the true model less its mean `(n,)` [m/s].
    """

    edges: np.ndarray
    rms: np.ndarray
    variation: np.ndarray


def error_by_wavelength(
    models: Float[np.ndarray, "n_models nz nx"], truth: Float[np.ndarray, "nz nx"], spacing: float
) -> ErrorByWavelength:
    """Compute the rms error of models within octaves of wavelengths.

    Args:
        models: Velocity models `(n_models, nz, nx)` [m/s].
        truth: True model `(nz, nx)` [m/s].
        spacing: Cell size [m].

    Returns:
        The errors; the mean over the model belongs to no octave.
    """
    wavenumbers = np.hypot(*np.meshgrid(*(np.arange(n) / (2 * n * spacing) for n in truth.shape), indexing="ij"))
    longest = 2 * max(truth.shape) * spacing
    octaves = max(1, int(np.floor(np.log2(longest / (4 * spacing)))) + 1)
    edges = np.concatenate([[0.0], 4 * spacing * 2.0 ** np.arange(octaves + 1)])
    lengths = 1 / np.where(wavenumbers > 0, wavenumbers, 1)
    which = np.where(wavenumbers > 0, np.digitize(lengths, edges) - 1, len(edges) - 1)

    def rms(field):
        power = np.asarray(dctn(np.asarray(field, np.float64), norm="ortho")) ** 2
        return np.sqrt(np.bincount(which.ravel(), power.ravel(), len(edges))[:-1] / field.size)

    errors = np.stack([rms(model - truth) for model in models])
    return ErrorByWavelength(edges, errors, rms(truth))
