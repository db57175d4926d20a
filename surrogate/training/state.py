"""Hold everything that a training step changes, as one tree of arrays.

    (state, batch) -> (next state, metrics)

The static structure of the model and of the optimizer, which no step changes, is kept apart as a `Structure`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

from surrogate.training.divergence import Monitor
from surrogate.training.mode_schedule import ModeSchedule
from surrogate.training.optimizer import Optimizer


class Structure(NamedTuple):
    """Describe the static part of a model and its optimizer: hashable, and without arrays.

    Attributes:
        model: Graph definition of the model.
        optimizer: Graph definition of the optimizer.
    """

    model: nnx.GraphDef
    optimizer: nnx.GraphDef


class TrainState(NamedTuple):
    """Hold everything that a training step changes.

    Attributes:
        model: Weights, normalization and random state of the model.
        optimizer: Moments and count of AdamW, and the running average of the weights if there is one.
        step: Number of training steps so far, refused ones included.
        monitor: Running mean of the loss, and the first refused step.
    """

    model: nnx.State
    optimizer: nnx.State
    step: Int[Array, ""]
    monitor: Monitor

    @classmethod
    def create(cls, model: nnx.Module, optimizer: Optimizer) -> tuple[Structure, "TrainState"]:
        """Split a model and its optimizer into their static structure and the state of a training at step 0.

        Args:
            model: Model to train.
            optimizer: Fresh optimizer of the model.

        Returns:
            The structure, and the state that `merge` puts back into it.
        """
        (model_graph, model_state), (optimizer_graph, optimizer_state) = nnx.split(model), nnx.split(optimizer)
        state = cls(model_state, optimizer_state, jnp.zeros((), jnp.int32), Monitor.create())
        return Structure(model_graph, optimizer_graph), state

    def merge(self, structure: Structure) -> tuple[Any, Optimizer]:
        """Build the model and its optimizer; they share no variable with the state.

        Args:
            structure: Static structure, as `create` returned it.

        Returns:
            The model and the optimizer.
        """
        model = nnx.merge(structure.model, self.model, copy=True)
        return model, nnx.merge(structure.optimizer, self.optimizer, copy=True)

    def updated(self, model: nnx.Module, optimizer: Optimizer) -> "TrainState":
        """Return the state with the arrays of a model and an optimizer.

        Args:
            model: Model with the structure of the state's model.
            optimizer: Optimizer with the structure of the state's optimizer.

        Returns:
            The state; step and monitor are unchanged.
        """
        return self._replace(model=nnx.state(model), optimizer=nnx.state(optimizer))

    def to_dict(self) -> dict[str, Any]:
        """Return the arrays as nested dictionaries, which is how a checkpoint stores them."""
        return {
            "model": nnx.to_pure_dict(self.model),
            "optimizer": nnx.to_pure_dict(self.optimizer),
            "step": self.step,
            "monitor": self.monitor._asdict(),
        }

    def from_dict(self, values: dict[str, Any]) -> "TrainState":
        """Return a state of the same structure with other arrays.

        Args:
            values: Nested dictionaries of arrays, as `to_dict` returns them.

        Returns:
            The state with these arrays.
        """
        model, optimizer = jax.tree.map(lambda leaf: leaf, (self.model, self.optimizer))  # copies of the containers
        nnx.replace_by_pure_dict(model, values["model"])
        nnx.replace_by_pure_dict(optimizer, values["optimizer"])
        return TrainState(model, optimizer, values["step"], Monitor(**values["monitor"]))


def evaluation_model(structure: Structure, state: TrainState, schedule: ModeSchedule) -> Any:
    """Build the model that is validated and saved as the best one.

    Args:
        structure: Static structure of the training.
        state: State of the training.
        schedule: Growth of the Fourier modes.

    Returns:
        The model with the averaged weights, if averages are taken, and without the modes that are still off.
    """
    model, optimizer = state.merge(structure)
    if optimizer.decay:
        nnx.update(model, nnx.as_pure(optimizer.average))
    schedule.apply(model.operator, state.step)
    return model
