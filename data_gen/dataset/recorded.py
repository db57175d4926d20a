"""Describe imported data: records that were read from files, with as much of their survey as was given.

A generated sample can be made again from its description; an imported one cannot. Its description says what the gathers
are: the grid of the models, the sampling and, where they are known, the positions of sources and receivers and the
wavelet. A surrogate that predicts models from gathers needs none of these, one that predicts gathers needs the
positions, and the solver can stand next to it where the wavelet is known, too.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.common.ranges import ranged
from data_gen.dataset.recording import Recording
from data_gen.dataset.sample import DataSpec, Draw
from data_gen.dataset.shots import Shots
from data_gen.solver.problem.checks import check_layers, check_points, check_sampling, meeting
from data_gen.solver.problem.grid import Grid
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ricker
from data_gen.velocity.mixture import Mixture

NAME = "imported"  # of the one family of models
HALF_WIDTH = 4  # cells: positions of a survey need not be cell centers
Points = tuple[tuple[float, float], ...]


@dataclass
class RecordedConfig:
    """Describe imported records, as a manifest does. No command line sets these values.

    Attributes:
        fingerprint: Fingerprint of the data set.
        velocities: Smallest and largest velocity of the models [m/s].
        receivers: Number of receivers.
        source_positions: Positions `(z, x)` of the sources `(n_sources, 2)` [m]; null if unknown.
        receiver_positions: Positions `(z, x)` of the receivers `(n_receivers, 2)` [m], or of each shot's
            `(n_sources, n_receivers, 2)`; null if unknown.
        ricker: Whether the wavelet is a Ricker wavelet of `data.peak_frequency`.
        wavelet: Samples of another wavelet `(nt,)`; null if there is none.
        peak_time: Time of the wavelet's peak on the time axis of the gathers [s]; null if unknown.
        amplitude: Value of the Ricker wavelet at its peak.
    """

    fingerprint: str = ""
    velocities: list[float] = ranged([], "(0, inf)", length=(0, 2))
    receivers: int = ranged(0, "[0, inf)")
    source_positions: Any = None
    receiver_positions: Any = None
    ricker: bool = False
    wavelet: list[float] | None = None
    peak_time: float | None = None
    amplitude: float = 1.0

    def survey(self) -> dict[str, Any]:
        """Return the settings that decide the gathers of a given model: all but what the files hold."""
        content = ("fingerprint", "velocities")
        return {name: value for name, value in vars(self).items() if name not in content}

    def create(self, simulation: Simulation, shots: int, recording: Recording) -> "RecordedSpec":
        """Check the survey and describe the data.

        Warns with `DispersionWarning` where the solver could be used on the data and its grid is coarse for them.

        Args:
            simulation: Simulation of a shot.
            shots: Number of shots in each sample.
            recording: Kind and precision of the records.

        Returns:
            The description.

        Raises:
            InputError: If a source or a receiver is outside the grid or on a free surface.
        """
        places = {"source": self.source_positions, "receiver": self.receiver_positions}
        for what, points in places.items():
            if points is not None:
                check_points(np.asarray(points, float), what, simulation)
        moving = np.ndim(self.receiver_positions) == 3
        low, high = self.velocities
        rows = _rows(self.source_positions, simulation.grid)
        spec = RecordedSpec(
            seed=0,
            mixture=Mixture((Recorded(low, high),), (1.0,), (NAME,)),
            water_depth=None,
            gardner=False,
            simulation=simulation,
            shots=Shots(shots, "line", rows, (simulation.peak_frequency, simulation.peak_frequency)),
            receiver_row=0,
            receiver_every=1,
            recording=recording,
            source_positions=_points(self.source_positions),
            receiver_positions=None if moving else _points(self.receiver_positions),
            moving_receivers=moving,
            recorded_receivers=self.receivers,
            ricker_amplitude=self.amplitude if self.ricker else None,
            samples=None if self.wavelet is None else tuple(self.wavelet),
            given_peak_time=self.peak_time,
        )
        if spec.simulates:
            check_sampling(simulation, low)
            check_layers(simulation, meeting(low, simulation.max_velocity))
        return spec


def _points(points: Any) -> Points | None:
    return None if points is None else tuple((float(z), float(x)) for z, x in points)


def _rows(points: Any, grid: Grid) -> tuple[int, int]:
    """Return the first and the last row of the sources, of all rows if unknown."""
    if points is None:
        return 0, grid.shape[0] - 1
    depths = np.asarray(points, float)[:, 0] / grid.spacing
    return int(np.floor(depths.min())), int(np.ceil(depths.max()))


@dataclass(frozen=True)
class Recorded:
    """Stand for the models of files, of which the range is known and no other one can be drawn.

    Attributes:
        min_velocity: Smallest velocity of the models [m/s].
        max_velocity: Largest velocity of the models [m/s].
    """

    min_velocity: float
    max_velocity: float

    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Refuse to draw a model.

        Args:
            key: Random key of the model.
            grid: The grid `(nz, nx)`.

        Returns:
            No model.

        Raises:
            InputError: Always.
        """
        refuse_to_draw()


def refuse_to_draw() -> NoReturn:
    """Raise the `InputError` of whatever needs a model or a sample that no file holds."""
    raise InputError(
        "The models of imported data were read from files: no others can be drawn, and no sample can be simulated "
        "anew. Train with data.source=disk, and invert for a model from a file (real.path=FILE)."
    )


@dataclass(frozen=True)
class RecordedSpec(DataSpec):
    """Describe imported data as `DataSpec` describes generated ones.

    Attributes:
        source_positions: Positions `(z, x)` of the sources [m], or None if unknown.
        receiver_positions: Positions `(z, x)` of the receivers of all shots [m], or None if unknown.
        moving_receivers: Whether each shot has receivers of its own.
        recorded_receivers: Number of receivers.
        ricker_amplitude: Value at the peak of a Ricker wavelet, or None if the wavelet is another one or unknown.
        samples: Samples of another wavelet `(nt,)`, or None if it is a Ricker wavelet or unknown.
        given_peak_time: Time of the wavelet's peak [s], or None if unknown.
    """

    source_positions: Points | None
    receiver_positions: Points | None
    moving_receivers: bool
    recorded_receivers: int
    ricker_amplitude: float | None
    samples: tuple[float, ...] | None
    given_peak_time: float | None

    @property
    def imported(self) -> bool:
        """See `DataSpec.imported`."""
        return True

    @property
    def knows_wavelet(self) -> bool:
        """See `DataSpec.knows_wavelet`."""
        return self.samples is not None or self.ricker_amplitude is not None

    @property
    def knows_positions(self) -> bool:
        """See `DataSpec.knows_positions`."""
        return self.source_positions is not None and self.receiver_positions is not None

    @cached_property
    def sources(self) -> np.ndarray | None:
        """See `DataSpec.sources`."""
        return None if self.source_positions is None else np.array(self.source_positions)

    @cached_property
    def wavelet(self) -> np.ndarray:
        """See `DataSpec.wavelet`. Raises `InputError` where it is unknown."""
        time = self.simulation.time
        if self.samples is not None:
            return np.array(self.samples)
        if self.ricker_amplitude is None:
            raise InputError(
                "The wavelet of these imported data is unknown, so no shot can be simulated. Import the files again, "
                "to another folder, with --peak-frequency HZ (a Ricker wavelet) or --wavelet FILE."
            )
        return self.ricker_amplitude * ricker(time, self.simulation.peak_frequency, self.given_peak_time)

    @property
    def peak_time(self) -> float:
        """See `DataSpec.peak_time`; where it is unknown, the start of the record."""
        return 0.0 if self.given_peak_time is None else self.given_peak_time

    @property
    def receiver_count(self) -> int:
        """See `DataSpec.receiver_count`."""
        return self.recorded_receivers

    @cached_property
    def receivers(self) -> np.ndarray:
        """See `DataSpec.receivers`. Raises `InputError` where they are unknown."""
        if self.receiver_positions is None:
            raise InputError(
                "The positions of the receivers of these imported data are unknown, or differ from shot to shot. "
                "Import the files again, to another folder, with --receivers."
            )
        return np.array(self.receiver_positions)

    @cached_property
    def receiver_columns(self) -> np.ndarray:
        """See `DataSpec.receiver_columns`; evenly over the surface where positions do not ascend or are unknown."""
        last = self.simulation.grid.shape[1] - 1
        if self.receiver_positions is not None:
            columns = self.receivers[:, 1] / self.simulation.grid.spacing
            if (np.diff(columns) > 0).all():
                return columns
        return np.linspace(0, last, self.recorded_receivers)

    @cached_property
    def receiver_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """See `DataSpec.receiver_cells`: the nearest ones."""
        rows, columns = np.round(self.receivers / self.simulation.grid.spacing).astype(int).T
        return rows, columns

    def draw(self, key: Key[Array, ""]) -> Draw:
        """Refuse to draw a sample.

        Args:
            key: Random key of the sample.

        Returns:
            No sample.

        Raises:
            InputError: Always.
        """
        refuse_to_draw()

    def stand_in(self) -> dict[str, np.ndarray]:
        """Make a record of noise in the shapes, types and ranges of the stored ones, to check programs with.

        Returns:
            Values by field.
        """
        random, (nz, nx) = np.random.default_rng(0), self.simulation.grid.shape
        gathers = random.normal(size=(self.shots.count, self.simulation.time.nt, self.recorded_receivers))
        velocity = random.uniform(self.mixture.min_velocity, self.mixture.max_velocity, (nz, nx))
        return {
            "index": np.zeros((), np.int64),
            "velocity": velocity.astype(np.float32),
            "gathers": gathers.astype(np.float32),
        }
