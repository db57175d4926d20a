"""The files of docs/guides/extending.md run as they stand there, and are short."""

import re
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.registry import FAMILIES, make_mixture
from surrogate.config import TrainConfig
from surrogate.encodings.registry import ENCODINGS, make_encoding
from surrogate.encodings.schemas import CoarseConfig
from surrogate.inversion.misfits import MISFITS
from surrogate.operators.registry import OPERATORS
from surrogate.protocols import ForwardTask, ShotTask, Task
from surrogate.tasks.registry import TASKS
from tests.helpers import ROOT, tiny_config

LONGEST = 39  # lines that are not blank


@pytest.fixture(scope="module")
def page():
    """The names that the files define; the registries are afterwards what they were before."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/extending.md").read_text(), re.DOTALL)
    assert len(blocks) == 6 and all(len(re.findall(r"^.*\S", block, re.MULTILINE)) <= LONGEST for block in blocks)
    known = list(ENCODINGS)
    with patch.dict(FAMILIES), patch.dict(OPERATORS), patch.dict(TASKS), patch.dict(MISFITS):
        names: dict = {"__name__": "extending"}
        for block in blocks[:-1]:
            exec(block, names)
        yield names
    ENCODINGS[:] = known


@pytest.fixture(scope="module")
def config(page) -> TrainConfig:
    data = tiny_config(
        "nowhere",
        source="online",
        families={"gradient": {"min_velocity": 2500}},
    )
    return TrainConfig(
        data=data, task=page["PeakConfig"](), encoding=page["DistanceConfig"](), model=page["ChainConfig"](width=4)
    )


@pytest.mark.usefixtures("page")
def test_a_family_is_drawn():
    """It rises with depth, within its range."""
    velocity = make_mixture({"gradient": {"max_velocity": 4000}})(jax.random.key(0), Grid((24, 20), 10.0))[0]
    assert velocity.shape == (24, 20) and (jnp.diff(velocity, axis=0) > 0).all()
    assert velocity.min() >= 1500.0 and velocity.max() <= 4000.0


def test_task_encoding_and_operator_make_a_surrogate(config):
    """The untrained one predicts the baseline, zero; its error is 1, and every optional answer of the task is there."""
    model = config.create()
    task, spec = model.task, model.task.spec
    assert isinstance(spec, DataSpec) and isinstance(task, Task) and isinstance(task, ShotTask)
    assert not isinstance(task, ForwardTask) and task.equation is None and not task.other_grids
    example = jax.jit(task.make)(spec.key(0, 0), jnp.array(0))
    assert set(example) == {*task.inputs, task.target} and example["peaks"].shape == (1, 24, 20)
    batch = {name: values[None] for name, values in example.items()}
    prediction = model(*(batch[name] for name in task.inputs))
    np.testing.assert_array_equal(prediction, 0.0)
    assert float(task.errors(prediction, batch)["relative_l2"][0]) == 1.0
    assert task.groups(batch) == {} and task.for_evaluation() is task and task.signature() == {}
    drawn = task.figures(jax.device_get(example), {"surrogate": np.asarray(prediction[0])})
    assert set(drawn) == {"fields"}
    with pytest.raises(InputError, match=r"encoding=coarse cannot be had with task=peak.*must be one of distance\.$"):
        make_encoding(CoarseConfig(), task)


@pytest.mark.usefixtures("page")
def test_a_misfit_and_its_gradient():
    """Zero with no slope at equality, as a misfit has to be, and a descent direction elsewhere."""
    observed = jax.random.normal(jax.random.key(0), (2, 7, 5))
    value, slope = jax.value_and_grad(MISFITS["huber"])(observed, observed)
    assert value == 0.0 and (slope == 0.0).all()
    value, slope = jax.value_and_grad(MISFITS["huber"])(observed + 0.1, observed)
    assert value > 0.0 and (slope > 0.0).all()
