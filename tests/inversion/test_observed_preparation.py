"""Observed data that are resampled or turned into those of line sources, and density by a rule, against theory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, InputError, TimeAxis
from data_gen.common.frame import Frame
from data_gen.solver.problem.wavelets import ricker_waveform
from data_gen.velocity.density import gardner
from surrogate.config import InvertConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.observed.preparation import (
    center,
    check_resampled,
    make_line_sources,
    resample_observed,
)
from surrogate.inversion.observed.record import KnownModel, Observed
from surrogate.inversion.observed.setup import SetupConfig, setup_inversion
from surrogate.inversion.observed.wavelet import choose_wavelet
from surrogate.runs.invert import run_inversion
from surrogate.runs.observed_problem import observed_problem
from tests.helpers import relative

# Coarse cells, so that the tests are cheap: what they compare does not depend on the dispersion.
pytestmark = pytest.mark.filterwarnings("ignore::data_gen.solver.problem.checks.DispersionWarning")

VELOCITY, PEAK, BOUNDS = 2000.0, 10.0, (1500.0, 2500.0)
WAVELENGTH = VELOCITY / PEAK
# At coordinates of the world, of which float32 knows half a meter.
SOURCE, X = 4_500_000.0, 4_500_000.0 + WAVELENGTH * np.array([1.0, 2.0, 3.0])
SETUP = SetupConfig(peak_frequency=PEAK, depth=100.0, margin=100.0, spacing=20.0, layers=20, amplitude=1.0)


def wave(times: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """A Ricker wavelet that was fired at zero, as it arrives `(nt, n)`."""
    return ricker_waveform((np.pi * PEAK * (times[:, None] - 1.2 / PEAK - distance / VELOCITY)) ** 2)


def point_sources(dt: float = 4e-3, nt: int = 150, delay: float = 0.0) -> Observed:
    """Records of a point source in three dimensions, w(t - r / v) / (4 pi r)."""
    distance = X - SOURCE
    gathers = (wave(delay + dt * np.arange(nt), distance) / (4 * np.pi * distance))[None].astype(np.float32)
    sources, receivers = np.array([[[50.0, SOURCE]]]), np.stack([np.full(3, 50.0), X], axis=1)
    return Observed(gathers, np.ones((1, 1, 3), np.float32), sources, receivers, dt, delay, Frame())


def save(path: Path, observed: Observed, **arrays: Any) -> Path:
    names = ("gathers", "weights", "sources", "receivers", "dt", "delay")
    np.savez(path, **({name: getattr(observed, name) for name in names} | arrays))
    return path


def config(path: Path, start_velocity: float = VELOCITY, **settings: Any) -> InvertConfig:
    return InvertConfig(
        out=str(path.with_suffix("")),
        observed=str(path),
        setup=replace(SETUP, **settings),
        inversion=InversionConfig(
            start="constant", start_velocity=start_velocity, iterations=1, bounds=[*BOUNDS], record_every=None
        ),
    )


# --- line sources ---------------------------------------------------------------------------------------------


def test_records_of_point_sources(tmp_path):
    """After the correction, the solver predicts them with the amplitude of their own wavelet: to the order of the law.

    `offset` errs by sqrt(2) / (16 pi d) at d wavelengths (test_processing.py), 0.028 at one of them, and the solver on
    cells of 20 m with 4 of them in the shortest wavelength by 0.01; without a correction the phase is 45 degrees off
    and amplitudes are too small. A delay changes nothing, as the wave arrives later than the record begins.
    """
    path = save(tmp_path / "survey.npz", point_sources(delay=0.06))
    errors = {}
    for law in (None, "offset"):
        settings = config(path, line_source=law, line_source_velocity=VELOCITY if law else None)
        forward, data = observed_problem(settings).complete()
        predicted = np.asarray(jax.jit(forward.__call__)(jnp.full(problem_shape(forward), VELOCITY)))
        errors[law] = [relative(np.asarray(data)[0, :, i], predicted[0, :, i]) for i in range(3)]
    expected = np.sqrt(2) / (16 * np.pi * np.array([1.0, 2.0, 3.0]))
    assert (errors["offset"] < expected + 0.015).all() and min(errors[None]) > 0.9


def problem_shape(forward: Any) -> tuple[int, int]:
    assert isinstance(forward, PhysicsForward)
    return forward.simulation.grid.shape


def test_laws_on_the_clock_of_the_records():
    """`direct` and `path` with the velocity agree with `offset` where t = r / v, whenever the records begin.

    At the center of the wavelet; elsewhere they differ by half the distance from it over the time of travel.
    """
    for delay in (-0.05, 0.06):
        observed = point_sources(nt=160, delay=delay)
        wavelet = choose_wavelet(observed, None, PEAK)
        assert center(wavelet, TimeAxis(160, observed.dt)) == pytest.approx(1.2 / PEAK, abs=1e-6)
        by = {
            law: make_line_sources(observed, wavelet, law, VELOCITY).gathers[0] for law in ("offset", "direct", "path")
        }
        times = delay + observed.dt * np.arange(160) - 1.2 / PEAK
        for i, arrival in enumerate((X - SOURCE) / VELOCITY):
            near = np.abs(times - arrival) < 0.02
            allowed = np.abs(by["offset"][near, i]) * (np.abs(times[near] - arrival) / arrival / 2 * 1.1 + 1e-5)
            for law in ("direct", "path"):
                assert (np.abs(by[law][near, i] - by["offset"][near, i]) <= allowed).all()


def test_traces_and_shots_that_no_law_knows():
    """A receiver at its source loses its weight; several sources need the law of the path; the solver's data none."""
    observed = point_sources()
    wavelet = choose_wavelet(observed, None, PEAK)
    at_source = observed._replace(receivers=np.concatenate([observed.sources[0], observed.receivers[1:]]))
    found = make_line_sources(at_source, wavelet, "direct")
    np.testing.assert_array_equal(found.weights, [[[0, 1, 1]]])
    assert "1 traces at their sources are left out" in found.notes[-1]
    assert make_line_sources(at_source, wavelet, "path", VELOCITY).weights.all()
    assert make_line_sources(at_source, wavelet, None) is at_source
    several = observed._replace(sources=np.concatenate([observed.sources, observed.sources + 10.0], axis=1))
    make_line_sources(several, wavelet, "path", VELOCITY)
    known = observed._replace(known=KnownModel(np.full((9, 9), VELOCITY, np.float32), 10.0, False, False, None))
    for data, message in ((several, "shots have 2 sources. Take path"), (known, "are those of line sources")):
        with pytest.raises(InputError, match=message):
            make_line_sources(data, wavelet, "offset", VELOCITY)


# --- another time axis ----------------------------------------------------------------------------------------


def test_resampled_records_are_those_of_the_coarser_clock():
    """Samples of 1 ms become those that were recorded each 5 ms, of a wave of 25 Hz; what is above 100 Hz is gone.

    The filter is exact to 1e-3 up to 0.8 of 100 Hz. Noise of 160 Hz would fold back to 40 Hz.
    """
    fine, coarse = point_sources(1e-3, 601, 0.06), point_sources(5e-3, 121, 0.06)
    noise = np.sin(2 * np.pi * 160.0 * fine.dt * np.arange(601))[None, :, None] * np.abs(fine.gathers).max()
    noisy = fine._replace(gathers=(fine.gathers + noise * np.hanning(601)[:, None]).astype(np.float32))
    found = resample_observed(noisy, 5e-3)
    assert (found.dt, found.delay) == (5e-3, 0.06) and "are resampled to 0.005 s" in found.notes[-1]
    assert found.gathers.shape == coarse.gathers.shape
    assert np.abs(found.gathers - coarse.gathers).max() < 2e-3 * np.abs(coarse.gathers).max()
    assert resample_observed(fine, None) is fine and resample_observed(fine, 1e-3) is fine
    wavelet = choose_wavelet(found, None, PEAK)
    check_resampled(wavelet, 5e-3)
    for dt, message in ((5e-4, "finer than the records"), (1.0, "leaves one sample")):
        with pytest.raises(InputError, match=message):
            resample_observed(fine, dt)
    # 0.8 of the Nyquist frequency of 18 ms is 22 Hz.
    with pytest.raises(InputError, match=r"holds? what is below 22.2 Hz, .* reaches 25 Hz. Give at most 0.016 s"):
        check_resampled(wavelet, 18e-3)


def test_a_problem_of_resampled_records(tmp_path):
    """What is fitted of records of 1 ms that are resampled is that of records of 4 ms, to the filter's 1e-3."""
    problems = [
        observed_problem(config(save(tmp_path / f"{dt}.npz", point_sources(dt, nt)), dt=4e-3))
        for dt, nt in ((1e-3, 597), (4e-3, 150))
    ]
    (forward, fine), (other, coarse) = (problem.complete() for problem in problems)
    assert isinstance(forward, PhysicsForward) and isinstance(other, PhysicsForward)
    assert forward.simulation == other.simulation and forward.steps == other.steps
    np.testing.assert_array_equal(forward.survey.wavelets, other.survey.wavelets)
    assert relative(fine, coarse) < 2e-3


def test_simulated_records_keep_their_wavelet():
    """The wavelet of a data set goes through the same filter, so that what it fires is what is compared."""
    observed, samples = point_sources(1e-3, 597), ricker_waveform((np.pi * PEAK * (1e-3 * np.arange(597) - 0.12)) ** 2)
    known = KnownModel(np.full((9, 9), VELOCITY, np.float32), 10.0, False, False, samples)
    found = resample_observed(observed._replace(known=known), 4e-3).known
    assert found is not None and found.wavelet is not None
    np.testing.assert_allclose(found.wavelet, samples[::4], atol=1e-3)


# --- density --------------------------------------------------------------------------------------------------


def test_density_by_a_rule(tmp_path):
    """Data of a medium with Gardner's density are predicted with the rule, and not without; the table says so."""
    observed = point_sources()
    path = save(tmp_path / "survey.npz", observed)
    setup = setup_inversion(observed, choose_wavelet(observed, None, PEAK), BOUNDS, SETUP)
    truth = jnp.full(setup.simulation.grid.shape, 1900.0).at[4:].set(2400.0)
    grid = setup.simulation.grid
    assert isinstance(grid, Grid) and not setup.gardner
    data = jax.jit(PhysicsForward(setup.simulation, setup.survey, density=gardner).__call__)(truth)
    save(path, observed, gathers=np.asarray(data))
    found = {}
    for density in ("constant", "gardner"):
        forward, observed_data = observed_problem(config(path, density=density)).complete()
        found[density] = relative(jax.jit(forward.__call__)(truth), observed_data)
        assert isinstance(forward, PhysicsForward) and (forward.density is not None) == (density == "gardner")
    assert found["gardner"] < 1e-5 and found["constant"] > 0.01
    wavelet = choose_wavelet(observed, None, PEAK)
    by_rule = setup_inversion(observed, wavelet, BOUNDS, replace(SETUP, density="gardner"))
    assert ("density", "by Gardner's rule", "setup.density") in by_rule.table
    assert by_rule.simulation.steps > setup.simulation.steps  # a jump of the density needs shorter steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"density": "nafe"}, "setup.density must be null or one of constant, gardner"),
        ({"line_source": "far"}, "setup.line_source must be null or one of direct, offset, path"),
        ({"line_source": "path"}, "needs a velocity: give setup.line_source_velocity"),
        ({"line_source_velocity": 2000.0}, "setup.line_source_velocity is that of a law"),
        ({"dt": -1.0}, "setup.dt must be null or above 0"),
    ],
)
def test_refused_settings(settings, message, tmp_path):
    with pytest.raises(InputError, match=message) as refusal:
        run_inversion(config(save(tmp_path / "survey.npz", point_sources()), **settings))
    assert not (tmp_path / "survey").exists() and "\n" not in str(refusal.value)
