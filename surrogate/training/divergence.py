"""Divergence: noticed on the device at the step it happens, dealt with by the host when it next reads the metrics.

An update is refused if the loss or the gradient is not finite (AdamW's step, bounded by its rate, is finite where the
gradient's norm is), or if

    loss > factor * running mean of the loss so far

and from then on all are, until the host has looked: the weights stay those that met the first bad batch, so nothing
spoilt is ever saved, and which sample it was can still be found out. No step waits for the host.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

MEMORY = 0.95  # of the running mean of the loss, per step


class Watch(nnx.Variable):
    """A number that training keeps about itself on the device: saved with the last state, never with a model."""


class Trouble(NamedTuple):
    """The first bad step, counted from 1, its loss and its gradient norm."""

    step: int
    loss: float
    grad_norm: float


class Guard(nnx.Module):
    """Counts the steps, averages the loss between two logs, and remembers the first bad step (0: none yet)."""

    def __init__(self):
        self.step, self.bad_step, self.count = (Watch(jnp.zeros((), jnp.int32)) for _ in range(3))
        self.bad_loss, self.bad_norm, self.total = (Watch(jnp.zeros(())) for _ in range(3))
        self.running = Watch(jnp.array(jnp.inf))

    def accepts(self, loss: Float[Array, ""], grad_norm: Float[Array, ""], factor: float) -> Bool[Array, ""]:
        """Whether the step's update may be applied."""
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        # The running mean is infinite before the first step.
        bounded = loss <= factor * self.running[...] if factor else True
        return (self.bad_step[...] == 0) & finite & bounded

    def record(
        self, good: Bool[Array, ""], loss: Float[Array, ""], grad_norm: Float[Array, ""], log_every: int
    ) -> None:
        """Take note of a step that was accepted or not."""
        first_bad = ~good & (self.bad_step[...] == 0)
        begins = self.step[...] % log_every == 0  # a new interval between two logs
        self.step[...] += 1
        for variable, value in (
            (self.bad_step, self.step[...]),
            (self.bad_loss, loss),
            (self.bad_norm, grad_norm),
        ):
            variable[...] = jnp.where(first_bad, value, variable[...])
        old = self.running[...]
        mean = jnp.where(jnp.isinf(old), loss, MEMORY * old + (1 - MEMORY) * loss)
        self.running[...] = jnp.where(good, mean, old)
        self.total[...] = jnp.where(begins, 0.0, self.total[...]) + jnp.where(good, loss, 0.0)
        self.count[...] = jnp.where(begins, 0, self.count[...]) + good.astype(jnp.int32)

    def mean_loss(self) -> Float[Array, ""]:
        """The mean loss since the last log."""
        return self.total[...] / jnp.maximum(self.count[...], 1)


def read_trouble(guard: Guard) -> Trouble | None:
    """What the guard met, if anything; waits for the device."""
    step, loss, grad_norm = jax.device_get((guard.bad_step[...], guard.bad_loss[...], guard.bad_norm[...]))
    return Trouble(int(step), float(loss), float(grad_norm)) if step else None


def name_samples(losses: np.ndarray, indices: np.ndarray, name: Callable[[int], str]) -> str:
    """Which of a bad batch's samples is to blame, by their losses and their indices in the data, both `(batch,)`.

    name: what to call the sample of an index.
    """
    bad = ~np.isfinite(losses)
    worst = int(np.argmax(bad if bad.any() else losses))
    where = name(int(indices[worst]))
    if bad.all():
        return f"no sample's loss is finite (the first is {where}), so the weights or the learning rate are to blame"
    if bad.any():
        return f"{bad.sum()} of {bad.size} samples are not finite, the first of them {where}"
    return f"all samples' losses are finite, the largest, {losses[worst]:.3g}, is that of {where}"
