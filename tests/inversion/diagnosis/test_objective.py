"""The diagnosis tests the gradient of what the first stage minimizes, whatever its settings are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, surface_line
from surrogate.inversion.config import InversionConfig, MuteConfig, StageConfig
from surrogate.inversion.diagnosis.taylor import judge_gradient
from surrogate.inversion.forward import PhysicsForward
from surrogate.inversion.model_objective import ModelObjective
from surrogate.inversion.stage import InversionProblem
from surrogate.inversion.stage_data import StageData
from surrogate.runs.diagnose_inversion import POINTS, gradient_tests

SHAPE, SPACING, PEAK, TIME = (24, 36), 12.5, 10.0, TimeAxis(201, 2e-3)
START = jnp.asarray(2000.0 + 20.0 * np.mgrid[: SHAPE[0], : SHAPE[1]][0], jnp.float32)


@pytest.fixture(scope="module")
def data() -> StageData:
    simulation = Simulation(Grid(SHAPE, SPACING), TIME, 3200.0, PEAK, widths=(8, 8, 8, 8))
    survey = make_survey([[25.0, 100.0], [25.0, 350.0]], surface_line(simulation.grid, 25.0), ricker(TIME, PEAK))
    forward = PhysicsForward(simulation, survey)
    return StageData(forward, jax.jit(forward.__call__)(START.at[10:16, 12:20].add(150.0)), None)


APART: dict[str, dict[str, Any]] = {
    "a band": {"stages": [StageConfig(highest_frequency=8.0, shots=1), StageConfig()]},
    "amplitudes": {"source": "one", "normalize": "traces", "mute": MuteConfig(early_velocity=1500.0)},
    "unknowns": {
        "parametrization": "spline",
        "parametrization_settings": {"knot_spacing": 50.0},
        "regularizers": {"first_order": {"weight": 1e-3}},
    },
}
SETTINGS = APART | {"all": {key: value for settings in APART.values() for key, value in settings.items()}}


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in APART), "all"])
def test_every_setting_is_in_the_objective(data, name, monkeypatch):
    """The slope is 2 with the gradient, and 1 once it is spoiled by 5 %."""
    config = InversionConfig(bounds=[1800.0, 3200.0], **SETTINGS[name])
    problem = InversionProblem(config, data, None, START, np.zeros(SHAPE, bool))
    wavelength = 2200.0 / PEAK / SPACING
    tests = gradient_tests(problem, wavelength)
    assert set(tests) == set(POINTS) and any(np.isfinite(test.slope) for test in tests.values())
    assert judge_gradient(tests).severity == "good", tests

    whole = ModelObjective.value_and_gradient

    def spoiled(self, x):
        value, gradient = whole(self, x)
        return value, 1.05 * gradient

    monkeypatch.setattr(ModelObjective, "value_and_gradient", spoiled)
    assert judge_gradient(gradient_tests(problem, wavelength)).severity == "warning"
