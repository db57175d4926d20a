"""Diagnose an inversion from its config: why its result is, or will be, poor.

The data are predicted in the start and compared with the observed ones, the gradient of what the first stage minimizes
is tested at three models, and the illumination is simulated: about as many simulations as ten iterations. Models stay
as they are.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_gen.common.errors import InputError
from data_gen.common.files import make_folder, read_json, refuse_links, write_json
from data_gen.common.smoothing import gaussian_smooth
from data_gen.solver.diagnosis import Diagnosis, Finding, diagnose
from surrogate import figures
from surrogate.config import InvertConfig
from surrogate.figures import diagnosis as diagnosis_figures
from surrogate.figures.drawing import VELOCITY
from surrogate.inversion.bounds import make_bounds
from surrogate.inversion.descent import fixed_cells
from surrogate.inversion.diagnosis.delays import skipped_cycles
from surrogate.inversion.diagnosis.gathers import GathersDiagnosis, Record, diagnose_gathers
from surrogate.inversion.diagnosis.inverse_crime import judge_crime
from surrogate.inversion.diagnosis.record import make_record
from surrogate.inversion.diagnosis.taylor import TaylorTest, inward, judge_gradient, taylor_test
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.preconditioners.illumination import source_illumination
from surrogate.inversion.stage import InversionProblem, data_of_stage, make_objective
from surrogate.inversion.stage_data import StageData
from surrogate.report.page import write_diagnosis_page
from surrogate.runs.folder import DIAGNOSIS
from surrogate.runs.observed_problem import observed_problem
from surrogate.runs.problem import Problem, known_model_problem

POINTS = {"the start": 0.0, "1 % from it": 0.01, "3 % from it": 0.03}  # where the gradient is tested
LONGEST = 0.02  # of the velocity: longest step of a test
LENGTH = 0.5  # wavelengths: standard deviation of the Gaussian that smooths random changes of a model
DARK = 1e-4  # illumination, relative to the largest


class InversionDiagnosis(NamedTuple):
    """Hold what was found.

    Attributes:
        settings: Findings on the simulation of the start.
        inversion: Findings on data, wavelet, start and gradient.
        page: Path of the page.
    """

    settings: Diagnosis
    inversion: Diagnosis
    page: Path


def run_diagnosis(config: InvertConfig, on_stage: Callable[[str], None] = lambda stage: None) -> InversionDiagnosis:
    """Diagnose an inversion, and write `diagnosis.json`, figures and `diagnosis.html` into `out/diagnosis`.

    Args:
        config: Config of the inversion.
        on_stage: Function that is called with the name of each stage.

    Returns:
        What was found.

    Raises:
        InputError: The config or a file cannot be used, or the inversion is not one of gathers through the solver;
            nothing is written then.
    """
    config.check()
    if config.forward == "surrogate" or config.inversion.kind != "gather":
        raise InputError(
            f"forward={config.forward} and inversion.kind={config.inversion.kind} cannot be diagnosed: only gathers "
            "through the solver are. Take forward=physics and inversion.kind=gather."
        )
    if config.inversion.density == "free":
        raise InputError(
            "inversion.density=free cannot be diagnosed: take inversion.density=rule, which tests the gradient by the "
            "velocity with the rule's density."
        )
    problem = known_model_problem(config) if config.observed is None else observed_problem(config)
    assert isinstance(problem.forward, PhysicsForward)
    planned, _ = problem.forward.within(config.memory_budget)
    refuse_links(Path(config.out))
    make_folder(Path(config.out) / DIAGNOSIS)
    on_stage("predicting data in the start")
    forward, observed = problem.complete()
    assert isinstance(forward, PhysicsForward)
    forward = replace(planned, survey=forward.survey)
    start, observed = jnp.asarray(problem.start), np.asarray(observed, float)
    predict = jax.jit(forward.__call__)
    record = make_record(problem.weights, forward, observed, np.asarray(predict(start), float), config.inversion)
    gathers = diagnose_gathers(record)
    residual = None
    if problem.truth is not None and config.observed is not None:
        on_stage("predicting data in the true model")
        of_truth = np.where(record.used[:, None], np.asarray(predict(jnp.asarray(problem.truth)), float), 0)
        wanted = np.where(record.used[:, None], observed, 0)
        residual = float(np.linalg.norm(of_truth - wanted) / np.linalg.norm(wanted))
    crime = judge_crime(config.observed is None, residual, _fall(Path(config.out)), gathers.total)
    on_stage("testing the gradient")
    data = jnp.asarray(observed, jnp.promote_types(problem.start.dtype, jnp.float32))
    weights = None if problem.weights is None else jnp.asarray(problem.weights)
    held = fixed_cells(config.inversion, problem.start.shape)
    inversion = InversionProblem(
        config.inversion, StageData(forward, data, weights), None, start, held, problem.clock, problem.spacing
    )
    wavelength = float(start.mean()) / (forward.simulation.peak_frequency * forward.simulation.grid.spacing)
    tests = gradient_tests(inversion, wavelength)
    on_stage("simulating the illumination")
    density = None if forward.density is None else forward.density(start)

    def energy(model, survey, density):
        return source_illumination(model, survey, forward.simulation, density=density)

    light = np.asarray(jax.jit(energy)(start, forward.survey, density))
    dark = Finding(
        "illumination", f"{np.mean(light < DARK):.0%} of the cells below {10 * np.log10(DARK):g} dB", "for information"
    )
    found = Diagnosis((*gathers.findings, judge_gradient(tests), crime, dark))
    simulation = diagnose(start, forward.survey, forward.simulation, density=density)
    # Sources and receivers are where they were recorded; those that cannot be simulated were refused.
    settings = Diagnosis(tuple(f for f in simulation.findings if f.name not in ("sources", "receivers")))
    page = _write(Path(config.out) / DIAGNOSIS, problem, forward, record, gathers, tests, light, (settings, found))
    return InversionDiagnosis(settings, found, page)


def _fall(out: Path) -> float | None:
    """Read to which part of its start the misfit of a finished inversion fell."""
    file = out / "inversion.json"
    if not file.is_file():
        return None
    misfit = read_json(file)["misfit"]
    return misfit["end"] / misfit["start"] if misfit["start"] else None


def gradient_tests(problem: InversionProblem, wavelength: float) -> dict[str, TaylorTest]:
    """Test the gradient of what the first stage minimizes, at the start and at smooth random changes of it.

    Args:
        problem: The inversion.
        wavelength: Wavelength at the peak frequency [cells].

    Returns:
        Tests by the name of the point.
    """
    objective = make_objective(problem, problem.config.of_stage(0), data_of_stage(problem, 0))
    start, bounds = np.asarray(problem.start, np.float64), problem.config.bounds
    limits = make_bounds(bounds[0], bounds[1], start, problem.held)
    random, tests = np.random.default_rng(0), {}

    def changed(model: np.ndarray, largest: float) -> np.ndarray:
        field = jnp.asarray(random.normal(size=model.shape))
        smooth = np.array(gaussian_smooth(field, LENGTH * wavelength), np.float64)
        return limits.clip(model + largest * smooth / np.abs(smooth).max())

    for name, part in POINTS.items():
        model = changed(start, part * float(start.mean()))
        x = objective.unknowns(model)
        step = objective.unknowns(changed(model, LONGEST * float(start.mean()))) - x
        direction = inward(x, step, objective.bounds)
        if direction.any():
            tests[name] = taylor_test(objective, x, direction)
    return tests


def _write(
    folder: Path,
    problem: Problem,
    forward: PhysicsForward,
    record: Record,
    gathers: GathersDiagnosis,
    tests: dict[str, TaylorTest],
    light: np.ndarray,
    diagnoses: tuple[Diagnosis, Diagnosis],
) -> Path:
    """Write figures, the JSON and the page, and return its path."""
    _draw(folder / "figures", problem, forward, record, gathers, light)
    settings, found = ([asdict(finding) for finding in diagnosis.findings] for diagnosis in diagnoses)
    write_json(
        folder / "diagnosis.json",
        {
            "data": problem.described,
            "ok": all(diagnosis.ok for diagnosis in diagnoses),
            "simulation": settings,
            "inversion": found,
            "dead": np.argwhere(gathers.faults.dead).tolist(),
            "noisy": np.argwhere(gathers.faults.noisy).tolist(),
            "reversed": np.argwhere(gathers.reversed).tolist(),
            "phase": gathers.common._asdict(),
            "signal_to_noise": gathers.total,
            "peak_frequency": record.peak,
            "gradient": {
                name: {"steps": test.steps.tolist(), "remainders": test.remainders.tolist(), "slope": test.slope}
                for name, test in tests.items()
            },
        },
    )
    columns = ["", "", "measured", "wanted", "remedy"]
    tables: list[dict[str, Any]] = [
        {
            "title": title,
            "columns": columns,
            "rows": [[f["severity"], f["name"], f["measured"], f["wanted"], f["remedy"]] for f in findings],
            "note": note,
        }
        for title, findings, note in (
            ("Inversion", found, problem.described),
            ("Simulation of the start", settings, "Findings on the settings of the simulation."),
        )
    ]
    return write_diagnosis_page(folder, "Diagnosis of an inversion", tables)


def _draw(
    folder: Path,
    problem: Problem,
    forward: PhysicsForward,
    record: Record,
    gathers: GathersDiagnosis,
    light: np.ndarray,
) -> None:
    """Draw all figures."""
    survey, spacing = forward.survey, problem.spacing
    positions = (np.asarray(survey.sources), np.asarray(survey.receivers))
    figures.save(diagnosis_figures.survey(problem.start, *positions, spacing), folder / "geometry.png")
    spectra = gathers.spectra
    level = spectra.predicted.max()
    shown = (spectra.frequencies > 0) & (spectra.frequencies < 1.5 * record.highest)
    lines = {
        "observed": (spectra.frequencies[shown], spectra.observed[shown] / level),
        "predicted in the start": (spectra.frequencies[shown], spectra.predicted[shown] / level),
    }
    if spectra.noise > 0:
        lines["noise"] = (spectra.frequencies[shown], np.full(shown.sum(), spectra.noise / level))
    figures.save(figures.curves(lines, "frequency [Hz]", "amplitude"), folder / "spectra.png")
    shot = int(np.argmax(np.isfinite(gathers.arrivals.delay).sum(axis=1)))
    sides: dict[str, np.ndarray] = {
        "observed": record.observed[shot],
        "predicted in the start": record.predicted[shot],
    }
    picked = {name: each.known[shot] for name, each in zip(sides, gathers.breaks, strict=True)}
    last = (record.observed.shape[1] - 1) * record.dt
    figures.save(diagnosis_figures.first_waves(sides, picked, (0.0, last)), folder / "first_waves.png")
    skipped = skipped_cycles(gathers.arrivals, record.fitted)
    phase = np.where(gathers.arrivals.likeness > 0, gathers.arrivals.phase, np.nan)
    panels = {"delay [half periods]": (skipped, -2.0, 2.0), "phase [degrees]": (phase, -180.0, 180.0)}
    figures.save(diagnosis_figures.trace_maps(panels), folder / "cycle_skips.png")
    state = np.where(
        gathers.faults.dead, 1.0, np.where(gathers.faults.noisy, 2.0, np.where(gathers.reversed, 3.0, 0.0))
    )
    ratio = np.where(gathers.faults.dead, np.nan, gathers.ratio)
    panels = {
        "signal-to-noise ratio [dB]": (ratio, 0.0, 60.0),
        "0 good, 1 dead, 2 noisy, 3 reversed": (state, 0.0, 3.0),
    }
    figures.save(diagnosis_figures.trace_maps(panels, VELOCITY), folder / "traces.png")
    figures.save(diagnosis_figures.illumination(light, spacing), folder / "illumination.png")
