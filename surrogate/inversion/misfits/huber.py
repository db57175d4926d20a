"""Compare samples by squares where they differ little and by magnitudes where they differ much: outliers count less.

    J = sum rho((p - o) / s) / sum rho(o / s),    rho(x) = x^2 / 2              for |x| <= k
                                                           k |x| - k^2 / 2     beyond

with s the median of the observed traces' root mean squares, which a noisy or dead trace changes little, and k the
`THRESHOLD`. With a large k it is `l2`; a silent prediction has J = 1. Noise 10 dB below the data stays within k = 1,
where squares are best, and bursts do not.

Source: P. J. Huber, Annals of Mathematical Statistics 35 (1964), 73-101; A. Guitton and W. W. Symes, Geophysics 68
(2003), 1310-1319
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.traces import Data, compare_scaled, weigh

THRESHOLD = 1.0  # k, in typical root mean squares of an observed trace


def huber(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Divide the sum of Huber's function of the errors by that of the observed data. See `Misfit.__call__`."""
    return compare_scaled(weigh(predicted, observed, weights), loss)


def loss(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Compute Huber's function.

    Args:
        x: Errors, in units of their scale.

    Returns:
        The function of each.
    """
    # Both branches are of a limited size, so that neither is infinite where the other one is taken.
    small = jnp.clip(x, -THRESHOLD, THRESHOLD)
    return small**2 / 2 + THRESHOLD * (jnp.abs(x) - jnp.abs(small))
