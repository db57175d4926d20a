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
from jaxtyping import Array, Float, Int, Key
from matplotlib.figure import Figure

from data_gen.errors import InputError
from data_gen.recording import decode
from data_gen.sample import DataSpec
from surrogate import metrics, plots
from surrogate.gather_encoding import stored_steps
from surrogate.ssim import ssim
from surrogate.task import Batch, Encoded, Encoding, Method
from surrogate.tasks.shared import OnGrid, check_one_wavelet, recorded

STRETCH = 1000.0  # of `FoldedGathers`: what is this much weaker than the strongest arrival is still seen


def fold(gathers: Float[Array, "n_shots nt n_receivers"], rows: int) -> Float[Array, "channels rows n_receivers"]:
    """Time in `rows` equal shares, one below the other; the samples of a share, of each shot, are channels.

    Channel `i * share + k` at row j is sample `j * share + k` of shot i; share = ceil(nt / rows), silence at the end.
    """
    shots, nt, receivers = gathers.shape
    share = -(-nt // rows)
    padded = jnp.pad(gathers, ((0, 0), (0, rows * share - nt), (0, 0)))
    return padded.reshape(shots, rows, share, receivers).swapaxes(1, 2).reshape(shots * share, rows, receivers)


def spread(cells: int, every: int) -> np.ndarray:
    """Linear interpolation `(n_receivers, cells)` from receivers at every n-th cell to all; constant at the end."""
    at = np.arange(0, cells, every)
    return np.stack([np.interp(np.arange(cells), at, row) for row in np.eye(len(at))])


@dataclass(frozen=True)
class FoldedGathers:
    """The gathers, folded; the medium is the logarithm of their peak, the baseline a constant model.

    stretched: each as sign(d) log(1 + 1000 |d|), d relative to the record's peak, for reflections are a hundred times
    weaker than the direct wave. With the peak beside it nothing is lost.
    """

    spec: DataSpec
    stretched: bool

    media = 1

    @property
    def channels(self) -> int:
        """Shots times samples of a share."""
        return self.spec.shots.count * -(-len(stored_steps(self.spec)) // self.spec.simulation.grid.shape[0])

    def __call__(self, gathers: Float[Array, "n_shots nt n_receivers"]) -> Encoded:
        """See `Encoding`."""
        nz, nx = self.spec.simulation.grid.shape
        peak = jnp.maximum(jnp.max(jnp.abs(gathers)), jnp.finfo(gathers.dtype).tiny)
        medium = jnp.broadcast_to(jnp.log(peak), (1, nz, nx))
        if self.stretched:
            gathers = jnp.sign(gathers) * jnp.log1p(STRETCH * jnp.abs(gathers) / peak)
        fields = fold(gathers, nz) @ jnp.asarray(spread(nx, self.spec.receiver_every), gathers.dtype)
        return Encoded(medium, fields, jnp.full((1, nz, nx), middle(self.spec), gathers.dtype))


def middle(spec: DataSpec) -> float:
    """The velocity half-way between the slowest and the fastest a model can have [m/s]."""
    return (spec.slowest + spec.mixture.max_velocity) / 2


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
