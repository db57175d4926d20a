"""Ours: the FNO of `training_cases` from our layers, or an FNO of the registry; our optimizer and compiled step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks import training_cases as cases
from benchmarks.peers.jax_programs import device, meter
from benchmarks.training_cases import TRAIN, Case
from surrogate.operators.fno import FNOConfig
from surrogate.operators.layers.pointwise import Linear
from surrogate.operators.layers.recompute import compiler_options
from surrogate.operators.layers.spectral import SpectralConv
from surrogate.training.config import TrainingConfig
from surrogate.training.host_memory import keep_freed_memory
from surrogate.training.optimizer import make_optimizer
from surrogate.training.state import TrainState
from surrogate.training.step import make_train_step

__all__ = ["Case", "configurations", "device", "meter", "parameters", "prepare", "versions"]

keep_freed_memory()  # as train.py does, and as late: threads that have computed keep their ways

CLASSIC = FNOConfig(mlp_ratio=2, block="classic", local=False, norm="none", padding=0.0, periodic=True)
RESIDUAL = FNOConfig(mlp_ratio=2)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib", "flax", "optax")}


def configurations(case: Case, quantity: str) -> tuple[str, ...]:
    return ("default",)


def parameters(case: Case) -> int:
    state = nnx.state(nnx.eval_shape(lambda: _operator(case)), nnx.Param)
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state))


def prepare(case: Case, quantity: str, configuration: str) -> Callable:
    inputs, target = jax.device_put(cases.batch(case))
    model = Regression(_operator(case))
    # The rate stays at its peak, and no gradient is clipped: AdamW alone, as the peer's.
    training = TrainingConfig(
        steps=10**9,
        warmup_steps=0,
        learning_rate=cases.LEARNING_RATE,
        weight_decay=cases.WEIGHT_DECAY,
        clip_norm=1e9,
    )
    optimizer = make_optimizer(model, training)  # pyright: ignore[reportArgumentType]
    structure, state = TrainState.create(model, optimizer)
    train_step = make_train_step(structure)
    predict = jax.jit(lambda state: state.merge(structure)[0].operator(inputs), compiler_options=compiler_options())
    first = []

    def run() -> np.ndarray:
        nonlocal state
        result = None
        for _ in range(case.steps):
            if quantity == TRAIN:
                state, _ = train_step(state, {"inputs": inputs, "target": target})
            else:
                result = jax.block_until_ready(predict(state))
        jax.block_until_ready(state)
        if not first:  # after so many steps, and never again: predictions of what was trained
            first.append(np.asarray(predict(state) if result is None else result))
        return first[0]

    return run


@dataclass(frozen=True)
class Task:
    """As much of `surrogate.protocols.Task` as a training step asks for."""

    name: str = "regression"
    inputs: tuple[str, ...] = ("inputs",)
    target: str = "target"


class Regression(nnx.Module):
    """An operator between arrays as they are, where a surrogate has an encoding and physical units."""

    def __init__(self, operator: nnx.Module):
        self.operator, self.task = operator, Task()

    def __call__(self, inputs: jax.Array) -> jax.Array:
        return self.operator(inputs)


class Perceptron(nnx.Module):
    """Two linear layers."""

    def __init__(self, features: tuple[int, int, int], *, rngs: nnx.Rngs):
        self.layers = nnx.List([Linear(a, b, rngs=rngs) for a, b in pairwise(features)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[1](_gelu(self.layers[0](x)))


class Block(nnx.Module):
    """See `training_cases`."""

    def __init__(self, case: Case, *, rngs: nnx.Rngs):
        width = case.width
        self.spectral = SpectralConv(width, width, (case.modes, case.modes), rngs=rngs)
        self.skip = Linear(width, width, rngs=rngs)
        self.mlp = Perceptron((width, width // 2, width), rngs=rngs)
        self.gate = nnx.Param(jnp.ones(width))

    def __call__(self, x: jax.Array, last: bool) -> jax.Array:
        mixed = self.spectral(x) + self.skip(x)
        x = self.mlp(mixed if last else _gelu(mixed)) + self.gate[...] * x
        return jax.lax.optimization_barrier(
            x if last else _gelu(x)
        )  # as all our blocks; see surrogate/training/precision.py


class SameFNO(nnx.Module):
    """See `training_cases`."""

    def __init__(self, case: Case, *, rngs: nnx.Rngs):
        width = case.width
        self.lift = Perceptron((case.inputs, 2 * width, width), rngs=rngs)
        self.blocks = nnx.List([Block(case, rngs=rngs) for _ in range(case.depth)])
        self.project = Perceptron((width, 2 * width, case.outputs), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.lift(x)
        for index, block in enumerate(self.blocks):
            x = block(x, last=index == len(self.blocks) - 1)
        return self.project(x)

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take the weights of `training_cases`; all of them, and no fewer."""
        flat = {
            ".".join(str(part) for part in path if part != "layers"): leaf
            for path, leaf in nnx.to_flat_state(nnx.state(self, nnx.Param))
        }
        if flat.keys() != weights.keys():
            raise ValueError(f"These weights are not on both sides: {sorted(flat.keys() ^ weights.keys())}.")
        for name, leaf in flat.items():
            leaf[...] = jnp.asarray(weights[name])


def _gelu(x: jax.Array) -> jax.Array:
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


def _operator(case: Case) -> nnx.Module:
    rngs = nnx.Rngs(case.seed)
    if case.operator != "same":
        config = {"classic": CLASSIC, "residual": RESIDUAL}[case.operator]
        return config.create(case.inputs, case.outputs, rngs=rngs)
    operator = SameFNO(case, rngs=rngs)
    operator.load(cases.weights(case))
    return operator
