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

A layer of finite width is no passive one. A wave trapped in slow cells reaches a layer of faster ones as an evanescent
field, exp(-kappa x). The layer admits kappa coth(kappa L~), with L~ = L' - i L'' at s = i omega, and where

    Im coth(kappa L~) = sin(2 kappa L'') / (cosh(2 kappa L') - cos(2 kappa L'')) < 0,

that is from 2 kappa L'' > pi on, in strength about exp(-2 kappa L'), it feeds the trapped wave. The cause is the
stretch itself. The growth per second of one mode tends to a limit as the time step falls (2.63, 2.62, 2.60 at 0.1,
0.05, 0.025 of the CFL limit), the largest of 24 models is the same within a factor of 1.5 from 0.03 to 0.9 of it and
for orders 2 to 8, and a single layer without corners suffices. None was found where no cell is slower than the layer,
or where the model varies along the layer only. The field reaches L far, so that the growth falls as 1 / N^2. To feed
nothing a profile needs about L'' < L' / 2 at all frequencies, and then it returns the lower ones. Measured for N = 20,
order 2: the largest growth of a wave guided along the layer between two walls (cells of 10 m, 15 Hz, v_ref = 6000
m/s), and the echo at normal incidence (6 and 12 points per wavelength):

    profile                                 growth per step    echo
    as above                                1.7e-4             -87 and -88 dB
    alpha times 4                           1.2e-4             -85 and -71 dB
    alpha = 2 pi f_ref at all depths        2e-5               -35 and -44 dB
    sigma at most 5 alpha                   4e-6               -54 and -43 dB

So the profile stays, and `doubling_steps` bounds the growth. Where another layer absorbs what runs along this one,
growth is rare: with layers of 3 cells and more on all four sides none of 170 models grew.

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

# Steps in which the fastest growing mode doubles, by N^2. Guided along a layer between two walls, by a search over one
# slow strip (1500 to 5900 of 6000 m/s, 1 to 10 cells) and all wavenumbers: 4.1 and more (f_ref h = 0.0008 v_ref, N =
# 20), 9.8 and more at 0.025 v_ref. With a layer across, in some 1400 models of random cells or boxes of 1500 to 6000
# m/s, N = 1 to 6: 180 and more. They are no search for the worst, hence the margin.
GUIDED, LEAKING = 4, 50


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


def doubling_steps(widths: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Bound from below the steps in which a wave trapped in slow cells doubles, fed by the layer on each side.

    Args:
        widths: Cells at the (top, bottom, left, right).

    Returns:
        The number of steps for each side, at the CFL limit; infinite for sides without a layer.
    """
    across = (any(widths[2:]), any(widths[2:]), any(widths[:2]), any(widths[:2]))
    top, bottom, left, right = (
        float((LEAKING if leaks else GUIDED) * width**2) if width else float("inf")
        for width, leaks in zip(widths, across, strict=True)
    )
    return top, bottom, left, right


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
