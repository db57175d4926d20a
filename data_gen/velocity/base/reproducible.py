"""One model at a time, compiled apart from whatever surrounds it: the same key gives the same bits everywhere.

A compiler rounds `a b + c` once or twice, reorders products and picks vector code by what surrounds a computation: a
model drawn alone, in a batch or in a loop would differ in its last bits, and now and then a cell change its layer.
So a draw is the body of a loop of one round, of which the compiler can neither know that there is only one nor move
anything out; under `vmap` the models of a batch are drawn one after the other. Measured bit for bit on CPU, in
tests/velocity/test_velocity.py.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

Draw = TypeVar("Draw", bound=Callable)


def isolated(draw: Draw) -> Draw:
    """The method `draw(self, key, ...)`, run in a loop of its own."""

    @wraps(draw)
    def wrapped(self, key, *static):
        kind = jax.random.key_impl(key)

        @sequential_vmap
        def run(bits):
            def once(state):
                # The index, zero, ties the draw to the loop: what did not depend on it would be moved out.
                index, _ = state
                return index + 1, draw(self, jax.random.wrap_key_data(bits ^ index, impl=kind), *static)

            empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(once, (index, None))[1])
            return jax.lax.while_loop(lambda state: state[0] < rounds, once, (index, empty))[1]

        index, rounds = jnp.uint32(0), jax.lax.optimization_barrier(jnp.uint32(1))
        return run(jax.random.key_data(key))

    return wrapped  # pyright: ignore[reportReturnType]
