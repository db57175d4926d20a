"""Real Fourier sums along one axis, as products with small dense matrices.

    y_k = sum_n cos(2 pi k n / N) x_n,    y_{k + K} = - sum_n sin(2 pi k n / N) x_n,    0 <= k < K

The matrix is the left factor, in the transpose too, and repeated for a batch: otherwise XLA transposes whole fields to
make all products one, which on a CPU takes longer than the products. Channels stay an axis, which may be split.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.linear_map import linear_call

# In float32 on every device: by default GPUs with tensor cores round the factors to TensorFloat-32's 11 digits.
EXACT = jax.lax.Precision.HIGHEST


def fourier_matrices(size: int, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of `2 pi k n / size`, each `(n_modes, size)`, for the integer wavenumbers `modes`."""
    angle = 2 * np.pi * np.outer(modes, np.arange(size)) / size
    return np.cos(angle), np.sin(angle)


@dataclass(frozen=True)
class Waves:
    """A `LinearMap` of one operand, from `size` cells to `2 count` sums, or transposed; see the module's equation."""

    size: int
    count: int
    transposed: bool = False

    def apply(self, residuals, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap`."""
        (x,) = operands
        cos, sin = fourier_matrices(self.size, np.arange(self.count))
        matrix = np.concatenate([cos, -sin])
        matrix = jnp.asarray(matrix.T if self.transposed else matrix, x.dtype)
        matrices = jnp.broadcast_to(matrix, (*x.shape[:-3], *matrix.shape))
        return (jnp.einsum("...mn,...nrc->...mrc", matrices, x, precision=EXACT),)

    def shapes(self, residuals, operands) -> tuple[jax.ShapeDtypeStruct, ...]:
        """See `LinearMap`."""
        return jax.eval_shape(self.apply, residuals, operands)

    def transpose(self) -> "Waves":
        """See `LinearMap`."""
        return replace(self, transposed=not self.transposed)

    def residual_tangent(self, residuals, tangents, operands) -> tuple[jax.Array, ...]:
        """See `LinearMap`; there are no residuals."""
        raise AssertionError("These sums depend on no array but their operand.")


def to_waves(x: Float[Array, "batch cells rest channels"], count: int) -> Float[Array, "batch sums rest channels"]:
    """The `2 count` sums along the second axis."""
    return linear_call(Waves(x.shape[1], count), (), (x,))[0]


def from_waves(x: Float[Array, "batch sums rest channels"], size: int) -> Float[Array, "batch cells rest channels"]:
    """The transpose: `x_k cos(2 pi k n / N) - x_{k + K} sin(2 pi k n / N)`, summed over k, on `size` cells."""
    return linear_call(Waves(size, x.shape[1] // 2, transposed=True), (), (x,))[0]
