"""What several tasks have in common."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.checks import check_points, check_velocity
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY
from data_gen.solver.simulator import simulate
from surrogate import figures as plots
from surrogate.encodings.wavefield import Coarse
from surrogate.figures import Figure
from surrogate.metrics import errors as metrics
from surrogate.protocols import Batch, Method


def spatial_cycles(spec: DataSpec) -> tuple[float, float]:
    """The waves' largest wavenumbers along z and x, in cycles per domain: f_max L / v_min."""
    frequency, grid = HIGHEST_FREQUENCY * spec.simulation.peak_frequency, spec.simulation.grid
    nz, nx = grid.shape
    return frequency * nz * grid.spacing / spec.slowest, frequency * nx * grid.spacing / spec.slowest


class OnGrid:
    """A task that predicts on the model's own grid."""

    spec: DataSpec

    @property
    def shape(self) -> tuple[int, int]:
        """The grid."""
        return self.spec.simulation.grid.shape

    @property
    def cycles(self) -> tuple[float, float]:
        """k_max = f_max L / v_min, of the waves along z and x."""
        return spatial_cycles(self.spec)


class OfSnapshots(OnGrid):
    """A task that predicts the snapshots of a shot, behind those that it is given."""

    target: ClassVar[str] = "snapshots"
    given: ClassVar[int] = 0

    def methods(self) -> dict[str, Method]:
        """The coarse solver, interpolated to the grid, and the solver, both from the source on; compiled."""
        spec, coarse, given = self.spec, Coarse(self.spec), self.given

        @jax.jit
        def coarse_fields(velocity, source):
            return jax.vmap(lambda v, s: coarse(v, s).baseline[given:])(velocity, source)

        @jax.jit
        def fields(velocity, source):
            return jax.vmap(lambda v, s: spec.fields(v, s[None])[0, given:])(velocity, source)

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
        """See `Task`; of whole shots. The overview is half-way, or at the end, where a rollout has come furthest."""
        spacing, times = self.spec.simulation.grid.spacing, list(self.spec.simulation.snapshot_times[self.given :])
        truth, at = example["snapshots"], -1 if self.given else len(times) // 2
        shown = {name: field[at] for name, field in predictions.items()}
        return {
            "a_overview": plots.overview(example["velocity"], truth[at], shown, spacing),
            "fields": plots.snapshots(truth, predictions, times, spacing),
        }


def recorded(
    spec: DataSpec,
    velocity: Float[Array, "nz nx"],
    sources: Float[Array, "n_shots 2"],
    wavelet: Float[Array, " nt"] | None = None,
) -> Float[Array, "n_shots nt_stored n_receivers"]:
    """The gathers that the solver records in a model [m/s] of shots at `sources` [m], at the stored steps.

    wavelet: the data set's by default.
    """
    simulation = replace(spec.simulation, snapshot_steps=(), frequencies=())
    records = simulate(velocity, spec.survey(sources, wavelet), simulation, density=spec.density(velocity))
    return records.gathers[:, :: spec.recording.gather_every]


def check_one_wavelet(spec: DataSpec) -> None:
    """Raise `InputError` where each sample has a wavelet of its own, which no model is told."""
    if not spec.shots.one_wavelet:
        raise InputError(
            "A surrogate is told the model and the source's position, not its wavelet, so all samples must have "
            "the same: set data.peak_frequency_spread=0."
        )


def check_shots(batch: Batch, spec: DataSpec) -> None:
    """Raise `InputError` for velocities or sources that the solver would refuse."""
    check_velocity(np.asarray(batch["velocity"]), "The batch of velocity models")
    check_points(np.asarray(batch["source"]), "source", spec.simulation)
