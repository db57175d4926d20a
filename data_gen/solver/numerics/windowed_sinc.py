"""Interpolate between the points of a grid by a Kaiser-windowed sinc of a few cells.

    w(x) = sinc(x) I0(beta sqrt(1 - (x / r)^2)) / I0(beta),    |x| <= r,    beta = pi r / 2

Source: G. J. Hicks, "Arbitrary source and receiver positioning in finite-difference schemes using Kaiser
windowed sinc functions", Geophysics 67 (2002), 156-165. beta = pi r / 2 puts the window's first zero at half the
Nyquist wavenumber, so wavelengths of four cells and more are interpolated; on a grid point w is exactly a delta.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int


def windowed_sinc(coordinate: Float[Array, ""], half_width: int) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Find the cells that a point touches along one axis, and their weights.

    Args:
        coordinate: Position of the point in cells, cell centers at whole numbers.
        half_width: Half the sinc's width in cells; 0 takes the nearest cell alone.

    Returns:
        The cells `(k,)`, whole numbers in ascending order, and their weights `(k,)`.
    """
    if half_width == 0:
        return jnp.round(coordinate)[None].astype(int), jnp.ones(1, coordinate.dtype)
    cells = jnp.floor(coordinate) + jnp.arange(1 - half_width, half_width + 1)
    distance = cells - coordinate
    beta = np.pi * half_width / 2
    inside = jnp.maximum(1 - (distance / half_width) ** 2, 0.0)
    # The square root's slope is infinite at the window's edge, where the weight itself is sinc(integer) = 0.
    root = jnp.sqrt(jnp.where(inside > 0, inside, 1.0))
    window = jnp.where(inside > 0, jax.scipy.special.i0(beta * root) / float(np.i0(beta)), 0.0)
    # A product with the identity keeps XLA from computing the window again wherever a weight is used: in each step.
    identity = np.eye(len(cells), dtype=coordinate.dtype)
    return cells.astype(int), jnp.matmul(jnp.sinc(distance) * window, identity, precision=lax.Precision.HIGHEST)
