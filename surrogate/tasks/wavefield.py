"""Wavefields: the velocity and the source's position to the pressure at the snapshot times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key
from matplotlib.figure import Figure

from data_gen.errors import InputError
from data_gen.recording import decode
from data_gen.sample import DataSpec
from surrogate import metrics, plots
from surrogate.coarse_grid import coarse_simulation
from surrogate.encoding import Background, Coarse, SourceMap
from surrogate.task import Batch, Encoding, Method
from surrogate.tasks.shared import OnGrid, check_one_wavelet, check_shots


@dataclass(frozen=True)
class Wavefield(OnGrid):
    """See `Task`. Raises `InputError` for data without snapshots, or that no encoding could serve."""

    spec: DataSpec

    name: ClassVar[str] = "wavefield"
    inputs: ClassVar[tuple[str, ...]] = ("velocity", "source")
    target: ClassVar[str] = "snapshots"

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

    def methods(self) -> dict[str, Method]:
        """The coarse solver, interpolated to the grid, and the solver; compiled."""
        spec, coarse = self.spec, Coarse(self.spec)

        @jax.jit
        def coarse_fields(velocity, source):
            return jax.vmap(lambda v, s: coarse(v, s).baseline)(velocity, source)

        @jax.jit
        def fields(velocity, source):
            return jax.vmap(lambda v, s: spec.fields(v, s[None])[0])(velocity, source)

        return {
            "coarse_solver": lambda batch: coarse_fields(batch["velocity"], batch["source"]),
            "solver": lambda batch: fields(batch["velocity"], batch["source"]),
        }

    def errors(self, prediction: jax.Array, batch: Batch) -> dict[str, Any]:
        """See `Task`: over all, at each snapshot, by band of wavenumbers, and at the receivers."""
        rows, columns = self.spec.receiver_cells
        truth = jnp.asarray(batch["snapshots"])
        return {
            "relative_l2": metrics.relative_l2(prediction, truth),
            "per_snapshot": metrics.relative_l2_per_snapshot(prediction, truth),
            "bands": metrics.band_errors(prediction, truth),
            "gather_misfit": metrics.relative_l2(prediction[:, :, rows, columns], truth[:, :, rows, columns]),
        }

    def figures(self, example: Batch, predictions: Mapping[str, np.ndarray]) -> dict[str, Figure]:
        """See `Task`."""
        spacing, times = self.spec.simulation.grid.spacing, list(self.spec.simulation.snapshot_times)
        truth, middle = example["snapshots"], len(times) // 2
        shown = {name: field[middle] for name, field in predictions.items()}
        return {
            "a_overview": plots.overview(example["velocity"], truth[middle], shown, spacing),
            "fields": plots.snapshots(truth, predictions, times, spacing),
        }
