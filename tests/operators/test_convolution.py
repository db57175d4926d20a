"""The convolution of layers/convolution.py: `jax.lax`'s, with derivatives that hold under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogate.operators.layers.convolution import convolve

AXES = ("NHWC", "HWIO", "NHWC")
# Odd and even grids, with strides that reach the last cell and that do not, and both kinds of padding.
CASES = [((6, 7), (1, 1), "SAME"), ((6, 7), (2, 2), "SAME"), ((8, 5), (2, 2), "VALID"), ((7, 8), (1, 2), "VALID")]


def draw(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def expected(x, w, strides, padding):
    return jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=AXES)


@pytest.mark.parametrize(("cells", "strides", "padding"), CASES)
def test_values_and_derivatives_are_those_of_lax(cells, strides, padding, float64):
    """Values, gradients, and the gradients' own derivatives in both modes: rounding only."""
    x, w = draw(0, 2, *cells, 3), draw(1, 3, 3, 3, 4)

    def ours(x, w):
        return jnp.sum(jnp.sin(convolve(x, w, strides, padding)))

    def theirs(x, w):
        return jnp.sum(jnp.sin(expected(x, w, strides, padding)))

    def curvature(function):
        directions = draw(2, *x.shape), draw(3, *w.shape)
        forward = jax.jvp(jax.grad(function, (0, 1)), (x, w), directions)[1]
        reverse = jax.grad(lambda x, w: jax.jvp(function, (x, w), directions)[1], (0, 1))(x, w)
        return forward, reverse

    np.testing.assert_allclose(
        convolve(x, w, strides, padding), expected(x, w, strides, padding), rtol=1e-12, atol=1e-13
    )
    for found, known in (
        (jax.grad(ours, (0, 1))(x, w), jax.grad(theirs, (0, 1))(x, w)),
        (curvature(ours), curvature(theirs)),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), found, known)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_a_batch_is_a_loop(axes, float64):
    """Mapped over inputs, kernels and both, values and gradients equal those of a loop. Rounding only."""
    x, w = draw(0, 3, 2, 6, 7, 3), draw(1, 3, 3, 3, 3, 4)

    def value_and_gradients(x, w):
        return jax.value_and_grad(lambda x, w: jnp.sum(convolve(x, w, (2, 2), "SAME") ** 3), (0, 1))(x, w)

    def one(i: int):
        return value_and_gradients(*(a[0 if axis is None else i] for a, axis in zip((x, w), axes, strict=True)))

    batched = jax.vmap(value_and_gradients, in_axes=axes)(
        *(a[0] if axis is None else a for a, axis in zip((x, w), axes, strict=True))
    )
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one(i) for i in range(3)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), batched, looped)


def test_convolutions_in_a_loop_keep_the_axes_that_are_fast_on_cpus():
    """Rows of cells in, rows of cells out: what falls to XLA's naive kernel has other orders."""
    x, w = draw(0, 2, 6, 7, 4), draw(1, 3, 3, 4, 4)

    def loss(w):
        return jnp.sum(jax.lax.scan(lambda x, _: (convolve(x, w, (1, 1), "SAME"), None), x, length=3)[0])

    lowered = jax.jit(jax.grad(loss)).lower(w).as_text()
    convolutions = [line for line in lowered.splitlines() if "stablehlo.convolution(" in line]
    assert len(convolutions) == 3
    assert all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in convolutions)


def test_dilation_is_refused():
    with pytest.raises(ValueError, match="Dilation and groups are not supported"):
        convolve(draw(0, 2, 6, 7, 3), draw(1, 3, 3, 3, 4), (1, 1), "SAME", rhs_dilation=(2, 2))
