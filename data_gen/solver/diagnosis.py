"""Report what will go wrong with a simulation before it runs: each number with its limit and what to set instead.

    python -m data_gen.diagnose data=demo              the first training sample of a data set; status 1 on an error
    diagnose(velocity, survey, simulation).show()      any model and survey

Rules of thumb. Points per wavelength: checks.POINTS_PER_WAVELENGTH, at the frequency where the wavelets' spectrum has
fallen to 5 % of its peak. Cut wavelets: 1 %, as wavelets.ormsby lets its side lobes be cut. Absorbing layers, measured
with this CPML in a homogeneous medium, constant density, orders 2 to 8: 3 cells reflect 1e-2 to 2e-2 of a point
source's field, 5 cells 5e-4 to 3e-3, 10 cells 3e-5 to 5e-4, 20 cells 5e-6 to 1e-4, whether they span 0.02 or 0.6 of
the peak's wavelength; of grazing waves 10 cells reflect up to 1e-2. So the cells count, hardly the wavelength. Sources
near a layer: their own stencil, order / 2 cells, stays out of it; with one in the grid's outermost row the echo at near
offset was 1e-3, not 1e-4.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from functools import partial
from math import ceil, hypot, sqrt
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table

from data_gen.common.console import make_console
from data_gen.common.errors import InputError
from data_gen.solver.accuracy import expected_error, simulation_for_error
from data_gen.solver.error_law import WITHIN
from data_gen.solver.memory_plan import candidates, peak_bytes
from data_gen.solver.numerics.cpml import REDUCTION
from data_gen.solver.numerics.resampling import substeps
from data_gen.solver.numerics.stencils import largest_stable_step
from data_gen.solver.problem.acquisition import Survey, check_survey_shapes, real_array
from data_gen.solver.problem.checks import (
    BAND_PART,
    BAND_TOP,
    POINTS_PER_WAVELENGTH,
    BandWarning,
    DispersionWarning,
    GrowthWarning,
    check_inputs,
    largest_local_velocity,
    safe_steps,
)
from data_gen.solver.problem.discretization import discretize
from data_gen.solver.problem.simulation import HIGHEST_FREQUENCY, SLOWEST_MEANT, Simulation
from data_gen.solver.problem.wavelets import HIGHEST_PART, RICKER_DELAY, part_above, wavelet_band
from data_gen.solver.simulator import simulate

Severity = Literal["good", "warning", "error"]
COLORS = {"good": "green", "warning": "yellow", "error": "bold red"}
LAYER_CELLS, LAYER_WAVELENGTHS = 10, 0.025
CUT = 0.01
WANTED_ERROR = 0.03
MEMORY_PART = 0.8  # of what there is; the rest is for the program and for others
TRIAL_STEPS, TRIAL_SHOTS, TRIAL_UPDATES = 50, 16, 10**8


@dataclass(frozen=True)
class Finding:
    """Hold one number of a simulation and what it should be.

    Attributes:
        name: The subject, such as "time step".
        measured: The number found, with its unit.
        wanted: The range it should be in.
        severity: "good", "warning" or "error".
        remedy: The setting to change; empty where all is well.
    """

    name: str
    measured: str
    wanted: str
    severity: Severity = "good"
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Hold all findings on a simulation; `diagnosis["time step"]` is one of them.

    Attributes:
        findings: The findings, in the order of the table.
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)

    def __str__(self) -> str:
        lines = (f"{f.severity:8}{f.name}: {f.measured}; wanted: {f.wanted}. {f.remedy}" for f in self.findings)
        return "\n".join(line.rstrip() for line in lines)

    def show(self, title: str = "Diagnosis") -> None:
        """Print the findings as a table.

        Args:
            title: Title of the table.
        """
        table = Table("", "", "measured", "wanted", "remedy", title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for f in self.findings:
            table.add_row(f"[{COLORS[f.severity]}]{f.severity}[/]", f.name, f.measured, f.wanted, f.remedy)
        make_console().print(table)


def judge(name: str, measured: str, wanted: str, remedy: str = "", severity: Severity = "warning") -> Finding:
    """Make a finding that is good where it needs no remedy.

    Args:
        name: The subject.
        measured: The number found, with its unit.
        wanted: The range it should be in.
        remedy: The setting to change; empty where all is well.
        severity: Severity of a finding that needs a remedy.

    Returns:
        The finding.
    """
    return Finding(name, measured, wanted, severity if remedy else "good", remedy)


def _rounded(value: float, rounding: str = ROUND_FLOOR, digits: int = 6) -> float:
    """Round to the next number of so many digits below `value`, or above: printed with %g it keeps a limit."""
    return float(Context(prec=digits, rounding=rounding).create_decimal(value))


def _model(model: np.ndarray, name: str, unit: str, simulation: Simulation) -> Finding:
    """Judge whether a model has the grid's shape and finite, positive values; the velocity's in m/s."""
    shape, finite = simulation.grid.shape, model[np.isfinite(model)]
    measured = f"{finite.min():g} to {finite.max():g} {unit}" if finite.size else "nothing finite"
    bad, remedy = ~(np.isfinite(model) & (model > 0)), ""
    if model.shape != shape:
        measured += f", shape {model.shape}"
        remedy = f"Resample it to {shape}, or give the grid the shape {model.shape}."
    elif bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        remedy = f"Replace the {bad.sum()} values that are not finite or not positive, the first at index {first}."
    elif unit == "m/s" and finite.max() < SLOWEST_MEANT:
        remedy = "It looks like km/s: multiply by 1000."
    return judge(name, measured, f"finite, positive, in {unit}, of shape {shape}", remedy, "error")


def _points(points: np.ndarray, what: str, simulation: Simulation) -> Finding:
    """Judge sources or receivers `(z, x)` [m]: in the grid, on its cells or with a sinc, clear of the layers."""
    source, name, wanted = what == "source", f"{what}s", "in the grid, on cells or with a sinc, clear of layers"
    points = points.reshape(-1, 2)
    cells, last = points / simulation.grid.spacing, np.array(simulation.grid.shape) - 1
    between = np.abs(cells - np.round(cells)).max(axis=1, initial=0) > 1e-3
    # A sinc reaches half_width - 1 cells beyond the two it lies between; on a cell it is a delta.
    clear = np.where(between, max(simulation.half_width - 1, 0), 0)
    clear = np.maximum(clear, simulation.order // 2 if source else 0)[:, None]
    low_layer, high_layer = np.array(simulation.widths).reshape(2, 2).T > 0
    low, high = np.where(low_layer, clear, 0), last - np.where(high_layer, clear, 0)
    faults: list[tuple[str, Any, Severity]] = [
        ("outside the grid", ~((cells >= -1e-3) & (cells <= last + 1e-3)).all(axis=1), "error"),
        ("between cells with half_width=0", between & (simulation.half_width == 0), "error"),
        ("on the free surface, where p = 0", simulation.free_surface & (cells[:, 0] < 1e-3), "error"),
        ("too near an absorbing layer", ((cells < low - 1e-3) | (cells > high + 1e-3)).any(axis=1), "warning"),
    ]
    low[:, 0] += simulation.free_surface
    for fault, where, severity in faults:
        if where.any():
            i = int(np.argmax(where))
            target = np.clip(np.nan_to_num(cells[i]), low[i], high[i])
            z, x = (np.round(target) if simulation.half_width == 0 else target) * simulation.grid.spacing
            measured = f"{where.sum()} of {len(points)} {fault}, the first at ({points[i, 0]:g}, {points[i, 1]:g}) m"
            sinc = ", or set half_width=4" if fault.startswith("between") else ""
            return Finding(name, measured, wanted, severity, f"Move it to ({z:.6g}, {x:.6g}) m{sinc}.")
    return Finding(name, f"{len(points)} in place", wanted)


def _refusal(name: str, check: Callable[[], object]) -> list[Finding]:
    """Find what a check refuses that has no finding of its own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DispersionWarning)
            warnings.simplefilter("ignore", GrowthWarning)
            warnings.simplefilter("ignore", BandWarning)
            check()
    except InputError as error:
        return [Finding(name, "refused by simulate", "accepted", "error", str(error))]
    return []


def _wavelets(wavelets: np.ndarray, simulation: Simulation) -> Finding:
    """Judge whether the wavelets of each shot fire, and neither begin nor end on their way.

    In a group of sources some may be silent: groups of different sizes are filled up so.

    The remedy of a cut one takes it to be symmetric, or as long as a Ricker wavelet where both ends are cut.
    """
    nt, dt, wanted = (
        simulation.time.nt,
        simulation.time.dt,
        f"finite, not silent, <= {CUT:.0%} of the peak at both ends",
    )
    peaks = np.abs(wavelets).reshape(len(wavelets), -1).max(axis=1)
    if (bad := ~(np.isfinite(peaks) & (peaks > 0))).any():
        remedy = f"Replace that of shot {np.argmax(bad)}, the first."
        return Finding("wavelets", f"{bad.sum()} silent or not finite", wanted, "error", remedy)
    sizes = np.abs(wavelets.reshape(-1, nt))
    sizes = sizes[sizes.any(axis=1)]
    peaks = sizes.max(axis=1)
    ends, remedy = sizes[:, [0, -1]] / peaks[:, None], ""
    if ends.max(initial=0) > CUT:
        i = int(np.argmax(ends.max(axis=1)))
        at, moving = int(np.argmax(sizes[i])), np.flatnonzero(sizes[i] > CUT * peaks[i])
        whole = [int(abs(moving[side] - at)) for side in (0, -1) if ends[i, side] <= CUT]
        reach = max(whole, default=ceil(RICKER_DELAY / (simulation.peak_frequency * dt))) + 1
        at = max(at, reach) if ends[i, 0] > CUT else at
        remedy = f"Put the peak of number {i} at {at * dt:g} s and take nt={max(nt, at + reach + 1)} samples."
    start, end = ends.max(axis=0, initial=0)
    return judge("wavelets", f"{start:.2g} of the peak at the start, {end:.2g} at the end", wanted, remedy)


def _stability(velocity: np.ndarray, density: np.ndarray | None, simulation: Simulation) -> list[Finding]:
    """Judge the internal step [s] by the model's largest stable one, and its velocity by that of the setup."""
    reached, limit, staggered, cut = float(velocity.max()), simulation.max_velocity, density is not None, False
    fastest = reached if density is None else largest_local_velocity(velocity, density, simulation)
    options = {"staggered": staggered, "kappa": simulation.kappa}
    largest = largest_stable_step(simulation.order, simulation.solved_spacing, fastest, **options)
    step, shorten, raised = simulation.step_length, "", ""
    if step > largest:
        shorten = f"Set time_step={_rounded(largest):g}, or max_velocity, which sets it, to that of the model."
        if not simulation.time_correction:
            dt = _rounded(largest * simulation.substeps)
            shorten = f"Set substeps={substeps(simulation.time.dt, largest)}, or dt={dt:g}."
    if reached > limit * (1 + 1e-6):
        # R = exp(-2 / v int sigma dx), with the sigma that gives REDUCTION^-width at max_velocity (cpml.py).
        reflection = REDUCTION ** -float(min((width for width in simulation.widths if width), default=0))
        reflected = f"the layers reflect {reflection ** (limit / reached):.1g} in theory, not {reflection:.1g}"
        raised = f"Set max_velocity={_rounded(reached, ROUND_CEILING):g}: as it is, {reflected}."
        if cut := density is None and simulation.projects and reached > simulation.fastest:
            raised += f" What is above {simulation.fastest:g} m/s would be cut off."
    measured, model = f"{step:g} s, {step / largest:.0%} of the limit", f"the model reaches {reached:g} m/s"
    return [
        judge("time step", measured, f"<= {_rounded(largest):g} s", shorten, "error"),
        judge("reference velocity", model, f"<= max_velocity = {limit:g} m/s", raised, "error" if cut else "warning"),
    ]


def _wavelengths(velocity: np.ndarray, wavelets: np.ndarray, simulation: Simulation) -> Iterator[Finding]:
    """Judge the wavelets' band by `peak_frequency`, the shortest wavelength by the cells, the longest by the layers.

    For information follows whether the slowest wave can cross the grid along its diagonal within the record.
    """
    spacing, dt, widths = simulation.solved_spacing, simulation.time.dt, simulation.widths
    slowest, fastest = float(velocity.min()), float(velocity.max())
    firing = wavelets.reshape(-1, wavelets.shape[-1])
    low, high = wavelet_band(firing[firing.any(axis=1)], dt)
    assumed, remedy = simulation.highest_frequency, ""
    if not assumed / 2 <= high <= assumed:
        remedy = f"Set peak_frequency={_rounded(high / HIGHEST_FREQUENCY, ROUND_CEILING, 4):g}."
    measured = f"the wavelets reach {high:.3g} Hz ({HIGHEST_PART:.0%} of their peak)"
    yield judge("peak frequency", measured, f"{assumed / 2:.3g} to {assumed:.3g} Hz, as set", remedy)

    if simulation.time_correction:
        limit, remedy = BAND_TOP * simulation.peak_frequency, ""
        beyond = part_above(firing, dt, limit)
        if beyond > BAND_PART:
            remedy = f"Set peak_frequency={_rounded(high / HIGHEST_FREQUENCY, ROUND_CEILING, 4):g}, smooth the onset"
            remedy += " of the wavelet, or set time_correction=False and a dt that resolves it."
        measured = f"{beyond:.2g} of the wavelets' amplitudes lie above {limit:.3g} Hz"
        yield judge("band", measured, f"<= {BAND_PART:g}, or they are cut off with temporal dispersion", remedy)

    high, needed, remedy = max(high, assumed), POINTS_PER_WAVELENGTH[simulation.order], ""
    cells = slowest / (high * spacing)
    if cells < needed:
        finer, slower = (_rounded(cells / needed * x, digits=4) for x in (spacing, simulation.peak_frequency))
        enough = [order for order, points in POINTS_PER_WAVELENGTH.items() if points <= cells]
        setting = "spacing" if simulation.internal_spacing is None else "internal_spacing"
        remedy = f"Set {setting}={finer:g}, or peak_frequency={slower:g}"
        remedy += "".join(f", or order={o}" for o in enough[:1])
    measured = f"{cells:.3g} at {high:.3g} Hz and {slowest:g} m/s"
    yield judge("points per wavelength", measured, f">= {needed:g} for order {simulation.order}", remedy)

    solved = discretize(simulation).widths
    longest, narrowest, remedy = fastest / low, min((width for width in solved if width), default=0), ""
    needed = max(LAYER_CELLS, ceil(LAYER_WAVELENGTHS * longest / spacing))
    if 0 < narrowest < needed:
        wide = ceil(needed * spacing / simulation.grid.spacing - 1e-6)
        remedy = f"Set widths={tuple(max(width, wide) if width else 0 for width in widths)}."
    part = f"{narrowest * spacing / longest:.2g} of the longest wavelength ({longest:.4g} m at {low:.3g} Hz)"
    wanted = f">= {needed} cells ({LAYER_CELLS}, and {LAYER_WAVELENGTHS:g} of that wavelength)"
    measured = f"{narrowest} cells, {part}" if narrowest else "none, all walls reflect"
    yield judge("absorbing layers", measured, wanted, remedy)

    safe, remedy = safe_steps(velocity, simulation), ""
    if simulation.steps > safe:
        wider = sqrt(simulation.steps / safe)
        remedy = f"Set widths={tuple(ceil(width * wider) for width in widths)}, or take fewer steps."
    yield judge("growth", f"{simulation.steps} internal steps", f"<= {safe:g}, in which trapped waves double", remedy)

    last = simulation.time.times[-1]
    crossed = float(np.argmax(np.abs(wavelets), axis=-1).max()) * dt + hypot(*simulation.grid.extent) / slowest
    remedy = f"Take nt={ceil(crossed / dt) + 1} to see it cross, if that is wanted." if last < crossed else ""
    yield judge("record", f"{last:.4g} s", f"{crossed:.4g} s for {slowest:g} m/s to cross the grid", remedy, "good")


def _accuracy(
    velocity: np.ndarray, density: np.ndarray | None, n_receivers: int, simulation: Simulation
) -> Iterator[Finding]:
    """Judge the expected errors of what is recorded; the remedy is the cheapest simulation within the wanted one."""
    kinds = {"snapshots": bool(simulation.snapshot_steps), "gathers": n_receivers > 0}
    for kind in (kind for kind, recorded in kinds.items() if recorded):
        name, wanted = (
            f"error of {kind}",
            f"<= {WANTED_ERROR:.0%}, within a factor of {WITHIN[kind]:g}, against the wave equation",
        )
        if density is not None:
            yield Finding(name, "not stated", "known at constant density only")
            continue
        try:
            expected = expected_error(velocity, simulation, kind=kind)
        except InputError as error:
            yield Finding(name, "not stated", str(error))
            continue
        parts = {part: value for part, value in expected._asdict().items() if value >= 5e-4}
        measured = f"{expected.total:.1%} within a factor of {WITHIN[kind]:g}" + "".join(
            f", {part} {value:.1%}" for part, value in parts.items()
        )
        remedy = _more_accurate(kind, velocity, simulation) if expected.total > WANTED_ERROR else ""
        yield judge(name, measured, wanted, remedy)


def _more_accurate(kind: str, velocity: np.ndarray, simulation: Simulation) -> str:
    """Name the settings that are expected to reach the wanted error."""
    meant = 'Say medium="cells" if the model is constant cells' if simulation.medium == "samples" else ""
    try:
        meant_so = replace(simulation, medium="cells")
        better = simulation_for_error(velocity, meant_so, WANTED_ERROR / WITHIN[kind], kind=kind)
    except InputError as error:
        return f"{meant}. {error}" if meant else str(error)
    names = ("time_correction", "order", "kappa", "internal_spacing")
    changes = [name for name in names if getattr(better, name) != getattr(simulation, name)]
    settings = ", ".join(f"{name}={getattr(better, name)}" for name in changes)
    return ". ".join(filter(None, (f"Set {settings}" if settings else "", meant))) + "."


def _memory(
    peak: Callable[..., int], ways: list[str], shots: int, strategy: str | None, available: int | None
) -> Finding:
    """Judge the predicted bytes by those that there are; the remedy names the batch, or strategy, that fits."""
    if available is None:
        statistics = jax.devices()[0].memory_stats() or {}
        available = statistics.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed, limit, remedy = peak(shots, strategy=strategy), MEMORY_PART * available, ""
    if needed > limit:
        fit = sum(peak(n, strategy=strategy) <= limit for n in range(1, shots))
        remedy = f"Simulate at most {fit} shots at once" if fit else "Coarsen the grid: not even one shot fits"
        others = [way for way in ways if strategy and peak(shots, strategy=way) <= limit]
        remedy += "".join(f", or take the strategy {way!r}" for way in others) + "."
    what = f"the gradient ({strategy})" if strategy else "the fields"
    measured, wanted = f"{needed / 1e9:.3g} GB for {what} of {shots} shots", f"<= {limit / 1e9:.3g} GB"
    severity = "error" if needed > available else "warning"
    return judge("memory", measured, f"{wanted}, {MEMORY_PART:.0%} of all", remedy, severity)


def trial_rate(velocity, survey: Survey, simulation: Simulation, *, density=None, shots: int = 1) -> float:
    """Measure the speed of a simulation by the second of two short runs.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].
        survey: The survey, whose sources are fired in turn.
        simulation: The simulation.
        density: Density model `(nz, nx)` [kg/m^3], or None.
        shots: Number of shots to run at once; 16 at most are run.

    Returns:
        Cell updates per second.
    """
    cells = int(np.prod(discretize(simulation, staggered=density is not None).padded_shape))
    shots = max(1, min(shots, TRIAL_SHOTS, TRIAL_UPDATES // (cells * TRIAL_STEPS)))
    steps = max(TRIAL_STEPS, TRIAL_UPDATES // (cells * shots))
    nt = min(simulation.time.nt, int(steps * simulation.step_length / simulation.time.dt) + 2)
    short = replace(simulation, time=replace(simulation.time, nt=nt), snapshot_steps=())
    trial, elapsed = survey.select(np.arange(shots) % survey.n_shots), 0.0
    trial = trial._replace(wavelets=trial.wavelets[..., :nt])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DispersionWarning)
        warnings.simplefilter("ignore", GrowthWarning)
        warnings.simplefilter("ignore", BandWarning)
        for _ in range(2):
            start = time.perf_counter()
            jax.block_until_ready(simulate(velocity, trial, short, density=density))
            elapsed = time.perf_counter() - start
    return cells * short.steps * shots / elapsed


def diagnose(
    velocity,
    survey: Survey,
    simulation: Simulation,
    *,
    density=None,
    models: int = 1,
    strategy: str | None = None,
    available: int | None = None,
    measure: bool = False,
) -> Diagnosis:
    """Find what is good, doubtful or wrong with simulating a survey through a model, without running it.

    Findings that depend on a wrong input are left out.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s], not traced.
        survey: The survey.
        simulation: The simulation.
        density: Density model `(nz, nx)` [kg/m^3], not traced; None for constant density.
        models: Number of models simulated at once, each with all shots.
        strategy: Strategy of the gradient's memory; None for the fields alone.
        available: Memory that may be used [bytes]; None for the device's or the machine's.
        measure: Whether to time a short run, if nothing is wrong.

    Returns:
        The findings.

    Raises:
        InputError: If an array holds anything but real numbers.
    """
    velocity = np.asarray(real_array(velocity, "The velocity model"))
    density = None if density is None else np.asarray(real_array(density, "The density model"))
    findings = [_model(velocity, "velocity", "m/s", simulation)]
    findings += [] if density is None else [_model(density, "density", "kg/m^3", simulation)]
    if refusal := _refusal("solver's grid", lambda: discretize(simulation, staggered=density is not None)):
        return Diagnosis((*findings, *refusal))
    if sound := all(finding.severity == "good" for finding in findings):
        findings += _stability(velocity, density, simulation)
    if refusal := _refusal("survey", lambda: check_survey_shapes(survey, simulation.time.nt)):
        return Diagnosis((*findings, *refusal))
    sources, receivers, wavelets = (np.asarray(leaf, dtype=float) for leaf in survey)
    survey = Survey(*map(jnp.asarray, survey))
    findings += [_points(sources, "source", simulation), _points(receivers, "receiver", simulation)]
    findings.append(_wavelets(wavelets, simulation))
    if sound and findings[-1].severity != "error":
        findings += _wavelengths(velocity, wavelets, simulation)
        findings += _accuracy(velocity, density, survey.n_receivers, simulation)
    shots = models * survey.n_shots
    counts = {"n_receivers": survey.n_receivers, "n_sources": survey.n_sources}
    peak = partial(peak_bytes, simulation, **counts, dtype=velocity.dtype, constant_density=density is None)
    ways = candidates(simulation, constant_density=density is None)
    findings.append(_memory(peak, list(dict.fromkeys(way.strategy for way in ways)), shots, strategy, available))
    solved = discretize(simulation, staggered=density is not None)
    updates = float(np.prod(solved.padded_shape)) * solved.steps * shots
    if Diagnosis(tuple(findings)).ok:
        findings += _refusal("inputs", lambda: check_inputs(velocity, survey, simulation, density))
    work, refused = f"{updates:.3g} cell updates for {shots} shots", ""
    if measure and Diagnosis(tuple(findings)).ok:
        try:
            rate = trial_rate(velocity, survey, simulation, density=density, shots=shots)
            work += f", {updates / rate:.3g} s at {rate:.2g} a second"
        except InputError as error:
            refused = str(error)
    return Diagnosis((*findings, judge("time", work, "for information: forward, compiled", refused, "error")))
