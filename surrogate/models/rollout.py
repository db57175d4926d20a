"""A surrogate that predicts the next state from the last two, and is applied to its own predictions.

    p_{n+1} = f(velocity, p_{n-1}, p_n),    n = 1 .. steps

In training it is unrolled over a few steps, with the gradient through all of them and noise on the first state, so that
it learns to continue from states as inexact as its own. In evaluation it is rolled out over all steps, from the exact
state.

Sources: unrolling, K. Um et al., "Solver-in-the-loop", NeurIPS 2020; noise, A. Sanchez-Gonzalez et
al., "Learning to simulate complex physics with graph networks", ICML 2020; the gradient through the last step alone
("pushforward"), J. Brandstetter et al., "Message passing neural PDE solvers", ICLR 2022.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from surrogate.metrics.errors import norm
from surrogate.models.surrogate import Surrogate
from surrogate.operators.layers.drop_path import DropState, Identity
from surrogate.protocols import Batch, Encoding, Task


class StateNoise(nnx.Module):
    """Add white noise in training; it has no parameters.

    Args:
        strength: Standard deviation of the noise, relative to the root mean square of each sample.
        rngs: Source of the random key.
    """

    def __init__(self, strength: float, *, rngs: nnx.Rngs):
        self.strength = strength
        self.deterministic = True
        self.key = DropState(jax.random.key_data(rngs.params()))

    def __call__(self, state: Float[Array, "batch 2 nz nx"]) -> Float[Array, "batch 2 nz nx"]:
        """Add noise in training; return the input in evaluation.

        Args:
            state: Two pressure fields of each sample `(batch, 2, nz, nx)`.

        Returns:
            State of the same shape.
        """
        if self.deterministic:
            return state
        key, draw = jax.random.split(jax.random.wrap_key_data(self.key[...]))
        self.key[...] = jax.random.key_data(key)
        rms = norm(state, (1, 2, 3))[:, None, None, None] / np.sqrt(state[0].size)
        return state + self.strength * rms * jax.random.normal(draw, state.shape, state.dtype)


class Rollout(Surrogate):
    """Predict the `n` states that follow two given ones, `(batch, n, nz, nx)`.

    The number n is `unroll` in training (after `model.train()`) and `steps` otherwise.

    Args:
        task: Task that the surrogate solves.
        encoding: Encoding of one step's inputs.
        operator: Operator of one step.
        steps: Number of steps in evaluation.
        unroll: Number of steps in training.
        noise: Standard deviation of the noise on the first state in training, relative to its root mean square.
        pushforward: Whether the gradient is cut between steps in training, so that each step learns alone.
        rngs: Source of the random key of the noise.
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
        """Predict the next pressure field by one application of the operator.

        Args:
            velocity: Velocity models `(batch, nz, nx)` [m/s].
            state: The last two pressure fields `(batch, 2, nz, nx)`.

        Returns:
            The next pressure field `(batch, 1, nz, nx)`.
        """
        return super().__call__(velocity, state)

    def roll(
        self, velocity: Float[Array, "batch nz nx"], state: Float[Array, "batch 2 nz nx"], steps: int
    ) -> Float[Array, "batch steps nz nx"]:
        """Predict any number of steps, also more than the model was trained for.

        Args:
            velocity: Velocity models `(batch, nz, nx)` [m/s].
            state: The last two pressure fields `(batch, 2, nz, nx)`.
            steps: Number of steps.

        Returns:
            The pressure fields that follow `(batch, steps, nz, nx)`.
        """
        # Weights are the same in each step; random states are carried from one step to the next.
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
        """Predict the states that follow.

        Args:
            *inputs: Velocity models `(batch, nz, nx)` [m/s] and the last two pressure fields `(batch, 2, nz, nx)`.

        Returns:
            The pressure fields that follow `(batch, n, nz, nx)`; see the class for n.
        """
        velocity, state = inputs
        return self.roll(velocity, self.noise(state), self.steps if self.deterministic else self.unroll)

    def shots(self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]) -> Float[Array, "many n nz nx"]:
        """Refuse to predict shots: a rollout starts from a state.

        Args:
            velocity: See `Surrogate.shots`.
            sources: See `Surrogate.shots`.

        Returns:
            Nothing.

        Raises:
            InputError: Always.
        """
        raise InputError("A rollout reads velocity models and states, not sources: call it with these.")

    def applications(self, batch: Batch) -> tuple[tuple[Array, ...], Array]:
        """See `Surrogate.applications`; every step of the batch is one application, from the true state."""
        frames = jnp.concatenate([batch["state"], batch["snapshots"]], axis=1)
        count, cells = frames.shape[1] - 2, frames.shape[2:]
        pairs = jnp.stack([frames[:, :-2], frames[:, 1:-1]], axis=2).reshape(-1, 2, *cells)
        return (jnp.repeat(batch["velocity"], count, axis=0), pairs), frames[:, 2:].reshape(-1, 1, *cells)
