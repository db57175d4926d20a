"""Invert by a network: the gathers of a survey to the velocity model, in one pass.

    gathers (n_shots, nt, n_receivers) -> velocities (1, nz, nx)

Time is folded into channels: row j of the grid holds the samples of the j-th of nz equal shares of the record, so depth
and time run the same way and a filter sees what comes from about the same depth; receivers stand at their columns. No
sample is lost, none is averaged. Sources: Y. Wu and Y. Lin, "InversionNet", IEEE Trans. Comput. Imaging 6 (2020), the
setting; C. Deng et al., "OpenFWI", NeurIPS 2022, its errors and their scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from surrogate import figures
from surrogate.encodings.coarse_solver import RATIO
from surrogate.encodings.folded_gathers import middle
from surrogate.encodings.gather import stored_steps, stored_times
from surrogate.figures import Figure
from surrogate.metrics.errors import relative_l2
from surrogate.metrics.ssim import ssim
from surrogate.protocols import Batch, Method
from surrogate.tasks.base import GridTask, TaskConfig
from surrogate.tasks.common import check_one_wavelet, check_recorded, family_of, recorded_gathers
from surrogate.tasks.signature import pressure_entry, velocity_entry


@dataclass(frozen=True)
class Inverse(GridTask):
    """Predict velocity models; see `Task`.

    Raises `InputError` for data without gathers, or of surveys that differ from sample to sample.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    name: ClassVar[str] = "inverse"
    inputs: ClassVar[tuple[str, ...]] = ("gathers",)
    target: ClassVar[str] = "velocities"

    def __post_init__(self):
        check_recorded(self.name, "gathers", self.spec)
        if self.spec.sources is None and not self.spec.imported:  # files are taken at their word
            raise InputError(
                "An inverse surrogate does not read where the sources are, so all samples must have the same: set "
                f"data.placement=line (it is {self.spec.shots.placement}) and one depth in data.source_depths."
            )
        check_one_wavelet(self.spec)

    @property
    def examples(self) -> int:
        """One: the whole survey."""
        return 1

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task.read`: gathers `(n_shots, nt_stored, n_receivers)`, velocities `(1, nz, nx)` [m/s].

        Also sources `(n_shots, 2)` [m], and family, an index into the mixture, which no model reads, if the data have
        them.
        """
        sources = record.get("sources", self.spec.sources)
        return {
            "gathers": decode(record, "gathers"),
            "velocities": record["velocity"][None],
            **({} if sources is None else {"sources": np.asarray(sources, np.float32)}),
            **family_of(record),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task.make` and `read`."""
        drawn = self.spec.draw(key)
        return {
            "gathers": recorded_gathers(self.spec, drawn.velocity, drawn.sources),
            "sources": drawn.sources,
            "velocities": drawn.velocity[None],
            "family": drawn.family.astype(jnp.int32),
        }

    def check(self, batch: Batch) -> None:
        """See `Task.check`: gathers of another survey, or that are not finite."""
        spec, gathers = self.spec, np.asarray(batch["gathers"])
        expected = (spec.shots.count, len(stored_steps(spec)), spec.receiver_count)
        if gathers.shape[1:] != expected or not np.isfinite(gathers).all():
            raise InputError(
                f"The gathers must be finite and of the survey the surrogate was trained on, (batch, shots, samples, "
                f"receivers) = (batch, {', '.join(map(str, expected))}), but are {gathers.shape} with "
                f"{(~np.isfinite(gathers)).sum()} values that are not finite."
            )

    def methods(self, ratio: float = RATIO) -> dict[str, Method]:
        """See `Task.methods`: the constant model half-way from slowest to fastest; no solver goes in this direction."""

        def constant(batch: Batch) -> jax.Array:
            return jnp.full((len(batch["gathers"]), 1, *self.shape), middle(self.spec), jnp.float32)

        return {"constant": constant}

    def errors(self, prediction: Float[Array, "batch 1 nz nx"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: over all, in the units of OpenFWI, and of the data.

        The mean absolute and root mean square errors are those of velocities scaled so that the data set's span -1 to
        1, the structural similarity of ones that span 0 to 1. The data misfit compares the gathers that the solver
        records in the prediction, kept within the data set's velocities, with the given ones; it is left out for
        imported data of unknown positions or wavelet.
        """
        truth = jnp.asarray(batch["velocities"])
        slowest, fastest = self.spec.slowest, self.spec.mixture.max_velocity
        unit = [(velocity[:, 0] - slowest) / (fastest - slowest) for velocity in (prediction, truth)]
        difference = 2 * (unit[0] - unit[1])
        errors = {
            "relative_l2": relative_l2(prediction, truth),
            "mae": jnp.mean(jnp.abs(difference), axis=(1, 2)),
            "rmse": jnp.sqrt(jnp.mean(difference**2, axis=(1, 2))),
            "ssim": ssim(unit[0], unit[1]),
        }
        if not self.spec.simulates:
            return errors
        within = jnp.clip(prediction[:, 0], slowest, fastest)
        gathers = jax.vmap(partial(recorded_gathers, self.spec))(within, jnp.asarray(batch["sources"]))
        return errors | {"data_misfit": relative_l2(gathers, jnp.asarray(batch["gathers"]))}

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task.figures`."""
        panels = {"truth": example["velocities"][0]} | {name: field[0] for name, field in predictions.items()}
        return {"fields": figures.models(panels, self.spec.simulation.grid.spacing)}

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`."""
        spec = self.spec
        coordinates = {"times": stored_times(spec).tolist()}
        if spec.knows_positions and spec.sources is not None:
            coordinates |= {"receivers": spec.receivers.tolist(), "sources": spec.sources.tolist()}
        return {
            "gathers": pressure_entry(("batch", "sources", "times", "receivers"), **coordinates),
            "velocities": velocity_entry(spec, ("batch", "output", "z", "x")),
        }


@dataclass
class InverseConfig(TaskConfig):
    """Predict the velocity model from the gathers of a survey.

    Attributes:
        name: Name of the task; chosen with `task=inverse`.
    """

    name: str = Inverse.name

    def create(self, spec: DataSpec) -> Inverse:
        """See `TaskConfig.create`."""
        return Inverse(spec)
