"""Configure a data set, and turn the config into a checked, frozen `DataSpec`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.common.plain import SEEDS
from data_gen.common.ranges import check_fields, ranged
from data_gen.dataset.recorded import HALF_WIDTH, RecordedConfig
from data_gen.dataset.recording import PRECISIONS, RECORDS, Recording, make_recording
from data_gen.dataset.sample import SPLITS, DataSpec, slowest_velocity
from data_gen.dataset.shots import PLACEMENTS, make_shots
from data_gen.solver.accuracy import simulation_for_error
from data_gen.solver.error_law import WITHIN
from data_gen.solver.numerics.stencils import ORDERS
from data_gen.solver.problem.checks import check_layers, check_sampling, largest_local_velocity, meeting
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import MEDIA, Simulation, check_cfl
from data_gen.velocity.density import gardner
from data_gen.velocity.mixture import Mixture
from data_gen.velocity.registry import make_mixture, pin_files
from data_gen.velocity.water import add_water

DENSITIES = ("none", "gardner")
INDICES = "[0, 4294967296]"  # numbers of samples: their indices are random seeds
SIDES = "[2, 2147483647]"  # of arrays, which are indexed by 32 bits
READ_FROM = ("disk", "online")

# The solver of data sets and runs that were stored before its dispersion in time and its medium could be chosen. Data
# sets of these settings leave them out of their identity, and so keep their fingerprints.
EARLIER_SOLVER = {"time_correction": False, "medium": "samples", "internal_spacing": None}
# Settings of the solver, which do not determine records that were read from files.
SOLVER = {"order", "kappa", "absorbing_width", "substeps", *EARLIER_SOLVER}


def with_solver_of_its_time(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a stored data config that is older than the choice of the solver's correction and medium.

    An earlier version took a seed of more than 32 bits for what is left of it, and so does this.

    Args:
        stored: Settings of a `DataConfig` by name, from a manifest or the config of a run.

    Returns:
        The settings, with those of the earlier solver where they are left out.
    """
    known = (EARLIER_SOLVER if "time_correction" not in stored else {}) | dict(stored)
    return known | ({"seed": known["seed"] % 2**32} if isinstance(known.get("seed"), int) else {})


@dataclass
class DataConfig:
    """Describe a data set as a user sets it; `create()` checks and freezes it. Hydra's schema, hence mutable.

    Attributes:
        path: Folder of the data set.
        source: Origin of the training samples: disk, or online (simulated as they are used). Validation and test
            samples always come from disk.
        seed: Seed of all random numbers.
        train: Number of training samples; 0 if training is online.
        validation: Number of validation samples, at least 1 except in imported data.
        test: Number of test samples, at least 1 except in imported data.
        shard_size: Largest number of samples in one file.
        batch_size: Number of samples simulated together.
        families: Velocity families, each `{name: {weight: ..., parameter: ...}}`, which replace those of a preset;
            `data.families.NAME.KEY=VALUE` changes one of them, and `+data.families.NAME={...}` adds one.
        water_depth: Smallest and largest depth of a water layer above the models [m]; null for no water.
        density: Density model: none (constant) or gardner (computed from velocity by Gardner's rule).
        nz: Grid cells in depth.
        nx: Grid cells along the surface.
        spacing: Cell size [m].
        nt: Number of time samples.
        dt: Time step [s].
        sources: Number of shots in each sample.
        placement: Placement of the shots: random, or line (evenly spaced along the surface at one depth).
        source_depths: Smallest and largest depth of a shot [m].
        peak_frequency: Peak frequency of the Ricker wavelet [Hz].
        peak_frequency_spread: Largest deviation of a sample's peak frequency from `peak_frequency` [Hz].
        receiver_depth: Depth of the line of receivers [m], a multiple of `spacing`.
        receiver_every: Distance between receivers [cells].
        records: Stored data: any of snapshots, gathers, harmonic (time-harmonic fields) and tangents (derivatives of
            the snapshots along random directions of the model).
        snapshot_times: Times of the snapshots [s], multiples of `dt`.
        gather_every: Time steps between stored samples of a gather.
        frequencies: Frequencies of the time-harmonic fields [Hz].
        directions: Number of directions of each sample along which tangents are taken.
        precision: Precision of the stored records: float32 or float16.
        accuracy: Relative error of the records against the wave equation, within which `order`, `kappa` and
            `internal_spacing` are chosen at the least cost, as a root mean square over models of the families; null to
            take these three as they are set.
        order: Order of the spatial finite differences.
        kappa: End of the band of k h in which the weights of the differences are best; 0 takes Taylor's weights.
        absorbing_width: Width of the absorbing layer on each side [cells].
        free_surface: Whether the top is a free surface instead of an absorbing layer.
        time_correction: Whether the solver undoes its dispersion in time; false is the bare leap-frog.
        max_velocity: Largest velocity that the solver is stable for [m/s], where files of models may be faster than the
            families; null for that of the families.
        medium: Meaning of a model's numbers: cells (constant cells) or samples (of a band-limited function).
        internal_spacing: Side of a cell of the solver's own grid [m]; null for that of `spacing`.
        substeps: Number of solver steps in each step of `dt`, with `time_correction=false` only.
        truth_samples: Number of test samples that are compared with a converged simulation when the data set is
            finished, so that the manifest states the error of its records; 0 for none.
        recorded: Description of imported records, as the manifest of an import has it; never set by hand.
    """

    path: str = "data/demo"
    source: str = ranged("disk", READ_FROM)
    seed: int = ranged(0, SEEDS)
    train: int = ranged(1000, INDICES)
    validation: int = ranged(64, INDICES)
    test: int = ranged(128, INDICES)
    shard_size: int = ranged(64, "[1, inf)")
    batch_size: int = ranged(16, "[1, inf)")
    families: dict[str, Any] = field(default_factory=dict)
    water_depth: list[float] | None = ranged(None, "[0, inf)", length=2)
    density: str = ranged("none", DENSITIES)
    nz: int = ranged(64, SIDES)
    nx: int = ranged(64, SIDES)
    spacing: float = ranged(10.0, "(0, inf)")
    nt: int = ranged(401, SIDES)
    dt: float = ranged(1e-3, "(0, inf)")
    sources: int = ranged(1, "[1, 65536]")
    placement: str = ranged("random", PLACEMENTS)
    source_depths: list[float] = ranged([0.0, 0.0], "[0, inf)", length=2)
    peak_frequency: float = ranged(15.0, "(0, inf)")
    peak_frequency_spread: float = ranged(0.0, "[0, inf)")
    receiver_depth: float = ranged(20.0, "[0, inf)")
    receiver_every: int = ranged(2, "[1, inf)")
    records: list[str] = ranged(["snapshots", "gathers"], RECORDS)
    snapshot_times: list[float] = ranged([], "[0, inf)")
    gather_every: int = ranged(4, "[1, inf)")
    frequencies: list[float] = ranged([], "(0, inf)")
    directions: int = ranged(1, "[1, 1024]")
    precision: str = ranged("float32", PRECISIONS)
    accuracy: float | None = ranged(None, "(0, inf)")
    order: int = ranged(8, ORDERS)
    kappa: float = ranged(0.0, "[0, inf)")
    absorbing_width: int = ranged(20, "[0, 65536]")
    free_surface: bool = False
    max_velocity: float | None = ranged(None, "(0, inf)")
    time_correction: bool = True
    medium: str = ranged("cells", MEDIA)
    internal_spacing: float | None = ranged(None, "(0, inf)")
    substeps: int = ranged(1, "[1, 65536]")
    truth_samples: int = ranged(2, INDICES, compare=False)
    recorded: RecordedConfig | None = None

    def identity(self) -> dict[str, Any]:
        """Return all settings that determine the records, which are all but their location, sharding and reading.

        Files of velocity models are identified by the hashes of their contents. `directions` is left out where no
        tangents are recorded, `recorded` where no files were, `max_velocity` where it is null, and the choice of the
        solver where it is the earlier one, so that older data sets keep their fingerprints. Records of files do not
        depend on the solver.
        """
        if self.accuracy is not None:
            return self.settled().identity()
        elsewhere = {"path", "source", "shard_size", "batch_size", "truth_samples", "accuracy"}
        if "tangents" not in self.records:
            elsewhere.add("directions")
        if not self.kappa:
            elsewhere.add("kappa")
        if self.max_velocity is None:
            elsewhere.add("max_velocity")
        if self.recorded is None:
            elsewhere.add("recorded")
        else:
            elsewhere |= SOLVER
        if all(getattr(self, name) == value for name, value in EARLIER_SOLVER.items()):
            elsewhere |= EARLIER_SOLVER.keys()
        plain = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        return plain | {"families": pin_files(self.families)}

    def physics(self) -> dict[str, Any]:
        """Return the settings of the simulation, which determine the records of a given model and source."""
        drawn = {"seed", *SPLITS, "water_depth", "sources", "placement", "source_depths", "peak_frequency_spread"}
        stored = {"records", "gather_every", "precision", "directions"}
        values = {name: value for name, value in self.identity().items() if name not in drawn | stored}
        if self.recorded is None:
            return values
        # The peak frequency of an unknown wavelet is measured.
        measured = set() if self.recorded.ricker else {"peak_frequency"}
        kept = {name: value for name, value in values.items() if name not in measured}
        return kept | {"sources": self.sources, "recorded": self.recorded.survey()}

    def settled(self) -> "DataConfig":
        """Choose the order and the internal spacing where `accuracy` asks for them.

        The root mean square of the errors that the law expects in some models that the families draw is to be within
        the accuracy divided by the factor to which the law holds.

        Returns:
            A config of these settings, without the request.

        Raises:
            InputError: If the solver is the bare leap-frog, the density varies, or no setting that is tried reaches the
                accuracy.
        """
        if self.accuracy is None:
            return self
        self._check()
        if not self.time_correction:
            raise InputError(
                f"data.accuracy={self.accuracy:g} chooses settings of a solver without dispersion in time, but "
                "data.time_correction is false. Leave one of the two out."
            )
        mixture = make_mixture(self.families)
        simulation = replace(self._simulation(self._fastest(mixture.max_velocity)), staggered=self.density != "none")
        kind = "gathers" if set(self.records) == {"gathers"} else "snapshots"
        chosen = _accurate(mixture, self._water(simulation.grid), simulation, self.accuracy, kind)
        settings = {"order": chosen.order, "kappa": chosen.kappa, "internal_spacing": chosen.internal_spacing}
        return replace(self, accuracy=None, **settings)

    def create(self) -> "DataSpec":
        """Check the config and freeze it.

        Warns with `DispersionWarning` if the slowest velocity has too few points per wavelength, and with
        `GrowthWarning` if the absorbing layers are too thin for the number of steps.

        Returns:
            The description from which samples are made.

        Raises:
            InputError: If a simulation cannot use a setting.
        """
        self._check()
        if self.accuracy is not None:
            return self.settled().create()
        if self.recorded is not None:
            return self._recorded(self.recorded)
        mixture = make_mixture(self.families)
        simulation = self._simulation(self._fastest(mixture.max_velocity))
        water = self._water(simulation.grid)
        slowest = slowest_velocity(mixture, water)
        if self.density == "gardner":
            light, heavy = np.asarray(gardner(jnp.array([[slowest, mixture.max_velocity]])))[0]
            # The stiffest possible cell is the heaviest rock among the lightest.
            density = np.full(simulation.grid.shape, light)
            density[self.nz // 2, self.nx // 2] = heavy
            stiffest = largest_local_velocity(np.full_like(density, mixture.max_velocity), density, simulation)
            check_cfl(replace(simulation, staggered=True), stiffest)
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
        check_layers(simulation, meeting(slowest, mixture.max_velocity))
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

    def _recorded(self, recorded: RecordedConfig) -> DataSpec:
        if self.source == "online":
            raise InputError(
                "Online training simulates samples as it uses them, but imported data have no families of models to "
                "draw from: set data.source=disk."
            )
        check_fields(recorded, "data.recorded")
        recording = Recording(("gathers",), self.gather_every, self.precision)
        simulation = self._simulation(recorded.velocities[1], HALF_WIDTH)
        return recorded.create(simulation, self.sources, recording)

    def _check(self) -> None:
        check_fields(self, "data")
        for name in ("validation", "test"):
            if self.recorded is None and getattr(self, name) < 1:  # an import may leave a split out
                raise InputError(f"data.{name} must be at least 1, but is {getattr(self, name)}.")

    def _simulation(self, max_velocity: float, half_width: int = 0) -> Simulation:
        steps = np.array(self.snapshot_times if "snapshots" in self.records else []) / self.dt
        whole = np.isfinite(steps).all() and np.abs(steps - np.round(steps)).max(initial=0) <= 1e-3
        if not whole or ("snapshots" in self.records and not len(steps)):
            raise InputError(
                f"Snapshots need times that are multiples of dt = {self.dt} s, but data.snapshot_times is "
                f"{self.snapshot_times}. Set them, or record gathers only: data.records=[gathers]."
            )
        width = self.absorbing_width
        return Simulation(
            Grid((self.nz, self.nx), self.spacing),
            TimeAxis(self.nt, self.dt),
            max_velocity,
            self.peak_frequency + self.peak_frequency_spread,
            self.order,
            (0 if self.free_surface else width, width, width, width),
            tuple(int(step) for step in np.round(steps)),
            half_width=half_width,
            time_correction=self.time_correction,
            medium=self.medium,
            internal_spacing=self.internal_spacing,
            kappa=self.kappa,
            substeps=self.substeps,
            free_surface=self.free_surface,
            frequencies=tuple(self.frequencies) if "harmonic" in self.records else (),
        )

    def _fastest(self, drawn: float) -> float:
        if self.max_velocity is not None and self.max_velocity < drawn:
            raise InputError(
                f"data.max_velocity must be null or at least the {drawn:g} m/s that the families reach, but is "
                f"{self.max_velocity:g} m/s."
            )
        return drawn if self.max_velocity is None else self.max_velocity

    def _water(self, grid: Grid) -> tuple[float, float] | None:
        depths, bottom = self.water_depth, grid.extent[0]
        if depths is None:
            return None
        if len(depths) != 2 or not 0 <= depths[0] <= depths[1] <= bottom:
            raise InputError(
                f"data.water_depth must be null or [smallest, largest] within 0 to {bottom:g} m, but is {list(depths)}."
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


@cache
def _accurate(
    mixture: Mixture, water: tuple[float, float] | None, simulation: Simulation, accuracy: float, kind: str
) -> Simulation:
    """Choose the cheapest simulation for an accuracy in the models of a mixture, under water if there is some."""

    def draw(key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        model, _ = mixture(key, grid)
        return model if water is None else add_water(jax.random.fold_in(key, 1), model, grid, water)

    return simulation_for_error(draw, simulation, accuracy / WITHIN[kind], kind=kind)
