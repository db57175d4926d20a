"""Stationary Gaussian random fields: white noise, filtered in the wavenumber domain.

    field = F^-1[ A(kz, kx) F[noise] ] / sqrt(mean A^2),

whose covariance is the inverse transform of A^2 and whose variance is one. Noise is drawn on a domain twice as large
as the grid: the transform's periodicity must not tie opposite sides together.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid

Amplitude = Callable[[Float[Array, "_ 1"], Float[Array, "1 _"]], Float[Array, "_ _"]]


def gaussian_field(key: Key[Array, ""], grid: Grid, amplitude: Amplitude) -> Float[Array, "nz nx"]:
    """A field of zero mean and unit variance. amplitude: A of the wavenumbers kz, kx [rad/m]; `A(k) = A(-k)`."""
    nz, nx = grid.shape
    noise = jax.random.normal(key, (2 * nz, 2 * nx))
    kz = 2 * jnp.pi * jnp.fft.fftfreq(2 * nz, grid.spacing)[:, None]
    kx = 2 * jnp.pi * jnp.fft.rfftfreq(2 * nx, grid.spacing)[None, :]
    filtered = amplitude(kz, kx)
    # White noise of unit variance keeps the mean of A^2 over the full (two-sided) spectrum.
    full = jnp.concatenate([filtered, filtered[:, 1:-1]], axis=1)
    field = jnp.fft.irfft2(jnp.fft.rfft2(noise) * filtered, s=noise.shape)[:nz, :nx]
    return field / jnp.sqrt(jnp.mean(full**2))


def smoothed(field: Float[Array, "nz nx"], deviation: float) -> Float[Array, "nz nx"]:
    """The field convolved with a Gaussian of this standard deviation [cells], mirrored at the edges."""
    for axis in (0, 1):
        field = jnp.moveaxis(_blur_rows(jnp.moveaxis(field, axis, 0), deviation), 0, axis)
    return field


def _blur_rows(field: Float[Array, "n m"], deviation: float) -> Float[Array, "n m"]:
    """Along the first axis, as a sum of shifted copies."""
    reach = min(int(4 * deviation + 0.5), len(field) - 1)
    weights = np.exp(-((np.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    weights /= weights.sum()
    padded = jnp.pad(field, ((reach, reach), (0, 0)), mode="reflect")
    total = jnp.zeros_like(field)
    for shift, weight in enumerate(weights):
        total += float(weight) * padded[shift : shift + len(field)]
    return total
