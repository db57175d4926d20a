"""The problems and settings of `benchmarks.accuracy`: what is simulated, and in which ways.

A problem has constant cells of 10 m, a Ricker wavelet of 15 Hz, four shots and snapshots of the whole field; it lasts
as long as waves of 2800 m/s take to cross 1.5 times the side. Receivers within 60 m of a source are left out: the field
near a point is no wave, and a truth at the point itself does not exist in two dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from data_gen.solver.accuracy import best_kappa
from data_gen.solver.numerics.band_limited import cosines
from data_gen.solver.problem.acquisition import Survey, make_survey
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation, substeps_for
from data_gen.solver.problem.wavelets import ricker

SPACING, TIME_STEP, PEAK_FREQUENCY, WIDTH = 10.0, 1e-3, 15.0, 20
HALF_WIDTH = 4
NEAR = 60.0  # [m]
SNAPSHOTS = (0.51, 0.66, 0.83, 1.0)  # parts of the record
PARTS = (0.5, 0.7, 1.0)  # of the record, up to which the errors of gathers are taken


def rough(n: int, seed: int = 11) -> np.ndarray:
    """Random velocities with a power-law spectrum, 1500 to 4500 m/s."""
    rng = np.random.default_rng(seed)
    k = np.fft.fftfreq(n)[:, None] ** 2 + np.fft.fftfreq(n)[None, :] ** 2
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) / (1 + k * (16 * np.pi) ** 2)).real
    return np.clip(2800 + 650 * (field - field.mean()) / field.std(), 1500, 4500)


def layered(n: int, seed: int = 11) -> np.ndarray:
    """Ten dipping, wavy layers with a fault, 1600 to 4500 m/s."""
    rng = np.random.default_rng(seed)
    z, x = np.arange(n)[:, None], np.arange(n)[None, :]
    v, throw = np.full((n, n), 1600.0), np.where(x > n // 2, rng.integers(-6, 7), 0)
    depths, slopes = np.sort(rng.uniform(5, n, 9)), rng.uniform(-0.15, 0.15, 9)
    for depth, slope, value in zip(depths, slopes, np.sort(rng.uniform(1600, 4500, 9)), strict=True):
        v = np.where(z > depth + slope * (x - n / 2) + 4 * np.sin(x / 17) + throw, value, v)
    return v


def salt(n: int, seed: int = 11) -> np.ndarray:
    """Water of 1500 m/s, layers, and a salt body of 5500 m/s with a ragged edge."""
    rng = np.random.default_rng(seed)
    z, x = np.arange(n)[:, None], np.arange(n)[None, :]
    v = np.full((n, n), 1500.0)
    tops, values = np.sort(rng.uniform(20, n, 8)), np.sort(rng.uniform(1700, 2500, 8))
    for top, value in zip(np.r_[14, tops], np.r_[1650, values], strict=True):
        v = np.where(z > top + (3 * np.sin(x / 15 + 1) if top > 14 else 0), value, v)
    size = n / 128
    angle, radius = np.arctan2(z - 72 * size, x - 66 * size), np.hypot(z - 72 * size, x - 66 * size)
    phases = rng.uniform(0, 2 * np.pi, 5)
    waves = zip((2, 3, 5, 8, 13), (5, 3, 2.5, 1.5, 1.2), phases, strict=True)
    return np.where(radius < size * (30 + sum(a * np.cos(k * angle + p) for k, a, p in waves)), 5500.0, v)


def smooth(n: int) -> np.ndarray:
    """Smooth random velocities, 1800 to 3600 m/s."""
    field = gaussian_filter(np.random.default_rng(11).standard_normal((n, n)), 10, mode="wrap")
    return 1800 + 1800 * (field - field.min()) / np.ptp(field)


MEDIA: dict[str, Callable[[int], np.ndarray]] = {
    "rough": rough,
    "layered": layered,
    "salt": salt,
    "layered, another": lambda n: layered(n, 12),
    "smooth": smooth,
}


@dataclass(frozen=True)
class Problem:
    """Name a medium and a side in cells."""

    medium: str
    side: int

    @property
    def name(self) -> str:
        return f"{self.medium}, {self.side}"

    @property
    def velocity(self) -> np.ndarray:
        """The model `(side, side)` [m/s]."""
        return MEDIA[self.medium](self.side)

    @property
    def time(self) -> TimeAxis:
        return TimeAxis(round(700 * self.side / 128) + 1, TIME_STEP)

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        return tuple(round(part * (self.time.nt - 1)) for part in SNAPSHOTS)

    @property
    def sources(self) -> np.ndarray:
        """Cells of the sources `(4, 2)`: one amid the model, one deep, two shallow."""
        parts = np.array([[0.33, 0.5], [0.6, 0.2], [0.06, 0.35], [0.0, 0.72]])
        return np.round(parts * self.side)

    @property
    def receivers(self) -> np.ndarray:
        """Cells of the receivers `(n, 2)`: a row at 40 m, and one near the bottom."""
        shallow, deep = np.arange(2, self.side - 2, 4), np.arange(2, self.side - 2, 8)
        rows = ((4, shallow), (self.side - 8, deep))
        points = np.concatenate([np.stack([np.full_like(x, z), x], axis=1) for z, x in rows]).astype(float)
        distance = np.linalg.norm(points[:, None] - self.sources, axis=2).min(axis=1)
        return points[distance * SPACING >= NEAR]

    @property
    def survey(self) -> Survey:
        wavelet = ricker(self.time, PEAK_FREQUENCY)
        return make_survey(self.sources * SPACING, self.receivers * SPACING, wavelet)

    @property
    def simulation(self) -> Simulation:
        """The simulation with the solver's defaults, at order 8."""
        return Simulation(
            Grid((self.side, self.side), SPACING),
            self.time,
            float(self.velocity.max()),
            PEAK_FREQUENCY,
            order=8,
            widths=(WIDTH, WIDTH, WIDTH, WIDTH),
            snapshot_steps=self.snapshot_steps,
        )


@dataclass(frozen=True)
class Setting:
    """Describe a way to simulate a problem.

    corrections: "none" is the bare leap-frog on samples of the model, cells repeated `refinement` times along an axis,
        in `parts` steps for each 1 ms at least; "time" and "both" are in steps of the solver's own.
    cells: side of a cell of the solver's grid in cells of the model.
    optimized: with differences that are optimized for the band.
    """

    corrections: str
    order: int
    cells: float = 1.0
    refinement: int = 1
    parts: int = 1
    optimized: bool = False

    @property
    def spacing(self) -> float:
        return SPACING * self.cells / self.refinement

    @property
    def name(self) -> str:
        order = f"order {self.order}{' optimized' if self.optimized else ''}"
        step = f", {1 / self.parts:.3g} ms" if self.corrections == "none" else ""
        return f"{self.corrections}, {self.spacing:.3g} m{step}, {order}"

    def simulation(self, problem: Problem) -> Simulation:
        """Describe the simulation."""
        plain = replace(problem.simulation, order=self.order)
        if self.corrections == "none":
            return self._bare(plain)
        spacing = None if self.cells == 1 else SPACING * self.cells
        medium = "cells" if self.corrections == "both" else "samples"
        slowest = float(problem.velocity.min())
        kappa = best_kappa(self.order, self.spacing, slowest, PEAK_FREQUENCY) if self.optimized else 0.0
        return replace(plain, medium=medium, internal_spacing=spacing, kappa=kappa)

    def _bare(self, plain: Simulation) -> Simulation:
        n, r = plain.grid.shape[0], self.refinement
        grid = Grid((n * r, n * r), SPACING / r)
        least = substeps_for(grid, plain.time, plain.max_velocity, self.order)
        return replace(
            plain,
            grid=grid,
            medium="samples",
            time_correction=False,
            substeps=max(self.parts, least),
            widths=(WIDTH * r,) * 4,
            half_width=0 if r % 2 else HALF_WIDTH,
        )

    def model(self, problem: Problem) -> np.ndarray:
        """The model to give to `simulate`."""
        return np.kron(problem.velocity, np.ones((self.refinement, self.refinement))).astype(np.float32)

    def survey(self, problem: Problem) -> Survey:
        """The survey to give to `simulate`."""
        shift = (SPACING - SPACING / self.refinement) / 2
        survey = problem.survey
        return survey._replace(sources=survey.sources + shift, receivers=survey.receivers + shift)

    def on_model_grid(self, snapshots: np.ndarray) -> np.ndarray:
        """Take snapshots at the centers of the model's cells."""
        r = self.refinement
        if r == 1:
            return snapshots
        if r % 2:
            return snapshots[..., r // 2 :: r, r // 2 :: r]
        back = interpolation(snapshots.shape[-1], r)
        return np.einsum("az,...zx,bx->...ab", back, snapshots, back, optimize=True)


@cache
def interpolation(n: int, refinement: int) -> np.ndarray:
    """The matrix from fine cells to the centers of coarse ones, by the cosine series."""
    fine, coarse = np.arange(n) + 0.5, (np.arange(n // refinement) + 0.5) * refinement
    return cosines(coarse, n, n) @ np.linalg.inv(cosines(fine, n, n))


ORDERS, CELLS = (4, 8, 12), (1.0, 4 / 3, 1.6, 1.8, 2.0, 2.2)
BARE = tuple(
    Setting("none", order, refinement=refinement, parts=parts)
    for order in ORDERS
    for refinement, parts in ((1, 1), (1, 2), (2, 2), (2, 4), (3, 4), (3, 8))
)
TIME = tuple(Setting("time", order, cells) for order in ORDERS for cells in (1.0, 1.6))
BOTH = tuple(Setting("both", order, cells) for order in ORDERS for cells in CELLS if order > 4 or cells < 1.7)
OPTIMIZED = tuple(Setting("both", order, cells, optimized=True) for order in (8, 12) for cells in CELLS[:-1])
SETTINGS = BARE + TIME + BOTH + OPTIMIZED
QUICK = (
    Setting("none", 8),
    Setting("none", 8, parts=2),
    *(Setting("none", order, refinement=2, parts=2) for order in (4, 8)),
    Setting("none", 8, refinement=2, parts=4),
    Setting("none", 4, refinement=3, parts=4),
    *(Setting("both", 8, cells) for cells in CELLS[:2]),
    *(Setting("both", 12, cells) for cells in CELLS[1:5]),
    *(Setting("both", 8, cells, optimized=True) for cells in CELLS[:5]),
    *(Setting("both", 12, cells, optimized=True) for cells in CELLS[1:5]),
)
