"""Compare samples by the logarithm of a Student's t density: large errors count less and less.

    J = sum rho((p - o) / s) / sum rho(o / s),    rho(x) = log(1 + x^2 / nu)

with s the median of the observed traces' root mean squares, which a noisy or dead trace changes little, and nu the
`DEGREES` of freedom. The influence of an error, x / (1 + x^2 / nu), is largest at x = sqrt(nu) and falls beyond, so
that a bad trace is left aside by itself; a start whose errors are all larger than that is, too. A silent prediction has
J = 1.

Source: A. Aravkin, T. van Leeuwen and F. Herrmann, SEG Technical Program Expanded Abstracts (2011), 2669-2673
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.traces import Data, compare_scaled, weigh

DEGREES = 4.0  # nu: errors of two typical root mean squares have the largest influence


def student_t(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Divide the sum of logarithms of the errors by that of the observed data. See `Misfit.__call__`."""
    return compare_scaled(weigh(predicted, observed, weights), loss)


def loss(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Compute minus the logarithm of Student's density, without factors and constants.

    Args:
        x: Errors, in units of their scale.

    Returns:
        The function of each.
    """
    return jnp.log1p(x**2 / DEGREES)
