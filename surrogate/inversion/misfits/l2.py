"""Compare samples by their squared differences: full waveform inversion's first misfit.

    J = sum (p - o)^2 / sum o^2

with p the predicted and o the observed data of all shots, times and traces. A silent prediction has J = 1.

Source: A. Tarantola, Geophysics 49 (1984), 1259-1266
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from surrogate.inversion.misfits.traces import Data, amplitude, weigh


def l2(predicted: Data, observed: Data, weights: Float[Array, "..."] | None = None) -> Float[Array, ""]:
    """Divide the sum of squared errors by that of the observed data. See `Misfit.__call__`."""
    pair = weigh(predicted, observed, weights)
    unit = amplitude(pair.observed)
    return jnp.sum(((pair.predicted - pair.observed) / unit) ** 2) / jnp.sum((pair.observed / unit) ** 2)
