"""The Fourier transform of surrogate/operators/layers/dft.py: as the FFT, and linear under every transformation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from surrogate.operators.ffno import SeparableConv
from surrogate.operators.layers.dft import real_dft, real_dft_transpose
from surrogate.operators.layers.spectral import SpectralConv
from surrogate.operators.tfno import CPConv, TuckerConv

CELLS, COUNT = 9, 4


def fields(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def test_coefficients_are_those_of_the_fft(float64):
    """Real parts, then imaginary ones, of the first wavenumbers: rounding only."""
    x = fields(0, 2, CELLS, 3, 5)
    spectrum = jnp.fft.rfft(x, axis=1)[:, :COUNT]
    expected = jnp.concatenate([spectrum.real, spectrum.imag], axis=1)
    np.testing.assert_allclose(real_dft(x, COUNT), expected, atol=1e-13)


def test_transformations(float64):
    """<A x, y> = <x, A^T y>; the derivative of a linear map is itself; a batch is a loop. Rounding only."""
    x, y = fields(1, 2, CELLS, 3, 5), fields(2, 2, 2 * COUNT, 3, 5)
    coefficients, pull = jax.vjp(lambda x: real_dft(x, COUNT), x)
    np.testing.assert_allclose(jnp.vdot(coefficients, y), jnp.vdot(x, real_dft_transpose(y, CELLS)), rtol=1e-13)
    np.testing.assert_array_equal(pull(y)[0], real_dft_transpose(y, CELLS))
    forward = jax.jvp(lambda y: real_dft_transpose(y, CELLS), (y,), (2 * y,))
    np.testing.assert_allclose(forward[1], 2 * forward[0], rtol=1e-13)
    batched = jax.vmap(lambda x: real_dft(x, COUNT), in_axes=3, out_axes=3)(x[..., None, :])
    np.testing.assert_allclose(batched[..., 0, :], coefficients, atol=1e-13)


LAYERS = {
    "dense": partial(SpectralConv, 4, 4),
    "separable": partial(SeparableConv, 4),
    "tucker": partial(TuckerConv, 4, rank=0.5),
    "cp": partial(CPConv, 4, rank=0.5),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_no_product_of_a_spectral_layer_is_rounded_to_tensorfloat32(layer):
    """Forwards and backwards: every product asks for float32, which GPUs give to those alone that ask."""
    spectral = layer(modes=(2, 2), rngs=nnx.Rngs(0))
    graphdef, weights = nnx.split(spectral)

    def loss(weights, x):
        return jnp.sum(nnx.merge(graphdef, weights)(x) ** 2)

    lowered = jax.jit(jax.grad(loss, (0, 1))).lower(weights, fields(0, 2, 7, 6, 4)).as_text()
    products = [line for line in lowered.splitlines() if "dot_general" in line]
    assert len(products) > 4
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
