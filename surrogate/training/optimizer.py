"""Optimize the weights: AdamW behind a clip of the gradient's norm, a schedule, and a running average of the weights.

    average <- d_t average + (1 - d_t) weights,    d_t = min(decay, (1 + t) / (10 + t))

so that the first steps do not keep the start in the average. Source: B. Polyak and A. Juditsky, SIAM J. Control Optim.
1992 (averaging); the ramp is that of TensorFlow's ExponentialMovingAverage.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from surrogate.training.config import TrainingConfig


class Average(nnx.Variable):
    """Hold the running average of a weight."""


def learning_rate(config: TrainingConfig, scale: float = 1.0) -> optax.Schedule:
    """Make the schedule of the learning rate: a linear warm-up to the peak, then a cosine down to 1 % of it.

    Args:
        config: Settings of the training.
        scale: Factor of the peak.

    Returns:
        A function from the step to the learning rate.
    """
    peak = scale * config.learning_rate
    return optax.warmup_cosine_decay_schedule(0.0, peak, config.warmup, config.steps, end_value=0.01 * peak)


def describe_schedule(config: TrainingConfig, step: int = 0, earlier: int | None = None) -> str:
    """Say how the learning rate changes.

    Args:
        config: Settings of the training.
        step: Step from which the training resumes; 0 for its start.
        earlier: Number of steps that the run was to be trained for before, if it is trained further.

    Returns:
        One or two sentences.
    """
    peak = config.learning_rate
    text = (
        f"Learning rate: 0 to {peak:g} over {config.warmup} steps, then a cosine to {0.01 * peak:g} at {config.steps}."
    )
    if earlier is None or not step:
        return text
    now, then = (
        float(jnp.asarray(learning_rate(settings)(step))) for settings in (config, replace(config, steps=earlier))
    )
    return (
        f"The run is trained further, from step {step} to {config.steps} instead of {earlier}. {text} From step {step} "
        f"on it follows this schedule, and changes there from {then:.2g} to {now:.2g}."
    )


class Optimizer(nnx.Optimizer):
    """Hold the state of AdamW, and the running average of the weights.

    Args:
        model: Model to train.
        transform: Gradient transformation.
        decay: Decay of the average per step; 0 takes no average.
    """

    def __init__(self, model: nnx.Module, transform: optax.GradientTransformation, decay: float):
        super().__init__(model, transform, wrt=nnx.Param)
        self.decay = decay
        if decay:
            weights = nnx.as_pure(nnx.state(model, nnx.Param))
            self.average = nnx.data(jax.tree.map(lambda weight: Average(jnp.array(weight)), weights))

    def update(self, model, grads, /, **kwargs) -> optax.Updates:
        """Change the weights and, after them, their average.

        Args:
            model: Model, changed in place.
            grads: Gradients of its weights.
            **kwargs: Arguments of the gradient transformation.

        Returns:
            The change of the weights.
        """
        t = self.step[...].astype(jnp.float32)
        updates = super().update(model, grads, **kwargs)
        if self.decay:
            new = 1 - jnp.minimum(self.decay, (1 + t) / (10 + t))
            average, weights = nnx.as_pure(self.average), nnx.as_pure(nnx.state(model, nnx.Param))
            nnx.update(self.average, jax.tree.map(lambda a, w: a + new * (w - a), average, weights))
        return updates


def clip(max_norm: float) -> optax.GradientTransformation:
    """Make a transformation that scales a gradient down to a largest norm.

    It equals `optax.clip_by_global_norm`, but always multiplies: the compiler fuses a product with AdamW's reading of
    the gradient, where it writes out a choice between the gradient and a scaled one first.

    Args:
        max_norm: Largest norm of the gradient.

    Returns:
        The transformation.
    """

    def scale(updates: optax.Updates, _: optax.Params | None) -> optax.Updates:
        factor = jnp.minimum(1.0, max_norm / optax.tree.norm(updates))
        return jax.tree.map(lambda update: factor * update, updates)

    return optax.stateless(scale)


def make_optimizer(model: nnx.Module, config: TrainingConfig, scale: float = 1.0) -> Optimizer:
    """Make the optimizer of a model.

    Args:
        model: Model to train.
        config: Settings of the training.
        scale: Factor of the learning rate.

    Returns:
        The optimizer before its first step.
    """
    transform = optax.chain(
        clip(config.clip_norm),
        optax.adamw(learning_rate(config, scale), weight_decay=config.weight_decay),
    )
    return Optimizer(model, transform, config.ema)


def take_moments(fresh: dict[Any, Any], kept: dict[Any, Any]) -> dict[Any, Any]:
    """Put the moments of AdamW, and the count of updates in them, into the state of a fresh optimizer.

    Args:
        fresh: State of the fresh optimizer, as nested dictionaries; its schedule is at its start, and stays there.
        kept: State of the earlier optimizer, of the same structure.

    Returns:
        The state.
    """
    if "mu" in fresh:
        return kept
    return {key: take_moments(value, kept[key]) if isinstance(value, dict) else value for key, value in fresh.items()}
