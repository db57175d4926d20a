"""Spectral convolution: a linear map per Fourier mode, with a transform that is restricted to the kept modes.

    y = F^-1 ( R_k F(x)_k ),    |k_z| <= modes_z,  0 <= k_x <= modes_x

Source: Z. Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

Few modes are kept, so the transforms are small dense matrices: real products that run faster than an FFT of the whole
field, also on matrix units. They are computed in float32 at least, whatever the dtype of the field. Weights are pairs
of real parameters, since `jax.grad` of a complex leaf is conjugated.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.operators.layers.dft import EXACT, real_dft, real_dft_transpose

Pair = tuple[Array, Array]  # real and imaginary part


def check_modes_fit(shape: tuple[int, int], modes: tuple[int, int]) -> None:
    """Refuse a grid that has too few cells for the modes.

    Args:
        shape: Shape of the grid `(nz, nx)`.
        modes: Largest modes along z and x.

    Raises:
        InputError: If a side has fewer than `2 modes + 1` cells.
    """
    (nz, nx), (modes_z, modes_x) = shape, modes
    if nz < 2 * modes_z + 1 or nx < 2 * modes_x + 1:
        raise InputError(
            f"A grid of {nz} x {nx} cells, padding counted, cannot carry {modes_z} x {modes_x} modes: it needs at "
            f"least {2 * modes_z + 1} x {2 * modes_x + 1}. Set model.modes=[{min(modes_z, (nz - 1) // 2)},"
            f"{min(modes_x, (nx - 1) // 2)}] or fewer, or use a finer grid."
        )


def restrict(x: Float[Array, "batch nz nx channels"], modes: tuple[int, int]) -> Pair:
    """Compute the Fourier coefficients of a field on the modes `-modes[0]..modes[0]` by `0..modes[1]`.

    The coefficients are means over the cells.

    Args:
        x: Field `(batch, nz, nx, channels)`.
        modes: Largest modes along z and x.

    Returns:
        Real and imaginary part, each `(2 modes[0] + 1, modes[1] + 1, batch, channels)`.

    Raises:
        InputError: If the grid is too small for the modes.
    """
    batch, nz, nx, channels = x.shape
    check_modes_fit((nz, nx), modes)
    x = at_least_float32(x)
    x = real_dft(x, modes[0] + 1)
    x = jnp.transpose(x, (2, 0, 1, 3)).reshape(1, nx, -1, channels)
    x = real_dft(x, modes[1] + 1) / (nz * nx)
    x = x.reshape(2, modes[1] + 1, batch, 2, modes[0] + 1, channels)
    (cc, cs), (sc, ss) = jnp.transpose(x, (3, 0, 4, 1, 2, 5))  # along z, then x: c = cos, s = -sin
    # F = (c_z + i s_z) x (c_x + i s_x), where s_z is odd in k_z.
    return _both_signs(cc - ss, cc + ss), _both_signs(cs + sc, cs - sc)


def extend(real: Array, imaginary: Array, shape: tuple[int, int]) -> Float[Array, "batch nz nx channels"]:
    """Compute the real field that has the given Fourier coefficients: the inverse of `restrict` on the kept modes.

    Args:
        real: Real part `(2 modes_z + 1, modes_x + 1, batch, channels)`.
        imaginary: Imaginary part, of the same shape.
        shape: Shape of the grid `(nz, nx)`.

    Returns:
        Field `(batch, nz, nx, channels)`.

    Raises:
        InputError: If the grid is too small for the modes.
    """
    modes_z, modes_x, (batch, channels) = (real.shape[0] - 1) // 2, real.shape[1] - 1, real.shape[2:]
    check_modes_fit(shape, (modes_z, modes_x))
    (real, real_odd), (imaginary, imaginary_odd) = _even_odd(real), _even_odd(imaginary)
    # y = sum of Re F (c_z c_x - s_z s_x) + Im F (c_z s_x + s_z c_x), as above.
    x = jnp.stack([jnp.stack([real, imaginary_odd]), jnp.stack([imaginary, -real_odd])])  # along x, then z: c, s
    # Each k_x > 0 also represents its conjugate.
    x = x * jnp.asarray(np.where(np.arange(modes_x + 1) == 0, 1.0, 2.0), x.dtype)[:, None, None]
    x = jnp.transpose(x, (0, 3, 4, 1, 2, 5)).reshape(1, 2 * (modes_x + 1), -1, channels)
    x = real_dft_transpose(x, shape[1]).reshape(shape[1], batch, 2 * (modes_z + 1), channels)
    return real_dft_transpose(jnp.transpose(x, (1, 2, 0, 3)), shape[0])


def _both_signs(plus: Float[Array, "modes ..."], minus: Float[Array, "modes ..."]) -> Float[Array, "two_sided ..."]:
    """Join the values of k >= 0 and those of -k <= 0 to values of all k."""
    return jnp.concatenate([minus[:0:-1], plus])


def _even_odd(x: Float[Array, "two_sided ..."]) -> Pair:
    """Compute `x_k + x_-k` and `x_k - x_-k` for `k >= 0`, with x_0 counted once."""
    middle = len(x) // 2
    plus, minus = x[middle:], jnp.concatenate([jnp.zeros_like(x[:1]), x[:middle][::-1]])
    return plus + minus, plus - minus


def resample(x: Float[Array, "batch nz nx channels"], shape: tuple[int, int]) -> Float[Array, "batch mz mx channels"]:
    """Interpolate a field trigonometrically, without the modes that the coarser of the two grids cannot carry.

    Args:
        x: Field `(batch, nz, nx, channels)`.
        shape: Shape of the new grid `(mz, mx)`.

    Returns:
        Field on the new grid `(batch, mz, mx, channels)`.
    """
    modes_z, modes_x = ((min(old, new) - 1) // 2 for old, new in zip(x.shape[1:3], shape, strict=True))
    return extend(*restrict(x, (modes_z, modes_x)), shape).astype(x.dtype)


def at_least_float32(x: Array) -> Array:
    """Promote bfloat16 to float32, since a sum over all cells needs the digits; keep float32 and float64.

    Args:
        x: Array of any real dtype.

    Returns:
        The array in float32 or float64.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class SpectralLayer(nnx.Module):
    """Hold weights that belong to Fourier modes."""

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """Return |k| of the modes along the leading axes of each weight, by the weight's name."""
        raise NotImplementedError

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx features"]:
        """Apply the linear map of every mode.

        Args:
            x: Field `(batch, nz, nx, channels)`.

        Returns:
            Field `(batch, nz, nx, features)`.

        Raises:
            InputError: If the grid is too small for the modes.
        """
        raise NotImplementedError


class SpectralMap(SpectralLayer):
    """Map the channels of each mode in `-modes[0]..modes[0]` by `0..modes[1]`; subclasses hold the weights.

    It runs on any grid of at least `2 modes + 1` cells a side: the weights belong to wavenumbers, not to cells.
    """

    modes: tuple[int, int]

    def weights(self) -> Pair:
        """Return real and imaginary part, each `(2 modes[0] + 1, modes[1] + 1, in_features, out_features)`."""
        raise NotImplementedError

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx features"]:
        """See `SpectralLayer.__call__`."""
        # Both parts at once: weights, which are larger than fields, are read once for a product and once for its
        # gradient. The parts are adjacent within a sample, since samples may be on many devices.
        both = jnp.stack(restrict(x, self.modes), axis=3)
        rows = both.reshape(*both.shape[:2], -1, both.shape[-1])
        (a, b), (c, d) = (
            jnp.moveaxis(jnp.matmul(rows, weight, precision=EXACT).reshape(*both.shape[:4], -1), 3, 0)
            for weight in self.weights()
        )
        real, imaginary = a - d, b + c
        return extend(real, imaginary, (x.shape[1], x.shape[2])).astype(x.dtype)

    def mode_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return |k| of the kept modes along z and along x."""
        return np.abs(np.arange(-self.modes[0], self.modes[0] + 1)), np.arange(self.modes[1] + 1)


class SpectralConv(SpectralMap):
    """Apply dense weights: 2 (2 modes[0] + 1) (modes[1] + 1) in_features out_features parameters.

    Args:
        in_features: Number of input channels.
        out_features: Number of output channels.
        modes: Largest modes kept along z and x.
        rngs: Source of the initial weights.
    """

    def __init__(self, in_features: int, out_features: int, modes: tuple[int, int], *, rngs: nnx.Rngs):
        self.modes = modes
        shape = (2 * modes[0] + 1, modes[1] + 1, in_features, out_features)
        # Each kept mode maps independent channels; this scale keeps the variance of the output near the input's.
        scale = 1 / np.sqrt(2 * in_features)
        self.real = nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        self.imaginary = nnx.Param(scale * jax.random.normal(rngs.params(), shape))

    def weights(self) -> Pair:
        """See `SpectralMap.weights`."""
        return self.real[...], self.imaginary[...]

    def wavenumbers(self) -> dict[str, tuple[np.ndarray, ...]]:
        """See `SpectralLayer.wavenumbers`."""
        return {"real": self.mode_axes(), "imaginary": self.mode_axes()}
