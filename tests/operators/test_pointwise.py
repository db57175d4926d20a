"""Layers that compute what Flax's do, in another order."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from surrogate.operators.layers.pointwise import GroupNorm


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_norm_is_that_of_flax(groups):
    """In values and in gradients by features and weights, to rounding in double precision."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        x, target = (jnp.asarray(random.normal(0.5, 2.0, size=(3, 5, 4, 6))) for _ in range(2))
        found = []
        for kind in (nnx.GroupNorm, GroupNorm):
            layer: Any = kind(6, num_groups=groups, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
            layer.scale[...], layer.bias[...] = (jnp.asarray(v) for v in np.random.default_rng(1).normal(size=(2, 6)))
            graph, state = nnx.split(layer)

            def misfit(state, x, graph=graph):
                return jnp.sum((nnx.merge(graph, state)(x) - target) ** 2)

            found.append((layer(x), jax.tree.leaves(jax.grad(misfit, argnums=(0, 1))(state, x))))
        (theirs, their_slopes), (ours, slopes) = found
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        for a, b in zip(slopes, their_slopes, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_a_norm_in_half_precision_sums_in_single():
    """To the last digit of bfloat16 it is Flax's: sums in bfloat16 would have two digits."""
    x = 3 + jax.random.normal(jax.random.key(0), (2, 9, 7, 8))
    layers = [kind(8, num_groups=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)) for kind in (nnx.GroupNorm, GroupNorm)]
    theirs, ours = (layer(x) for layer in layers)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=2**-8, atol=1e-3)
