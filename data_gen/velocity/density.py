"""Compute density from velocity by Gardner's rule, with water as an exception.

    rho = 310 v^(1/4)    [kg/m^3, m/s],        1000 kg/m^3 where v <= 1500 m/s.

Source: Gardner, Gardner and Gregory, Geophysics 39 (1974), for sedimentary rocks. Salt (about 2200 kg/m^3) is lighter
than the rule predicts.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from data_gen.velocity.water import WATER_DENSITY, WATER_VELOCITY


def gardner(velocity: Float[Array, "..."]) -> Float[Array, "..."]:
    """Compute the density of rock, and of water where the velocity is at most that of water.

    Args:
        velocity: Velocities of any shape [m/s].

    Returns:
        Densities of the same shape [kg/m^3].
    """
    # Two square roots, each correctly rounded, give the same bits in every batch and on every device.
    rock = 310.0 * jnp.sqrt(jnp.sqrt(velocity))
    return jnp.where(velocity <= WATER_VELOCITY, WATER_DENSITY, rock)
