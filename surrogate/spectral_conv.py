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

from data_gen.errors import InputError

Pair = tuple[Array, Array]  # real and imaginary part


def fourier_matrices(size: int, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of `2 pi k n / size`, each `(n_modes, size)`, for the integer wavenumbers `modes`."""
    angle = 2 * np.pi * np.outer(modes, np.arange(size)) / size
    return np.cos(angle), np.sin(angle)


def check_carries(shape: tuple[int, int], modes: tuple[int, int]) -> None:
    """Raise `InputError` if a grid has too few cells for its modes."""
    (nz, nx), (modes_z, modes_x) = shape, modes
    if nz < 2 * modes_z + 1 or nx < 2 * modes_x + 1:
        raise InputError(
            f"A grid of {nz} x {nx} cells cannot carry {modes_z} x {modes_x} modes: it needs at least "
            f"{2 * modes_z + 1} x {2 * modes_x + 1}. Keep fewer modes, or use a finer grid."
        )


def _matrices(shape: tuple[int, int], modes: tuple[int, int], dtype) -> tuple[Pair, Pair]:
    along_z = fourier_matrices(shape[0], np.arange(-modes[0], modes[0] + 1))
    along_x = fourier_matrices(shape[1], np.arange(modes[1] + 1))
    cos_z, sin_z, cos_x, sin_x = (jnp.asarray(m, dtype) for m in (*along_z, *along_x))
    return (cos_z, sin_z), (cos_x, sin_x)


def restrict(x: Float[Array, "batch nz nx channels"], modes: tuple[int, int]) -> Pair:
    """Fourier coefficients of a field on the modes `-modes[0]..modes[0]` by `0..modes[1]`: a mean over the cells.

    Each part is `(2 modes[0] + 1, modes[1] + 1, batch, channels)`. Raises `InputError` if the grid is too small.
    """
    nz, nx = x.shape[1:3]
    check_carries((nz, nx), modes)
    x = at_least_float32(x)
    (cos_z, sin_z), (cos_x, sin_x) = _matrices((nz, nx), modes, x.dtype)
    # F = (cos_z - i sin_z) x (cos_x - i sin_x), scaled by 1 / (nz nx).
    real = jnp.einsum("kx,bzxc->bzkc", cos_x / (nx * nz), x)
    imaginary = -jnp.einsum("kx,bzxc->bzkc", sin_x / (nx * nz), x)
    return (
        jnp.einsum("jz,bzkc->jkbc", cos_z, real) + jnp.einsum("jz,bzkc->jkbc", sin_z, imaginary),
        jnp.einsum("jz,bzkc->jkbc", cos_z, imaginary) - jnp.einsum("jz,bzkc->jkbc", sin_z, real),
    )


def extend(real: Array, imaginary: Array, shape: tuple[int, int]) -> Float[Array, "batch nz nx channels"]:
    """The real field on a grid of `shape` that has the coefficients of `restrict`; the inverse on kept modes."""
    modes_z, modes_x = (real.shape[0] - 1) // 2, real.shape[1] - 1
    check_carries(shape, (modes_z, modes_x))
    (cos_z, sin_z), (cos_x, sin_x) = _matrices(shape, (modes_z, modes_x), real.dtype)
    real, imaginary = (
        jnp.einsum("jz,jkbc->bzkc", cos_z, real) - jnp.einsum("jz,jkbc->bzkc", sin_z, imaginary),
        jnp.einsum("jz,jkbc->bzkc", cos_z, imaginary) + jnp.einsum("jz,jkbc->bzkc", sin_z, real),
    )
    # Each k_x > 0 stands for its conjugate too.
    twice = jnp.asarray(np.where(np.arange(modes_x + 1) == 0, 1.0, 2.0)[:, None], real.dtype)
    return jnp.einsum("kx,bzkc->bzxc", twice * cos_x, real) - jnp.einsum("kx,bzkc->bzxc", twice * sin_x, imaginary)


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
        real, imaginary = restrict(x, self.modes)
        weight_re, weight_im = self.weights()
        real, imaginary = (
            real @ weight_re - imaginary @ weight_im,
            real @ weight_im + imaginary @ weight_re,
        )
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
