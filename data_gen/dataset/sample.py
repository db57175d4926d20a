"""Make one sample of a data set: a velocity model, its shots, and the records of their simulation.

A sample is a pure function of (config, split, index): `key = fold_in(fold_in(key(seed), split), index)`. The three
splits are separate random streams. They are therefore disjoint by construction, and enlarging one does not change the
others. A fourth stream, `ONLINE`, is endless and never written to disk.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, Key

from data_gen.dataset.recording import Recording
from data_gen.dataset.shots import Shots
from data_gen.solver.problem.acquisition import Survey, surface_line
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.simulator import simulate
from data_gen.velocity.base.reproducible import reproducible
from data_gen.velocity.density import gardner
from data_gen.velocity.directions import Directions
from data_gen.velocity.mixture import Mixture
from data_gen.velocity.water import WATER_VELOCITY, add_water

SPLITS = ("train", "validation", "test")
ONLINE = len(SPLITS)
DIRECTIONS = 2**16  # folded into a sample's key; keys of its draw are split off and do not collide


class Draw(NamedTuple):
    """Hold the random inputs of one sample, which are the first entries of its `Sample`.

    Attributes:
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density `(nz, nx)` [kg/m^3], or None if it is constant.
        family: Index of the velocity family in the mixture.
        sources: Positions `(z, x)` of the shots `(n_sources, 2)` [m].
        wavelet: Wavelet of all shots `(nt,)`.
    """

    velocity: Float[Array, "nz nx"]
    density: Float[Array, "nz nx"] | None
    family: Int[Array, ""]
    sources: Float[Array, "n_sources 2"]
    wavelet: Float[Array, " nt"]


class Sample(NamedTuple):
    """Hold one record of a data set; entries that the config leaves out are None.

    Each `_scale` is the factor by which stored float16 values are multiplied (`data_gen.dataset.recording`).

    Attributes:
        family: Index of the velocity family in the mixture.
        velocity: Velocity model `(nz, nx)` [m/s].
        density: Density `(nz, nx)` [kg/m^3].
        sources: Positions `(z, x)` of the shots `(n_sources, 2)` [m].
        receivers: Positions `(z, x)` of the receivers `(n_receivers, 2)` [m].
        wavelet: Wavelet of all shots `(nt,)`.
        snapshots: Pressure at the snapshot times `(n_sources, n_snapshots, nz, nx)`.
        snapshots_scale: Scale of the snapshots.
        gathers: Pressure at the receivers `(n_sources, nt_stored, n_receivers)`.
        gathers_scale: Scale of the gathers.
        harmonic: Real and imaginary part of the pressure's Fourier transform at the frequencies, which includes the
            wavelet's, `(n_sources, n_frequencies, 2, nz, nx)`.
        harmonic_scale: Scale of the time-harmonic fields.
        direction: Directions of change of the model `(n_directions, nz, nx)` [m/s].
        tangents: Derivatives of the snapshots along each direction
            `(n_sources, n_directions, n_snapshots, nz, nx)`.
        tangents_scale: Scale of the tangents.
    """

    family: Int[Array, "..."]
    velocity: Float[Array, "... nz nx"]
    density: Float[Array, "... nz nx"] | None
    sources: Float[Array, "... n_sources 2"]
    receivers: Float[Array, "... n_receivers 2"] | None
    wavelet: Float[Array, "... nt"]
    snapshots: Float[Array, "... n_sources n_snapshots nz nx"] | None = None
    snapshots_scale: Float[Array, "..."] | None = None
    gathers: Float[Array, "... n_sources nt_stored n_receivers"] | None = None
    gathers_scale: Float[Array, "..."] | None = None
    harmonic: Float[Array, "... n_sources n_frequencies 2 nz nx"] | None = None
    harmonic_scale: Float[Array, "..."] | None = None
    direction: Float[Array, "... n_directions nz nx"] | None = None
    tangents: Float[Array, "... n_sources n_directions n_snapshots nz nx"] | None = None
    tangents_scale: Float[Array, "..."] | None = None


def slowest_velocity(mixture: Mixture, water_depth: tuple[float, float] | None) -> float:
    """Compute the smallest velocity that a model can have, including water.

    Args:
        mixture: Families of velocity models.
        water_depth: Smallest and largest depth of the water [m], or None for no water.

    Returns:
        The velocity [m/s].
    """
    return mixture.min_velocity if water_depth is None else min(mixture.min_velocity, WATER_VELOCITY)


@dataclass(frozen=True)
class DataSpec:
    """Describe everything that determines the values of a sample; frozen and hashable.

    Attributes:
        seed: Seed of all random numbers.
        mixture: Families of velocity models.
        water_depth: Smallest and largest depth of a water layer [m], or None for no water.
        gardner: Whether density follows velocity by Gardner's rule; otherwise it is constant.
        simulation: Static part of the simulation.
        shots: Positions and wavelets of the shots.
        receiver_row: Row of the grid that holds the receivers.
        receiver_every: Distance between receivers [cells].
        recording: Selection and precision of the stored records.
    """

    seed: int
    mixture: Mixture
    water_depth: tuple[float, float] | None
    gardner: bool
    simulation: Simulation
    shots: Shots
    receiver_row: int
    receiver_every: int
    recording: Recording

    @property
    def slowest(self) -> float:
        """The smallest velocity that a model can have [m/s]."""
        return slowest_velocity(self.mixture, self.water_depth)

    @property
    def imported(self) -> bool:
        """Whether the records came from files, so that no others can be made (`data_gen.dataset.recorded`)."""
        return False

    @property
    def knows_wavelet(self) -> bool:
        """Whether the wavelet is known."""
        return True

    @property
    def knows_positions(self) -> bool:
        """Whether the positions of sources and receivers are known."""
        return True

    @property
    def simulates(self) -> bool:
        """Whether the solver can make the records of a model: the positions and the wavelet are known."""
        return self.knows_wavelet and self.knows_positions

    @cached_property
    def sources(self) -> np.ndarray | None:
        """The positions `(z, x)` of the shots `(n_sources, 2)` [m], or None if samples have different ones."""
        if self.shots.placement != "line" or self.shots.rows[0] != self.shots.rows[1]:
            return None
        columns = self.shots.columns(self.simulation.grid)
        return self.simulation.grid.spacing * np.stack([np.full_like(columns, self.shots.rows[0]), columns], axis=1)

    @cached_property
    def wavelet(self) -> np.ndarray:
        """The wavelet of the mean peak frequency on the simulation's time axis `(nt,)`, with unit peak."""
        return self.shots.nominal_wavelet(self.simulation.time)

    @property
    def peak_time(self) -> float:
        """The time at which the wavelet peaks [s]."""
        return float(np.argmax(np.abs(self.wavelet))) * self.simulation.time.dt

    @property
    def receiver_count(self) -> int:
        """The number of receivers."""
        return len(self.receivers)

    @cached_property
    def receivers(self) -> np.ndarray:
        """The positions `(z, x)` of the receivers `(n_receivers, 2)` [m]."""
        grid = self.simulation.grid
        return surface_line(grid, self.receiver_row * grid.spacing, self.receiver_every)

    @cached_property
    def receiver_columns(self) -> np.ndarray:
        """The places of the receivers along the surface, which ascend, `(n_receivers,)` [cells]."""
        return np.arange(0, self.simulation.grid.shape[1], self.receiver_every)

    @cached_property
    def receiver_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows and columns of the receivers, each `(n_receivers,)`."""
        columns = np.arange(0, self.simulation.grid.shape[1], self.receiver_every)
        return np.full_like(columns, self.receiver_row), columns

    def survey(self, sources, wavelet=None, *, receivers: bool = True) -> Survey:
        """Make a survey in which all shots have one wavelet.

        Args:
            sources: Positions `(z, x)` of the shots `(n_sources, 2)` [m].
            wavelet: Wavelet `(nt,)`; by default that of the mean peak frequency.
            receivers: Whether the survey has receivers.

        Returns:
            The survey.
        """
        sources = jnp.asarray(sources)
        wavelet = jnp.asarray(self.wavelet if wavelet is None else wavelet, sources.dtype)
        into = self.receivers if receivers else np.zeros((0, 2))
        wavelets = jnp.broadcast_to(wavelet, (len(sources), len(wavelet)))
        return Survey(sources, jnp.asarray(into, sources.dtype), wavelets)

    def density(self, velocity) -> Float[Array, "nz nx"] | None:
        """Compute the density of a velocity model.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].

        Returns:
            Density `(nz, nx)` [kg/m^3], or None if it is constant.
        """
        return gardner(jnp.asarray(velocity)) if self.gardner else None

    def fields(self, velocity, sources, wavelet=None) -> Float[Array, "n_sources n_snapshots nz nx"]:
        """Simulate the snapshots of shots in one model, without gathers.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            sources: Positions `(z, x)` of the shots `(n_sources, 2)` [m].
            wavelet: Wavelet of all shots `(nt,)`; by default that of the mean peak frequency.

        Returns:
            Pressure at the snapshot times `(n_sources, n_snapshots, nz, nx)`.
        """
        survey = self.survey(sources, wavelet, receivers=False)
        simulation = replace(self.simulation, frequencies=())
        return simulate(velocity, survey, simulation, density=self.density(velocity)).snapshots

    def directions(
        self, key: Key[Array, ""], velocity: Float[Array, "nz nx"], count: int
    ) -> Float[Array, "n_directions nz nx"]:
        """Draw smooth random directions of change about a model (`data_gen.velocity.directions`).

        Args:
            key: Random key of the directions.
            velocity: Velocity model `(nz, nx)` [m/s].
            count: Number of directions.

        Returns:
            Directions `(n_directions, nz, nx)` [m/s].
        """
        length = self.slowest / (4 * self.simulation.peak_frequency)
        return Directions(length).draw(key, velocity, count, self.simulation.grid)

    def tangents(
        self, velocity, sources, direction: Float[Array, "n_directions nz nx"], wavelet=None
    ) -> Float[Array, "n_sources n_directions n_snapshots nz nx"]:
        """Differentiate the snapshots with respect to the model, including its density, along each direction.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].
            sources: Positions `(z, x)` of the shots `(n_sources, 2)` [m].
            direction: Directions `(n_directions, nz, nx)` [m/s].
            wavelet: Wavelet of all shots `(nt,)`; by default that of the mean peak frequency.

        Returns:
            Derivatives `(n_sources, n_directions, n_snapshots, nz, nx)`.
        """

        def along(direction):
            return jax.jvp(lambda model: self.fields(model, sources, wavelet), (velocity,), (direction,))[1]

        return jax.vmap(along, out_axes=1)(direction)

    def key(self, split: int | Integer[Array, ""], index: int | Integer[Array, ""]) -> Key[Array, ""]:
        """Compute the random key of one sample.

        Args:
            split: Index of the split in `SPLITS`, or `ONLINE`.
            index: Index of the sample in its split.

        Returns:
            The key.
        """
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), split), index)

    @reproducible
    def draw(self, key: Key[Array, ""]) -> Draw:
        """Draw the model, the shots and the wavelet of one sample, without its simulation.

        Args:
            key: Random key of the sample.

        Returns:
            The random inputs of the sample.
        """
        model_key, row_key, column_key, water_key, wavelet_key = jax.random.split(key, 5)
        grid = self.simulation.grid
        velocity, family = self.mixture(model_key, grid)
        if self.water_depth is not None:
            velocity = add_water(water_key, velocity, grid, self.water_depth)
        sources = self.shots.positions(row_key, column_key, grid)
        wavelet = self.shots.wavelet(wavelet_key, self.simulation.time)
        return Draw(velocity, self.density(velocity), family, sources, wavelet)

    def make(self, key: Key[Array, ""]) -> Sample:
        """Draw and simulate one sample. The function is pure and can be jitted and vmapped over keys.

        Args:
            key: Random key of the sample.

        Returns:
            The record as it is stored.
        """
        drawn, kinds = self.draw(key), self.recording.kinds
        survey = self.survey(drawn.sources, drawn.wavelet, receivers="gathers" in kinds)
        records = simulate(drawn.velocity, survey, self.simulation, density=drawn.density)
        kept = {
            "snapshots": records.snapshots,
            "gathers": records.gathers[:, :: self.recording.gather_every],
            "harmonic": jnp.stack([records.harmonic.real, records.harmonic.imag], axis=2),
        }
        direction = self.recorded_directions(key, drawn.velocity)
        if direction is not None:
            kept["tangents"] = self.tangents(drawn.velocity, drawn.sources, direction, drawn.wavelet)
        stored = self.recording.encode({kind: kept[kind] for kind in kinds})
        receivers = survey.receivers if "gathers" in kinds else None
        return Sample(**drawn._asdict(), receivers=receivers, direction=direction, **stored)

    def recorded_directions(
        self, key: Key[Array, ""], velocity: Float[Array, "nz nx"]
    ) -> Float[Array, "n_directions nz nx"] | None:
        """Draw the directions along which the tangents of a sample are recorded.

        Args:
            key: Random key of the sample.
            velocity: Velocity model of the sample `(nz, nx)` [m/s].

        Returns:
            Directions `(n_directions, nz, nx)` [m/s], or None if no tangents are recorded.
        """
        if "tangents" not in self.recording.kinds:
            return None
        return self.directions(jax.random.fold_in(key, DIRECTIONS), velocity, self.recording.directions)
