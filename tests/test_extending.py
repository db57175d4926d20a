"""The files of docs/guides/extending.md run as they stand there, and are short."""

import re
import sys
from types import ModuleType
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_gen.common.errors import InputError
from data_gen.dataset.sample import DataSpec
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.registry import FAMILIES, make_mixture
from surrogate.config import TrainConfig, register
from surrogate.encodings.registry import ENCODINGS, make_encoding
from surrogate.encodings.schemas import CoarseConfig
from surrogate.inversion.config import InversionConfig
from surrogate.inversion.descent import invert
from surrogate.inversion.misfits.registry import MISFITS
from surrogate.operators.registry import OPERATORS
from surrogate.protocols import ForwardTask, ShotTask, Task
from surrogate.tasks.registry import TASKS
from tests.helpers import ROOT, tiny_config
from tests.inversion.toy import Toy

LONGEST = 39  # lines that are not blank


@pytest.fixture(scope="module")
def page():
    """The names that the files define; the registries are afterwards what they were before."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/extending.md").read_text(), re.DOTALL)
    assert len(blocks) == 7 and all(len(re.findall(r"^.*\S", block, re.MULTILINE)) <= LONGEST for block in blocks)
    known = list(ENCODINGS)
    with patch.dict(FAMILIES), patch.dict(OPERATORS), patch.dict(TASKS), patch.dict(MISFITS):
        names: dict = {"__name__": "extending"}
        for block in blocks[:5]:
            exec(block, names)
        yield names | {"in_python": blocks[5], "on_the_command_line": blocks[6]}
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
    value, slope = jax.value_and_grad(MISFITS["pseudo_huber"])(observed, observed)
    assert value == 0.0 and (slope == 0.0).all()
    value, slope = jax.value_and_grad(MISFITS["pseudo_huber"])(observed + 0.1, observed)
    assert value > 0.0 and (slope > 0.0).all()


@pytest.mark.usefixtures("page")
def test_an_inversion_takes_the_misfit():
    config = InversionConfig(misfit="pseudo_huber", optimizer="lbfgs", iterations=3, bounds=[2300.0, 2800.0])
    observed = Toy()(2500.0 + 100.0 * jnp.cos(jnp.arange(30.0)).reshape(6, 5))
    misfit = invert(Toy(), observed, jnp.full((6, 5), 2500.0), config).misfit
    assert (np.diff(misfit) < 0).all() and len(misfit) > 1


def test_together_in_python(page):
    """The data set and the training that the page asks for have the names defined above; neither is made here."""
    made = []
    with patch("data_gen.generate", made.append), patch("surrogate.fit", made.append):
        exec(page["in_python"], dict(page))
    data, config = made
    assert data == config.data and config.create().task.name == "peak"


def test_together_on_the_command_line(page, tmp_path, monkeypatch, capsys):
    """`mine.py` composes a config of the page's operator from the page's preset, and draws from the page's family."""
    (preset,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/guides/extending.md").read_text(), re.DOTALL)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/chain.yaml").write_text(preset)
    monkeypatch.setitem(sys.modules, "extensions", ModuleType("extensions"))
    train = ["train", "--config-dir", str(tmp_path), "model=chain", "data.families={gradient: {}}", "--cfg", "job"]
    monkeypatch.setattr(sys, "argv", ["mine.py", *train])
    register()  # as the first import of `main` does; here it came before the page's names
    exec(page["on_the_command_line"], {})
    shown = capsys.readouterr().out
    assert "name: chain" in shown and "width: 32" in shown and "gradient: {}" in shown
