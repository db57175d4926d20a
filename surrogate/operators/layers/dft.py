"""Discrete Fourier transform of real fields along one axis, as a product with a small dense matrix.

    y_k = sum_n cos(2 pi k n / N) x_n,    y_{k + K} = - sum_n sin(2 pi k n / N) x_n,    0 <= k < K

The matrix is the left factor, also in the transpose, and is repeated for a batch: otherwise XLA transposes whole fields
to merge all products into one, which takes longer on a CPU than the products. Channels remain a separate axis, which
may be sharded.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.linear_map import linear_call

# Full float32 on every device: by default GPUs with tensor cores round the factors to the 11 bits of TensorFloat-32.
EXACT = jax.lax.Precision.HIGHEST


def fourier_matrices(size: int, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the cosine and sine of `2 pi k n / size`.

    Args:
        size: Number of cells.
        modes: Integer wavenumbers k `(n_modes,)`.

    Returns:
        Cosines and sines, each `(n_modes, size)`.
    """
    angle = 2 * np.pi * np.outer(modes, np.arange(size)) / size
    return np.cos(angle), np.sin(angle)


@dataclass(frozen=True)
class RealDFT:
    """Map `size` cells to `2 count` real coefficients, or transposed, as a `LinearMap` of one operand.

    Attributes:
        size: Number of cells.
        count: Number of wavenumbers, from 0.
        transposed: Whether the map is the transpose, from coefficients to cells.
    """

    size: int
    count: int
    transposed: bool = False

    def apply(self, residuals, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap.apply`."""
        (x,) = operands
        cos, sin = fourier_matrices(self.size, np.arange(self.count))
        matrix = np.concatenate([cos, -sin])
        matrix = jnp.asarray(matrix.T if self.transposed else matrix, x.dtype)
        matrices = jnp.broadcast_to(matrix, (*x.shape[:-3], *matrix.shape))
        return (jnp.einsum("...mn,...nrc->...mrc", matrices, x, precision=EXACT),)

    def shapes(self, residuals, operands) -> tuple[jax.ShapeDtypeStruct, ...]:
        """See `LinearMap.shapes`."""
        return jax.eval_shape(self.apply, residuals, operands)

    def transpose(self) -> "RealDFT":
        """See `LinearMap.transpose`."""
        return replace(self, transposed=not self.transposed)

    def residual_tangent(self, residuals, tangents, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap.residual_tangent`; there are no residuals."""
        raise AssertionError("A discrete Fourier transform depends on no array other than its operand.")


def real_dft(
    x: Float[Array, "batch cells rest channels"], count: int
) -> Float[Array, "batch coefficients rest channels"]:
    """Transform a field along the second axis.

    Args:
        x: Field `(batch, cells, rest, channels)`.
        count: Number of wavenumbers kept, from 0.

    Returns:
        Real parts, then imaginary parts `(batch, 2 count, rest, channels)`.
    """
    return linear_call(RealDFT(x.shape[1], count), (), (x,))[0]


def real_dft_transpose(
    x: Float[Array, "batch coefficients rest channels"], size: int
) -> Float[Array, "batch cells rest channels"]:
    """Apply the transpose: the sum over k of `x_k cos(2 pi k n / N) - x_{k + K} sin(2 pi k n / N)`.

    Args:
        x: Real parts, then imaginary parts `(batch, 2 count, rest, channels)`.
        size: Number of cells N.

    Returns:
        Field `(batch, size, rest, channels)`.
    """
    return linear_call(RealDFT(size, x.shape[1] // 2, transposed=True), (), (x,))[0]
