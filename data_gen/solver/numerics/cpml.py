"""Convolutional perfectly matched layers (CPML) for the second-order wave equation.

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
the layer. Grazing waves thus ask for an R far below what the grid returns anyway, and for alpha near omega, which
lengthens Re L~. What the grid returns grows with sigma h / v. R = 5^-N, that is sigma_max = 1.5 ln(5) v_ref / h for any
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

# What each cell of width divides the theoretical reflection by: R = 5^-N.
REDUCTION = 5.0

# What is left of alpha at the wall: without it static fields never fade there, and rounding errors add up for ever.
LEAK = 0.01


@dataclass(frozen=True)
class Strip:
    """One absorbing layer: `axis` 0 or 1, at the low or the high end, `width` cells wide (0: a rigid wall)."""

    axis: int
    high: bool
    width: int

    @property
    def overhang(self) -> int:
        """Cells further inside whose one-sided first difference, below its cell, lies in this strip all the same."""
        return 0 if self.high else 1

    def take(self, field: jax.Array, extra: int = 0) -> jax.Array:
        """The `width + extra` cells of `field` next to this strip's wall."""
        size = field.shape[self.axis]
        start = size - self.width - extra if self.high else 0
        return lax.slice_in_dim(field, start, start + self.width + extra, axis=self.axis)

    def add_to(self, field: jax.Array, values: jax.Array) -> jax.Array:
        """`field` with `values` added to the cells next to this strip's wall."""
        count = values.shape[self.axis]
        cells = slice(-count, None) if self.high else slice(0, count)
        index = (cells, slice(None)) if self.axis == 0 else (slice(None), cells)
        return field.at[index].add(values)

    def pad(self, values: jax.Array, outside: int, inside: int) -> jax.Array:
        """`values` with zeros beyond the wall (`outside`) and towards the interior (`inside`)."""
        widths = [(0, 0), (0, 0)]
        widths[self.axis] = (inside, outside) if self.high else (outside, inside)
        return jnp.pad(values, widths)


class Profile(NamedTuple):
    """Recursion coefficients `a`, `b` of one strip, shaped to broadcast along its axis."""

    a: np.ndarray
    b: np.ndarray


def strips(widths: tuple[int, int, int, int]) -> tuple[Strip, ...]:
    """The absorbing strips of `widths = (top, bottom, left, right)`; sides of width 0 have none."""
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
    """Coefficients on the strip's points, which lie `shift` cells nearer to the interior than its cells.

    spacing [m], dt [s], reference velocity [m/s] and frequency [Hz]; `outside` more points lie beyond the wall,
    `inside` more beyond the inner edge.
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
    """One step of the recursion `psi = a psi + b derivative`."""
    a, b = (jnp.asarray(c, derivative.dtype) for c in coefficients)
    return a * memory + b * derivative
