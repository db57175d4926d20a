"""Absorb waves in convolutional perfectly matched layers (CPML) of the second-order wave equation.

Along each axis a derivative d/dx is stretched to d/dx + psi, where the memory field obeys

    psi^n = a psi^(n-1) + b (d/dx)^n,    a = exp(-(sigma + alpha) dt),    b = sigma / (sigma + alpha) (a - 1)

    sigma = sigma_max d^2,   sigma_max = -3 v_ref ln(R) / (2 L),   alpha = 2 pi f_ref ((1 - d)^2 + 0.01)

with d the depth into the layer (0 at its inner edge, 1 at the wall) and L = N h its width, N cells of h.
Sources: D. Komatitsch and R. Martin, Geophysics 72 (2007), SM155-SM167; D. Pasalic and R. McGarry, SEG
Technical Program Expanded Abstracts 2010, 2925-2929 (the form for the second-order equation); F. Collino and
C. Tsogka, Geophysics 66 (2001), 294-307 (sigma_max); J. A. Roden and S. D. Gedney, Microwave and Optical Technology
Letters 27 (2000), 334-339 (alpha falling as a power of 1 - d).

For constant density d/dx is the one-sided difference W of stencils.py, and psi's derivative -W^T psi: together they are
the second difference, whatever its order, so that psi meets the same dispersion as the pressure does. W lies a fraction
of a cell below its index, and so do its a and b.

To the wave a layer is the medium at complex depths, L~ = int s dx with s = 1 + sigma / (alpha + i omega), and the echo
is an image's field from sqrt(X^2 + (2 L~)^2) away: R at normal incidence, about R^(2 Re L~ / X) at an offset X along
the layer. Grazing waves thus ask for an R far below the grid's own echo, and for alpha near omega, which
lengthens Re L~. The grid's own echo grows with sigma h / v. R = 5^-N, that is sigma_max = 1.5 ln(5) v_ref / h for any
width, makes both about equal at X = 20 L. alpha shields the lowest frequencies from sigma: it falls as a square, so
as to do so near the inner edge only. The exponents, 5 and 2 pi are the best compromise measured for N = 10 to 30,
orders 2 to 8 and both forms of the operator; tests/solver/test_absorbing.py holds the layers to this theory.

v_ref and f_ref are fixed numbers, never taken from the model: the absorption must not bend its gradient.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Each cell of width divides the theoretical reflection by this: R = 5^-N.
REDUCTION = 5.0

# The part of alpha that is left at the wall. Without it static fields never fade there, and rounding errors add up.
LEAK = 0.01


@dataclass(frozen=True)
class Strip:
    """Describe one absorbing layer.

    Attributes:
        axis: Axis that it absorbs along: 0 in depth, 1 along the surface.
        high: Whether it lies at the axis's high end.
        width: Its width in cells.
    """

    axis: int
    high: bool
    width: int

    @property
    def overhang(self) -> int:
        """Number of cells further inside whose one-sided first difference, below its cell, still lies in this strip."""
        return 0 if self.high else 1

    def take(self, field: jax.Array, extra: int = 0) -> jax.Array:
        """Cut out the cells next to this strip's wall.

        Args:
            field: A field `(mz, mx)`.
            extra: Number of cells further inside to take as well.

        Returns:
            `width + extra` cells along the strip's axis.
        """
        size = field.shape[self.axis]
        start = size - self.width - extra if self.high else 0
        return lax.slice_in_dim(field, start, start + self.width + extra, axis=self.axis)

    def add_to(self, field: jax.Array, values: jax.Array) -> jax.Array:
        """Add values to the cells next to this strip's wall.

        Args:
            field: A field `(mz, mx)`.
            values: Values of any number of cells along the strip's axis.

        Returns:
            The changed field `(mz, mx)`.
        """
        count = values.shape[self.axis]
        cells = slice(-count, None) if self.high else slice(0, count)
        index = (cells, slice(None)) if self.axis == 0 else (slice(None), cells)
        return field.at[index].add(values)

    def pad(self, values: jax.Array, outside: int, inside: int) -> jax.Array:
        """Pad values with zeros along the strip's axis.

        Args:
            values: Values of some cells of the strip.
            outside: Number of zeros beyond the wall.
            inside: Number of zeros toward the interior.

        Returns:
            The padded values.
        """
        widths = [(0, 0), (0, 0)]
        widths[self.axis] = (inside, outside) if self.high else (outside, inside)
        return jnp.pad(values, widths)


class Profile(NamedTuple):
    """Hold the recursion coefficients of one strip, shaped to broadcast along its axis.

    Attributes:
        a: Factor of the memory field.
        b: Factor of the derivative.
    """

    a: np.ndarray
    b: np.ndarray


def strips(widths: tuple[int, int, int, int]) -> tuple[Strip, ...]:
    """List the absorbing strips of a grid.

    Args:
        widths: Cells at the (top, bottom, left, right).

    Returns:
        The strips in that order; sides of width 0 have none.
    """
    places = ((0, False), (0, True), (1, False), (1, True))
    return tuple(Strip(axis, high, width) for (axis, high), width in zip(places, widths, strict=True) if width)


def profile(
    strip: Strip,
    spacing: float,
    dt: float,
    velocity: float,
    frequency: float,
    *,
    shift: float = 0.0,
    outside: int = 0,
    inside: int = 0,
) -> Profile:
    """Compute the recursion coefficients on a strip's points.

    Args:
        strip: The strip.
        spacing: Side of a cell [m].
        dt: Time step [s].
        velocity: Reference velocity v_ref [m/s].
        frequency: Reference frequency f_ref [Hz].
        shift: How many cells the points lie nearer to the interior than the strip's cells.
        outside: Number of further points beyond the wall.
        inside: Number of further points beyond the inner edge.

    Returns:
        The coefficients.
    """
    depth = (strip.width - np.arange(-outside, strip.width + inside) - shift) / strip.width
    depth = np.clip(depth, 0.0, 1.0)
    sigma_max = 1.5 * np.log(REDUCTION) * velocity / spacing
    sigma = sigma_max * depth**2
    alpha = 2 * np.pi * frequency * ((1 - depth) ** 2 + LEAK)
    a = np.exp(-(sigma + alpha) * dt)
    b = np.divide(sigma, sigma + alpha, out=np.zeros_like(sigma), where=sigma > 0) * (a - 1)
    if strip.high:
        a, b = a[::-1], b[::-1]
    shape = (-1, 1) if strip.axis == 0 else (1, -1)
    return Profile(a.reshape(shape), b.reshape(shape))


def remember(memory: jax.Array, derivative: jax.Array, coefficients: Profile) -> jax.Array:
    """Advance a memory field by one step of the recursion `psi = a psi + b derivative`.

    Args:
        memory: The memory field psi of the last step.
        derivative: The derivative that it remembers, of the same shape.
        coefficients: The strip's a and b.

    Returns:
        The memory field of this step.
    """
    a, b = (jnp.asarray(c, derivative.dtype) for c in coefficients)
    return a * memory + b * derivative
