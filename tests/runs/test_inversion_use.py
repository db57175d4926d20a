"""What leading an inversion by a surrogate saves, in gradients by the solver."""

import jax
import numpy as np
import pytest
from flax import nnx

from data_gen.dataset import generation as dataset
from surrogate.encodings.registry import make_encoding
from surrogate.models.surrogate import Surrogate
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import ForwardTask
from surrogate.runs import inversion_use as module
from surrogate.runs.inversion_use import MOST, inversion_use
from surrogate.runs.misfit_gradients import physics, read_cases
from tests.helpers import encoding_config, task_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

ITERATIONS = 6


def test_the_solver_leads_itself(tmp_path, monkeypatch):
    """A cheap model without error needs few gradients by the solver: the model of the misfit is exact at every center.

    Each center costs one gradient, and allows ten iterations of L-BFGS: the first step reaches what six iterations
    reach. The step after the start needs a gradient of its own, and the end is a third.
    """
    config = tiny_config(tmp_path / "set", sources=2, source_depths=[20, 60], train=2, validation=1, test=1)
    dataset.generate(config)
    task = task_config("wavefield").create(config.create())
    assert isinstance(task, ForwardTask)
    encoding = make_encoding(encoding_config("source_map"), task)
    operator = FNOConfig(width=4, depth=1, modes=[3, 3], mlp_ratio=1).create(
        encoding.media + encoding.channels, task.outputs, rngs=nnx.Rngs(0)
    )
    model = Surrogate(task, encoding, operator)
    own = task.spec.simulation

    def itself(model: Surrogate, sources: jax.Array, kind: str):
        return physics(task, own, sources, kind)

    monkeypatch.setattr(module, "ITERATIONS", ITERATIONS)
    monkeypatch.setattr(module, "SurrogateForward", itself)
    found = inversion_use(model, task, read_cases(config.path, task, 1))
    (plain,) = found["lbfgs"]
    assert ITERATIONS + 1 <= plain <= 2 * ITERATIONS  # one at the start, and the line search may need more
    (led,) = found["surrogate"]["gradients"]
    assert led <= 3 < plain
    assert found["surrogate"]["cheap"][0] >= ITERATIONS
    for name in ("surrogate", "coarse_solver"):
        assert np.isfinite(found[name]["model_error"]).all()
        assert all(n is None or 1 <= n <= MOST * plain for n in found[name]["gradients"])
