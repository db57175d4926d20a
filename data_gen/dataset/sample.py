"""One sample of a data set: a velocity model, the shots fired into it, and what the solver records of them.

A sample is a pure function of (config, split, index): `key = fold_in(fold_in(key(seed), split), index)`. The three
splits are streams of their own, so they are disjoint by construction and growing one leaves the others alone; a fourth
stream, `ONLINE`, has no end and is never written.
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
DIRECTIONS = 2**16  # folded into a sample's key: far from what its draw splits off


class Draw(NamedTuple):
    """What is drawn for one sample, before its simulation: the first entries of its `Sample`."""

    velocity: Float[Array, "nz nx"]
    density: Float[Array, "nz nx"] | None
    family: Int[Array, ""]
    sources: Float[Array, "n_sources 2"]
    wavelet: Float[Array, " nt"]


class Sample(NamedTuple):
    """One record; None is what the config leaves out.

    family: index into the mixture of families. velocity [m/s], density [kg/m^3]. sources, receivers: positions `(z, x)`
    [m]. wavelet: shared by the shots. snapshots: the pressure at the snapshot times; gathers: at the receivers;
    harmonic: real and imaginary part of its Fourier transform at the frequencies, the wavelet's included (see
    harmonic.py); tangents: the snapshots' derivatives along each direction [m/s]; each with what its float16 values are
    to be multiplied with (see recording.py).
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
    """The smallest velocity that a model can have [m/s], water included."""
    return mixture.min_velocity if water_depth is None else min(mixture.min_velocity, WATER_VELOCITY)


@dataclass(frozen=True)
class DataSpec:
    """What decides a sample's values: frozen and hashable.

    water_depth: least and largest [m], or None. gardner: whether the density follows the velocity (else constant).
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

    @cached_property
    def wavelet(self) -> np.ndarray:
        """The nominal time function of a source on the simulation's time axis, unit peak, `(nt,)`."""
        return self.shots.nominal_wavelet(self.simulation.time)

    @cached_property
    def receivers(self) -> np.ndarray:
        """Receiver positions `(n_receivers, 2)` [m]."""
        grid = self.simulation.grid
        return surface_line(grid, self.receiver_row * grid.spacing, self.receiver_every)

    @cached_property
    def receiver_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the receivers."""
        columns = np.arange(0, self.simulation.grid.shape[1], self.receiver_every)
        return np.full_like(columns, self.receiver_row), columns

    def survey(self, sources, wavelet=None, *, receivers: bool = True) -> Survey:
        """The survey that fires a wavelet `(nt,)`, the nominal one by default, at `sources` `(n, 2)` [m]."""
        sources = jnp.asarray(sources)
        wavelet = jnp.asarray(self.wavelet if wavelet is None else wavelet, sources.dtype)
        into = self.receivers if receivers else np.zeros((0, 2))
        wavelets = jnp.broadcast_to(wavelet, (len(sources), len(wavelet)))
        return Survey(sources, jnp.asarray(into, sources.dtype), wavelets)

    def density(self, velocity) -> Float[Array, "nz nx"] | None:
        """The density [kg/m^3] that goes with a velocity model `(nz, nx)` [m/s]; None where it is constant."""
        return gardner(jnp.asarray(velocity)) if self.gardner else None

    def fields(self, velocity, sources, wavelet=None) -> Float[Array, "n_sources n_snapshots nz nx"]:
        """The snapshots of shots at `sources` `(n, 2)` [m] in one model `(nz, nx)` [m/s], without gathers."""
        survey = self.survey(sources, wavelet, receivers=False)
        simulation = replace(self.simulation, frequencies=())
        return simulate(velocity, survey, simulation, density=self.density(velocity)).snapshots

    def directions(
        self, key: Key[Array, ""], velocity: Float[Array, "nz nx"], count: int
    ) -> Float[Array, "n_directions nz nx"]:
        """Smooth random directions of change [m/s] about a model `(nz, nx)` [m/s]; see tangents.py."""
        length = self.slowest / (4 * self.simulation.peak_frequency)
        return Directions(length).draw(key, velocity, count, self.simulation.grid)

    def tangents(
        self, velocity, sources, direction: Float[Array, "n_directions nz nx"], wavelet=None
    ) -> Float[Array, "n_sources n_directions n_snapshots nz nx"]:
        """Derivatives of `fields` with respect to the model, density included, along each direction [m/s]."""

        def along(direction):
            return jax.jvp(lambda model: self.fields(model, sources, wavelet), (velocity,), (direction,))[1]

        return jax.vmap(along, out_axes=1)(direction)

    def key(self, split: int | Integer[Array, ""], index: int | Integer[Array, ""]) -> Key[Array, ""]:
        """The random key of one sample; split: its place in `SPLITS`, or `ONLINE`."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), split), index)

    @reproducible
    def draw(self, key: Key[Array, ""]) -> Draw:
        """Model, shots and wavelet of one sample, without its simulation."""
        model_key, row_key, column_key, water_key, wavelet_key = jax.random.split(key, 5)
        grid = self.simulation.grid
        velocity, family = self.mixture(model_key, grid)
        if self.water_depth is not None:
            velocity = add_water(water_key, velocity, grid, self.water_depth)
        sources = self.shots.positions(row_key, column_key, grid)
        wavelet = self.shots.wavelet(wavelet_key, self.simulation.time)
        return Draw(velocity, self.density(velocity), family, sources, wavelet)

    def make(self, key: Key[Array, ""]) -> Sample:
        """Draw and simulate one sample; pure, so it can be jitted and vmapped over keys."""
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
        """The directions [m/s] of the sample of `key`, of this model; None where no tangents are recorded."""
        if "tangents" not in self.recording.kinds:
            return None
        return self.directions(jax.random.fold_in(key, DIRECTIONS), velocity, self.recording.directions)
