"""What a task is: which arrays an example holds, which of them a model reads, which one it predicts, and the errors.

An example is cut from a record of a data set, or made by the solver; both give the same arrays. The prediction of one
example is `(outputs, *shape)`: the operator works on the prediction's own grid, which need not be the model's.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data_gen.dataset.sample import DataSpec
from surrogate.figures import Figure

Batch = Mapping[str, Any]
Method = Callable[[Batch], jax.Array]  # a batch of examples -> their predictions


class Encoded(NamedTuple):
    """What the operator sees of one example, and what it corrects, on the grid `(h, w)` of the prediction.

    medium: what is centred and scaled before the operator reads it, such as the velocity [m/s]. fields: what is scaled
    only, so that silence stays silent. baseline: to which the operator's output is added.
    """

    medium: Float[Array, "m h w"]
    fields: Float[Array, "c h w"]
    baseline: Float[Array, "outputs h w"]


@runtime_checkable
class Encoding(Protocol):
    """Maps the inputs of one example to what the operator sees; differentiable.

    media, channels: the numbers of channels of `Encoded.medium` and `Encoded.fields`.
    """

    @property
    def media(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Encoded: ...


@runtime_checkable
class Task(Protocol):
    """Frozen and hashable.

    inputs, target: names of the arrays a model reads, in the order it takes them, and predicts. outputs, shape: of what
    one application of the operator gives, `(outputs, *shape)`: the prediction, unless that is rolled out. cycles: the
    largest wavenumbers it can have along both axes, in cycles per domain. examples: that one record gives.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    target: ClassVar[str]

    @property
    def spec(self) -> DataSpec: ...

    @property
    def outputs(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def cycles(self) -> tuple[float, float]: ...

    @property
    def examples(self) -> int: ...

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """Example `index` of a stored record."""
        ...

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """Example `index` of the sample of `key`, made by the solver; pure."""
        ...

    def check(self, batch: Batch) -> None:
        """Raise `InputError` for inputs that a model must not be asked about."""
        ...

    def encoding(self, name: str, *, radius: float, velocity: float) -> Encoding:
        """What the operator sees; options as in `EncodingConfig`. Raises `InputError` for a name it does not have."""
        ...

    def methods(self) -> dict[str, Method]:
        """What stands beside a surrogate in every table; `solver` is the truth, and is timed only."""
        ...

    def errors(self, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
        """`relative_l2` and more, each `(batch,)`, or `(batch, n)` for what is listed; pure."""
        ...

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """Pictures of one example (arrays without a batch axis) and what was predicted of it."""
        ...


@runtime_checkable
class Windowed(Protocol):
    """A task whose training examples are pieces of those that it is judged by."""

    def whole(self) -> Task:
        """The same task with whole examples."""
        ...


def whole(task: Task) -> Task:
    """The task whose examples a surrogate is validated and evaluated on."""
    return task.whole() if isinstance(task, Windowed) else task


@runtime_checkable
class Grouped(Protocol):
    """A task whose examples fall into groups, in each of which its errors are told as well."""

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """By what they are grouped, and the label of each example of a batch: `{"family": ["salt", ...]}`."""
        ...
