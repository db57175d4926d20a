"""Wavefields: the velocity and the source's position to the pressure at the snapshot times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from data_gen.common.errors import InputError
from data_gen.dataset.recording import decode
from data_gen.dataset.sample import DataSpec
from surrogate.encodings.coarse_solver import coarse_simulation
from surrogate.encodings.wavefield import Background, Coarse, SourceMap
from surrogate.protocols import Batch, Encoding
from surrogate.tasks.common import OfSnapshots, check_one_wavelet, check_shots


@dataclass(frozen=True)
class Wavefield(OfSnapshots):
    """See `Task`. Raises `InputError` for data without snapshots, or that no encoding could serve."""

    spec: DataSpec

    name: ClassVar[str] = "wavefield"
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")

    def __post_init__(self):
        if not self.spec.simulation.snapshot_steps:
            raise InputError(
                "A wavefield surrogate learns snapshots, but this data set has none: its data.records must hold "
                "snapshots."
            )
        check_one_wavelet(self.spec)
        # Whatever the operator sees, the coarse solver is what its evaluation stands beside.
        coarse_simulation(self.spec.simulation)

    @property
    def outputs(self) -> int:
        """One for each snapshot."""
        return len(self.spec.simulation.snapshot_steps)

    @property
    def examples(self) -> int:
        """One for each shot."""
        return self.spec.shots.count

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task`: velocity `(nz, nx)` [m/s], source `(2,)` [m], snapshots `(n_snapshots, nz, nx)`.

        Where tangents are recorded also direction `(n_directions, nz, nx)` [m/s] and, along each, tangents.
        """
        example = {
            "velocity": record["velocity"],
            "source": record["sources"][index],
            "snapshots": decode(record, "snapshots", index),
        }
        if "tangents" in record:
            example |= {"direction": record["direction"], "tangents": decode(record, "tangents", index)}
        return example

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task` and `read`."""
        spec, drawn = self.spec, self.spec.draw(key)
        source = drawn.sources[index]
        snapshots = spec.fields(drawn.velocity, source[None], drawn.wavelet)[0]
        example = {"velocity": drawn.velocity, "source": source, "snapshots": snapshots}
        direction = spec.recorded_directions(key, drawn.velocity)
        if direction is not None:
            tangents = spec.tangents(drawn.velocity, source[None], direction, drawn.wavelet)[0]
            example |= {"direction": direction, "tangents": tangents}
        return example

    def check(self, batch: Batch) -> None:
        """Raise `InputError` for velocities or sources that the solver would refuse."""
        check_shots(batch, self.spec)

    def encoding(self, name: str, *, radius: float, velocity: float) -> Encoding:
        """source_map, background or coarse; see encoding.py."""
        makers = {
            "source_map": lambda: SourceMap(self.spec, radius),
            "background": lambda: Background.simulated(self.spec, velocity),
            "coarse": lambda: Coarse(self.spec),
        }
        if name not in makers:
            raise InputError(f"encoding.name must be {', '.join(makers)} for wavefields, but is {name!r}.")
        return makers[name]()
