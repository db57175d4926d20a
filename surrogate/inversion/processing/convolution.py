"""Convolve traces with a response: y_i = sum_j h_{i - j} x_j, with zeros outside the record, so that nothing wraps."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def convolve(
    data: Float[Array, "*shape"], response: Float[np.ndarray, " n"], *, before: int = 0, axis: int = -1
) -> Float[Array, "*shape"]:
    """Convolve along one axis, and cut off what is beyond the record. Linear in `data`.

    Args:
        data: Traces, which are zero outside their samples.
        response: Values of h at consecutive lags.
        before: Number of lags below zero among them; 0 for a causal response.
        axis: Axis of time.

    Returns:
        The convolved traces, of the same shape.
    """
    nt = data.shape[axis]
    traces = jnp.moveaxis(data, axis, -1)
    size = 1 << (nt + len(response) - 2).bit_length()
    gain = np.fft.rfft(response, size)
    spectrum = jnp.fft.rfft(traces, size)
    full = jnp.fft.irfft(spectrum * jnp.asarray(gain, spectrum.dtype), size)
    return jnp.moveaxis(full[..., before : before + nt], -1, axis)
