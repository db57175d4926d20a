"""One sample of a data set: a velocity model, a source position, and what the solver records of them.

A sample is a pure function of (config, split, index): `key = fold_in(fold_in(key(seed), split), index)`. The three
splits are streams of their own, so they are disjoint by construction and growing one leaves the others alone.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from data_gen.acquisition import Survey, surface_line
from data_gen.checks import check_sampling
from data_gen.errors import InputError
from data_gen.grid import Grid, TimeAxis
from data_gen.simulation import Simulation
from data_gen.solver import simulate
from data_gen.velocity import Mixture, make_mixture
from data_gen.wavelets import ricker

SPLITS = ("train", "validation", "test")


@dataclass
class DataConfig:
    """What a user sets of a data set (Hydra's schema, hence mutable). `create()` checks and freezes it.

    path: where it is kept. train, validation, test: samples of each split. batch_size: samples simulated at once.
    families: weights and parameters of the families of velocity models. nz, nx [cells], spacing [m], nt, dt [s].
    peak_frequency: of the Ricker wavelet [Hz]. snapshot_times [s]. source_depths: shallowest and deepest source
    [m]; sources lie anywhere along the surface. receiver_depth [m], receiver_every [cells]. gather_every: of the
    time steps, which are stored. order: of the differences in space. absorbing_width [cells].
    """

    path: str = "data/demo"
    seed: int = 0
    train: int = 1000
    validation: int = 64
    test: int = 128
    shard_size: int = 64
    batch_size: int = 16
    families: dict[str, Any] = field(default_factory=dict)
    nz: int = 64
    nx: int = 64
    spacing: float = 10.0
    nt: int = 401
    dt: float = 1e-3
    peak_frequency: float = 15.0
    snapshot_times: list[float] = field(default_factory=list)
    source_depths: list[float] = field(default_factory=lambda: [0.0, 0.0])
    receiver_depth: float = 20.0
    receiver_every: int = 2
    gather_every: int = 4
    order: int = 8
    absorbing_width: int = 20

    def physics(self) -> dict[str, Any]:
        """The settings that decide what a given model and source record: those of the simulation."""
        elsewhere = ("path", "seed", "train", "validation", "test", "shard_size", "batch_size", "source_depths")
        return {name: value for name, value in asdict(self).items() if name not in elsewhere}

    def create(self) -> "DataSpec":
        """The checked, frozen description. Raises `InputError` for anything a simulation could not use.

        Warns with `DispersionWarning` if the slowest velocity has too few points per wavelength.
        """
        for name in (
            "train",
            "validation",
            "test",
            "shard_size",
            "batch_size",
            "receiver_every",
            "gather_every",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"data.{name} must be at least 1, but is {getattr(self, name)}.")
        mixture = make_mixture(self.families)
        steps = np.array(self.snapshot_times) / self.dt
        if not len(steps) or np.abs(steps - np.round(steps)).max() > 1e-3:
            raise InputError(
                f"Snapshot times must be multiples of dt = {self.dt} s, but data.snapshot_times is "
                f"{self.snapshot_times}."
            )
        simulation = Simulation(
            Grid((self.nz, self.nx), self.spacing),
            TimeAxis(self.nt, self.dt),
            mixture.max_velocity,
            self.peak_frequency,
            self.order,
            (self.absorbing_width, self.absorbing_width, self.absorbing_width, self.absorbing_width),
            tuple(int(step) for step in np.round(steps)),
        )
        check_sampling(simulation, mixture.min_velocity)
        depth, _ = simulation.grid.extent
        if len(self.source_depths) != 2 or not 0 <= self.source_depths[0] <= self.source_depths[1] <= depth:
            raise InputError(
                f"A source lies outside the grid: data.source_depths must be [shallowest, deepest] within 0 to "
                f"{depth:g} m, but is {self.source_depths}."
            )
        rows = self.receiver_depth / self.spacing
        if not 0 <= self.receiver_depth <= depth or abs(rows - round(rows)) > 1e-3:
            raise InputError(
                f"A receiver lies outside the grid or between its cells: data.receiver_depth must be a multiple of "
                f"{self.spacing:g} m within 0 to {depth:g} m, but is {self.receiver_depth:g} m."
            )
        first, last = (round(z / self.spacing) for z in self.source_depths)
        return DataSpec(
            seed=self.seed,
            mixture=mixture,
            simulation=simulation,
            source_rows=(first, last),
            receiver_row=round(self.receiver_depth / self.spacing),
            receiver_every=self.receiver_every,
            gather_every=self.gather_every,
        )


class Sample(NamedTuple):
    """One record. family: index into the mixture; source: position `(z, x)` [m]; velocity [m/s]."""

    family: Int[Array, "..."]
    velocity: Float[Array, "... nz nx"]
    source: Float[Array, "... 2"]
    snapshots: Float[Array, "... n_snapshots nz nx"]
    gather: Float[Array, "... nt_stored n_receivers"]


@dataclass(frozen=True)
class DataSpec:
    """What decides a sample's values: frozen and hashable."""

    seed: int
    mixture: Mixture
    simulation: Simulation
    source_rows: tuple[int, int]
    receiver_row: int
    receiver_every: int
    gather_every: int

    @cached_property
    def wavelet(self) -> np.ndarray:
        """The source's time function on the simulation's time axis, unit peak, `(nt,)`."""
        simulation = self.simulation
        return ricker(simulation.time, simulation.peak_frequency)

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

    def survey(self, sources) -> Survey:
        """The survey that fires this data set's wavelet at `sources` `(n, 2)` [m] into its receivers."""
        sources = jnp.asarray(sources)
        wavelets = jnp.broadcast_to(jnp.asarray(self.wavelet, sources.dtype), (len(sources), len(self.wavelet)))
        return Survey(sources, jnp.asarray(self.receivers, sources.dtype), wavelets)

    def key(self, split: int | Int[Array, ""], index: int | Int[Array, ""]) -> Key[Array, ""]:
        """The random key of one sample; split: its place in `SPLITS`."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), split), index)

    def draw(self, key: Key[Array, ""]) -> tuple[Float[Array, "nz nx"], Int[Array, ""], Float[Array, "2"]]:
        """Velocity model [m/s], family index and source position [m] of one sample, without its simulation."""
        model_key, row_key, column_key = jax.random.split(key, 3)
        grid = self.simulation.grid
        velocity, family = self.mixture(model_key, grid)
        row = jax.random.randint(row_key, (), self.source_rows[0], self.source_rows[1] + 1)
        column = jax.random.randint(column_key, (), 0, grid.shape[1])
        return velocity, family, grid.spacing * jnp.stack([row, column]).astype(velocity.dtype)

    def make(self, key: Key[Array, ""]) -> Sample:
        """Draw and simulate one sample; pure, so it can be jitted and vmapped over keys."""
        velocity, family, source = self.draw(key)
        records = simulate(velocity, self.survey(source[None]), self.simulation)
        return Sample(family, velocity, source, records.snapshots[0], records.gathers[0, :: self.gather_every])
