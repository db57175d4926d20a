"""Density from velocity: Gardner's rule, rho = 310 v^0.25 (v in m/s, rho in kg/m^3), and water as it is.

Source: G. H. F. Gardner, L. W. Gardner and A. R. Gregory, "Formation velocity and density: the diagnostic basics for
stratigraphic traps", Geophysics 39 (1974), 770-780.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

WATER_VELOCITY, WATER_DENSITY = 1500.0, 1000.0  # [m/s], [kg/m^3]


def gardner(velocity: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Density [kg/m^3] of a velocity model [m/s]; 1000 where the velocity is not above that of water."""
    return jnp.where(velocity <= WATER_VELOCITY, WATER_DENSITY, 310.0 * velocity**0.25)
