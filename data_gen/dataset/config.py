"""The config of a data set, and its way into a checked, frozen `DataSpec`."""

from dataclasses import asdict, dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.dataset.recording import make_recording
from data_gen.dataset.sample import SPLITS, DataSpec, slowest_velocity
from data_gen.dataset.shots import make_shots
from data_gen.solver.problem.checks import check_sampling
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation, check_cfl
from data_gen.velocity.density import gardner
from data_gen.velocity.registry import make_mixture, pin_files

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
    records: of snapshots, gathers, harmonic (time-harmonic fields) and tangents (of the snapshots, see tangents.py).
    snapshot_times [s]. gather_every: of the time steps, which are stored. frequencies: of the time-harmonic fields
    [Hz]. directions: of each sample, along which tangents are taken.
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
    directions: int = 1
    precision: str = "float32"
    order: int = 8
    absorbing_width: int = 20
    free_surface: bool = False
    substeps: int = 1

    def identity(self) -> dict[str, Any]:
        """What decides the records: everything but where and in which pieces they are kept, and how they are read.

        Files of velocity models are told by their contents. What only tangents need is left out where there are none:
        data sets from before there were any are still themselves.
        """
        elsewhere = ("path", "source", "shard_size", "batch_size")
        if "tangents" not in self.records:
            elsewhere += ("directions",)
        plain = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        return plain | {"families": pin_files(self.families)}

    def physics(self) -> dict[str, Any]:
        """The settings that decide what a given model and source record: those of the simulation."""
        drawn = {"seed", *SPLITS, "water_depth", "sources", "placement", "source_depths", "peak_frequency_spread"}
        stored = {"records", "gather_every", "precision", "directions"}
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
            directions=self.directions,
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
