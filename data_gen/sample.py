"""One sample of a data set: a velocity model, the shots fired into it, and what the solver records of them.

A sample is a pure function of (config, split, index): `key = fold_in(fold_in(key(seed), split), index)`. The three
splits are streams of their own, so they are disjoint by construction and growing one leaves the others alone; a fourth
stream, `ONLINE`, has no end and is never written.
"""

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, Key

from data_gen.acquisition import Survey, surface_line
from data_gen.checks import check_sampling
from data_gen.errors import InputError
from data_gen.grid import Grid, TimeAxis
from data_gen.recording import Recording, make_recording
from data_gen.shots import Shots, make_shots
from data_gen.simulation import Simulation, check_cfl
from data_gen.solver import simulate
from data_gen.velocity import Mixture, make_mixture, pin_files
from data_gen.velocity.gardner import gardner
from data_gen.velocity.isolated import isolated
from data_gen.velocity.water import WATER_VELOCITY, add_water

SPLITS = ("train", "validation", "test")
ONLINE = len(SPLITS)
DENSITIES = ("none", "gardner")
READ_FROM = ("disk", "online")


@dataclass
class DataConfig:
    """What a user sets of a data set (Hydra's schema, hence mutable). `create()` checks and freezes it.

    path: where it is kept. source: what training reads: disk, or online, samples that the solver makes as they are
    used; validation and test come from disk either way. train (none for online training), validation, test: samples of
    each split. batch_size: samples simulated at once.
    families: weights and parameters of the families of velocity models. water_depth: `[least, largest]` [m] of a layer
    of water over them. density: none (constant), or gardner. nz, nx [cells], spacing [m], nt, dt [s].
    sources: shots of each sample, placed random or in a line, in source_depths: `[shallowest, deepest]` [m].
    peak_frequency: of the Ricker wavelet [Hz], each sample's drawn up to peak_frequency_spread [Hz] from it.
    receiver_depth [m], receiver_every [cells]: the line of receivers.
    records: of snapshots, gathers and harmonic (time-harmonic fields). snapshot_times [s]. gather_every: of the time
    steps, which are stored. frequencies: of the time-harmonic fields [Hz].
    precision: float32 or float16, of the records. order: of the differences in space. absorbing_width [cells].
    free_surface: on top, in place of the absorbing cells. substeps: of the solver in each step of dt.
    """

    path: str = "data/demo"
    source: str = "disk"
    seed: int = 0
    train: int = 1000
    validation: int = 64
    test: int = 128
    shard_size: int = 64
    batch_size: int = 16
    families: dict[str, Any] = field(default_factory=dict)
    water_depth: list[float] | None = None
    density: str = "none"
    nz: int = 64
    nx: int = 64
    spacing: float = 10.0
    nt: int = 401
    dt: float = 1e-3
    sources: int = 1
    placement: str = "random"
    source_depths: list[float] = field(default_factory=lambda: [0.0, 0.0])
    peak_frequency: float = 15.0
    peak_frequency_spread: float = 0.0
    receiver_depth: float = 20.0
    receiver_every: int = 2
    records: list[str] = field(default_factory=lambda: ["snapshots", "gathers"])
    snapshot_times: list[float] = field(default_factory=list)
    gather_every: int = 4
    frequencies: list[float] = field(default_factory=list)
    precision: str = "float32"
    order: int = 8
    absorbing_width: int = 20
    free_surface: bool = False
    substeps: int = 1

    def identity(self) -> dict[str, Any]:
        """What decides the records: everything but where and in which pieces they are kept, and how they are read.

        Files of velocity models are told by their contents.
        """
        elsewhere = ("path", "source", "shard_size", "batch_size")
        plain = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        return plain | {"families": pin_files(self.families)}

    def physics(self) -> dict[str, Any]:
        """The settings that decide what a given model and source record: those of the simulation."""
        drawn = {"seed", *SPLITS, "water_depth", "sources", "placement", "source_depths", "peak_frequency_spread"}
        stored = {"records", "gather_every", "precision"}
        return {name: value for name, value in self.identity().items() if name not in drawn | stored}

    def create(self) -> "DataSpec":
        """The checked, frozen description. Raises `InputError` for anything a simulation could not use.

        Warns with `DispersionWarning` if the slowest velocity has too few points per wavelength.
        """
        self._check_counts()
        mixture, simulation = make_mixture(self.families), self._simulation()
        water = self._water(simulation.grid)
        slowest = slowest_velocity(mixture, water)
        if self.density == "gardner":
            light, heavy = np.asarray(gardner(jnp.array([[slowest, mixture.max_velocity]])))[0]
            # The stiffest cell there can be: the heaviest rock among the lightest (see checks.largest_local_velocity).
            stiffest = mixture.max_velocity * float(np.sqrt(2 * heavy / (heavy + light)))
            check_cfl(simulation, stiffest, staggered=True)
        shots = make_shots(
            self.sources,
            self.placement,
            self.source_depths,
            self.peak_frequency,
            self.peak_frequency_spread,
            simulation.grid,
            free_surface=self.free_surface,
        )
        check_sampling(simulation, slowest)
        recording = make_recording(
            self.records,
            self.gather_every,
            self.precision,
            dt=self.dt,
            peak_frequency=simulation.peak_frequency,
            frequencies=self.frequencies,
        )
        return DataSpec(
            seed=self.seed,
            mixture=mixture,
            water_depth=water,
            gardner=self.density == "gardner",
            simulation=simulation,
            shots=shots,
            receiver_row=self._receiver_row(simulation.grid),
            receiver_every=self.receiver_every,
            recording=recording,
        )

    def _check_counts(self) -> None:
        for name in ("validation", "test", "shard_size", "batch_size", "receiver_every"):
            if getattr(self, name) < 1:
                raise InputError(f"data.{name} must be at least 1, but is {getattr(self, name)}.")
        if self.train < 0:
            raise InputError(f"data.train must be at least 0 (none, for online training), but is {self.train}.")
        for name, known in (("source", READ_FROM), ("density", DENSITIES)):
            if getattr(self, name) not in known:
                raise InputError(f"data.{name} must be one of {', '.join(known)}, but is {getattr(self, name)!r}.")

    def _simulation(self) -> Simulation:
        steps = np.array(self.snapshot_times if "snapshots" in self.records else []) / self.dt
        if ("snapshots" in self.records and not len(steps)) or np.abs(steps - np.round(steps)).max(initial=0) > 1e-3:
            raise InputError(
                f"Snapshots need times, multiples of dt = {self.dt} s, but data.snapshot_times is "
                f"{self.snapshot_times}. Set them, or record gathers only: data.records=[gathers]."
            )
        width = self.absorbing_width
        return Simulation(
            Grid((self.nz, self.nx), self.spacing),
            TimeAxis(self.nt, self.dt),
            make_mixture(self.families).max_velocity,
            self.peak_frequency + self.peak_frequency_spread,
            self.order,
            (0 if self.free_surface else width, width, width, width),
            tuple(int(step) for step in np.round(steps)),
            substeps=self.substeps,
            free_surface=self.free_surface,
            frequencies=tuple(self.frequencies) if "harmonic" in self.records else (),
        )

    def _water(self, grid: Grid) -> tuple[float, float] | None:
        depths, bottom = self.water_depth, grid.extent[0]
        if depths is None:
            return None
        if len(depths) != 2 or not 0 <= depths[0] <= depths[1] <= bottom:
            raise InputError(
                f"data.water_depth must be null, or [least, largest] within 0 to {bottom:g} m, but is {list(depths)}."
            )
        return depths[0], depths[1]

    def _receiver_row(self, grid: Grid) -> int:
        rows, depth = self.receiver_depth / self.spacing, grid.extent[0]
        if not 0 <= self.receiver_depth <= depth or abs(rows - round(rows)) > 1e-3:
            raise InputError(
                f"A receiver lies outside the grid or between its cells: data.receiver_depth must be a multiple of "
                f"{self.spacing:g} m within 0 to {depth:g} m, but is {self.receiver_depth:g} m."
            )
        if self.free_surface and round(rows) == 0:
            raise InputError(
                "Receivers on the free surface record nothing, as p = 0 there: data.receiver_depth must be at least "
                f"{self.spacing:g} m, but is {self.receiver_depth:g} m."
            )
        return round(rows)


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
    harmonic.py); each with what its float16 values are to be multiplied with (see recording.py).
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

    def key(self, split: int | Integer[Array, ""], index: int | Integer[Array, ""]) -> Key[Array, ""]:
        """The random key of one sample; split: its place in `SPLITS`, or `ONLINE`."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), split), index)

    @isolated
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
        stored = self.recording.encode({kind: kept[kind] for kind in kinds})
        return Sample(**drawn._asdict(), receivers=survey.receivers if "gathers" in kinds else None, **stored)
