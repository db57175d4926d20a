"""Predict wavefields: the velocity and the source's position to the pressure at the snapshot times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from surrogate.tasks.base import ShotInputs, TaskConfig
from surrogate.tasks.common import SnapshotTask, check_one_wavelet, check_recorded, family_of
from surrogate.tasks.signature import SNAPSHOTS, pressure_entry, source_entry, velocity_entry


@dataclass(frozen=True)
class Wavefield(ShotInputs, SnapshotTask):
    """Predict snapshots; see `Task`. Raises `InputError` for data without snapshots, or with several wavelets.

    Attributes:
        spec: Description of the data set.
    """

    spec: DataSpec

    name: ClassVar[str] = "wavefield"
    other_grids: ClassVar[bool] = True
    data_kinds: ClassVar[tuple[str, ...]] = ("wavefield", "gather")

    def __post_init__(self):
        check_recorded(self.name, "snapshots", self.spec)
        check_one_wavelet(self.spec)

    @property
    def outputs(self) -> int:
        """One for each snapshot."""
        return len(self.spec.simulation.snapshot_steps)

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task.read`: velocity `(nz, nx)` [m/s], source `(2,)` [m], snapshots `(n_snapshots, nz, nx)`.

        Also family, an index into the mixture, which no model reads, if the data have it; and where tangents are
        recorded direction `(n_directions, nz, nx)` [m/s] and, along each, tangents.
        """
        example = {
            "velocity": record["velocity"],
            "source": record["sources"][index],
            "snapshots": decode(record, "snapshots", index),
            **family_of(record),
        }
        if "tangents" in record:
            example |= {"direction": record["direction"], "tangents": decode(record, "tangents", index)}
        return example

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task.make` and `read`."""
        spec, drawn = self.spec, self.spec.draw(key)
        source = drawn.sources[index]
        snapshots = spec.fields(drawn.velocity, source[None], drawn.wavelet)[0]
        example = {"velocity": drawn.velocity, "source": source, "snapshots": snapshots}
        example |= {"family": drawn.family.astype(jnp.int32)}
        direction = spec.recorded_directions(key, drawn.velocity)
        if direction is not None:
            tangents = spec.tangents(drawn.velocity, source[None], direction, drawn.wavelet)[0]
            example |= {"direction": direction, "tangents": tangents}
        return example

    @property
    def data_steps(self) -> tuple[int, ...]:
        """Steps of the snapshots."""
        return self.spec.simulation.snapshot_steps

    def data(self, prediction: Float[Array, "n n_snapshots nz nx"], kind: str) -> Float[Array, "n n_snapshots ..."]:
        """See `ForwardTask.data`; a gather is the field at the receivers."""
        if kind == "wavefield":
            return prediction
        rows, columns = self.spec.receiver_cells
        return prediction[:, :, rows, columns]

    def signature(self) -> dict[str, dict[str, Any]]:
        """See `Task.signature`."""
        times = self.spec.simulation.snapshot_times.tolist()
        return {
            "velocity": velocity_entry(self.spec),
            "source": source_entry(self.spec),
            "snapshots": pressure_entry(SNAPSHOTS, times=times),
        }


@dataclass
class WavefieldConfig(TaskConfig):
    """Predict the snapshots of a shot from the velocity model and the position of the source.

    Attributes:
        name: Name of the task; chosen with `task=wavefield`.
    """

    name: str = Wavefield.name

    def create(self, spec: DataSpec) -> Wavefield:
        """See `TaskConfig.create`."""
        return Wavefield(spec)
