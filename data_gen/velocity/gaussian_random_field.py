"""Rough media: a Gaussian random field squeezed into a velocity range.

White noise is filtered in the wavenumber domain by the square root of a von Karman-like spectrum

    S(k) = (1 + (k a)^2)^(-(nu + 1)),

a the correlation length and nu the roughness (Hurst) exponent, and mapped through the normal distribution's
cumulative function, which makes velocities uniform over the range. Source of the spectrum: Goff and Jordan,
J. Geophys. Res. 93 (1988); the recipe is that of rough media in WaveBench (Liu et al., TMLR 2024).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from data_gen.grid import Grid


@dataclass(frozen=True)
class GaussianRandomField:
    """min_velocity, max_velocity [m/s]; correlation_length [m]; roughness: nu, smaller is rougher."""

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    correlation_length: float = 60.0
    roughness: float = 1.0

    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """One model `(nz, nx)` [m/s]."""
        nz, nx = grid.shape
        # Drawn on a domain twice as large: the transform's periodicity must not tie opposite sides together.
        noise = jax.random.normal(key, (2 * nz, 2 * nx))
        kz = 2 * jnp.pi * jnp.fft.fftfreq(2 * nz, grid.spacing)[:, None]
        kx = 2 * jnp.pi * jnp.fft.rfftfreq(2 * nx, grid.spacing)[None, :]
        amplitude = (1 + (kz**2 + kx**2) * self.correlation_length**2) ** (-(self.roughness + 1) / 2)
        # White noise of unit variance keeps the mean of amplitude^2 over the full (two-sided) spectrum.
        full = jnp.concatenate([amplitude, amplitude[:, 1:-1]], axis=1)
        field = jnp.fft.irfft2(jnp.fft.rfft2(noise) * amplitude, s=noise.shape)[:nz, :nx]
        uniform = jax.scipy.stats.norm.cdf(field / jnp.sqrt(jnp.mean(full**2)))
        return self.min_velocity + (self.max_velocity - self.min_velocity) * uniform
