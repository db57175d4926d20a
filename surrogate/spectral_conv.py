"""Spectral convolution: a linear map per Fourier mode, with the transform restricted to the modes it keeps.

    y = F^-1 ( R_k F(x)_k ),    |k_z| <= modes_z,  0 <= k_x <= modes_x

Source: Z. Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

Only few modes are kept, so the transforms are small dense matrices: real products that run faster than an FFT of the
whole field, on matrix units too. Weights are pairs of real parameters: `jax.grad` of a complex leaf is conjugated.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from data_gen.errors import InputError


def fourier_matrices(size: int, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of `2 pi k n / size`, each `(n_modes, size)`, for the integer wavenumbers `modes`."""
    angle = 2 * np.pi * np.outer(modes, np.arange(size)) / size
    return np.cos(angle), np.sin(angle)


class SpectralConv(nnx.Module):
    """Maps `in_features` to `out_features` channels on the modes `-modes[0]..modes[0]` by `0..modes[1]`.

    Works on any grid of at least `2 modes + 1` cells a side: the weights belong to wavenumbers, not to cells.
    """

    def __init__(self, in_features: int, out_features: int, modes: tuple[int, int], *, rngs: nnx.Rngs):
        self.modes = modes
        shape = (2 * modes[0] + 1, modes[1] + 1, in_features, out_features)
        # Each retained mode maps independent channels; this scale keeps the output's variance near the input's.
        scale = 1 / np.sqrt(2 * in_features)
        self.real = nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        self.imaginary = nnx.Param(scale * jax.random.normal(rngs.params(), shape))

    def __call__(self, x: Float[Array, "batch nz nx channels"]) -> Float[Array, "batch nz nx features"]:
        nz, nx = x.shape[1:3]
        modes_z, modes_x = self.modes
        if nz < 2 * modes_z + 1 or nx < 2 * modes_x + 1:
            raise InputError(
                f"A grid of {nz} x {nx} cells cannot carry {modes_z} x {modes_x} modes: it needs at least "
                f"{2 * modes_z + 1} x {2 * modes_x + 1}. Keep fewer modes, or use a finer grid."
            )
        cos_z, sin_z = (jnp.asarray(m, x.dtype) for m in fourier_matrices(nz, np.arange(-modes_z, modes_z + 1)))
        cos_x, sin_x = (jnp.asarray(m, x.dtype) for m in fourier_matrices(nx, np.arange(modes_x + 1)))

        # Forward: F = (cos_z - i sin_z) x (cos_x - i sin_x), scaled by 1 / (nz nx).
        real = jnp.einsum("kx,bzxc->bzkc", cos_x / (nx * nz), x)
        imaginary = -jnp.einsum("kx,bzxc->bzkc", sin_x / (nx * nz), x)
        real, imaginary = (
            jnp.einsum("jz,bzkc->jkbc", cos_z, real) + jnp.einsum("jz,bzkc->jkbc", sin_z, imaginary),
            jnp.einsum("jz,bzkc->jkbc", cos_z, imaginary) - jnp.einsum("jz,bzkc->jkbc", sin_z, real),
        )
        weight_re, weight_im = self.real[...], self.imaginary[...]
        real, imaginary = (
            real @ weight_re - imaginary @ weight_im,
            real @ weight_im + imaginary @ weight_re,
        )
        # Inverse; each k_x > 0 stands for its conjugate too.
        real, imaginary = (
            jnp.einsum("jz,jkbc->bzkc", cos_z, real) - jnp.einsum("jz,jkbc->bzkc", sin_z, imaginary),
            jnp.einsum("jz,jkbc->bzkc", cos_z, imaginary) + jnp.einsum("jz,jkbc->bzkc", sin_z, real),
        )
        twice = jnp.asarray(np.where(np.arange(modes_x + 1) == 0, 1.0, 2.0)[:, None], x.dtype)
        return jnp.einsum("kx,bzkc->bzxc", twice * cos_x, real) - jnp.einsum("kx,bzkc->bzxc", twice * sin_x, imaginary)
