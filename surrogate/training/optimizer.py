"""Optimize the weights: AdamW behind a clip of the gradient's norm, a schedule, and a running average of the weights.

    average <- d_t average + (1 - d_t) weights,    d_t = min(decay, (1 + t) / (10 + t))

so that the first steps do not keep the start in the average. Source: B. Polyak and A. Juditsky, SIAM J. Control Optim.
1992 (averaging); the ramp is that of TensorFlow's ExponentialMovingAverage.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from surrogate.training.config import TrainingConfig


class Average(nnx.Variable):
    """The running average of a weight."""


def learning_rate(config: TrainingConfig, scale: float = 1.0) -> optax.Schedule:
    """Linear warm-up to `scale` times the peak, then a cosine down to 1 % of it."""
    peak = scale * config.learning_rate
    return optax.warmup_cosine_decay_schedule(0.0, peak, config.warmup_steps, config.steps, end_value=0.01 * peak)


class Optimizer(nnx.Optimizer):
    """All that training keeps beside the model: AdamW's state, the average (if `decay` is not 0), the guard's."""

    def __init__(self, model: nnx.Module, transform: optax.GradientTransformation, decay: float):
        super().__init__(model, transform, wrt=nnx.Param)
        self.decay = decay
        if decay:
            weights = nnx.as_pure(nnx.state(model, nnx.Param))
            self.average = nnx.data(jax.tree.map(lambda weight: Average(jnp.array(weight)), weights))

    def update(self, model, grads, /, **kwargs) -> optax.Updates:
        """Change the weights and, after them, their average; returns the change."""
        t = self.step[...].astype(jnp.float32)
        updates = super().update(model, grads, **kwargs)
        if self.decay:
            new = 1 - jnp.minimum(self.decay, (1 + t) / (10 + t))
            average, weights = nnx.as_pure(self.average), nnx.as_pure(nnx.state(model, nnx.Param))
            nnx.update(self.average, jax.tree.map(lambda a, w: a + new * (w - a), average, weights))
        return updates


def clip(max_norm: float) -> optax.GradientTransformation:
    """As `optax.clip_by_global_norm`, but always a product: that is part of AdamW's reading of the gradient, where a
    choice between the gradient and a scaled one is written out first.
    """

    def scale(updates: optax.Updates, _: optax.Params | None) -> optax.Updates:
        factor = jnp.minimum(1.0, max_norm / optax.tree.norm(updates))
        return jax.tree.map(lambda update: factor * update, updates)

    return optax.stateless(scale)


def make_optimizer(model: nnx.Module, config: TrainingConfig, scale: float = 1.0) -> Optimizer:
    """A fresh optimizer of a model. scale: of the learning rate."""
    transform = optax.chain(
        clip(config.clip_norm),
        optax.adamw(learning_rate(config, scale), weight_decay=config.weight_decay),
    )
    return Optimizer(model, transform, config.ema)
