"""Structural similarity of two images.

    SSIM = (2 m_p m_t + C1) (2 s_pt + C2) / ((m_p^2 + m_t^2 + C1) (s_p^2 + s_t^2 + C2)),    C1 = 1e-4, C2 = 9e-4

m, s: means, variances and covariance under a Gaussian window of 11 x 11 samples and deviation 1.5; the index is the
mean over the windows around all samples, with zeros outside the image. Source: Z. Wang, A. C. Bovik, H. R. Sheikh,
E. P. Simoncelli, IEEE Transactions on Image Processing 13 (2004), 600-612, for a dynamic range of 1. Seismic benchmarks
pad with zeros too, so the numbers compare with theirs.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from data_gen.common.smoothing import gaussian_kernel

WINDOW, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def _windowed_means(images: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
    kernel = jnp.asarray(gaussian_kernel(WINDOW // 2, DEVIATION), images.dtype)
    for shape in ((1, 1, WINDOW, 1), (1, 1, 1, WINDOW)):
        # Full precision is needed: a variance is the small difference of two means.
        out = lax.conv_general_dilated(
            images[:, None], kernel.reshape(shape), (1, 1), "SAME", precision=lax.Precision.HIGHEST
        )
        images = out[:, 0]
    return images


def ssim(prediction: Float[Array, "n h w"], target: Float[Array, "n h w"]) -> Float[Array, " n"]:
    """Compute the structural similarity of each pair of images, at most 1, with 1 for equal images.

    The index is symmetric in its arguments.

    Args:
        prediction: Predicted images `(n, h, w)`, divided by the dynamic range.
        target: Images to compare with, of the same shape and scale.

    Returns:
        Index of each pair `(n,)`.
    """
    mean_p, mean_t = _windowed_means(prediction), _windowed_means(target)
    variances = _windowed_means(prediction**2) - mean_p**2 + _windowed_means(target**2) - mean_t**2
    covariance = _windowed_means(prediction * target) - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + C1) / (mean_p**2 + mean_t**2 + C1)
    return jnp.mean(luminance * (2 * covariance + C2) / (variances + C2), axis=(1, 2))
