"""Define what a task and an encoding are: the arrays of an example, and what a model reads and predicts of them.

An example is cut from a record of a data set, or made by the solver; both ways give the same arrays. The prediction of
one example is `(outputs, *shape)`: an operator works on the grid of the prediction, which need not be that of the
velocity model.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.simulation import Simulation
from surrogate.figures import Figure

Batch = Mapping[str, Any]
Method = Callable[[Batch], jax.Array]  # a batch of examples -> their predictions
Equation = Literal["wave", "helmholtz"]


class Encoded(NamedTuple):
    """Hold the input of an operator for one example, and the field it corrects, on the grid `(h, w)` of the prediction.

    Attributes:
        medium: Channels that are centered and scaled before the operator reads them, such as the velocity [m/s].
        fields: Channels that are scaled only, so that silence stays silent.
        baseline: Field to which the operator's output is added.
    """

    medium: Float[Array, "m h w"]
    fields: Float[Array, "c h w"]
    baseline: Float[Array, "outputs h w"]


@runtime_checkable
class Encoding(Protocol):
    """Map the inputs of one example to the input of an operator; differentiable.

    Attributes:
        media: Number of channels of `Encoded.medium`.
        channels: Number of channels of `Encoded.fields`.
    """

    @property
    def media(self) -> int:
        """Number of channels of `Encoded.medium`."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels of `Encoded.fields`."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Encoded:
        """Encode one example.

        Args:
            args: Inputs of one example, without a batch axis, in the order of `Task.inputs`.
            kwargs: The same inputs by name.

        Returns:
            Input of the operator, and the field that it corrects.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """Say what is predicted from what; frozen and hashable. `tasks.base.BaseTask` answers for a task where it can.

    Attributes:
        name: Name of the task in the registry, and in a config: `task=NAME`.
        inputs: Names of the arrays of an example that a model reads, in the order in which it takes them.
        target: Name of the array of an example that a model predicts.
        equation: Equation that the predicted pressure obeys on the grid: `wave` for snapshots, `helmholtz` for fields
            at a frequency; None for predictions that are no pressure on the grid.
        other_grids: Whether a trained surrogate can predict on another grid over the same domain.
        spec: Description of the data set.
        outputs: Number of channels of one application of the operator, which is the prediction unless that is a
            rollout.
        shape: Grid `(h, w)` of the prediction.
        cycles: Largest wavenumbers of the predictions along both axes [cycles per domain].
        examples: Number of examples that one record gives.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    target: ClassVar[str]
    equation: ClassVar[Equation | None]
    other_grids: ClassVar[bool]

    @property
    def spec(self) -> DataSpec:
        """Description of the data set."""
        ...

    @property
    def outputs(self) -> int:
        """Number of channels of one application of the operator."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Grid `(h, w)` of the prediction."""
        ...

    @property
    def cycles(self) -> tuple[float, float]:
        """Largest wavenumbers of the predictions along both axes [cycles per domain]."""
        ...

    @property
    def examples(self) -> int:
        """Number of examples that one record gives."""
        ...

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """Cut an example from a stored record.

        Args:
            record: Decoded record of the data set.
            index: Number of the example within the record, below `examples`.

        Returns:
            Arrays of the example by name, without a batch axis.
        """
        ...

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """Make an example with the solver; pure.

        Args:
            key: Random key of the sample.
            index: Number of the example within the sample, below `examples`.

        Returns:
            The same arrays as `read` returns.
        """
        ...

    def check(self, batch: Batch) -> None:
        """Refuse inputs that a model must not be asked about.

        Args:
            batch: Examples, of which the inputs are looked at.

        Raises:
            InputError: If a velocity, a source or another input is not one that the model can answer for.
        """
        ...

    def model(self, encoding: Encoding, operator: nnx.Module, *, rngs: nnx.Rngs) -> Any:
        """Make the untrained surrogate of this task.

        Args:
            encoding: Encoding of the inputs.
            operator: Untrained operator.
            rngs: Random streams of what the model draws in training.

        Returns:
            A `Surrogate`.
        """
        ...

    def for_evaluation(self) -> "Task":
        """Return the task whose examples a surrogate is validated and evaluated on: this one, unless it says so."""
        ...

    def methods(self, ratio: float = ...) -> dict[str, Method]:
        """Return the methods that a surrogate is compared with; `solver` makes the data, and is timed only.

        Args:
            ratio: Side of a cell of the coarse solver, in cells of the data's grid.

        Returns:
            Each method by its name.
        """
        ...

    def errors(self, prediction: Float[Array, "batch *rest"], batch: Batch) -> dict[str, Any]:
        """Compute the errors of predictions; pure.

        Args:
            prediction: Predictions `(batch, outputs, *shape)`.
            batch: Examples that were predicted.

        Returns:
            `relative_l2` and more, each `(batch,)`, or `(batch, n)` for errors that are listed.
        """
        ...

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """Label the examples of a batch, so that errors are reported for each label as well.

        Args:
            batch: Examples.

        Returns:
            Labels of each example, by the kind of group: `{"family": ["salt", ...]}`.
        """
        ...

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """Draw one example and its predictions.

        Args:
            example: Arrays of one example, without a batch axis.
            predictions: Prediction of each method, without a batch axis.

        Returns:
            Figures by file name; `fields` is among them.
        """
        ...

    def signature(self) -> dict[str, dict[str, Any]]:
        """Describe the inputs and the target for users who have the arrays but none of this code.

        Returns:
            Axes, unit, coordinates and ranges of each array, as JSON values.
        """
        ...


@runtime_checkable
class ShotTask(Task, Protocol):
    """A task that reads a velocity model and a shot through it, and whose `methods` hold the `solver`.

    Its surrogate can be evaluated on any velocity model, and its derivatives compare with the solver's.
    """

    def shot_inputs(self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]) -> dict[str, jax.Array]:
        """Make a batch of the inputs of shots through one model.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            sources: Positions `(n, 2)` [m].

        Returns:
            Inputs of each shot.
        """
        ...

    def encode_shots(
        self, encoding: Encoding, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"]
    ) -> Encoded:
        """Encode the examples of `shot_inputs`; what they share, such as the model's part, is computed once.

        Args:
            encoding: Encoding of one example.
            velocity: Velocity model `(nz, nx)` [m/s].
            sources: Positions `(n, 2)` [m].

        Returns:
            Each part of `Encoded` with a leading axis of examples.
        """
        ...


@runtime_checkable
class SolvedTask(ShotTask, Protocol):
    """A task whose predictions the solver makes, too, with any settings: what a surrogate's time is compared with."""

    def solve(
        self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"], simulation: Simulation
    ) -> Float[Array, "n outputs *rest"]:
        """Solve for what a surrogate predicts from `shot_inputs`; pure.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            sources: Positions `(n, 2)` [m].
            simulation: The simulation of the data, or one that solves for the same records in another way.

        Returns:
            Predictions of each shot `(n, outputs, *shape)`.
        """
        ...

    @property
    def points(self) -> np.ndarray:
        """Positions `(..., 2)` of the last axes of a prediction [m]."""
        ...


@runtime_checkable
class ForwardTask(ShotTask, Protocol):
    """A task whose surrogate can stand for the solver in an inversion.

    Attributes:
        data_kinds: Kinds of data that its predictions contain: `wavefield` or `gather`.
        data_steps: Steps of the simulation's time axis at which these data are sampled.
    """

    data_kinds: ClassVar[tuple[str, ...]]

    @property
    def data_steps(self) -> tuple[int, ...]:
        """Steps of the simulation's time axis at which these data are sampled."""
        ...

    def data(self, prediction: Float[Array, "n outputs h w"], kind: str) -> Float[Array, "n n_times ..."]:
        """Take the data of one kind from predictions.

        Args:
            prediction: Predictions of n shots.
            kind: One of `data_kinds`.

        Returns:
            Wavefields `(n, n_times, nz, nx)` or gathers `(n, n_times, n_receivers)`.
        """
        ...
