"""Compute with a rounding that does not depend on the program around.

A compiler merges operations with their neighbors, and a multiplication and an addition that meet are rounded once in
place of twice: what meets depends on the rest of the program, such as on the size of a batch. A loop is compiled by
itself. It has one round, a number that the compiler does not know.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap


def by_itself(compute: Callable) -> Callable:
    """Make a function whose result has the same bits in every program, and for each item of a batch alone.

    Args:
        compute: Function of arrays that returns an array, or a tree of some; it is differentiable where it is.

    Returns:
        The same function.
    """

    @jax.custom_jvp
    def found(*arrays):
        @sequential_vmap
        def run(rounds, *arrays):
            def once(state):
                # The index is zero. Without it nothing would depend on the loop, and all would be moved out.
                index, _ = state
                return index + 1, compute(*(array + index.astype(array.dtype) for array in arrays))

            empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(compute, *arrays))
            return jax.lax.while_loop(lambda state: state[0] < rounds, once, (jnp.uint32(0), empty))[1]

        return run(jax.lax.optimization_barrier(jnp.uint32(1)), *arrays)

    @found.defjvp
    def _(arrays, changes):
        return found(*arrays), jax.jvp(compute, arrays, changes)[1]

    return found
