"""Give tasks their settings' base, and plain answers to what only some of them do otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import check_points, check_velocity
from surrogate import figures
from surrogate.encodings.coarse_solver import RATIO
from surrogate.figures import Figure
from surrogate.metrics.errors import relative_l2
from surrogate.models.surrogate import Surrogate
from surrogate.protocols import Batch, Encoded, Encoding, Equation, Method, Task


@dataclass
class TaskConfig:
    """Settings that every task has.

    Attributes:
        name: Name of the task; chosen with `task=NAME`, never set by itself.
    """

    name: str = ""

    def create(self, spec: DataSpec) -> Task:
        """Create the task.

        Args:
            spec: Description of the data set.

        Returns:
            The task.

        Raises:
            InputError: If the task cannot be learned from such data, or has other settings than these.
        """
        raise NotImplementedError


class BaseTask:
    """Answer for a task; see `Task`. A task is a frozen dataclass whose fields are `spec` and its settings."""

    spec: DataSpec
    target: ClassVar[str]
    equation: ClassVar[Equation | None] = None
    other_grids: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """One channel."""
        return 1

    @property
    def examples(self) -> int:
        """One for each shot."""
        return self.spec.shots.count

    def model(self, encoding: Encoding, operator: nnx.Module, *, rngs: nnx.Rngs) -> Surrogate:
        """See `Task.model`."""
        return Surrogate(self, encoding, operator)  # pyright: ignore[reportArgumentType]

    def for_evaluation(self) -> Task:
        """See `Task.for_evaluation`."""
        return self  # pyright: ignore[reportReturnType]

    def methods(self, ratio: float = RATIO) -> dict[str, Method]:
        """See `Task.methods`: no other methods."""
        return {}

    def errors(self, prediction: Float[Array, "batch *rest"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: over all."""
        return {"relative_l2": relative_l2(prediction, jnp.asarray(batch[self.target]))}

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """See `Task.groups`: by family, where the examples have it."""
        if "family" not in batch:
            return {}
        return {"family": [self.spec.mixture.names[int(index)] for index in np.asarray(batch["family"])]}

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`: the arrays are known by name, shape and precision alone."""
        return {}


class GridTask(BaseTask):
    """Predict on the grid of the velocity model."""

    @property
    def shape(self) -> tuple[int, int]:
        """Grid of the velocity model."""
        return self.spec.simulation.grid.shape

    @property
    def cycles(self) -> tuple[float, float]:
        """Wavenumbers k_max = f_max L / v_min of the waves along z and x."""
        return spatial_cycles(self.spec)

    @property
    def points(self) -> np.ndarray:
        """See `SolvedTask.points`: the centers of the cells `(nz, nx, 2)`."""
        return self.spec.simulation.grid.centers

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task.figures`: the first channel, next to the velocity model."""
        first = {name: field[0] for name, field in predictions.items()}
        spacing = self.spec.simulation.grid.spacing
        return {"fields": figures.overview(example["velocity"], example[self.target][0], first, spacing)}


class ShotInputs:
    """Read the velocity and the position of one source; see `ShotTask`."""

    spec: DataSpec
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")

    def check(self, batch: Batch) -> None:
        """See `Task.check`: velocities and sources that the solver would refuse."""
        check_velocity(np.asarray(batch["velocity"]), "The batch of velocity models")
        check_points(np.asarray(batch["source"]), "source", self.spec.simulation)

    def shot_inputs(self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]) -> dict[str, jax.Array]:
        """See `ShotTask.shot_inputs`."""
        velocity = jnp.asarray(velocity)
        return {
            "velocity": jnp.broadcast_to(velocity, (len(sources), *velocity.shape)),
            "source": jnp.asarray(sources, velocity.dtype),
        }

    def encode_shots(
        self, encoding: Encoding, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]
    ) -> Encoded:
        """See `ShotTask.encode_shots`."""
        shots = self.shot_inputs(velocity, sources) | {"velocity": jnp.asarray(velocity)}
        axes = [None if name == "velocity" else 0 for name in self.inputs]
        return jax.vmap(encoding, axes)(*(shots[name] for name in self.inputs))


def spatial_cycles(spec: DataSpec) -> tuple[float, float]:
    """Compute the waves' largest wavenumbers along z and x, f_max L / v_min.

    Args:
        spec: Description of the data set.

    Returns:
        Wavenumbers [cycles per domain].
    """
    frequency, grid = spec.simulation.highest_frequency, spec.simulation.grid
    nz, nx = grid.shape
    return frequency * nz * grid.spacing / spec.slowest, frequency * nx * grid.spacing / spec.slowest
