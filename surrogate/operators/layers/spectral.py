"""Spectral convolution: a linear map per Fourier mode, with the transform restricted to the modes it keeps.

    y = F^-1 ( R_k F(x)_k ),    |k_z| <= modes_z,  0 <= k_x <= modes_x

Source: Z. Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

Only few modes are kept, so the transforms are small dense matrices: real products that run faster than an FFT of the
whole field, on matrix units too. They are made in float32 at least, whatever the field comes in. Weights are pairs of
real parameters: `jax.grad` of a complex leaf is conjugated.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.layers.dft import EXACT, from_waves, to_waves

Pair = tuple[Array, Array]  # real and imaginary part


def check_carries(shape: tuple[int, int], modes: tuple[int, int]) -> None:
    """Raise `InputError` if a grid has too few cells for its modes."""
    (nz, nx), (modes_z, modes_x) = shape, modes
    if nz < 2 * modes_z + 1 or nx < 2 * modes_x + 1:
        raise InputError(
            f"A grid of {nz} x {nx} cells cannot carry {modes_z} x {modes_x} modes: it needs at least "
            f"{2 * modes_z + 1} x {2 * modes_x + 1}. Keep fewer modes, or use a finer grid."
        )


def restrict(x: Float[Array, "batch nz nx channels"], modes: tuple[int, int]) -> Pair:
    """Fourier coefficients of a field on the modes `-modes[0]..modes[0]` by `0..modes[1]`: a mean over the cells.

    Each part is `(2 modes[0] + 1, modes[1] + 1, batch, channels)`. Raises `InputError` if the grid is too small.
    """
    batch, nz, nx, channels = x.shape
    check_carries((nz, nx), modes)
    x = at_least_float32(x)
    x = to_waves(x, modes[0] + 1)
    x = jnp.transpose(x, (2, 0, 1, 3)).reshape(1, nx, -1, channels)
    x = to_waves(x, modes[1] + 1) / (nz * nx)
    x = x.reshape(2, modes[1] + 1, batch, 2, modes[0] + 1, channels)
    (cc, cs), (sc, ss) = jnp.transpose(x, (3, 0, 4, 1, 2, 5))  # along z, then x: c = cos, s = -sin
    # F = (c_z + i s_z) x (c_x + i s_x), where s_z is odd in k_z.
    return _both_signs(cc - ss, cc + ss), _both_signs(cs + sc, cs - sc)


def extend(real: Array, imaginary: Array, shape: tuple[int, int]) -> Float[Array, "batch nz nx channels"]:
    """The real field on a grid of `shape` that has the coefficients of `restrict`; the inverse on kept modes."""
    modes_z, modes_x, (batch, channels) = (real.shape[0] - 1) // 2, real.shape[1] - 1, real.shape[2:]
    check_carries(shape, (modes_z, modes_x))
    (real, real_odd), (imaginary, imaginary_odd) = _even_odd(real), _even_odd(imaginary)
    # y = sum of Re F (c_z c_x - s_z s_x) + Im F (c_z s_x + s_z c_x), as above.
    x = jnp.stack([jnp.stack([real, imaginary_odd]), jnp.stack([imaginary, -real_odd])])  # along x, then z: c, s
    # Each k_x > 0 stands for its conjugate too.
    x = x * jnp.asarray(np.where(np.arange(modes_x + 1) == 0, 1.0, 2.0), x.dtype)[:, None, None]
    x = jnp.transpose(x, (0, 3, 4, 1, 2, 5)).reshape(1, 2 * (modes_x + 1), -1, channels)
    x = from_waves(x, shape[1]).reshape(shape[1], batch, 2 * (modes_z + 1), channels)
    return from_waves(jnp.transpose(x, (1, 2, 0, 3)), shape[0])


def _both_signs(plus: Float[Array, "modes ..."], minus: Float[Array, "modes ..."]) -> Float[Array, "two_sided ..."]:
    """x_k for all k from those of k >= 0 and of -k <= 0."""
    return jnp.concatenate([minus[:0:-1], plus])


def _even_odd(x: Float[Array, "two_sided ..."]) -> Pair:
    """`x_k + x_-k` and `x_k - x_-k` for `k >= 0`, with x_0 once."""
    middle = len(x) // 2
    plus, minus = x[middle:], jnp.concatenate([jnp.zeros_like(x[:1]), x[:middle][::-1]])
    return plus + minus, plus - minus


def resample(x: Float[Array, "batch nz nx channels"], shape: tuple[int, int]) -> Float[Array, "batch mz mx channels"]:
    """The trigonometric interpolant of a field on another grid, without what the coarser of both cannot carry."""
    modes_z, modes_x = ((min(old, new) - 1) // 2 for old, new in zip(x.shape[1:3], shape, strict=True))
    return extend(*restrict(x, (modes_z, modes_x)), shape).astype(x.dtype)


def at_least_float32(x: Array) -> Array:
    """bfloat16 raised to float32: a sum over all cells needs the digits. Float32 and float64 as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class SpectralLayer(nnx.Module):
    """What has weights that belong to Fourier modes."""

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """For each weight by name: |k| of the modes along its leading axes."""
        raise NotImplementedError


class SpectralMap(SpectralLayer):
    """A linear map of channels per mode on `-modes[0]..modes[0]` by `0..modes[1]`; subclasses hold its weights.

    Works on any grid of at least `2 modes + 1` cells a side: the weights belong to wavenumbers, not to cells.
    """

    modes: tuple[int, int]

    def weights(self) -> Pair:
        """Real and imaginary part, each `(2 modes[0] + 1, modes[1] + 1, in_features, out_features)`."""
        raise NotImplementedError

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx features"]:
        # Both parts at once: weights, larger than fields, are read once for a product and once for its gradient. Beside
        # each other within a sample, since samples may be on many devices.
        both = jnp.stack(restrict(x, self.modes), axis=3)
        rows = both.reshape(*both.shape[:2], -1, both.shape[-1])
        (a, b), (c, d) = (
            jnp.moveaxis(jnp.matmul(rows, weight, precision=EXACT).reshape(*both.shape[:4], -1), 3, 0)
            for weight in self.weights()
        )
        real, imaginary = a - d, b + c
        return extend(real, imaginary, (x.shape[1], x.shape[2])).astype(x.dtype)

    def mode_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """|k| along z and along x."""
        return np.abs(np.arange(-self.modes[0], self.modes[0] + 1)), np.arange(self.modes[1] + 1)


class SpectralConv(SpectralMap):
    """The dense map: 2 (2 modes[0] + 1) (modes[1] + 1) in_features out_features parameters."""

    def __init__(self, in_features: int, out_features: int, modes: tuple[int, int], *, rngs: nnx.Rngs):
        self.modes = modes
        shape = (2 * modes[0] + 1, modes[1] + 1, in_features, out_features)
        # Each retained mode maps independent channels; this scale keeps the output's variance near the input's.
        scale = 1 / np.sqrt(2 * in_features)
        self.real = nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        self.imaginary = nnx.Param(scale * jax.random.normal(rngs.params(), shape))

    def weights(self) -> Pair:
        """See `SpectralMap`."""
        return self.real[...], self.imaginary[...]

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """See `SpectralLayer`."""
        return {"real": self.mode_axes(), "imaginary": self.mode_axes()}
