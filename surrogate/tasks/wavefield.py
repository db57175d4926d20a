"""Wavefields: the velocity and the source's position to the pressure at the snapshot times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key
from matplotlib.figure import Figure

from data_gen.checks import check_points, check_velocity
from data_gen.errors import InputError
from data_gen.recording import decode
from data_gen.sample import DataSpec
from data_gen.simulation import HIGHEST_FREQUENCY
from surrogate import metrics, plots
from surrogate.encoding import Background, Coarse, SourceMap, coarse_simulation
from surrogate.task import Batch, Encoding, Method


@dataclass(frozen=True)
class Wavefield:
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
    def shape(self) -> tuple[int, int]:
        """The grid."""
        return self.spec.simulation.grid.shape

    @property
    def cycles(self) -> tuple[float, float]:
        """k_max = f_max L / v_min."""
        return spatial_cycles(self.spec)

    @property
    def examples(self) -> int:
        """One for each shot."""
        return self.spec.shots.count

    def read(self, record: Mapping[str, Any], index: int) -> dict[str, np.ndarray]:
        """See `Task`: velocity `(nz, nx)` [m/s], source `(2,)` [m], snapshots `(n_snapshots, nz, nx)`."""
        return {
            "velocity": record["velocity"],
            "source": record["sources"][index],
            "snapshots": decode(record, "snapshots", index),
        }

    def make(self, key: Key[Array, ""], index: Int[Array, ""]) -> dict[str, jax.Array]:
        """See `Task` and `read`."""
        drawn = self.spec.draw(key)
        source = drawn.sources[index]
        snapshots = self.spec.fields(drawn.velocity, source[None], drawn.wavelet)[0]
        return {"velocity": drawn.velocity, "source": source, "snapshots": snapshots}

    def check(self, batch: Batch) -> None:
        """Raise `InputError` for velocities or sources that the solver would refuse."""
        check_velocity(np.asarray(batch["velocity"]), "The batch of velocity models")
        check_points(np.asarray(batch["source"]), "source", self.spec.simulation)

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


def check_one_wavelet(spec: DataSpec) -> None:
    """Raise `InputError` where each sample has a wavelet of its own, which no model is told."""
    if not spec.shots.one_wavelet:
        raise InputError(
            "A surrogate is told the model and the source's position, not its wavelet, so all samples must have "
            "the same: set data.peak_frequency_spread=0."
        )


def spatial_cycles(spec: DataSpec) -> tuple[float, float]:
    """The waves' largest wavenumbers along z and x, in cycles per domain: f_max L / v_min."""
    frequency, grid = HIGHEST_FREQUENCY * spec.simulation.peak_frequency, spec.simulation.grid
    nz, nx = grid.shape
    return frequency * nz * grid.spacing / spec.slowest, frequency * nx * grid.spacing / spec.slowest
