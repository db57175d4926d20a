"""Errors of predicted wavefields: relative and per sample; the caller averages over samples.

relative L2 = ||prediction - target|| / ||target||, the norm over all axes except the batch axis
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

# Cycles per domain: low 0-4, middle 5-12, high 13 and more, as in PDEBench (Takamoto et al., NeurIPS 2022).
BANDS = {"low": (0.0, 4.5), "middle": (4.5, 12.5), "high": (12.5, np.inf)}


def unit_of(field: Array, axes: tuple[int, ...] | None = None) -> Array:
    """Find a power of two near the largest absolute value.

    Squares of values divided by it neither overflow nor vanish, and the division is exact.

    Args:
        field: Any field.
        axes: Axes that are reduced, and kept with length one; None reduces all.

    Returns:
        The unit, a constant in derivatives; 1 where the field is zero throughout.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(field), axis=axes, keepdims=axes is not None, initial=0.0))
    # Without a mantissa: rounded to a power of two.
    unit = lax.reduce_precision(largest, jnp.finfo(largest.dtype).nexp, 0)
    return jnp.where(unit > 0, unit, 1.0)


def norm(field: Array, axes: tuple[int, ...]) -> Array:
    """Compute the L2 norm, whatever the unit of the field.

    Args:
        field: Any field.
        axes: Axes to sum over.

    Returns:
        The norm, over the other axes.
    """
    unit = unit_of(field, axes)
    return jnp.squeeze(unit, axes) * jnp.sqrt(jnp.sum((field / unit) ** 2, axis=axes))


def relative_l2(prediction: Float[Array, "batch *rest"], target: Float[Array, "batch *rest"]) -> Float[Array, " batch"]:
    """Compute the relative L2 error of each sample.

    Args:
        prediction: Predicted arrays `(batch, ...)`.
        target: Arrays to compare with, of the same shape.

    Returns:
        Error of each sample `(batch,)`.
    """
    axes = tuple(range(1, target.ndim))
    return norm(prediction - target, axes) / norm(target, axes)


def relative_l2_per_snapshot(
    prediction: Float[Array, "batch n_snapshots nz nx"], target: Float[Array, "batch n_snapshots nz nx"]
) -> Float[Array, "batch n_snapshots"]:
    """Compute the relative L2 error of each sample at each snapshot time.

    Args:
        prediction: Predicted wavefields `(batch, n_snapshots, nz, nx)`.
        target: Wavefields to compare with, of the same shape.

    Returns:
        Error of each snapshot `(batch, n_snapshots)`.
    """
    return norm(prediction - target, (2, 3)) / norm(target, (2, 3))


def band_masks(shape: tuple[int, int]) -> dict[str, Bool[Array, "nz nx"]]:
    """Mark the modes of a two-dimensional Fourier transform that belong to each band of `BANDS`.

    Args:
        shape: Shape of the grid `(nz, nx)`.

    Returns:
        Mask `(nz, nx)` of each band, in the order of `jnp.fft.fft2`.
    """
    nz, nx = shape
    cycles = jnp.hypot(jnp.fft.fftfreq(nz, 1 / nz)[:, None], jnp.fft.fftfreq(nx, 1 / nx)[None, :])
    return {name: (cycles >= low) & (cycles < high) for name, (low, high) in BANDS.items()}


def band_errors(
    prediction: Float[Array, "batch n_snapshots nz nx"], target: Float[Array, "batch n_snapshots nz nx"]
) -> dict[str, Float[Array, " batch"]]:
    """Compute the relative L2 error of each sample within each band of wavenumbers in `BANDS`.

    Args:
        prediction: Predicted wavefields `(batch, n_snapshots, nz, nx)`.
        target: Wavefields to compare with, of the same shape.

    Returns:
        Errors `(batch,)` by the name of the band.
    """
    *_, nz, nx = target.shape
    error, reference = (jnp.abs(jnp.fft.fft2(field)) for field in (prediction - target, target))
    axes = (1, 2, 3)
    return {
        name: norm(error * mask, axes) / norm(reference * mask, axes) for name, mask in band_masks((nz, nx)).items()
    }


def summary(errors: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Summarize errors over samples.

    Args:
        errors: Error of each sample `(n,)`.

    Returns:
        Their `mean`, `median` and 90th percentile `p90`.
    """
    return {
        "mean": float(np.mean(errors)),
        "median": float(np.median(errors)),
        "p90": float(np.percentile(errors, 90)),
    }
