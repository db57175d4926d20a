"""A surrogate that is applied to its own predictions: the next state from the last ones, again and again.

    p_{n+1} = f(velocity, p_{n-1}, p_n),    n = 1 .. steps

In training it is unrolled over a few steps, with the gradient through all of them, and the first state is noisy: so it
learns to go on from states as inexact as its own. In evaluation it is rolled out over all steps, from the exact state.
Sources: unrolling, K. Um et al., "Solver-in-the-loop", NeurIPS 2020; noise, A. Sanchez-Gonzalez et al., "Learning to
simulate complex physics with graph networks", ICML 2020; the gradient through the last step alone ("pushforward"),
J. Brandstetter et al., "Message passing neural PDE solvers", ICLR 2022.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from surrogate.models.surrogate import Surrogate
from surrogate.operators.layers.drop_path import DropState, Identity
from surrogate.protocols import Batch, Encoding, Task


class StateNoise(nnx.Module):
    """In training, adds white noise of `strength` times each sample's root mean square; no parameters."""

    def __init__(self, strength: float, *, rngs: nnx.Rngs):
        self.strength = strength
        self.deterministic = True
        self.key = DropState(jax.random.key_data(rngs.params()))

    def __call__(self, state: Float[Array, "batch 2 nz nx"]) -> Float[Array, "batch 2 nz nx"]:
        if self.deterministic:
            return state
        key, draw = jax.random.split(jax.random.wrap_key_data(self.key[...]))
        self.key[...] = jax.random.key_data(key)
        rms = jnp.sqrt(jnp.mean(state**2, axis=(1, 2, 3), keepdims=True))
        return state + self.strength * rms * jax.random.normal(draw, state.shape, state.dtype)


class Rollout(Surrogate):
    """Predicts `(batch, n, nz, nx)`, the states that follow the two it is given.

    n: `unroll` in training (after `model.train()`), else `steps`. noise: of the first state in training, relative.
    pushforward: in training no gradient flows from one step into the one before.
    """

    def __init__(
        self,
        task: Task,
        encoding: Encoding,
        operator: nnx.Module,
        *,
        steps: int,
        unroll: int,
        noise: float,
        pushforward: bool,
        rngs: nnx.Rngs,
    ):
        super().__init__(task, encoding, operator)
        self.steps, self.unroll, self.pushforward = steps, unroll, pushforward
        self.noise = StateNoise(noise, rngs=rngs) if noise > 0 else Identity()
        self.deterministic = True

    def step(
        self, velocity: Float[Array, "batch nz nx"], state: Float[Array, "batch 2 nz nx"]
    ) -> Float[Array, "batch 1 nz nx"]:
        """One application of the operator: the pressure that follows."""
        return super().__call__(velocity, state)

    def roll(
        self, velocity: Float[Array, "batch nz nx"], state: Float[Array, "batch 2 nz nx"], steps: int
    ) -> Float[Array, "batch steps nz nx"]:
        """As many steps as asked for, be they more than the model was trained or made for."""
        # Weights are the same at each step; what an operator draws at random goes on from one to the next.
        graphdef, drawn, rest = nnx.split(self, DropState, ...)
        cut = self.pushforward and not self.deterministic

        def advance(carry, _):
            drawn, state = carry
            model = nnx.merge(graphdef, drawn, rest)
            following = model.step(velocity, lax.stop_gradient(state) if cut else state)
            return (nnx.state(model, DropState), jnp.concatenate([state[:, 1:], following], axis=1)), following[:, 0]

        (drawn, _), fields = lax.scan(advance, (drawn, state), length=steps)
        if not self.deterministic:
            nnx.update(self, drawn)
        return jnp.moveaxis(fields, 0, 1)

    def __call__(self, *inputs: Float[Array, "batch ..."]) -> Float[Array, "batch n nz nx"]:
        velocity, state = inputs
        return self.roll(velocity, self.noise(state), self.steps if self.deterministic else self.unroll)

    def applications(self, batch: Batch) -> tuple[tuple[Array, ...], Array]:
        """See `Surrogate`: every step of the batch, each from the true state."""
        frames = jnp.concatenate([batch["state"], batch["snapshots"]], axis=1)
        count, cells = frames.shape[1] - 2, frames.shape[2:]
        pairs = jnp.stack([frames[:, :-2], frames[:, 1:-1]], axis=2).reshape(-1, 2, *cells)
        return (jnp.repeat(batch["velocity"], count, axis=0), pairs), frames[:, 2:].reshape(-1, 1, *cells)
