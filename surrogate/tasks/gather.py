"""Predict gathers: the velocity and the source's position to the pressure at the receivers, at the stored times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data_gen.common.errors import InputError
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from data_gen.solver.numerics.resampling import upsample
from data_gen.solver.problem.simulation import Simulation
from surrogate import figures
from surrogate.encodings.coarse_solver import RATIO
from surrogate.encodings.gather import CoarseGather, stored_steps, stored_times
from surrogate.figures import Figure
from surrogate.metrics.errors import relative_l2
from surrogate.metrics.ssim import ssim
from surrogate.protocols import Batch, Method
from surrogate.tasks.base import BaseTask, ShotInputs, TaskConfig, spatial_cycles
from surrogate.tasks.common import check_one_wavelet, check_recorded, family_of, recorded_gathers, shot_methods
from surrogate.tasks.signature import pressure_entry, source_entry, velocity_entry


@dataclass(frozen=True)
class Gather(ShotInputs, BaseTask):
    """Predict gathers; see `Task`. Raises `InputError` for data without, or without the positions of a fixed spread.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    name: ClassVar[str] = "gather"
    target: ClassVar[str] = "gathers"
    data_kinds: ClassVar[tuple[str, ...]] = ("gather",)

    def __post_init__(self):
        check_recorded(self.name, "gathers", self.spec)
        check_one_wavelet(self.spec)
        if not self.spec.knows_positions:
            raise InputError(
                "A gather surrogate reads where a source is and predicts what receivers record, but these data were "
                "imported without the positions of sources and receivers, or with other receivers in each shot. Import "
                "the files again, to another folder, with --sources and --receivers; task=inverse needs neither."
            )

    @property
    def data_steps(self) -> tuple[int, ...]:
        """Steps of the simulation's time axis that are stored."""
        return stored_steps(self.spec)

    @property
    def shape(self) -> tuple[int, int]:
        """Stored times and receivers."""
        return len(self.data_steps), self.spec.receiver_count

    @property
    def cycles(self) -> tuple[float, float]:
        """Cycles f_max T in time, and f_max L / v_min along the receivers."""
        time = self.spec.simulation.time
        return self.spec.simulation.highest_frequency * time.nt * time.dt, spatial_cycles(self.spec)[1]

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task.read`: velocity `(nz, nx)` [m/s], source `(2,)` [m], gathers `(1, nt_stored, n_receivers)`.

        Also family, an index into the mixture, which no model reads, if the data have it.
        """
        sources = record.get("sources", self.spec.sources)
        return {
            "velocity": record["velocity"],
            "source": np.asarray(sources, np.float32)[index],
            "gathers": decode(record, "gathers", index)[None],
            **family_of(record),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task.make` and `read`."""
        drawn = self.spec.draw(key)
        source = drawn.sources[index]
        return {
            "velocity": drawn.velocity,
            "source": source,
            "gathers": recorded_gathers(self.spec, drawn.velocity, source[None], drawn.wavelet),
            "family": drawn.family.astype(jnp.int32),
        }

    def methods(self, ratio: float = RATIO) -> dict[str, Method]:
        """See `Task.methods`: the coarse solver and the solver; compiled.

        There is neither for imported data without a wavelet, and no coarse solver where it cannot make the gathers.
        """
        if not self.spec.simulates:
            return {}
        coarse = CoarseGather(self.spec, ratio)
        return shot_methods(self, None if coarse.reason_against else coarse)

    def solve(
        self, velocity: Float[Array, "nz nx"], sources: Float[Array, "n 2"], simulation: Simulation
    ) -> Float[Array, "n 1 nt_stored n_receivers"]:
        """See `SolvedTask.solve`."""
        return recorded_gathers(self.spec, velocity, sources, simulation=simulation)[:, None]

    @property
    def points(self) -> np.ndarray:
        """See `SolvedTask.points`: the receivers `(n_receivers, 2)`."""
        return self.spec.receivers

    def errors(self, prediction: Float[Array, "batch 1 nt_stored n_receivers"], batch: Batch) -> dict[str, Any]:
        """See `Task.errors`: over all, the waveform SSIM, and the mean absolute error in units of the gather's rms."""
        target = jnp.asarray(batch["gathers"])
        rms = jnp.sqrt(jnp.mean(target**2, axis=(1, 2, 3)))
        return {
            "relative_l2": relative_l2(prediction, target),
            "ssim": waveform_ssim(prediction[:, 0], target[:, 0], self.spec.recording.gather_every),
            "mae": jnp.mean(jnp.abs(prediction - target), axis=(1, 2, 3)) / rms,
        }

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task.figures`."""
        width = self.spec.simulation.grid.extent[1]
        shown = {name: gather[0] for name, gather in predictions.items()}
        duration = float(stored_times(self.spec)[-1])
        return {"fields": figures.gathers(example["velocity"], example["gathers"][0], shown, (width, duration))}

    def data(self, prediction: Float[Array, "n 1 nt_stored n_receivers"], kind: str) -> Float[Array, "n n_times ..."]:
        """See `ForwardTask.data`."""
        return prediction[:, 0]

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`."""
        axes = "batch", "output", "times", "receivers"
        times, receivers = stored_times(self.spec).tolist(), self.spec.receivers.tolist()
        return {
            "velocity": velocity_entry(self.spec),
            "source": source_entry(self.spec),
            "gathers": pressure_entry(axes, times=times, receivers=receivers),
        }


@dataclass
class GatherConfig(TaskConfig):
    """Predict the gather of a shot from the velocity model and the position of the source.

    Attributes:
        name: Name of the task; chosen with `task=gather`.
    """

    name: str = Gather.name

    def create(self, spec: DataSpec) -> Gather:
        """See `TaskConfig.create`."""
        return Gather(spec)


def waveform_ssim(
    prediction: Float[Array, "batch nt_stored n_receivers"],
    target: Float[Array, "batch nt_stored n_receivers"],
    every: int,
) -> Float[Array, " batch"]:
    """Compute the SSIM of gathers at all time steps: of a / (2 rms) + 1/2, with a range of 1.

    As in the published evaluation of GFI (arXiv 2410.11247), but rms is that of each gather here, and the
    deviation over a data set there.

    Args:
        prediction: Predicted gathers `(batch, nt_stored, n_receivers)`.
        target: Gathers to compare with.
        every: Time steps between two stored samples.

    Returns:
        SSIM `(batch,)`.
    """
    scale = 2 * jnp.sqrt(jnp.mean(target**2, axis=(1, 2), keepdims=True))

    def image(gather: jax.Array) -> jax.Array:
        # Gathers are stored well above their Nyquist rate: what lies between the samples is known.
        dense = upsample(jnp.swapaxes(gather / scale, 1, 2), every)
        return jnp.swapaxes(dense, 1, 2) + 0.5

    return ssim(image(prediction), image(target))
