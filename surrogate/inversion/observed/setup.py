"""Set up the simulation of observed data: cells, model, layers and time axis follow from the data, band and bounds.

    cell        h = v_min / (f_max n),    n cells in the shortest wavelength, as the order of the differences needs them
    margin      one wavelength of the peak frequency at the mean of the bounds, on each side of the positions
    depth       what is less of the longest offset and the way of an echo, v T / 2, but below all positions
    layers      20 cells, or as many as no trapped wave grows in within the steps
    time        the record's samples, from the sample on at or before which the wavelet begins

The model begins at the datum, which is z = 0. Each of these can be set.
"""

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, NamedTuple

import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.ranges import check_fields, ranged
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.segy_shots import SHOT_WORDS
from data_gen.solver.problem.acquisition import Survey, make_survey
from data_gen.solver.problem.checks import (
    NEAR,
    POINTS_PER_WAVELENGTH,
    check_layers,
    check_sampling,
    meeting,
    safe_steps,
)
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from surrogate.inversion.observed.record import Observed
from surrogate.inversion.observed.wavelet import SourceWavelet
from surrogate.inversion.processing.line_source import LAWS

HALF_WIDTH = 4  # cells of the sinc that places sources and receivers between cell centers
LAYERS, MOST_LAYERS = 20, 60  # cells
DENSITIES = ("constant", "gardner")
SLACK = 1e-6  # of a cell or a sample, for rounding


@dataclass
class SetupConfig:
    """Describe how observed data are read and simulated; null follows from the data.

    Attributes:
        split: Split of the sample, where `observed` is a data set; its index is `inversion.index`.
        shot_word: Word of SEG-Y trace headers that tells shots apart: FieldRecord, EnergySourcePoint or SourceX (the
            source's position); null takes all that differ, which must then agree.
        datum: Elevation of z = 0, the top of the model [m]; null takes that of the files.
        peak_frequency: Peak frequency of a Ricker wavelet, or of the band of an estimated one [Hz].
        peak_time: Time of the Ricker wavelet's peak on the clock of the records [s]; null takes 1.2 / peak_frequency.
        amplitude: Factor of the wavelet; null fits it, so that the start's data have the energy of the observed ones.
        highest_frequency: Highest frequency that the cells are made for [Hz]; null takes that of the wavelet.
        spacing: Side of a cell [m].
        margin: Distance from the outermost source or receiver to the sides of the model [m].
        origin: Position [z, x] of the model's first cell [m].
        width: Width of the model [m].
        depth: Depth of the model [m].
        duration: Time at which the records are cut off [s].
        dt: Time from one sample to the next to which records that are finer are resampled [s]; null keeps theirs.
        line_source: Law by which records of point sources in three dimensions are turned into those of line sources,
            which the solver predicts: offset or direct (for waves along the surface), or path (for reflections); null
            leaves them as they are.
        line_source_velocity: Velocity of that law [m/s]; direct can do without.
        density: Density that goes with a velocity: constant, or gardner (Gardner's rule); null takes that of a data
            set, else constant.
        order: Order of the differences in space.
        layers: Width of the absorbing layers [cells].
        free_surface: Whether the top of the model is a free surface.
    """

    split: str = ranged("test", SPLITS)
    shot_word: str | None = ranged(None, SHOT_WORDS)
    datum: float | None = None
    peak_frequency: float | None = ranged(None, "(0, inf)")
    peak_time: float | None = None
    amplitude: float | None = ranged(None, "(0, inf)")
    highest_frequency: float | None = ranged(None, "(0, inf)")
    spacing: float | None = ranged(None, "(0, inf)")
    margin: float | None = ranged(None, "[0, inf)")
    origin: list[float] | None = ranged(None, "(-inf, inf)", length=2)
    width: float | None = ranged(None, "(0, inf)")
    depth: float | None = ranged(None, "(0, inf)")
    duration: float | None = ranged(None, "(0, inf)")
    dt: float | None = ranged(None, "(0, inf)")
    line_source: str | None = ranged(None, LAWS)
    line_source_velocity: float | None = ranged(None, "(0, inf)")
    density: str | None = ranged(None, DENSITIES)
    order: int = ranged(8, tuple(POINTS_PER_WAVELENGTH))
    layers: int | None = ranged(None, "[0, 65536]")
    free_surface: bool | None = None

    def check(self) -> None:
        """Refuse values that no set-up can use.

        Raises:
            InputError: For such a value.
        """
        check_fields(self, "setup")
        if self.line_source in ("offset", "path") and self.line_source_velocity is None:
            raise InputError(
                f"setup.line_source = {self.line_source} needs a velocity: give setup.line_source_velocity=V [m/s], "
                "that of the waves that matter, or take direct, which can do without."
            )
        if self.line_source is None and self.line_source_velocity is not None:
            raise InputError(
                f"setup.line_source_velocity is that of a law: give setup.line_source={'|'.join(LAWS)}, too, or leave "
                "it out."
            )


class Setup(NamedTuple):
    """Hold the simulation of observed data.

    Attributes:
        simulation: Simulation, on a grid whose first cell is at `origin`.
        survey: Sources, receivers and wavelets, with positions from the first cell on.
        origin: Position (z, x) of the first cell in the coordinates of the data [m].
        steps: Steps of the time axis at which the data are sampled.
        first: Time of step 0 on the clock of the records [s].
        observed: The data, without samples before the wavelet begins or after `setup.duration`.
        gardner: Whether density follows velocity by Gardner's rule; otherwise it is constant.
        table: The choices in words: rows of a name, a value and the key that changes it.
    """

    simulation: Simulation
    survey: Survey
    origin: tuple[float, float]
    steps: tuple[int, ...]
    first: float
    observed: Observed
    gardner: bool
    table: tuple[tuple[str, str, str], ...]


def setup_inversion(
    observed: Observed,
    wavelet: SourceWavelet,
    bounds: tuple[float, float],
    config: SetupConfig | None = None,
) -> Setup:
    """Set up the simulation of observed data.

    Warns with `DispersionWarning` and `GrowthWarning` where cells or layers that were set are too few.

    Args:
        observed: Observed data.
        wavelet: Wavelet of all sources.
        bounds: Lowest and highest velocity of any model [m/s].
        config: Settings that are to be other than the data suggest.

    Returns:
        Simulation, survey, the place of the model and the data that are fitted.

    Raises:
        InputError: If the records end before the wavelet begins, sources or receivers lie outside the model, or the
            simulation cannot be made.
    """
    config = config or SetupConfig()
    config.check()
    observed, first, steps = _timed(observed, wavelet, config)
    grid, origin, how = _grid(observed, wavelet, bounds, config)
    points = observed.positions - origin
    _check_inside(observed, grid, origin, config)
    on_cells = np.abs(points / grid.spacing - np.round(points / grid.spacing)).max() <= NEAR
    free = config.free_surface
    if free is None:
        free = observed.known is not None and observed.known.free_surface
    _check_fired(observed, origin[0] + NEAR * grid.spacing, free)
    gardner = config.density == "gardner"
    if config.density is None:
        gardner = observed.known is not None and observed.known.gardner
    time = TimeAxis(steps[-1] + 1, observed.dt)

    def simulation(layers: int) -> Simulation:
        return Simulation(
            grid,
            time,
            max_velocity=bounds[1],
            peak_frequency=wavelet.peak_frequency,
            order=config.order,
            widths=(0 if free else layers, layers, layers, layers),
            half_width=0 if on_cells else HALF_WIDTH,
            free_surface=free,
            staggered=gardner,
        )

    layers = LAYERS if config.layers is None else config.layers
    chosen = simulation(layers)
    while config.layers is None and layers < MOST_LAYERS and chosen.steps > safe_steps(meeting(*bounds), chosen):
        layers += 5
        chosen = simulation(layers)
    check_sampling(chosen, bounds[0])
    check_layers(chosen, meeting(*bounds))
    sources = observed.sources - origin
    sources = sources[:, 0] if sources.shape[1] == 1 else sources
    survey = make_survey(sources, observed.receivers - origin, wavelet.sample(time, first))
    table = _table(observed, wavelet, bounds, chosen, origin, first, how, config)
    return Setup(chosen, survey, origin, steps, first, observed, gardner, table)


def _timed(observed: Observed, wavelet: SourceWavelet, config: SetupConfig) -> tuple[Observed, float, tuple[int, ...]]:
    """Cut the records, and find the time of step 0 and the steps of their samples."""
    dt, nt = observed.dt, observed.gathers.shape[1]
    before = ceil((observed.delay - wavelet.begins) / dt - SLACK)
    first_sample = max(0, -before)
    last_sample = nt
    if config.duration is not None:
        last_sample = min(nt, floor((config.duration - observed.delay) / dt + SLACK) + 1)
    if last_sample - first_sample < 2:
        raise InputError(
            f"Nothing is left of the records, which span {observed.delay:g} to {observed.duration:g} s: the wavelet "
            f"begins at {wavelet.begins:g} s"
            + (f", and setup.duration is {config.duration:g} s" if config.duration is not None else "")
            + ". Check the time of the first sample (delay), the wavelet's time, and their units."
        )
    first = observed.delay - before * dt
    cut = observed._replace(
        gathers=observed.gathers[:, first_sample:last_sample], delay=observed.delay + first_sample * dt
    )
    start = max(0, before)
    return cut, first, tuple(range(start, start + last_sample - first_sample))


def _grid(
    observed: Observed, wavelet: SourceWavelet, bounds: tuple[float, float], config: SetupConfig
) -> tuple[Grid, tuple[float, float], str]:
    """Choose the grid, its origin, and say how."""
    chosen = (config.spacing, config.margin, config.origin, config.width, config.depth, config.highest_frequency)
    if observed.known is not None and all(value is None for value in chosen):
        nz, nx = observed.known.velocity.shape
        return Grid((nz, nx), observed.known.spacing), (0.0, 0.0), "of the true model"
    points, mean = observed.positions, (bounds[0] + bounds[1]) / 2
    highest = config.highest_frequency or wavelet.highest
    spacing = config.spacing or _rounded_down(bounds[0] / (highest * POINTS_PER_WAVELENGTH[config.order]))
    margin = mean / wavelet.peak_frequency if config.margin is None else config.margin
    low, high = points.min(axis=0), points.max(axis=0)
    # A whole number of cells from the first position: an even line then lies on cell centers if its step allows.
    origin = (0.0, float(low[1] - ceil(margin / spacing - SLACK) * spacing))
    if config.origin is not None:
        origin = (float(config.origin[0]), float(config.origin[1]))
    width = config.width or float(high[1]) + margin - origin[1]
    depth = config.depth
    if depth is None:
        reach = min(observed.longest_offset, mean * observed.duration / 2)
        depth = max(reach, float(high[0]) - origin[0] + margin)
    shape = (ceil(depth / spacing - SLACK) + 1, ceil(width / spacing - SLACK) + 1)
    least = config.order // 2 + 1
    return Grid((max(shape[0], least), max(shape[1], least)), spacing), origin, f"for {highest:.3g} Hz"


def _rounded_down(value: float) -> float:
    """Round down to two digits."""
    unit = 10.0 ** (floor(log10(value)) - 1)
    return float(f"{floor(value / unit + SLACK) * unit:.2g}")


def _check_inside(observed: Observed, grid: Grid, origin: tuple[float, float], config: SetupConfig) -> None:
    last = np.array(origin) + grid.extent
    for what, points in (("source", observed.sources), ("receiver", observed.receivers)):
        slack = NEAR * grid.spacing
        outside = ((points < np.array(origin) - slack) | (points > last + slack)).any(axis=-1)
        if outside.any():
            number = tuple(int(i) for i in np.argwhere(outside)[0])
            z, x = points[number]
            raise InputError(
                f"{int(outside.sum())} {what}s lie outside the model, the first (number {', '.join(map(str, number))}, "
                f"from 0) at (z, x) = ({z:g}, {x:g}) m: the model spans z = {origin[0]:g} to {last[0]:g} m and x = "
                f"{origin[1]:g} to {last[1]:g} m. Enlarge it with setup.depth, setup.width or setup.origin, leave "
                "these keys out, or correct the positions."
            )


def _check_fired(observed: Observed, top: float, free: bool) -> None:
    for what, points in (("source", observed.sources), ("receiver", observed.receivers)):
        silent = points[..., 0] <= top
        if free and silent.any():
            effect = "fire nothing" if what == "source" else "record zeros"
            raise InputError(
                f"{int(silent.sum())} {what}s lie on the free surface, where the pressure is zero, and {effect}. Give "
                f"their true depth (`{what}_depth` in the geometry file, which takes the place of depths that headers "
                "lack), or leave setup.free_surface out."
            )


def _table(
    observed: Observed,
    wavelet: SourceWavelet,
    bounds: tuple[float, float],
    simulation: Simulation,
    origin: tuple[float, float],
    first: float,
    how: str,
    config: SetupConfig,
) -> tuple[tuple[str, str, str], ...]:
    """Say what was chosen, and which key changes it."""
    shots, nt, receivers = observed.gathers.shape
    (nz, nx), h, frame = simulation.grid.shape, simulation.grid.spacing, observed.frame
    left_out = int((observed.weights == 0).sum())

    def span(points: np.ndarray) -> str:
        (z0, x0), (z1, x1) = points.reshape(-1, 2).min(axis=0), points.reshape(-1, 2).max(axis=0)
        return f"z {z0:g} to {z1:g}, x {x0:g} to {x1:g} m"

    moving = "of each shot" if observed.receivers.ndim == 3 else "of all shots"
    (x_0, y_0), (dx, dy) = frame.origin, frame.direction
    unit = "" if frame.unit == 1 else f"; the file's unit is {frame.unit:g} m"
    place = f"z = 0 at {frame.datum:g} m; x = 0 at ({x_0:.10g}, {y_0:.10g}) m, along ({dx:.4g}, {dy:.4g}){unit}"
    cells = simulation.points_per_wavelength(bounds[0])
    spreading = "of line sources" if observed.known is not None else "as recorded"
    if config.line_source is not None:
        velocity = "" if config.line_source_velocity is None else f", {config.line_source_velocity:g} m/s"
        spreading = f"from point to line sources by the law `{config.line_source}`{velocity}"
    density = "by Gardner's rule" if simulation.staggered else "constant"
    rows: list[tuple[str, str, str]] = [
        ("gathers", f"{shots} shots, {receivers} receivers {moving}, {left_out} traces left out", "geometry"),
        (
            "samples",
            f"{nt} of {observed.dt:g} s, {observed.delay:g} to {observed.duration:g} s",
            "setup.duration, setup.dt",
        ),
        ("spreading", spreading, "setup.line_source"),
        ("sources", f"{observed.sources.shape[1]} a shot, {span(observed.sources)}", "geometry"),
        ("receivers", span(observed.receivers), "geometry"),
        ("place", place, "setup.datum"),
        ("wavelet", wavelet.described, "wavelet, setup.peak_frequency"),
        ("velocities", f"{bounds[0]:g} to {bounds[1]:g} m/s", "inversion.bounds"),
        ("density", density, "setup.density"),
        (
            "cells",
            f"{nz} x {nx} of {h:g} m {how}, {cells:.2g} in the shortest wavelength",
            "setup.spacing, setup.highest_frequency",
        ),
        (
            "model",
            f"z {origin[0]:g} to {origin[0] + (nz - 1) * h:g}, x {origin[1]:g} to {origin[1] + (nx - 1) * h:g} m",
            "setup.origin, setup.width, setup.depth, setup.margin",
        ),
        (
            "edges",
            f"layers of {simulation.widths[1]} cells, top: {'free surface' if simulation.free_surface else 'layer'}",
            "setup.layers, setup.free_surface",
        ),
        (
            "time steps",
            f"{simulation.steps} of {simulation.step_length:.3g} s from {first:.4g} s, order {simulation.order}",
            "setup.order",
        ),
    ]
    return tuple(rows)


def table_of(setup: Setup, further: tuple[tuple[str, str, str], ...] = ()) -> dict[str, Any]:
    """Make the table of a set-up that is printed.

    Args:
        setup: The set-up.
        further: Further rows.

    Returns:
        Title, columns, rows and note, as `data_gen.common.console.print_table` takes them.
    """
    rows = [list(row) for row in (*setup.table, *further)]
    note = "; ".join(setup.observed.notes)
    return {
        "title": "Set-up",
        "columns": ["", "value", "changed by"],
        "rows": rows,
        "note": f"Data: {note or 'as given'}.",
    }
