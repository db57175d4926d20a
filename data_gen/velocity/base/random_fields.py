"""Draw stationary Gaussian random fields: white noise, filtered in the wavenumber domain.

    field = F^-1[ A(kz, kx) F[noise] ] / sqrt(mean A^2).

The covariance of the field is the inverse transform of A^2 and its variance is one. Noise is drawn on a domain twice as
large as the grid, because the periodicity of the transform must not correlate opposite sides of the grid.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.solver.problem.grid import Grid

Amplitude = Callable[[Float[Array, "_ 1"], Float[Array, "1 _"]], Float[Array, "_ _"]]


def gaussian_field(key: Key[Array, ""], grid: Grid, amplitude: Amplitude) -> Float[Array, "nz nx"]:
    """Draw a field of zero mean and unit variance.

    Args:
        key: Random key of the field.
        grid: The grid `(nz, nx)`.
        amplitude: Function A of the wavenumbers kz and kx [rad/m], with `A(k) = A(-k)`.

    Returns:
        The field `(nz, nx)`.
    """
    nz, nx = grid.shape
    noise = jax.random.normal(key, (2 * nz, 2 * nx))
    kz = 2 * jnp.pi * jnp.fft.fftfreq(2 * nz, grid.spacing)[:, None]
    kx = 2 * jnp.pi * jnp.fft.rfftfreq(2 * nx, grid.spacing)[None, :]
    filtered = amplitude(kz, kx)
    # White noise of unit variance keeps the mean of A^2 over the full (two-sided) spectrum.
    full = jnp.concatenate([filtered, filtered[:, 1:-1]], axis=1)
    field = jnp.fft.irfft2(jnp.fft.rfft2(noise) * filtered, s=noise.shape)[:nz, :nx]
    return field / jnp.sqrt(jnp.mean(full**2))
