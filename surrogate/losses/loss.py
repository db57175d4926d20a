"""Combine the training loss: a weighted sum of named terms, each relative and per sample, averaged over the batch.

    loss = mean over samples of sum_t weight_t e_t,    e_t = N_t(prediction - target) / N_t(target)

relative_l2, sobolev, bands and traces are in terms.py, jacobian in jacobian.py, residual (of the wave equation) in
wave_residual.py. Each is 0 for the data, and 1 for a prediction of zero, so weights compare. (The residual is 0 for
the solver's field as far as finite differences go, and for silence: it cannot stand alone.) A term of weight 0 is not
computed. docs/guides/losses.md says when to use which.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged
from surrogate.losses.jacobian import jacobian
from surrogate.losses.terms import Judged, Term, bands, relative_l2, sobolev, traces
from surrogate.losses.wave_residual import residual
from surrogate.metrics.errors import BANDS
from surrogate.protocols import Batch, Task

HIGHEST_ORDER = 4  # of derivatives, of which there are 2^s: the next would be of rounding errors


@dataclass(frozen=True)
class Loss:
    """Evaluate the loss of a task.

    Attributes:
        task: Task that is trained.
        terms: Name, weight and function of each term.
    """

    task: Task
    terms: tuple[tuple[str, float, Term], ...]

    def __call__(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Compute the loss of a batch.

        Args:
            model: Surrogate.
            batch: Examples.
            key: Random key of this step, for terms that draw.

        Returns:
            The scalar to minimize, and the mean of each term, unweighted.
        """
        per_sample, errors = self.per_sample(model, batch, key)
        return jnp.mean(per_sample), {name: jnp.mean(error) for name, error in errors.items()}

    def per_sample(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, " batch"], dict[str, Float[Array, " batch"]]]:
        """Compute the loss of each sample, which says which of them is to blame.

        Args:
            model: Surrogate.
            batch: Examples.
            key: Random key of this step, for terms that draw.

        Returns:
            Losses `(batch,)`, and each term `(batch,)`, unweighted.
        """
        # Split off before the prediction: branches that it drops at random are dropped in its derivatives, too.
        graphdef, state = nnx.split(model)
        inputs = (batch[name] for name in self.task.inputs)
        prediction = model(*inputs)  # pyright: ignore[reportCallIssue]

        def predict(*inputs):
            return nnx.merge(graphdef, state, copy=True)(*inputs)

        judged = Judged(predict, prediction, batch[self.task.target], batch, key)
        errors = {name: term(judged) for name, _, term in self.terms}
        return reduce(add, (weight * errors[name] for name, weight, _ in self.terms)), errors


@dataclass
class LossConfig:
    """Weights of the terms of the loss, of which those of weight 0 are not computed, and their settings.

    Attributes:
        relative_l2: Weight of the relative L2 error.
        sobolev: Weight of the relative error of derivatives.
        bands: Weight of the relative error by band of wavenumbers.
        traces: Weight of the relative error at the receivers.
        jacobian: Weight of the relative error of derivatives by the velocity; needs one more derivative of the solver.
        residual: Weight of the residual of the wave equation.
        sobolev_order: Order s of the derivatives of `sobolev`, from 1 to 4.
        band_weights: Weight of the squared error in each band, low, middle and high, for `bands`.
        directions: Number of directions along which `jacobian` compares derivatives in each sample and step, where the
            data set has none stored.
    """

    relative_l2: float = ranged(1.0, "[0, inf)")
    sobolev: float = ranged(0.0, "[0, inf)")
    bands: float = ranged(0.0, "[0, inf)")
    traces: float = ranged(0.0, "[0, inf)")
    jacobian: float = ranged(0.0, "[0, inf)")
    residual: float = ranged(0.0, "[0, inf)")
    sobolev_order: int = ranged(1, f"[1, {HIGHEST_ORDER}]")
    band_weights: dict[str, float] = field(default_factory=lambda: {"low": 1.0, "middle": 4.0, "high": 16.0})
    directions: int = ranged(1, "[1, 1024]")

    def weights(self) -> dict[str, float]:
        """Return the weights of the terms that are computed."""
        names = ("relative_l2", "sobolev", "bands", "traces", "jacobian", "residual")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def check(self) -> None:
        """Refuse values that make no loss.

        Raises:
            InputError: If there is such a value.
        """
        check_fields(self, "training.loss")
        if not self.weights():
            raise InputError(
                "The weight of one of the loss's terms at least must be positive, but training.loss has none. For the "
                "default set training.loss.relative_l2=1."
            )
        given = self.band_weights
        if given.keys() != BANDS.keys() or not (min(given.values()) >= 0 and 0 < max(given.values()) < float("inf")):
            raise InputError(
                f"training.loss.band_weights must have a weight of 0 or more for each of {', '.join(BANDS)}, not all "
                f"0, but is {dict(given)}."
            )

    def create(self, task: Task) -> Loss:
        """Create the loss of a task.

        Args:
            task: Task that is trained.

        Returns:
            The loss.

        Raises:
            InputError: If the weights make no loss, or the task does not have one of the terms.
        """
        self.check()
        makers: dict[str, Callable[[], Term]] = {
            "relative_l2": lambda: relative_l2,
            "sobolev": lambda: sobolev(self.sobolev_order),
            "bands": lambda: bands(self.band_weights),
            "traces": lambda: traces(task),
            "jacobian": lambda: jacobian(task, self.directions),
            "residual": lambda: residual(task),
        }
        return Loss(task, tuple((name, weight, makers[name]()) for name, weight in self.weights().items()))
