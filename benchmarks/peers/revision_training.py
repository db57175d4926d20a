"""The training step of the demo's FNO, by the code of either revision that `benchmarks.revisions` compares."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks import training_cases as cases
from benchmarks.peers.jax_programs import device, versions
from benchmarks.training_cases import Case
from surrogate.operators.fno import FNOConfig
from surrogate.training.config import TrainingConfig
from surrogate.training.host_memory import keep_freed_memory
from surrogate.training.optimizer import make_optimizer
from surrogate.training.step import make_train_step

__all__ = ["Case", "configurations", "device", "prepare", "versions"]

keep_freed_memory()  # as train.py does

# configs/experiment/demo.yaml on configs/model/fno.yaml.
DEMO = FNOConfig(width=32, depth=4, modes=[16, 16], mlp_ratio=2, padding=0)


class Regression(nnx.Module):
    """An operator between arrays as they are, where a surrogate has an encoding and physical units."""

    def __init__(self, operator: nnx.Module):
        self.operator = operator

    def __call__(self, inputs: jax.Array) -> jax.Array:
        return self.operator(inputs)


def relative_l2(model: Regression, batch: Mapping[str, Any], key: jax.Array) -> tuple[jax.Array, dict]:
    """The mean over a batch of `||prediction - target|| / ||target||`, which is the same code for both revisions."""
    target = batch["target"]
    squares = jnp.sum((model(batch["inputs"]) - target) ** 2, axis=(1, 2, 3)) / jnp.sum(target**2, axis=(1, 2, 3))
    return jnp.mean(jnp.sqrt(squares)), {}


def start(model: nnx.Module, optimizer: Any) -> tuple[Any, Any]:
    """Return the static structure and the first state that `make_train_step` and its step take."""
    try:
        create = importlib.import_module("surrogate.training.state").TrainState.create
    except ModuleNotFoundError:  # a revision before `TrainState`
        return nnx.split((model, optimizer))
    return create(model, optimizer)


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    inputs, target = jax.device_put(cases.batch(case))
    batch = {"inputs": inputs, "target": target}
    training = TrainingConfig(learning_rate=cases.LEARNING_RATE)
    model = Regression(DEMO.create(case.inputs, case.outputs, rngs=nnx.Rngs(case.seed)))
    structure, state = start(model, make_optimizer(model, training))  # pyright: ignore[reportArgumentType]
    step = make_train_step(structure, training, relative_l2)
    losses: list[np.ndarray] = []

    def run() -> np.ndarray:
        nonlocal state
        metrics = {}
        for _ in range(case.steps):
            state, metrics = step(state, batch)
        jax.block_until_ready(state)
        if not losses:  # of the first run only: both revisions have trained as long then
            losses.append(np.asarray(metrics["loss"]))
        return losses[0]

    return run
