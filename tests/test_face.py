"""The public names: where they come from, what they do not import, and the five jobs in two import lines each."""

import ast
import os
import subprocess
import sys
from importlib import import_module

import pytest

from tests.helpers import ROOT

# Libraries of data sets, training, configs and figures, by the name of what a program imports.
HEAVY = (
    "tensorflow_datasets",
    "grain",
    "hydra",
    "omegaconf",
    "wandb",
    "orbax",
    "flax",
    "optax",
    "matplotlib",
    "segyio",
)

SIMULATE = """\
import jax.numpy as jnp
from data_gen import Grid, TimeAxis, Simulation, make_survey, surface_line, ricker, simulate
grid, time = Grid((48, 48), spacing=10.0), TimeAxis(nt=20, dt=1e-3)
simulation = Simulation(grid, time, max_velocity=3000.0, peak_frequency=10.0)
survey = make_survey([[40.0, 80.0]], surface_line(grid, depth=20.0), ricker(time, 10.0))
gathers = simulate(jnp.full(grid.shape, 2000.0), survey, simulation).gathers
assert gathers.shape == (1, 20, 48) and bool(jnp.abs(gathers).max() > 0)
"""
LOAD = """\
from surrogate import load_surrogate, predict
model = load_surrogate("tests/checkpoints/v1")
"""
DATA = """\
from data_gen import DataConfig, Sample, make_family
DataConfig(families={"salt": {}}, snapshot_times=[0.2]).create()
"""


def in_a_new_process(program: str) -> str:
    """Run a program in a process that has imported nothing, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def refusing(*names: str) -> str:
    """The first lines of a program in which importing these packages fails."""
    return f"""\
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ImportError(name + " must not be imported here")
sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize("package", ["data_gen", "surrogate"])
def test_every_public_name_is_where_it_is_said_to_be(package):
    """The names that type checkers see are those of the running program, and each loads."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        name.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    module = import_module(package)
    assert seen == module._HOMES and {*seen, "__version__"} == set(module.__all__) and set(seen) <= set(dir(module))
    for name, home in seen.items():
        assert getattr(module, name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = module.simulat


def test_a_simulation_needs_none_of_the_heavy_libraries():
    """With every one of them made unimportable, so that an import anywhere would fail."""
    in_a_new_process(refusing(*HEAVY) + SIMULATE)


def test_a_data_config_needs_no_data_set_library():
    in_a_new_process(refusing(*(name for name in HEAVY if name != "segyio")) + DATA)


def test_loading_a_surrogate_imports_no_training():
    """Neither the training loop nor the libraries of tracking and of data sets."""
    program = LOAD + "import sys; print(*sys.modules)"
    modules = in_a_new_process(program).split()
    absent = {"tensorflow_datasets", "grain", "wandb", "surrogate.training.step", "surrogate.runs.fit"}
    assert "orbax" in modules and not absent & set(modules)


@pytest.mark.parametrize("name", ["simulate", "predict", "invert"])
def test_a_job_takes_two_import_lines(name):
    """Each example imports its names from the two packages, not from their modules."""
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text())
    ours = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert 0 < len(ours) <= 2 and set(ours) <= {"data_gen", "surrogate"}
