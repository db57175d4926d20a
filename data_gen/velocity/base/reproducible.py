"""Draw one model at a time, compiled apart from the surrounding program: the same key always gives the same bits.

A compiler rounds `a b + c` once or twice, reorders products and chooses vector code depending on the surrounding
program. A model drawn alone, in a batch or in a loop would therefore differ in its last bits, and occasionally a cell
would change its layer. To prevent this, a draw is the body of a loop of one round. The compiler does not know the
number of rounds and cannot move anything out of the loop. Under `vmap` the models of a batch are drawn one after the
other. tests/velocity/test_velocity.py compares the results bit for bit on CPU.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

Draw = TypeVar("Draw", bound=Callable)


def reproducible(draw: Draw) -> Draw:
    """Decorate a method that draws from a key, so that its result does not depend on the surrounding program.

    Args:
        draw: Method `draw(self, key, ...)`; its other arguments are static.

    Returns:
        The same method, run in a separate loop of one round.
    """

    @wraps(draw)
    def wrapped(self, key, *static):
        kind = jax.random.key_impl(key)

        # Traced once, for its shapes and for the loop: families within families would take twice as long at each level.
        @partial(jax.jit, inline=True)
        def drawn(bits):
            return draw(self, jax.random.wrap_key_data(bits, impl=kind), *static)

        @sequential_vmap
        def run(bits):
            def once(state):
                # The index is zero. Without it nothing would depend on the loop, and the draw would be moved out.
                index, _ = state
                return index + 1, drawn(bits ^ index)

            empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(drawn, bits))
            return jax.lax.while_loop(lambda state: state[0] < rounds, once, (index, empty))[1]

        index, rounds = jnp.uint32(0), jax.lax.optimization_barrier(jnp.uint32(1))
        return run(jax.random.key_data(key))

    return wrapped  # pyright: ignore[reportReturnType]
