"""Gradients of a misfit through a surrogate, compared with the solver's along an inversion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_gen.common.smoothing import gaussian_smooth
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from surrogate.encodings.registry import make_encoding
from surrogate.encodings.schemas import CoarseConfig
from surrogate.models.surrogate import Surrogate
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import ForwardTask
from surrogate.runs import gradient_fidelity as module
from surrogate.runs.gradient_fidelity import DEPTHS, gradient_fidelity
from surrogate.runs.misfit_gradients import SMOOTHING, physics, read_cases, solver_gradient, surrogate_gradient
from tests.helpers import relative, task_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

RATIO = 1.6  # not the default: the coarse solver that it is compared with is that of its encoding
SMALL = FNOConfig(width=4, depth=1, modes=[3, 3], mlp_ratio=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    """Two models with two shots each in the test split."""
    path = tmp_path_factory.mktemp("data") / "set"
    config = tiny_config(path, sources=2, source_depths=[20, 60], train=2, validation=1, test=2)
    dataset.generate(config)
    return config


@pytest.fixture(scope="module")
def baseline(data) -> Surrogate:
    """A surrogate whose correction is zero: it predicts what the coarse solver does."""
    task = task_config("wavefield").create(data.create())
    encoding = make_encoding(CoarseConfig(ratio=RATIO), task)
    model = Surrogate(task, encoding, SMALL.create(encoding.media + encoding.channels, task.outputs, rngs=nnx.Rngs(0)))
    model.set_statistics(model.statistics._replace(residual_rms=jnp.zeros_like(model.statistics.residual_rms)))
    return model


def test_the_gradient_of_the_misfit(data, baseline):
    """The solver's gradient predicts the change of the misfit along a direction, by a central difference.

    The truncation error of the difference, of the order of its step squared, and rounding in float32 meet at 1 %.
    """
    task = baseline.task
    assert isinstance(task, ForwardTask)
    case = read_cases(data.path, task, 1)[0]
    own, sources = task.spec.simulation, jnp.asarray(case.sources)
    forward = jax.jit(physics(task, own, sources).__call__)
    observed, start = forward(jnp.asarray(case.velocity)), gaussian_smooth(jnp.asarray(case.velocity), SMOOTHING)
    gradient = solver_gradient(task, own, case.sources)(start, sources, observed)
    direction = np.asarray(case.velocity - start)

    def misfit(step: float) -> float:
        difference = np.asarray(forward(start + step * direction) - observed, float)
        return float(np.sum(difference**2) / 2)

    slope = (misfit(0.05) - misfit(-0.05)) / 0.1
    assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-2)


@pytest.mark.slow
def test_a_surrogate_without_a_correction_is_its_coarse_solver(data, baseline, monkeypatch):
    """All numbers of the two agree: they are the same function, by two ways; float32 rounds by 1e-4 of a cosine."""
    monkeypatch.setattr(module, "ITERATIONS", 1)
    task = baseline.task
    assert isinstance(task, ForwardTask)
    result = gradient_fidelity(baseline, task, read_cases(data.path, task, 2))
    assert result["samples"] == 2 and list(result["path"]) == ["start", "after 1", "after 2"]
    for place in (*result["path"].values(), result["truth"]):
        ours, coarse = place["surrogate"], place["coarse_solver"]
        for name in ("cosine", "relative_error"):
            for of in ("median", "worst"):
                assert ours[name][of] == pytest.approx(coarse[name][of], abs=2e-3)
        assert ours["cosine"]["worst"] <= ours["cosine"]["median"] <= 1
        assert ours["relative_error"]["worst"] >= ours["relative_error"]["median"] > 0
    assert list(result["path"]["start"]["surrogate"]["depths"]) == list(DEPTHS)


def test_the_solver_agrees_with_itself(data, baseline, monkeypatch):
    """Cosine 1 and error 0 at every place, where the surrogate's gradients are the solver's own."""
    monkeypatch.setattr(module, "ITERATIONS", 1)
    task = baseline.task
    assert isinstance(task, ForwardTask)
    cases = read_cases(data.path, task, 1)
    own = solver_gradient(task, task.spec.simulation, cases[0].sources)
    monkeypatch.setattr(module, "surrogate_gradient", lambda model, task, kind: own)
    for place in gradient_fidelity(baseline, task, cases)["path"].values():
        assert place["surrogate"]["cosine"]["worst"] == pytest.approx(1)
        assert place["surrogate"]["relative_error"]["worst"] == 0
        assert list(place["surrogate"]["bands"].values()) == pytest.approx([1.0] * 3)


def test_parts_of_a_gradient():
    """Where one half of the depth has the other sign, its cosine is -1 and that of the whole is what is left."""
    wanted = np.random.default_rng(0).normal(size=(12, 10))
    found = wanted.copy()
    found[8:] *= -1
    row = module._compare(found, wanted, np.ones(wanted.shape, bool))
    assert [row[f"depths.{name}"] for name in DEPTHS] == pytest.approx([1, 1, -1])
    share = np.sum(wanted[8:] ** 2) / np.sum(wanted**2)
    assert row["cosine"] == pytest.approx(1 - 2 * share)
    assert row["relative_error"] == pytest.approx(2 * np.sqrt(share))
    away = np.arange(12)[:, None] < np.full(10, 8)
    assert module._compare(found, wanted, away)["cosine"] == pytest.approx(1)


def test_the_gradients_of_both_have_the_same_scale(data, baseline):
    """A surrogate's gradient is of the same misfit as the solver's: on cells of twice the side they differ by 20 %."""
    task = baseline.task
    assert isinstance(task, ForwardTask)
    case = read_cases(data.path, task, 1)[0]
    sources = jnp.asarray(case.sources)
    observed = physics(task, task.spec.simulation, sources)(jnp.asarray(case.velocity))
    start = gaussian_smooth(jnp.asarray(case.velocity), SMOOTHING)
    ours = surrogate_gradient(baseline, task)(start, sources, observed)
    exact = solver_gradient(task, task.spec.simulation, case.sources)(start, sources, observed)
    far = case.far(task.spec)
    assert relative(ours * far, exact * far) < 0.2
