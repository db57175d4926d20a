"""Estimate the wavelet of sources from observed data and the data predicted from a known wavelet.

Data are linear in the wavelet, d = G w. With predicted data p = G w_0 of a wavelet w_0, the filter F that brings them
nearest to the observed ones makes the wavelet w = F w_0 (R. G. Pratt, "Seismic waveform inversion in the frequency
domain, Part 1", Geophysics 64 (1999), 888-901, equation 17):

    F(f) = sum conj(p) d / (sum |p|^2 + eps),    the sums over traces (and shots)

With impulse responses w_0 is an impulse, and F the wavelet itself. Where p has no energy, F is damped to zero by eps,
a part of the largest sum |p|^2: relative to the wavelet, the error is eps / (sum |p|^2 + eps) at each frequency.

Both data are divided by their largest amplitude before anything is multiplied, so that no unit leaves the range of
float32. The filter is the optimum of a linear problem, so the misfit's gradient needs no derivative of it (variable
projection: G. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973), 413-432).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DAMPING = 1e-4  # eps, as a part of the largest sum |p|^2


def estimate_source(
    predicted: Float[Array, "n_shots nt n_receivers"],
    observed: Float[Array, "n_shots nt n_receivers"],
    wavelet: Float[Array, " n"],
    weights: Float[Array, "n_shots #nt n_receivers"] | None = None,
    *,
    damping: float = DAMPING,
    per_shot: bool = False,
) -> Float[Array, "n_shots n"]:
    """Estimate the wavelet of every shot.

    Times beyond the ends of the records and of the wavelet are zero: nothing wraps round.

    Args:
        predicted: Data predicted from `wavelet` `(n_shots, nt, n_receivers)`.
        observed: Observed data `(n_shots, nt, n_receivers)`, finite wherever their weight is not zero.
        wavelet: Wavelet that the predicted data have `(n,)`, with the sampling of the data: an impulse if these are
            impulse responses.
        weights: Weights of the data, which broadcast to them; None for none.
        damping: Damping eps, as a part of the largest energy of the predicted data over the frequencies.
        per_shot: Whether each shot has a wavelet of its own; by default all have one.

    Returns:
        The wavelets `(n_shots, n)`, on the time axis of `wavelet`.
    """
    size = _padded(2 * max(predicted.shape[1], len(wavelet)))
    spectrum, unit = _matching_filter(predicted, observed, weights, size, damping, per_shot)
    own, own_unit = _scaled(wavelet)
    found = jnp.fft.irfft(spectrum * jnp.fft.rfft(own, size), size, axis=1)[:, : len(wavelet)]
    found = found * (unit * own_unit)
    return jnp.broadcast_to(found, (len(predicted), len(wavelet)))


def match_source(
    predicted: Float[Array, "n_shots nt n_receivers"],
    observed: Float[Array, "n_shots nt n_receivers"],
    weights: Float[Array, "n_shots #nt n_receivers"] | None = None,
    *,
    damping: float = DAMPING,
    per_shot: bool = False,
) -> Float[Array, "n_shots nt n_receivers"]:
    """Filter predicted data as if the estimated wavelets had been fired.

    Args:
        predicted: Predicted data `(n_shots, nt, n_receivers)`.
        observed: Observed data `(n_shots, nt, n_receivers)`, finite wherever their weight is not zero.
        weights: Weights of the data, which broadcast to them; None for none.
        damping: Damping eps, as a part of the largest energy of the predicted data over the frequencies.
        per_shot: Whether each shot has a filter of its own; by default all have one.

    Returns:
        The filtered data `(n_shots, nt, n_receivers)`.
    """
    size = _padded(2 * predicted.shape[1])
    spectrum, unit = _matching_filter(predicted, observed, weights, size, damping, per_shot)
    data = jnp.fft.rfft(predicted * unit, size, axis=1)
    return jnp.fft.irfft(spectrum[..., None] * data, size, axis=1)[:, : predicted.shape[1]]


def _matching_filter(
    predicted: Array, observed: Array, weights: Array | None, size: int, damping: float, per_shot: bool
) -> tuple[Array, Array]:
    """Compute the filter F over the frequencies `(n_shots or 1, n)`, and the unit by which it is to be multiplied."""
    if weights is not None:
        observed = jnp.where(weights > 0, observed, 0)
        predicted, observed = weights * predicted, weights * observed
    (p, p_unit), (d, d_unit) = (_scaled(data) for data in (predicted, observed))
    p, d = (jnp.fft.rfft(data, size, axis=1) for data in (p, d))
    axes = (2,) if per_shot else (0, 2)
    cross = jnp.sum(jnp.conj(p) * d, axis=axes, keepdims=True)
    energy = jnp.sum(p.real**2 + p.imag**2, axis=axes, keepdims=True)
    largest = jnp.max(energy, axis=1, keepdims=True)
    return (cross / jnp.where(largest == 0, 1, energy + damping * largest))[..., 0], d_unit / p_unit


def fit_amplitude(
    predicted: Float[Array, "n_shots nt n_receivers"],
    observed: Float[Array, "n_shots nt n_receivers"],
    weights: Float[Array, "n_shots #nt n_receivers"] | None = None,
) -> Float[Array, ""]:
    """Compute the factor that gives predicted data the energy of the observed ones.

    Unlike the factor of least squares it is positive, and not small where predicted waves arrive at wrong times.

    Args:
        predicted: Predicted data `(n_shots, nt, n_receivers)`.
        observed: Observed data `(n_shots, nt, n_receivers)`, finite wherever their weight is not zero.
        weights: Weights of the data, which broadcast to them; None for none.

    Returns:
        The factor; infinite if nothing is predicted.
    """
    if weights is not None:
        observed = jnp.where(weights > 0, observed, 0)
        predicted, observed = weights * predicted, weights * observed
    (p, p_unit), (d, d_unit) = (_scaled(data) for data in (predicted, observed))
    return jnp.sqrt(jnp.sum(d**2) / jnp.sum(p**2)) * (d_unit / p_unit)


def taper_end(samples: int, part: float = 0.25) -> Float[np.ndarray, " n"]:
    """Compute a window that is one and falls to zero along a cosine over its last part.

    Args:
        samples: Number of samples n.
        part: Part of them over which it falls.

    Returns:
        The window `(n,)`.
    """
    left = (samples - np.arange(samples)) / max(1.0, part * samples)
    return np.sin(np.pi / 2 * np.clip(left, 0, 1)) ** 2


def _scaled(data: Array) -> tuple[Array, Array]:
    """Divide data by their largest amplitude, and return both."""
    # Without a derivative: what is computed from both does not depend on it.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(data)))
    largest = jnp.where(largest == 0, 1, largest)
    return data / largest, largest


def _padded(size: int) -> int:
    """Round up to a power of two, at which transforms are fast."""
    return 1 << (size - 1).bit_length()
