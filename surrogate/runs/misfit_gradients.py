"""Read models of the test split with their shots, and differentiate misfits of them: by the solver, and by a surrogate.

The misfit is |F(m) - d|^2 / 2 over all shots of a model.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from data_gen.dataset.sample import DataSpec
from data_gen.dataset.truth import NEAR, far_from
from data_gen.solver.problem.simulation import Simulation
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import PhysicsForward, SurrogateForward
from surrogate.models.surrogate import Surrogate
from surrogate.operators.layers.recompute import compiler_options
from surrogate.protocols import ForwardTask, Task
from surrogate.training.batches import Examples

SMOOTHING = 8.0  # cells, of a model for a start
LEARNING_RATE = 50.0  # of an inversion: the first step [m/s]
MEMORY = 4.0 * 2**30  # of the solver's gradients [bytes]

Gradient = Callable[..., jax.Array]  # of a model `(nz, nx)`, sources `(n, 2)` and observed data -> `(nz, nx)`


class Case(NamedTuple):
    """Hold a model of the test split, with its shots.

    Attributes:
        velocity: Velocity model `(nz, nx)` [m/s].
        sources: Positions `(n_shots, 2)` [m].
    """

    velocity: Float[np.ndarray, "nz nx"]
    sources: Float[np.ndarray, "n_shots 2"]

    def far(self, spec: DataSpec) -> Bool[np.ndarray, "nz nx"]:
        """Mark the cells that are near to no source.

        Args:
            spec: Description of the data set.

        Returns:
            Mask `(nz, nx)`, false nearer than NEAR cells to a source.
        """
        grid = spec.simulation.grid
        return np.all(far_from(grid.centers, self.sources, NEAR * grid.spacing), axis=0)


def read_cases(path: str, task: Task, count: int) -> list[Case]:
    """Read the first models of the test split.

    Args:
        path: Folder of the data set.
        task: Task that reads a model and shots.
        count: Number of models.

    Returns:
        The models with their shots.
    """
    read, shots = Examples(path, "test", task), task.spec.shots.count
    each = task.examples // shots  # a task may cut several examples from a shot
    cases = []
    for sample in range(count):
        examples = [read[sample * task.examples + shot * each] for shot in range(shots)]
        cases.append(Case(examples[0]["velocity"], np.stack([example["source"] for example in examples])))
    return cases


def physics(
    task: ForwardTask, simulation: Simulation, sources: Float[Array, "n 2"], kind: str | None = None
) -> PhysicsForward:
    """Make the solver as a forward model of the data of a task.

    Args:
        task: Task of a surrogate.
        simulation: The simulation of its data, or one that solves for the same records in another way.
        sources: Positions `(n, 2)` [m].
        kind: Kind of the data; None takes the first that the task contains.

    Returns:
        The forward model.
    """
    spec = task.spec
    density = spec.density if spec.gardner else None
    return PhysicsForward(simulation, spec.survey(sources), kind or task.data_kinds[0], task.data_steps, density)


def inversion_settings(case: Case, kind: str, iterations: int) -> InversionConfig:
    """Choose the settings of an inversion of a model by L-BFGS, from the model smoothed by SMOOTHING.

    Args:
        case: The model.
        kind: Kind of the data.
        iterations: Number of iterations.

    Returns:
        The settings.
    """
    # A little lower, so that a model of one velocity has an interval, too; not higher: the solver may not be stable.
    low, high = 0.95 * float(case.velocity.min()), float(case.velocity.max())
    return InversionConfig(
        kind=kind, optimizer="lbfgs", learning_rate=LEARNING_RATE, bounds=[low, high], iterations=iterations
    )


def solver_gradient(
    task: ForwardTask, simulation: Simulation, sources: Float[np.ndarray, "n 2"], kind: str | None = None
) -> Gradient:
    """Compile the gradient of the misfit through the solver, which keeps fields as its plan for MEMORY bytes says.

    Args:
        task: Task of a surrogate.
        simulation: See `physics`.
        sources: Positions of as many shots as the gradient is for `(n, 2)` [m].
        kind: Kind of the data; None takes the first that the task contains.

    Returns:
        The gradient.

    Raises:
        InputError: If no plan fits into MEMORY bytes.
    """
    planned = physics(task, simulation, jnp.asarray(sources), kind).within(MEMORY)[0]

    def misfit(velocity, sources, observed):
        forward = replace(planned, survey=task.spec.survey(sources))
        return jnp.sum((forward(velocity) - observed) ** 2) / 2

    return jax.jit(jax.grad(misfit))


def surrogate_gradient(model: Surrogate, task: ForwardTask, kind: str | None = None) -> Gradient:
    """Compile the gradient of the misfit through a surrogate.

    Args:
        model: Trained surrogate.
        task: Its task.
        kind: Kind of the data; None takes the first that the task contains.

    Returns:
        The gradient.
    """
    graph, state = nnx.split(model)
    return lambda *arrays: _surrogate_gradient()(graph, kind or task.data_kinds[0], state, *arrays)


@cache  # made at the first use: a question about the backend starts it
def _surrogate_gradient():
    def gradient(graph: nnx.GraphDef, kind: str, state: nnx.State, velocity, sources, observed) -> jax.Array:
        forward = SurrogateForward(nnx.merge(graph, state), sources, kind)
        return jax.grad(lambda velocity: jnp.sum((forward(velocity) - observed) ** 2) / 2)(velocity)

    return jax.jit(gradient, static_argnums=(0, 1), compiler_options=compiler_options())
