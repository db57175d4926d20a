"""`wave diagnose invert` names what was done to a small survey, and finds nothing in it as it was recorded.

The survey is simulated on other cells, with another order and other layers than the inversion has.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import hilbert

from data_gen import Grid, InputError, Simulation, TimeAxis, gaussian_smooth, make_survey, ricker, simulate
from data_gen.common.files import read_json
from surrogate.commands import wave
from surrogate.config import InvertConfig
from surrogate.inversion.descent import InversionConfig
from surrogate.inversion.observed.setup import SetupConfig
from surrogate.runs.diagnose_inversion import run_diagnosis
from surrogate.runs.folder import DIAGNOSIS, claim_folder
from tests.helpers import tiny_config

PEAK, TIME = 8.0, TimeAxis(160, 4e-3)
SOURCES = np.array([[20.0, 100.0 + 350 * i] for i in range(3)])
RECEIVERS = np.array([[30.0, 50.0 + 40.0 * i] for i in range(22)])
BOUNDS = [1500.0, 2600.0]
DEAD, REVERSED = [(0, 3), (0, 4), (1, 20), (2, 0), (2, 9), (2, 13)], [(0, 1), (1, 7), (1, 8), (2, 18)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The survey as it was recorded, with its defects, and a smooth start."""
    folder = tmp_path_factory.mktemp("survey")
    grid = Grid((51, 96), 10.0)
    z, x = 10.0 * np.arange(51)[:, None], 10.0 * np.arange(96)
    truth = 1800 + 0.6 * z + 250 * (z > 300) + 150 * np.exp(-((z - 200) ** 2 + (x - 480) ** 2) / (2 * 80.0**2))
    simulation = Simulation(grid, TIME, max_velocity=2600.0, peak_frequency=PEAK, order=12, widths=(30, 30, 30, 30))
    survey = make_survey(SOURCES, RECEIVERS, ricker(TIME, PEAK))
    recorded = jax.jit(lambda model: simulate(model, survey, simulation).gathers)(jnp.asarray(truth, jnp.float32))
    clean = np.asarray(recorded, float)
    padded: Any = hilbert(np.pad(clean, ((0, 0), (TIME.nt, TIME.nt), (0, 0))), axis=1)
    padded = padded[:, TIME.nt : -TIME.nt]
    angle = np.radians(30)
    signal = np.cos(angle) * padded.real - np.sin(angle) * padded.imag
    for shot, receiver in REVERSED:
        signal[shot, :, receiver] *= -1
    noise = np.random.default_rng(0).normal(size=clean.shape) * np.sqrt(np.mean(clean**2) / 10)
    bad = signal + noise
    for shot, receiver in DEAD:
        bad[shot, :, receiver] = 0
    for name, gathers in (("clean", clean), ("bad", bad)):
        arrays = {"sources": SOURCES[:, None], "receivers": RECEIVERS, "dt": TIME.dt, "datum": 0.0}
        np.savez(folder / f"{name}.npz", gathers=gathers.astype(np.float32), **arrays)
    smooth = gaussian_smooth(jnp.asarray(truth, jnp.float32), 10.0)
    np.savez(folder / "start.npz", velocity=np.asarray(smooth), spacing=10.0, origin=[0.0, 0.0])
    return folder


def config_of(folder: Path, name: str) -> InvertConfig:
    return InvertConfig(
        out=str(folder / f"out_{name}"),
        observed=str(folder / f"{name}.npz"),
        setup=SetupConfig(peak_frequency=PEAK, depth=480.0, margin=60.0, layers=10),
        inversion=InversionConfig(start=str(folder / "start.npz"), bounds=BOUNDS),
    )


def test_clean_data_raise_no_finding(folder):
    found = run_diagnosis(config_of(folder, "clean"))
    for diagnosis in (found.settings, found.inversion):
        assert all(finding.severity == "good" for finding in diagnosis.findings), str(diagnosis)


def test_the_command_names_every_defect(folder, capsys):
    out = folder / "out_bad"
    keys = ["setup.depth=480", "setup.margin=60", "setup.layers=10", f"inversion.bounds={BOUNDS}"]
    arguments = [f"observed={folder}/bad.npz", f"setup.peak_frequency={PEAK}", f"inversion.start={folder}/start.npz"]
    with pytest.raises(SystemExit) as exit:
        wave.main(["diagnose", "invert", *arguments, *keys, f"out={out}"])
    assert exit.value.code == 0  # warnings are no errors
    shown, stored = capsys.readouterr().out, read_json(out / "diagnosis" / "diagnosis.json")
    assert "diagnosis.html" in shown.replace("\n", "")  # a long path is wrapped
    assert any("wavelet=estimated" in finding["remedy"] for finding in stored["inversion"])
    severities = {finding["name"]: finding["severity"] for finding in stored["inversion"]}
    raised = {name for name, severity in severities.items() if severity != "good"}
    assert raised == {"noise", "dead traces", "reversed traces", "wavelet phase"}
    assert [tuple(place) for place in stored["dead"]] == DEAD
    assert [tuple(place) for place in stored["reversed"]] == REVERSED
    assert stored["phase"]["degrees"] == pytest.approx(30, abs=5)
    assert stored["signal_to_noise"] == pytest.approx(10, abs=1)
    page = (out / "diagnosis" / "diagnosis.html").read_text()
    assert page.count("data:image/png") == 6 and "reversed traces" in page


def test_a_folder_of_a_diagnosis_takes_an_inversion(tmp_path):
    (tmp_path / DIAGNOSIS).mkdir()
    assert not claim_folder(tmp_path, InvertConfig())
    assert claim_folder(tmp_path, InvertConfig())


@pytest.mark.slow
def test_a_known_model_is_an_inverse_crime(tmp_path):
    config = InvertConfig(out=str(tmp_path), data=tiny_config(tmp_path / "data"))
    config.inversion.shots = 2
    found = run_diagnosis(config)
    assert found.inversion["inverse crime"].severity == "warning"
    assert found.inversion["gradient"].severity == "good"


def test_only_gathers_through_the_solver(tmp_path):
    config = InvertConfig(out=str(tmp_path / "out"), data=tiny_config(tmp_path / "data"))
    config.inversion.kind = "wavefield"
    with pytest.raises(InputError, match=r"inversion\.kind=wavefield cannot be diagnosed"):
        run_diagnosis(config)
    assert not (tmp_path / "out").exists()
