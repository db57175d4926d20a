"""A function that is compiled by itself: the same bits whatever is around it, and the derivatives that it has."""

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.by_itself import by_itself


def wave(x, a):
    """Products and sums that meet: rounded once or twice, as they are merged."""
    return a * jnp.sin(3 * x) ** 2 + jnp.exp(-x) * x


def test_the_same_bits_in_any_batch_and_program():
    x = jax.random.normal(jax.random.key(0), (5, 300))
    a, y = jnp.float32(0.7), jax.random.normal(jax.random.key(1), (300,))
    alone = by_itself(wave)
    expected = np.stack([jax.jit(alone)(each, a) for each in x])
    np.testing.assert_array_equal(jax.jit(jax.vmap(alone, in_axes=(0, None)))(x, a), expected)
    # What it is taken from, and multiplied by, is not merged with what it computes.
    np.testing.assert_array_equal(jax.jit(lambda x: y - alone(x, a))(x[0]), np.asarray(y) - expected[0])
    np.testing.assert_array_equal(jax.jit(lambda x: y * alone(x, a))(x[0]), np.asarray(y) * expected[0])


def test_derivatives_are_those_of_the_function(float64):
    """Forward, reverse, second, and of a batch; a few roundings."""
    x, a = jax.random.normal(jax.random.key(0), (3, 4)), jnp.float64(0.7)

    def sums(f):
        def total(x, a):
            return jnp.sum(jax.vmap(f, in_axes=(0, None))(x, a) ** 2)

        gradient = jax.grad(total, argnums=(0, 1))
        return jax.jvp(total, (x, a), (x, a)), gradient(x, a), jax.jvp(gradient, (x, a), (x, a))

    found, expected = jax.jit(lambda: sums(by_itself(wave)))(), jax.jit(lambda: sums(wave))()
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
