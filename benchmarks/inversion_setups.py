"""The named set-ups of `benchmarks.inversion`: models, survey, band, start, bounds and stages.

| name | models | survey |
|---|---|---|
| `overthrust` | a section of SEG/EAGE Overthrust, 187 x 801 at 25 m | 32 shots, 401 receivers on top, 10 Hz, 5 s |
| `overthrust_left` | its left half on cells of 12.5 m, 374 x 801 | 24 shots, 401 receivers on top, 10 Hz, 3.5 s |
| `marmousi_like` | folds and faults under water, 88 x 200 at 40 m | free surface, 40 shots, 200 receivers, 5 Hz [1] |
| `transmission` | our families, 128 x 256 at 10 m | 16 shots at the bottom, 129 receivers on top, 5 Hz, 1 s [2] |
| `openfwi_like` | our families, 70 x 70 at 10 m | 5 shots and 70 receivers on top, 15 Hz, 1 s [3] |

Geometries: [1] the Marmousi example of ADFWI; [2] InverseBench (Zheng et al., ICLR 2025), whose cells are 20 x 10 m;
[3] OpenFWI (Deng et al., NeurIPS 2022). The section of Overthrust is not part of this project: WAVE_OVERTHRUST names
its file.

Data are simulated on cells of `data_spacing`, by differences of order 12; inversions have order 8 and the cells of
their stages. Positions are (z, x) in meters.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.inversion_stages import Stage
from data_gen.common.smoothing import gaussian_smooth
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.velocity.base.model_files import read_velocity, resample
from data_gen.velocity.families.layered import Layered
from data_gen.velocity.registry import make_family
from data_gen.velocity.water import WATER_VELOCITY

OVERTHRUST = "WAVE_OVERTHRUST"
OVERTHRUST_SPACING = 25.0  # [m], unless the file says so
LAYERS = 20  # absorbing cells
TRANSMISSION_FAMILIES = ("curve_vel_b", "flat_fault_b", "curve_fault_b", "style_b")
OPENFWI_FAMILIES = (
    *(f"{kind}_{variant}" for kind in ("flat_vel", "curve_vel", "flat_fault", "curve_fault") for variant in "ab"),
    "style_a",
    "style_b",
)


class Unavailable(Exception):
    """A set-up that needs what is not there; says what."""


@dataclass(frozen=True, eq=False)
class Setup:
    """Describe an inversion of synthetic data, but for the true models.

    sources, held_out, receivers: positions `(n, 2)`; the shots held out are never inverted.
    smoothing: standard deviation of the Gaussian that makes the start of the true model [m].
    fixed_rows: rows of known velocity on top.
    learning_rate: largest change by the first step of L-BFGS in each stage [m/s].
    adam_rate: Adam's step [m/s].
    depth_power: weights of updates (surrogate/inversion/optimizers/precondition.py), for every contender.
    illumination: whether updates make up for the illumination by the sources, for every contender: ours as each stage
        begins, the others in the start.
    coarser: cells of the cheap model of `corrected` and `coarse_first`, in those of the stage.
    batch: shots that an iteration of contenders with batches sees; 0 if there are too few for batches.
    few_shots: whether least squares would fit noise: of noisy data, ours estimates it, and stops at its misfit.
    """

    name: str
    grid: Grid
    time: TimeAxis
    peak_frequency: float
    sources: np.ndarray
    held_out: np.ndarray
    receivers: np.ndarray
    smoothing: float
    bounds: tuple[float, float]
    data_spacing: float
    stages: tuple[Stage, ...]
    fixed_rows: int = 0
    free_surface: bool = False
    learning_rate: float = 50.0
    adam_rate: float = 20.0
    depth_power: float = 0.0
    illumination: bool = False
    coarser: float = 2.0
    batch: int = 0
    few_shots: bool = False
    seed: int = 0

    @cached_property
    def simulation(self) -> Simulation:
        """What an inversion simulates, on the model's cells."""
        return simulation_of(self.grid, self.time, self.bounds, self.peak_frequency, free_surface=self.free_surface)

    @cached_property
    def fine(self) -> Simulation:
        """What makes and judges data: finer cells, another order."""
        return replace(self.simulation, order=12, internal_spacing=self.data_spacing)

    @cached_property
    def longest_waves(self) -> Simulation:
        """What the mask and the weights of updates are made with: waves of the first stage, on its cells."""
        stage = self.stages[0]
        return replace(self.simulation, peak_frequency=stage.highest_frequency, internal_spacing=stage.spacing)

    def start(self, truth: np.ndarray) -> np.ndarray:
        """The starting model: the true one smoothed, but for the fixed rows."""
        rows = self.fixed_rows
        smooth = gaussian_smooth(jax.numpy.asarray(truth[rows:]), self.smoothing / self.grid.spacing)
        return np.concatenate([truth[:rows], np.clip(np.asarray(smooth), *self.bounds)]).astype(np.float32)

    def described(self) -> dict[str, Any]:
        """All settings, for the card: what JSON can hold."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields |= {name: fields[name].tolist() for name in ("sources", "held_out", "receivers")}
        return fields | {
            "grid": asdict(self.grid),
            "time": asdict(self.time),
            "stages": [asdict(stage) for stage in self.stages],
            "order": {"data": self.fine.order, "inversion": self.simulation.order},
        }

    def quick(self) -> "Setup":
        """The same with few shots and iterations: does everything work?"""
        every = max(1, len(self.sources) // 4)
        stages = tuple(replace(stage, iterations=3) for stage in self.stages[:2])
        few = {"sources": self.sources[::every], "held_out": self.held_out[:1], "batch": min(self.batch, 2)}
        return replace(self, stages=stages, **few)


def simulation_of(
    grid: Grid, time: TimeAxis, bounds: tuple[float, float], peak_frequency: float, *, free_surface: bool
) -> Simulation:
    """What every inversion simulates."""
    widths = (0 if free_surface else LAYERS, LAYERS, LAYERS, LAYERS)
    return Simulation(grid, time, bounds[1], peak_frequency, order=8, widths=widths, free_surface=free_surface)


Models = dict[str, Callable[[], np.ndarray]]  # by the name of the case


def line(grid: Grid, count: int, depth: float) -> np.ndarray:
    """Positions from side to side, on cell centers."""
    columns = np.round(np.linspace(0, grid.shape[1] - 1, count)) * grid.spacing
    return np.stack([np.full(count, depth), columns], axis=1)


def shots(grid: Grid, count: int, held_out: int, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Shots, and others half-way between two neighbors, spread over the line."""
    sources = line(grid, 2 * count - 1, depth)
    between = sources[1::2]
    chosen = np.round((np.arange(held_out) + 0.5) / held_out * (count - 1) - 0.5).astype(int)
    return sources[::2], between[chosen]


def overthrust_file() -> tuple[np.ndarray, float]:
    """The section and its spacing [m]."""
    path = os.environ.get(OVERTHRUST)
    if not path:
        raise Unavailable(
            f"{OVERTHRUST} is not set: it names the file of the section, which is not part of this project"
        )
    if not Path(path).is_file():
        raise Unavailable(f"{OVERTHRUST}={path} is no file")
    found = read_velocity(path)
    return found.velocity, found.spacing or OVERTHRUST_SPACING


def overthrust() -> tuple[Setup, Models]:
    velocity, spacing = overthrust_file()
    grid = Grid(velocity.shape, spacing)
    sources, held_out = shots(grid, 32, 6, 2 * spacing)
    setup = Setup(
        "overthrust",
        grid,
        TimeAxis(626, 0.008),
        10.0,
        sources,
        held_out,
        line(grid, 401, 2 * spacing),
        smoothing=500.0,
        bounds=(2200.0, 6200.0),
        data_spacing=12.5,
        stages=(Stage(3.0, 125.0, 15), Stage(5.0, 80.0, 15), Stage(8.0, 50.0, 30), Stage(15.0, 100 / 3, 30)),
        illumination=True,
        batch=8,
    )
    return setup, {"overthrust": lambda: velocity.astype(np.float32)}


def overthrust_left() -> tuple[Setup, Models]:
    velocity, spacing = overthrust_file()
    grid = Grid((374, 801), 12.5)
    # The cells' centers lie a quarter of the coarser cells beside theirs.
    left = resample(velocity, spacing, grid, (-spacing / 4, -spacing / 4))
    sources, held_out = shots(grid, 24, 5, 50.0)
    setup = Setup(
        "overthrust_left",
        grid,
        TimeAxis(438, 0.008),
        10.0,
        sources,
        held_out,
        line(grid, 401, 50.0),
        smoothing=500.0,
        bounds=(2200.0, 6200.0),
        data_spacing=25 / 3,
        stages=(Stage(3.0, 125.0, 15), Stage(5.0, 80.0, 15), Stage(8.0, 50.0, 30), Stage(15.0, 100 / 3, 30)),
        illumination=True,
        batch=8,
    )
    return setup, {"overthrust_left": lambda: left.astype(np.float32)}


def marmousi_like() -> tuple[Setup, Models]:
    grid, seed, water = Grid((88, 200), 40.0), 7, 11
    sources, held_out = shots(grid, 40, 6, 40.0)
    setup = Setup(
        "marmousi_like",
        grid,
        TimeAxis(1600, 0.003),
        5.0,
        sources,
        held_out,
        line(grid, 200, 40.0),
        smoothing=480.0,
        bounds=(1450.0, 4700.0),
        data_spacing=20.0,
        stages=(Stage(2.5, 80.0, 20), Stage(4.0, 60.0, 20), Stage(8.0, 40.0, 30)),
        fixed_rows=water + 1,
        free_surface=True,
        batch=8,
        seed=seed,
    )
    trend = Layered(1600.0, 4600.0, 8, 10, thinnest=0.04, curved=True, min_faults=3, max_faults=4, throw=0.15)
    # The same key: folds and faults are shared, thin layers of any velocity lie between the others.
    thin = replace(trend, min_layers=16, max_layers=18, thinnest=0.02, ordered=False)

    def model() -> np.ndarray:
        below, key = Grid((88 - water, 200), 40.0), jax.random.key(seed)
        rock = 0.7 * np.asarray(trend(key, below)) + 0.3 * np.asarray(thin(key, below))
        return np.concatenate([np.full((water, 200), WATER_VELOCITY), rock]).astype(np.float32)

    return setup, {"marmousi_like": model}


def drawn(setup: Setup, families: tuple[str, ...], models: int) -> tuple[Setup, Models]:
    """The set-up with models of families, by names like `style_a-0`."""

    def make(family: str, number: int) -> np.ndarray:
        key = jax.random.fold_in(jax.random.key(setup.seed), number)
        return np.asarray(make_family(family, {})(key, setup.grid), np.float32)

    return setup, {
        f"{family}-{number}": lambda family=family, number=number: make(family, number)
        for number in range(models)
        for family in families
    }


def transmission(models: int) -> tuple[Setup, Models]:
    grid = Grid((128, 256), 10.0)
    sources, held_out = shots(grid, 16, 3, 1260.0)
    setup = Setup(
        "transmission",
        grid,
        TimeAxis(1001, 0.001),
        5.0,
        sources,
        held_out,
        line(grid, 129, 10.0),
        smoothing=200.0,
        bounds=(1450.0, 4550.0),
        data_spacing=5.0,
        stages=(Stage(4.0, 50.0, 60), Stage(7.0, 100 / 3, 100), Stage(12.0, 20.0, 300)),
    )
    return drawn(setup, TRANSMISSION_FAMILIES, models)


def openfwi_like(models: int) -> tuple[Setup, Models]:
    grid = Grid((70, 70), 10.0)
    sources, held_out = shots(grid, 5, 2, 10.0)
    setup = Setup(
        "openfwi_like",
        grid,
        TimeAxis(1000, 0.001),
        15.0,
        sources,
        held_out,
        line(grid, 70, 10.0),
        smoothing=100.0,
        bounds=(1450.0, 4550.0),
        data_spacing=5.0,
        stages=(Stage(8.0, 20.0, 30), Stage(15.0, 15.0, 50), Stage(30.0, 10.0, 120)),
        few_shots=True,
    )
    return drawn(setup, OPENFWI_FAMILIES, models)


SETUPS: dict[str, Callable[[int], tuple[Setup, Models]]] = {
    "overthrust": lambda models: overthrust(),
    "overthrust_left": lambda models: overthrust_left(),
    "marmousi_like": lambda models: marmousi_like(),
    "transmission": transmission,
    "openfwi_like": openfwi_like,
}
DEFAULT_MODELS = {"transmission": 1, "openfwi_like": 2}  # of each family
