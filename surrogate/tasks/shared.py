"""What several tasks have in common."""

from dataclasses import replace

import numpy as np
from jaxtyping import Array, Float

from data_gen.checks import check_points, check_velocity
from data_gen.errors import InputError
from data_gen.sample import DataSpec
from data_gen.simulation import HIGHEST_FREQUENCY
from data_gen.solver import simulate
from surrogate.task import Batch


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
