"""The media and settings of `benchmarks.accuracy_law`: those that the law of errors is fitted to, and others.

Setups share a compiled program between their media. Their three shots lie amid, deep and shallow; receivers at 10 cells
and more from every source; four snapshots in the second half of the record.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from benchmarks.accuracy_cases import MEDIA, SNAPSHOTS, layered, rough, salt
from data_gen.solver.accuracy import best_kappa
from data_gen.solver.problem.acquisition import Survey, make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation, substeps_for
from data_gen.solver.problem.wavelets import ricker
from data_gen.velocity.registry import make_family

NEAR = 10  # cells
SLOWEST = 1500.0  # of what the media may have [m/s]
SOURCES = ((0.33, 0.5), (0.6, 0.2), (0.08, 0.65))  # in parts of the sides


@dataclass(frozen=True)
class Setup:
    """Name a grid, a time axis and a wavelet, and the media to simulate with them.

    Attributes:
        name: Name.
        shape: Cells.
        media: Names of media that the law is fitted to.
        others: Names of media that it is held against.
        duration: Length of the record [s].
        peak_frequency: Peak frequency [Hz].
        spacing: Side of a cell [m].
        fastest: Largest velocity of the media [m/s].
        free_surface: Whether the top is a free surface.
    """

    name: str
    shape: tuple[int, int]
    media: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    duration: float = 0.45
    peak_frequency: float = 15.0
    spacing: float = 10.0
    fastest: float = 4500.0
    free_surface: bool = False

    @property
    def simulation(self) -> Simulation:
        """The simulation on the model's own cells, at order 8."""
        time = TimeAxis(round(self.duration / 1e-3) + 1, 1e-3)
        widths = (0 if self.free_surface else 20, 20, 20, 20)
        steps = tuple(round(part * (time.nt - 1)) for part in SNAPSHOTS)
        about = {"widths": widths, "snapshot_steps": steps, "free_surface": self.free_surface}
        return Simulation(Grid(self.shape, self.spacing), time, self.fastest, self.peak_frequency, 8, **about)

    @property
    def survey(self) -> Survey:
        """The survey: a row of receivers at four cells of depth, and one near the bottom."""
        nz, nx = self.shape
        sources = np.round(np.array(SOURCES) * self.shape)
        points = np.array([(z, x) for z in (4, nz - 6) for x in range(2, nx - 2, 4)], float)
        far = np.linalg.norm(points[:, None] - sources, axis=2).min(axis=1) >= NEAR
        wavelet = ricker(self.simulation.time, self.peak_frequency)
        return make_survey(sources * self.spacing, points[far] * self.spacing, wavelet)

    def model(self, medium: str, file: Path | None) -> np.ndarray:
        """Make a medium from its name and seed, `family-seed` or `crop-seed`, `(nz, nx)` [m/s]."""
        kind, _, seed = medium.rpartition("-")
        nz, nx = self.shape
        made = {"rough": rough, "layered": layered, "salt": salt, "smooth": lambda n, _: MEDIA["smooth"](n)}
        if kind in made:
            return made[kind](max(self.shape), int(seed))[:nz, :nx].astype(np.float32)
        velocities = {"min_velocity": SLOWEST, "max_velocity": self.fastest}
        if kind == "crop":
            velocities = {"path": str(file), "spacing": 25.0}
        family = make_family("crops" if kind == "crop" else kind, velocities)
        return np.asarray(family(jax.random.key(int(seed)), self.simulation.grid), np.float32)


def seeds(seed: int, *kinds: str) -> tuple[str, ...]:
    """Name media of one seed."""
    return tuple(f"{kind}-{seed}" for kind in kinds)


_LAYERS = ("flat_vel_a", "flat_vel_b", "curve_vel_b", "curve_fault_b", "style_b")
_OTHERS = ("faulted_layers", "anisotropic_random_field", "inclusions", "gaussian_lens", "style_a", "curve_fault_a")
SETUPS = (
    Setup(
        "64",
        (64, 64),
        (*seeds(11, "rough", "layered"), "layered-13", *seeds(0, *_LAYERS, "gaussian_random_field")),
        (*seeds(21, "rough", "layered"), *seeds(1, *_OTHERS, "gaussian_random_field", "flat_vel_b", "curve_fault_b")),
    ),
    Setup(
        "128",
        (128, 128),
        (*seeds(11, "rough", "layered"), *seeds(2, "curve_vel_b", "gaussian_random_field")),
        (*seeds(12, "rough", "layered"), "smooth-11", *seeds(3, *_OTHERS, "flat_vel_b")),
        duration=0.7,
    ),
    Setup("128, salt", (128, 128), seeds(11, "salt"), ("salt-12", "faulted_layers-4"), 0.7, fastest=5500.0),
    Setup("96, 20 Hz", (96, 96), (), ("crop-0", "crop-1", "crop-2", "flat_vel_b-5"), 0.6, 20.0, fastest=6000.0),
    Setup("64, 25 Hz", (64, 64), (), ("rough-22", *seeds(6, *_OTHERS[:1], "inclusions", "flat_fault_b")), 0.35, 25.0),
    Setup("64 x 96, 8 Hz", (64, 96), (), ("layered-23", *seeds(7, "inclusions", "style_b", "flat_vel_b")), 0.9, 8.0),
    Setup("64, 1.2 s", (64, 64), (), ("rough-24", *seeds(8, "faulted_layers", "flat_vel_b", "style_a")), 1.2),
    Setup(
        "96, free surface", (96, 96), (), ("rough-25", *seeds(9, "faulted_layers", "curve_vel_b")), 0.5,
        free_surface=True,
    ),
    Setup("200", (200, 200), (), ("rough-26", "layered-26", *seeds(10, "faulted_layers", "curve_fault_b")), 1.1),
)  # fmt: skip


class Setting(NamedTuple):
    """Describe a way to simulate a setup.

    Attributes:
        order: Order of the differences.
        cells: Side of a cell of the solver's grid [slowest wavelengths of the peak frequency]; None for the model's.
        optimized: Whether the weights are best for the band, or Taylor's.
        kind: "both" has no temporal dispersion and a projected medium, "samples" an unprojected one, "bare" is the
            leap-frog with it.
    """

    order: int
    cells: float | None
    optimized: bool = False
    kind: str = "both"

    def simulation(self, setup: Setup) -> Simulation:
        """Describe the simulation."""
        plain = replace(setup.simulation, order=self.order)
        if self.kind == "bare":
            least = substeps_for(plain.grid, plain.time, plain.max_velocity, self.order)
            return replace(plain, medium="samples", time_correction=False, substeps=least)
        if self.kind == "samples":
            return replace(plain, medium="samples")
        assert self.cells is not None
        spacing = float(f"{self.cells * SLOWEST / setup.peak_frequency:.3g}")
        kappa = best_kappa(self.order, spacing, SLOWEST, setup.peak_frequency) if self.optimized else 0.0
        return replace(plain, internal_spacing=spacing, kappa=kappa)


BAND = (0.07, 0.1, 0.12, 0.14, 0.16, 0.19, 0.22, 0.25)
TAYLOR = {2: (0.04,), 4: (0.04, 0.06, 0.09), 6: (0.07, 0.1), 8: (0.07, 0.1, 0.14, 0.18), 12: (0.1, 0.14, 0.18, 0.22)}
SETTINGS = (
    *(Setting(order, cells, True) for order in (8, 10, 12) for cells in BAND),
    *(Setting(order, cells) for order, chosen in TAYLOR.items() for cells in chosen),
    *(Setting(order, None, kind=kind) for order, kind in ((8, "samples"), (12, "samples"), (4, "bare"), (8, "bare"))),
)


# Setups without a medium that the law is fitted to take fewer.
FEW = (
    *(Setting(order, cells, True) for order in (8, 10, 12) for cells in BAND[1::2]),
    *(Setting(order, cells) for order, cells in ((4, 0.06), (8, 0.1), (8, 0.14), (12, 0.14), (12, 0.18))),
    *(Setting(8, None, kind=kind) for kind in ("samples", "bare")),
)
