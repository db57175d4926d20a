"""Structural similarity: whether two images agree in local mean, contrast and structure.

    SSIM = (2 mu_a mu_b + c_1) (2 s_ab + c_2) / ((mu_a^2 + mu_b^2 + c_1) (s_a^2 + s_b^2 + c_2))

averaged over the image; mu, s^2 and s_ab are means, variances and covariance under a Gaussian window of 11 x 11 cells
(standard deviation 1.5), c_1 = (0.01 L)^2 and c_2 = (0.03 L)^2, L the range of the data.
Source: Z. Wang et al., "Image quality assessment", IEEE Trans. Image Processing 13 (2004), 600-612.

At the border the window is cut and its weights are normalised anew, so that every cell counts and any size will do.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

REACH = 5  # cells on each side of the window's centre
DEVIATION = 1.5  # cells


def _window(cells: int) -> np.ndarray:
    """The averages along one axis as a matrix `(cells, cells)`, each row of which sums to 1."""
    offset = np.arange(cells)[:, None] - np.arange(cells)[None, :]
    weights = np.where(np.abs(offset) <= REACH, np.exp(-(offset**2) / (2 * DEVIATION**2)), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def ssim(
    a: Float[Array, "batch h w"], b: Float[Array, "batch h w"], data_range: float | Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """Structural similarity of each pair of images, from -1 to 1 (equal); symmetric.

    data_range: the difference between the largest and the smallest value that the images can have, of all or of each.
    """
    rows, columns = (jnp.asarray(_window(cells), a.dtype) for cells in a.shape[1:])
    # The variance of what is far from zero would drown in rounding: both are moved by one and the same constant.
    middle = jnp.mean(b, axis=(1, 2), keepdims=True)

    def local_mean(image: Array) -> Array:
        return jnp.einsum("ij,bjk,lk->bil", rows, image, columns)

    x, y = a - middle, b - middle
    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x**2) - mean_x**2 + local_mean(y**2) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    mean_a, mean_b = mean_x + middle, mean_y + middle
    scale = jnp.broadcast_to(jnp.asarray(data_range, a.dtype), a.shape[:1])[:, None, None]
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return jnp.mean(luminance * structure, axis=(1, 2))
