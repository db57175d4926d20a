"""Draw rough media: a Gaussian random field mapped to a velocity range.

The field has a von Karman-like spectrum

    S(k) = (1 + (k_z a_z)^2 + (k_x a_x)^2)^(-(nu + 1)).

Here a_x and a_z are the correlation lengths along the layering and across it, and nu is the roughness (Hurst)
exponent; the axes may be tilted. The field is mapped through the cumulative function of the normal distribution, which
makes velocities uniform over the range. In two dimensions the field's correlation at the scaled distance r (each
component divided by its a) is Matern's, `2^(1 - nu) / Gamma(nu) r^nu K_nu(r)`. Source of the spectrum: Goff and Jordan,
J. Geophys. Res. 93 (1988). The recipe is that of the isotropic and anisotropic random media in WaveBench (Liu et al.,
TMLR 2024).
"""

import math
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.random_fields import gaussian_field
from data_gen.velocity.base.reproducible import reproducible


@dataclass(frozen=True)
class GaussianRandomField:
    """Draw a rough medium.

    Attributes:
        min_velocity: Smallest velocity [m/s].
        max_velocity: Largest velocity [m/s].
        correlation_length: Correlation length across the layering, a_z [m].
        roughness: Exponent nu of the spectrum; smaller is rougher.
        anisotropy: Ratio of the correlation lengths along and across the layering, a_x / a_z.
        dip: Angle of the layering below the horizontal, toward growing x [degrees].
    """

    min_velocity: float = 1500.0
    max_velocity: float = 4500.0
    correlation_length: float = 60.0
    roughness: float = 1.0
    anisotropy: float = 1.0
    dip: float = 0.0

    def __post_init__(self):
        if min(self.correlation_length, self.roughness, self.anisotropy) <= 0:
            raise InputError(
                "A Gaussian random field needs a positive correlation_length in m, roughness and anisotropy, but "
                f"got {self.correlation_length:g}, {self.roughness:g} and {self.anisotropy:g}."
            )

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`."""
        cos, sin, stretch = math.cos(math.radians(self.dip)), math.sin(math.radians(self.dip)), self.anisotropy**2
        zz, xx, zx = cos**2 + stretch * sin**2, sin**2 + stretch * cos**2, 2 * sin * cos * (stretch - 1)

        def amplitude(kz, kx):
            squared = (zz * kz**2 + xx * kx**2 + zx * kz * kx) * self.correlation_length**2
            return (1 + squared) ** (-(self.roughness + 1) / 2)

        uniform = jax.scipy.stats.norm.cdf(gaussian_field(key, grid, amplitude))
        return self.min_velocity + (self.max_velocity - self.min_velocity) * uniform
