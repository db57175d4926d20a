"""The diagnosis agrees with the solver's own checks and with theory, and each remedy removes what it is for."""

import re
import runpy
import sys
import warnings
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from data_gen.commands.diagnose import report
from data_gen.common.errors import InputError
from data_gen.solver import diagnosis as module
from data_gen.solver.diagnosis import diagnose
from data_gen.solver.numerics.cpml import REDUCTION
from data_gen.solver.problem.acquisition import make_survey
from data_gen.solver.problem.checks import BandWarning, DispersionWarning, GrowthWarning, check_inputs
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation
from data_gen.solver.problem.wavelets import ormsby, ricker, wavelet_band
from data_gen.solver.simulator import simulate
from tests.helpers import tiny_config

GRID, TIME = Grid((40, 50), 10.0), TimeAxis(300, 1e-3)
BARE = {"time_correction": False, "medium": "samples"}
SIMULATION = Simulation(GRID, TIME, max_velocity=3000.0, peak_frequency=15.0, order=8)


def case(velocity=2500.0, source=(100.0, 200.0), receiver=(20.0, 30.0), wavelet=None, density=None, **options):
    """Return the arguments of `diagnose`, with `density` separately."""
    simulation = replace(SIMULATION, **options)
    wavelet = ricker(simulation.time, simulation.peak_frequency) if wavelet is None else wavelet
    survey = make_survey([source], [receiver], wavelet)
    return (np.broadcast_to(np.float64(velocity), simulation.grid.shape), survey, simulation), density


def diagnosis(**changes):
    arguments, density = case(**changes)
    return diagnose(*arguments, density=density)


def named(finding, setting: str) -> float:
    """Return the number that a remedy gives for a setting."""
    match = re.search(rf"{setting}=([-+.\de]*\d)", finding.remedy)
    assert match, finding.remedy
    return float(match[1])


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({}, None),
        ({"velocity": 9000.0}, "time step"),
        ({"velocity": 2.5}, "velocity"),
        ({"velocity": np.nan}, "velocity"),
        ({"velocity": -1500.0}, "velocity"),
        ({"source": (50.0, 900.0)}, "sources"),
        ({"source": (np.nan, 60.0)}, "sources"),
        ({"source": (102.0, 200.0)}, "sources"),
        ({"receiver": (-30.0, 30.0)}, "receivers"),
        ({"wavelet": np.ones(40)}, "survey"),
        ({"density": np.zeros(GRID.shape)}, "density"),
        ({"density": np.ones((3, 3))}, "density"),
        ({"density": np.where(np.arange(50) % 2, 1.0, 99.0) * np.ones((40, 1)), "velocity": 4800.0}, "time step"),
        ({"velocity": 600.0}, "points per wavelength"),
        ({"wavelet": np.eye(300)[100]}, "band"),
        ({"velocity": np.linspace(2000.0, 3000.0, 40)[:, None], "widths": (0, 2, 2, 2), **BARE}, "growth"),
    ],
)
def test_findings_agree_with_the_checks(changes, finding):
    (velocity, survey, simulation), density = case(**changes)
    expected = "good"
    with warnings.catch_warnings():
        warnings.simplefilter("error", DispersionWarning)
        warnings.simplefilter("error", GrowthWarning)
        warnings.simplefilter("error", BandWarning)
        try:
            check_inputs(velocity, survey, simulation, density)
        except InputError:
            expected = "error"
        except (BandWarning, DispersionWarning, GrowthWarning):
            expected = "warning"
    result = diagnose(velocity, survey, simulation, density=density)
    found = {f.name: f.severity for f in result.findings if f.severity != "good"}
    assert result.ok == (expected != "error")
    assert expected == (found[finding] if finding else "good")
    assert all(f.remedy and f.remedy in str(result) for f in result.findings if f.severity != "good")
    result.show()


@pytest.mark.parametrize(
    "options",
    [
        BARE,
        {"order": 2, "substeps": 3, **BARE},
        {"density": np.ones((40, 50)), **BARE},
        {},
        {"kappa": 1.0},
    ],
)
def test_named_time_step_is_the_largest_stable_one(options):
    # Samples may be faster than max_velocity, so that the simulation can be made and the model decides.
    (velocity, survey, simulation), density = case(velocity=30000.0, **({"medium": "samples"} | options))
    finding = diagnose(velocity, survey, simulation, density=density)["time step"]

    def stable(**changes) -> bool:
        at = replace(simulation, **changes)
        try:
            check_inputs(velocity, survey, at, density)
        except InputError:
            return False
        assert diagnose(velocity, survey, at, density=density)["time step"].severity == "good"
        return True

    if simulation.time_correction:
        step = named(finding, "time_step")
        digit = 10.0 ** (np.floor(np.log10(step)) - 5)
        assert stable(time_step=step) and not stable(time_step=step + digit)
        return
    dt, count = named(finding, "dt"), int(named(finding, "substeps"))
    digit = 10.0 ** (np.floor(np.log10(dt)) - 5)
    assert stable(time=replace(TIME, dt=dt)) and not stable(time=replace(TIME, dt=dt + digit))
    assert stable(substeps=count) and not stable(substeps=count - 1)


def test_layers_for_half_the_velocity_reflect_as_predicted():
    """Plane waves in a rigid duct return with R = exp(-2 / v int sigma dx), and up to three times as much.

    R neglects alpha, the shift of frequency, which damps low frequencies less.
    """
    velocity, source, receiver = 4000.0, [[400.0, 0.0]], [[500.0, 0.0]]

    def trace(length, reference):
        grid, time = Grid((length, 2), 10.0), TimeAxis(1000, 5e-4)
        simulation = Simulation(grid, time, reference, 15.0, widths=(20, 20, 0, 0), **BARE)
        survey, model = make_survey(source, receiver, ricker(time, 15.0)), jnp.full(grid.shape, velocity)
        return simulate(model, survey, simulation).gathers[0, :, 0], diagnose(model, survey, simulation)

    for part in (1 / 6, 1 / 8):
        (short, finding), (whole, _) = trace(80, part * velocity), trace(500, part * velocity)
        echo, theory = float(jnp.abs(short - whole).max() / jnp.abs(whole).max()), REDUCTION ** (-20 * part)
        assert theory < echo < 3 * theory
        assert f"reflect {theory:.1g} " in finding["reference velocity"].remedy
        maximum = named(finding["reference velocity"], "max_velocity")
        assert maximum == velocity
        assert trace(80, maximum)[1]["reference velocity"].severity == "good"


def test_each_way_to_more_points_per_wavelength_suffices():
    few = {"velocity": 1050.0, "order": 4}
    finding = diagnosis(**few)["points per wavelength"]
    assert finding.severity == "warning" and "2.8 at 37.5 Hz" in finding.measured
    grid = replace(GRID, spacing=named(finding, "spacing"))
    point = {"source": (10 * grid.spacing, 10 * grid.spacing), "receiver": (0.0, 0.0)}
    for remedy in (
        {"grid": grid, **point},
        {"peak_frequency": named(finding, "peak_frequency")},
    ):
        assert diagnosis(**(few | remedy))["points per wavelength"].severity == "good"
    assert "order=" not in finding.remedy  # 12 needs 3.0
    finding = diagnosis(**few | {"velocity": 1400.0})["points per wavelength"]
    order = int(named(finding, "order"))
    assert order == 8 and diagnosis(velocity=1400.0, order=order)["points per wavelength"].severity == "good"


def test_a_wavelet_beyond_the_band_without_temporal_dispersion_is_reported():
    """Above 52.5 Hz, 3.5 peak frequencies of 15 Hz, lies a tenth of a Ricker wavelet of 30 Hz and most of a spike."""
    spike = np.eye(TIME.nt)[100]
    for wavelet, part in ((ricker(TIME, 15.0), 1e-4), (ricker(TIME, 30.0), 0.15), (spike, 1.0)):
        finding = diagnosis(wavelet=wavelet)["band"]
        assert float(finding.measured.split()[0]) < part
        assert finding.severity == ("good" if part < 0.03 else "warning")
    frequency = named(diagnosis(wavelet=ricker(TIME, 30.0))["band"], "peak_frequency")
    assert diagnosis(wavelet=ricker(TIME, 30.0), peak_frequency=frequency)["band"].severity == "good"
    with pytest.raises(StopIteration):
        diagnosis(wavelet=spike, time_correction=False)["band"]


def test_the_expected_error_names_its_parts_and_settings_that_are_within_it():
    """Slow cells err; the settings of the remedy, put into the simulation, are good."""
    slow = {"velocity": 800.0, "snapshot_steps": (299,)}
    assert diagnosis(snapshot_steps=(299,))["error of snapshots"].severity == "good"
    for options, parts in (({"order": 4}, {"space"}), ({**BARE, "order": 4}, {"space", "time"})):
        for kind in ("snapshots", "gathers"):
            finding = diagnosis(**slow, **options)[f"error of {kind}"]
            assert finding.severity == "warning" and all(part in finding.measured for part in parts)
            assert ("time" in finding.measured) == ("time" in parts)
            changes = {"order": int(named(finding, "order"))}
            named_too = (name for name in ("internal_spacing", "kappa") if f"{name}=" in finding.remedy)
            changes |= {name: named(finding, name) for name in named_too}
            better = diagnosis(**slow, **changes)[f"error of {kind}"]
            assert better.severity == "good", (finding, better)


def test_the_band_is_measured_in_the_wavelets():
    """A Ricker wavelet's spectrum is x^2 exp(1 - x^2), x = f / f_peak, an Ormsby wavelet's a trapezoid.

    The amplitude spectrum is sampled every 1 / (8 nt dt), which is the tolerance; side lobes cut at 1 % ripple the
    trapezoid.
    """
    long = TimeAxis(4000, 1e-3)

    def spectrum(x, part):
        return x**2 * np.exp(1 - x**2) - part

    low, high = wavelet_band(ricker(long, 20.0)[None], long.dt)
    expected = [brentq(spectrum, *bracket, (part,)) for part, bracket in ((0.1, (0.01, 1)), (0.05, (1, 4)))]
    assert [low / 20, high / 20] == pytest.approx(expected, abs=1 / (20 * 8 * long.nt * long.dt))
    trapezoid = ormsby(long, (4.0, 8.0, 40.0, 60.0))[None]
    assert wavelet_band(trapezoid, long.dt) == pytest.approx((4.4, 59.0), abs=0.5)

    wavelets = ricker(TIME, 30.0)  # in a simulation set for 15 Hz
    finding = diagnosis(wavelet=wavelets)["peak frequency"]
    assert finding.severity == "warning"
    frequency = named(finding, "peak_frequency")
    assert frequency == pytest.approx(30, rel=0.05)
    assert diagnosis(wavelet=wavelets, peak_frequency=frequency)["peak frequency"].severity == "good"


def test_layers_of_the_named_width_absorb_the_longest_waves():
    """Waves of 2.5 Hz at 4 km/s in a box of 400 m leave an echo of at most 1e-3 of the field.

    The echo is the difference to a grid so large that none returns within the record (2 (20 + 220) cells > 4 km/s
    1.2 s). Layers of 3 cells reflect 5e-3 and more.
    """
    grid, time, margin = Grid((40, 40), 10.0), TimeAxis(1200, 1e-3), 220

    def field(width, pad=0):
        large = Grid((40 + 2 * pad, 40 + 2 * pad), 10.0)
        simulation = Simulation(
            large, time, 4000.0, 2.5, 8, (width, width, width, width), snapshot_steps=(400, 600, 800, 1000)
        )
        at = 200.0 + 10 * pad
        survey, model = make_survey([[at, at]], [], ricker(time, 2.5)), jnp.full(large.shape, 4000.0)
        inner = slice(pad, pad + grid.shape[0])
        fields = simulate(model, survey, simulation).snapshots[0, :, inner, inner]
        return fields, diagnose(model, survey, simulation)["absorbing layers"]

    (narrow, finding), (whole, _) = field(3), field(10, margin)
    assert finding.severity == "warning"
    match = re.search(r"widths=\((\d+),", finding.remedy)
    assert match
    wide, after = field(int(match[1]))
    assert after.severity == "good"
    echoes = [float(jnp.linalg.norm(x - whole) / jnp.linalg.norm(whole)) for x in (narrow, wide)]
    assert echoes[0] > 5e-3 and echoes[1] < 1e-3, echoes


@pytest.mark.parametrize(("peak", "nt"), [(0.02, 300), (0.25, 300), (0.02, 30)])
def test_remedy_for_a_cut_wavelet_makes_it_fit(peak, nt):
    time = TimeAxis(nt, 1e-3)
    finding = diagnosis(time=time, wavelet=ricker(time, 15.0, delay=peak))["wavelets"]
    assert finding.severity == "warning"
    match = re.search(r"peak of number 0 at (\S+) s and take nt=(\d+)", finding.remedy)
    assert match
    time = TimeAxis(int(match[2]), 1e-3)
    assert diagnosis(time=time, wavelet=ricker(time, 15.0, delay=float(match[1])))["wavelets"].severity == "good"


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"source": (100.0, 900.0)}, "error"),
        ({"source": (102.0, 204.0)}, "error"),
        ({"source": (20.0, 490.0)}, "warning"),
        ({"source": (20.0, 490.0), "widths": (0, 20, 20, 0)}, "good"),
        ({"source": (33.0, 455.0), "half_width": 6}, "warning"),
        ({"source": (0.0, 200.0), "free_surface": True, "widths": (0, 20, 20, 20)}, "error"),
    ],
)
def test_remedy_for_a_misplaced_point_moves_it_in_place(changes, severity):
    finding = diagnosis(**changes)["sources"]
    assert finding.severity == severity
    if severity != "good":
        match = re.search(r"Move it to \((\S+), (\S+)\) m", finding.remedy)
        assert match
        moved = (float(match[1]), float(match[2]))
        assert diagnosis(**(changes | {"source": moved}))["sources"].severity == "good"


def test_sinc_weights_in_a_layer_are_reported():
    for depth, severity in ((29.0, "warning"), (31.0, "good"), (0.0, "good")):
        assert diagnosis(receiver=(depth, 200.0), half_width=4)["receivers"].severity == severity


def test_memory_names_the_batch_and_the_strategy_that_fit(monkeypatch):
    sizes = {None: 10**9, "full": 40 * 10**9, "recompute": 3 * 10**9, "boundary": 10**9}
    monkeypatch.setattr(
        module,
        "peak_bytes",
        lambda simulation, n_shots, n_receivers, dtype, strategy=None, **_: n_shots * sizes[strategy],
    )
    arguments, _ = case()

    def memory(models, strategy=None):
        return diagnose(*arguments, models=models, strategy=strategy, available=10**10)["memory"]

    assert [memory(n).severity for n in (8, 9, 11)] == ["good", "warning", "error"]
    assert "at most 8 shots" in memory(11).remedy
    assert memory(4, "recompute").remedy == "Simulate at most 2 shots at once, or take the strategy 'boundary'."
    assert "not even one shot" in memory(1, "full").remedy


def test_time_is_measured_only_on_demand_and_without_errors(monkeypatch):
    arguments, _ = case()
    updates = 80 * 90 * arguments[2].steps * 4  # padded cells, steps, shots
    assert f"{updates:.3g} cell updates for 4 shots" in diagnose(*arguments, models=4)["time"].measured
    rate = module.trial_rate(*arguments, shots=4)
    monkeypatch.setattr(module, "trial_rate", lambda *_, **__: 1e6)
    assert f"{updates / 1e6:.3g} s at 1e+06" in diagnose(*arguments, models=4, measure=True)["time"].measured
    assert 0 < rate < np.inf
    monkeypatch.setattr(module, "trial_rate", lambda *_, **__: pytest.fail("an unstable simulation was run"))
    diagnose(9000.0 + np.zeros(GRID.shape), *arguments[1:], measure=True)


def test_the_command_ends_with_status_1_on_an_error_and_0_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["diagnose", "data=tiny", f"data.path={tmp_path}"])
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        warnings.simplefilter("ignore")  # runpy's: the module has been imported already
        runpy.run_module("data_gen.diagnose", run_name="__main__")
    assert not ended.value.code and "points per" in capsys.readouterr().out
    monkeypatch.setattr(module, "peak_bytes", lambda *_, **__: 10**18)
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        report(tiny_config(tmp_path))
    assert ended.value.code == 1
