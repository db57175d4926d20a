"""Inversion by a network: the gathers of a survey to the velocity model, in one pass.

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
from jaxtyping import Array, Int, Key

from data_gen.common.errors import InputError
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from surrogate import figures as plots
from surrogate.encodings.folded_gathers import FoldedGathers, middle
from surrogate.encodings.gather import stored_steps
from surrogate.figures import Figure
from surrogate.metrics import errors as metrics
from surrogate.metrics.ssim import ssim
from surrogate.protocols import Batch, Encoding, Method
from surrogate.tasks.common import OnGrid, check_one_wavelet, recorded


@dataclass(frozen=True)
class Inverse(OnGrid):
    """See `Task`. Raises `InputError` for data without gathers, or of surveys that differ from sample to sample."""

    spec: DataSpec

    name: ClassVar[str] = "inverse"
    inputs: ClassVar[tuple[str, ...]] = ("gathers",)
    target: ClassVar[str] = "velocities"

    def __post_init__(self):
        if "gathers" not in self.spec.recording.kinds:
            raise InputError(
                "An inverse surrogate reads gathers, but this data set has none: its data.records must hold gathers."
            )
        shots = self.spec.shots
        if shots.placement != "line" or shots.rows[0] != shots.rows[1]:
            raise InputError(
                "An inverse surrogate is not told where the sources are, so all samples must have the same: set "
                f"data.placement=line (it is {shots.placement}) and one depth in data.source_depths."
            )
        check_one_wavelet(self.spec)

    @property
    def outputs(self) -> int:
        """The velocity."""
        return 1

    @property
    def examples(self) -> int:
        """The record is one."""
        return 1

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task`: gathers `(n_shots, nt_stored, n_receivers)`, sources `(n_shots, 2)` [m], velocities `(1, nz, nx)`
        [m/s]; and family, an index into the mixture, which no model reads."""
        return {
            "gathers": decode(record, "gathers"),
            "sources": record["sources"],
            "velocities": record["velocity"][None],
            "family": np.asarray(record["family"], np.int32),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task` and `read`."""
        drawn = self.spec.draw(key)
        return {
            "gathers": recorded(self.spec, drawn.velocity, drawn.sources),
            "sources": drawn.sources,
            "velocities": drawn.velocity[None],
            "family": drawn.family.astype(jnp.int32),
        }

    def check(self, batch: Batch) -> None:
        """Raise `InputError` for gathers of another survey, or that are not finite."""
        spec, gathers = self.spec, np.asarray(batch["gathers"])
        expected = (spec.shots.count, len(stored_steps(spec)), len(spec.receivers))
        if gathers.shape[1:] != expected or not np.isfinite(gathers).all():
            raise InputError(
                f"The gathers must be finite and of the survey the surrogate was trained on, (batch, shots, samples, "
                f"receivers) = (batch, {', '.join(map(str, expected))}), but are {gathers.shape} with "
                f"{(~np.isfinite(gathers)).sum()} values that are not finite."
            )

    def encoding(self, name: str, *, radius: float, velocity: float) -> Encoding:
        """`none`: the gathers as they are. `log`: their logarithm, see `FoldedGathers`."""
        if name not in ("none", "log"):
            raise InputError(f"encoding.name must be none or log for the inverse task, but is {name!r}.")
        return FoldedGathers(self.spec, stretched=name == "log")

    def methods(self) -> dict[str, Method]:
        """The constant model half-way between the slowest and the fastest; there is no solver of this direction."""

        def constant(batch: Batch) -> jax.Array:
            return jnp.full((len(batch["gathers"]), 1, *self.shape), middle(self.spec), jnp.float32)

        return {"constant": constant}

    def errors(self, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
        """See `Task`: over all; mean absolute and root mean square error where the data set's velocities span -1 to 1;
        structural similarity where they span 0 to 1; and the misfit of the gathers that the solver records in the
        prediction, kept within the data set's velocities, relative to the given ones.
        """
        truth, (slowest, fastest) = (
            jnp.asarray(batch["velocities"]),
            (self.spec.slowest, self.spec.mixture.max_velocity),
        )
        unit = [(velocity[:, 0] - slowest) / (fastest - slowest) for velocity in (prediction, truth)]
        difference = 2 * (unit[0] - unit[1])
        within = jnp.clip(prediction[:, 0], slowest, fastest)
        gathers = jax.vmap(partial(recorded, self.spec))(within, jnp.asarray(batch["sources"]))
        return {
            "relative_l2": metrics.relative_l2(prediction, truth),
            "mae": jnp.mean(jnp.abs(difference), axis=(1, 2)),
            "rmse": jnp.sqrt(jnp.mean(difference**2, axis=(1, 2))),
            "ssim": ssim(unit[0], unit[1]),
            "data_misfit": metrics.relative_l2(gathers, jnp.asarray(batch["gathers"])),
        }

    def groups(self, batch: Batch) -> dict[str, list[str]]:
        """See `Grouped`: by family."""
        return {"family": [self.spec.mixture.names[int(index)] for index in np.asarray(batch["family"])]}

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task`."""
        panels = {"truth": example["velocities"][0]} | {name: field[0] for name, field in predictions.items()}
        return {"fields": plots.models(panels, self.spec.simulation.grid.spacing)}
