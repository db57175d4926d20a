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

from data_gen.common.by_itself import by_itself

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

        return by_itself(drawn)(jax.random.key_data(key))

    return wrapped  # pyright: ignore[reportReturnType]
