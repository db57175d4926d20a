"""The tasks of states, propagator and inverse, and the structural similarity: identities and invariants."""

import jax
import jax.numpy as jnp
import numpy as np

from surrogate.ssim import ssim

# --- structural similarity ------------------------------------------------------------------------------------------


def test_ssim_identities():
    """1 for equal images, symmetric, scaled with the data, and falling with noise; any size, float32 rounding."""
    image = jax.random.uniform(jax.random.key(0), (2, 9, 24))
    noise = jax.random.normal(jax.random.key(1), image.shape)
    np.testing.assert_allclose(ssim(image, image, 1.0), 1.0, atol=1e-5)
    np.testing.assert_allclose(ssim(image, image + noise, 1.0), ssim(image + noise, image, 1.0), atol=1e-5)
    by_noise = np.stack([ssim(image, image + strength * noise, 1.0) for strength in (0.01, 0.1, 0.5, 2.0)])
    assert (np.diff(by_noise, axis=0) < 0).all() and (np.abs(by_noise) <= 1).all()
    scaled = ssim(3000 * image, 3000 * (image + 0.1 * noise), jnp.full(2, 3000.0))
    np.testing.assert_allclose(scaled, by_noise[1], atol=1e-4)


def test_ssim_of_constants_is_the_luminance_alone():
    """Constant images have neither variance nor covariance: (2 a b + c_1) / (a^2 + b^2 + c_1)."""
    a, b, c1 = 0.2, 0.7, 0.01**2
    first, second = (jnp.full((1, 16, 16), value) for value in (a, b))
    np.testing.assert_allclose(ssim(first, second, 1.0), (2 * a * b + c1) / (a**2 + b**2 + c1), rtol=1e-4)
