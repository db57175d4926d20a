"""Detect divergence on the device at the step where it happens; the host reacts when it next reads the metrics.

An update is refused if the loss or the gradient is not finite (AdamW's step, bounded by its rate, is finite where the
gradient's norm is), or if

    loss > factor * running mean of the loss so far

After the first refusal all updates are refused until the host has reacted: the weights stay those that met the first
bad batch, so no spoilt weights are ever saved, and the bad sample can still be found. No step waits for the host.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

MEMORY = 0.95  # of the running mean of the loss, per step


class Divergence(NamedTuple):
    """Describe the first refused step.

    Attributes:
        step: Number of the step, counted from 1.
        loss: Loss of the step.
        grad_norm: Norm of the gradient of the step.
    """

    step: int
    loss: float
    grad_norm: float


class Monitor(NamedTuple):
    """Follow the loss on the device, and remember the first refused step.

    Attributes:
        bad_step: Number of the first refused step, counted from 1; 0 if there is none.
        bad_loss: Loss of that step.
        bad_norm: Norm of the gradient of that step.
        running: Running mean of the loss over all accepted steps; infinite before the first one.
        total: Sum of the accepted losses since the last log.
        accepted: Number of accepted steps since the last log.
    """

    bad_step: Int[Array, ""]
    bad_loss: Float[Array, ""]
    bad_norm: Float[Array, ""]
    running: Float[Array, ""]
    total: Float[Array, ""]
    accepted: Int[Array, ""]

    @classmethod
    def create(cls) -> "Monitor":
        """Create the monitor of a training that has made no step."""
        bad_step, accepted = (jnp.zeros((), jnp.int32) for _ in range(2))
        bad_loss, bad_norm, total = (jnp.zeros(()) for _ in range(3))
        return cls(bad_step, bad_loss, bad_norm, jnp.array(jnp.inf, jnp.float32), total, accepted)

    def accepts(self, loss: Float[Array, ""], grad_norm: Float[Array, ""], factor: float) -> Bool[Array, ""]:
        """Decide whether the update of a step may be applied.

        Args:
            loss: Loss of the step.
            grad_norm: Norm of the gradient of the step.
            factor: Largest allowed ratio of the loss and its running mean; 0 allows every ratio.

        Returns:
            True if the update may be applied.
        """
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        # The running mean is infinite before the first step.
        bounded = loss <= factor * self.running if factor else True
        return (self.bad_step == 0) & finite & bounded

    def record(
        self,
        step: Int[Array, ""],
        accepted: Bool[Array, ""],
        loss: Float[Array, ""],
        grad_norm: Float[Array, ""],
        log_every: int,
    ) -> "Monitor":
        """Take a step into account.

        Args:
            step: Number of steps before this one.
            accepted: Whether the update of the step was applied.
            loss: Loss of the step.
            grad_norm: Norm of the gradient of the step.
            log_every: Number of steps between two logs.

        Returns:
            The monitor after the step.
        """
        first_bad = ~accepted & (self.bad_step == 0)
        begins = step % log_every == 0  # a new interval between two logs
        mean = jnp.where(jnp.isinf(self.running), loss, MEMORY * self.running + (1 - MEMORY) * loss)
        return Monitor(
            bad_step=jnp.where(first_bad, step + 1, self.bad_step),
            bad_loss=jnp.where(first_bad, loss, self.bad_loss),
            bad_norm=jnp.where(first_bad, grad_norm, self.bad_norm),
            running=jnp.where(accepted, mean, self.running),
            total=jnp.where(begins, 0.0, self.total) + jnp.where(accepted, loss, 0.0),
            accepted=jnp.where(begins, 0, self.accepted) + accepted.astype(jnp.int32),
        )

    def mean_loss(self) -> Float[Array, ""]:
        """Compute the mean loss since the last log."""
        return self.total / jnp.maximum(self.accepted, 1)

    def read(self) -> Divergence | None:
        """Wait for the device, and read the first refused step, if there is one."""
        step, loss, grad_norm = jax.device_get((self.bad_step, self.bad_loss, self.bad_norm))
        return Divergence(int(step), float(loss), float(grad_norm)) if step else None


def blame_sample(losses: Float[np.ndarray, " batch"], indices: np.ndarray, name: Callable[[int], str]) -> str:
    """Say which sample of a bad batch is to blame.

    Args:
        losses: Loss of each sample `(batch,)`.
        indices: Index of each sample in the training data `(batch,)`.
        name: Function that names the sample with a given index.

    Returns:
        The part of a sentence that follows "In the batch, ".
    """
    bad = ~np.isfinite(losses)
    worst = int(np.argmax(bad if bad.any() else losses))
    where = name(int(indices[worst]))
    if bad.all():
        return f"no sample's loss is finite (the first is {where}), so the weights or the learning rate are to blame"
    if bad.any():
        return f"{bad.sum()} of {bad.size} samples are not finite, the first of them {where}"
    return f"all samples' losses are finite, the largest, {losses[worst]:.3g}, is that of {where}"
