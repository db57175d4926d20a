"""Exports: one file that predicts and differentiates as the model does, without any of our code."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import InputError, NumericalError
from data_gen.common.files import exclusive
from surrogate.commands.export import main
from surrogate.config import TrainConfig
from surrogate.models.surrogate import Statistics
from surrogate.operators.base import GridOperator
from surrogate.operators.deeponet import DeepONetConfig
from surrogate.operators.fno import FNOConfig
from surrogate.operators.unet import UNetConfig
from surrogate.runs import export
from surrogate.runs.checkpoints import Checkpoints
from surrogate.runs.folder import claim_folder, read_config
from surrogate.runs.load import load_surrogate
from surrogate.tasks.registry import TASKS
from surrogate.training.config import TrainingConfig
from tests.helpers import encoding_config, task_config, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

# Quick to compile: evenly spaced snapshots are one loop of the coarse solver, and rigid walls need no layers.
TIMES = [0.06, 0.12]
QUICK = {"snapshot_times": TIMES, "absorbing_width": 0}
SPECTRAL = {"width": 8, "depth": 1, "modes": [4, 4], "products": 48}  # computed as filters
MODELS = {
    "coarse": FNOConfig(**SPECTRAL),
    "background": UNetConfig(width=4, levels=1, depth=1),
    "source_map": DeepONetConfig(**SPECTRAL),
}

# A user of the files has JAX and numpy, and none of our packages.
USER = """
import json, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("surrogate", "data_gen", "flax"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
import jax, numpy as np

for name in sys.argv[1:]:
    function = jax.export.deserialize(bytearray(Path(name).read_bytes()))
    given = np.load("inputs.npz", allow_pickle=False)
    one = function.call(given["velocity"][:1], given["source"][:1])
    three, pull = jax.vjp(function.call, given["velocity"], given["source"])
    results = (one, three, *pull(given["cotangent"]))
    np.savez(name + ".npz", **{str(i): np.asarray(x) for i, x in enumerate(results)})
print(json.dumps([module for module in sys.modules if module.split(".")[0] in ("surrogate", "data_gen", "flax")]))
"""


def config_of(encoding: str, run: Path) -> TrainConfig:
    data = tiny_config("unused", **QUICK)
    data.families = {"inclusions": data.families["inclusions"]}
    return TrainConfig(
        run=str(run),
        data=data,
        model=MODELS[encoding],
        encoding=encoding_config(encoding),
        training=TrainingConfig(steps=1, warmup_steps=0),
    )


ALL = pytest.mark.parametrize(
    # Writing a file also compares it with its model, as test_the_description does of the source map's.
    "encodings",
    [("coarse",), pytest.param(("source_map", "background"), marks=pytest.mark.slow)],
)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory) -> Callable[[str], Path]:
    """A run of a model, untrained but for a projection and a normalization that let its whole body be seen."""
    folder = tmp_path_factory.mktemp("runs")

    @cache
    def make(encoding: str) -> Path:
        config = config_of(encoding, folder / encoding)
        model = config.create()
        media, channels, outputs = model.encoding.media, model.encoding.channels, model.task.outputs
        scales = (jnp.full(media, 2500.0), jnp.full(media, 500.0), jnp.full(channels, 1e-3), jnp.full(outputs, 1e-4))
        model.set_statistics(Statistics(*scales))
        assert isinstance(model.operator, GridOperator)
        kernel = model.operator.project.kernel
        kernel[...] = jax.random.normal(jax.random.key(1), kernel[...].shape)
        claim_folder(Path(config.run), config)
        checkpoints = Checkpoints(config.run)
        checkpoints.save_best(1, nnx.to_pure_dict(nnx.state(model)), {})
        checkpoints.close()
        return folder / encoding

    return make


@pytest.fixture(scope="module")
def exported(run_of, tmp_path_factory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def write(encoding: str) -> Path:
        out = folder / encoding
        export.write_export(export.ExportConfig(str(run_of(encoding)), str(out), check=encoding == "source_map"))
        return out

    return write


def difference(found, expected) -> float:
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / (norm or 1.0))


@nnx.jit
def values_and_gradients(model, velocity, source, cotangent):
    prediction, pull = jax.vjp(model, velocity, source)
    return prediction, *pull(cotangent)


@ALL
def test_the_file_is_the_model(encodings, run_of, exported):
    """Run where nothing of ours can be imported, for one and for three models: the prediction is the model's to float32
    rounding, although the model's coarse field comes from the native loop, and so are the gradients."""
    keys = jax.random.split(jax.random.key(0), 3)
    velocity = jax.random.uniform(keys[0], (3, 24, 20), minval=2000.0, maxval=4000.0)
    source = 10.0 * jax.random.randint(keys[1], (3, 2), 2, 18).astype(jnp.float32)
    cotangent = jax.random.normal(keys[2], (3, 2, 24, 20))
    folder = exported(encodings[0]).parent
    np.savez(folder / "inputs.npz", velocity=velocity, source=source, cotangent=cotangent)
    # Compiled quickly, not well: other code for the same program.
    environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    command = [sys.executable, "-c", USER, *(exported(encoding).name for encoding in encodings)]
    result = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout) == []
    for encoding in encodings:
        one, *three = np.load(folder / f"{encoding}.npz").values()
        expected = values_and_gradients(load_surrogate(run_of(encoding)), velocity, source, cotangent)
        assert difference(one, expected[0][:1]) < 1e-5, encoding
        for name, found, wanted in zip(("prediction", "velocity", "source"), three, expected, strict=True):
            assert difference(found, np.asarray(wanted)) < 1e-5, (encoding, name)


@ALL
def test_the_file_is_portable(encodings, exported):
    """One file for both platforms, no code of ours or of a vendor behind a custom call, no check disabled: only JAX's
    own assertion about shapes, which is gone once the batch size is known."""
    for encoding in encodings:
        function = jax.export.deserialize(bytearray(exported(encoding).read_bytes()))
        assert function.platforms == ("cpu", "cuda") and not function.disabled_safety_checks
        assert str(function.in_avals[0].shape[0]) == "batch" and function.has_vjp()
        for part in (function, function.vjp()):
            assert set(re.findall(r"custom_call @(\w+)", part.mlir_module())) <= {"shape_assertion"}


def test_the_description(run_of, exported):
    """Checksum, shapes as the file's own, ranges, and a config that makes the run's model again."""
    file = exported("source_map")
    content = json.loads(Path(f"{file}.json").read_text())
    function = jax.export.deserialize(bytearray(file.read_bytes()))
    assert content["artifact"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    for entry, aval in zip(content["inputs"] + content["outputs"], function.in_avals + function.out_avals, strict=True):
        assert [str(n) for n in entry["shape"]] == [str(n) for n in aval.shape] and entry["dtype"] == str(aval.dtype)
    velocity, source = content["inputs"]
    assert (velocity["name"], velocity["unit"], velocity["range"][0]) == ("velocity", "m/s", 2000)
    assert source["range"] == [[20.0, 0.0], [200.0, 190.0]]
    np.testing.assert_allclose(content["outputs"][0]["times"], TIMES)
    assert content["config"] == read_config(run_of("source_map") / "config.json")
    assert all(0 <= difference < 1e-5 for difference in content["difference"].values())


def test_nan_in_one_gradient_is_seen(run_of, exported):
    """The gradient by the velocity, which comes first, is right; that of the square root of zero is not a number."""
    function = jax.export.deserialize(bytearray(exported("source_map").read_bytes()))

    def spoilt(velocity, source):
        return function.call(velocity, source) + jnp.sqrt(0 * source).sum()

    inputs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in function.in_avals]
    artifact = bytes(jax.export.export(jax.jit(spoilt))(*inputs).serialize(vjp_order=1))
    found = export.differences(artifact, load_surrogate(run_of("source_map")))
    assert found["prediction"] < 1e-5 and np.isnan(found["gradient"])


def test_every_array_of_every_task_has_a_meaning():
    """An axis for each dimension, a coordinate for each place on it, and a range that examples lie in."""
    data = config_of("coarse", Path("unused")).data
    line = {
        "placement": "line",
        "sources": 2,
        "source_depths": [20.0, 20.0],
        "records": ["snapshots", "gathers", "harmonic"],
    }
    spec = replace(data, nt=161, snapshot_times=[0.14, 0.15, 0.16], frequencies=[12.0, 20.0], **line).create()
    drawn = jax.jit(spec.draw)(spec.key(0, 0))
    values = {"velocity": drawn.velocity, "velocities": drawn.velocity, "source": drawn.sources}
    for name in TASKS:
        task = task_config(name).create(spec).for_evaluation()
        example = jax.eval_shape(lambda task=task: task.make(spec.key(0, 0), jnp.int32(0)))
        known = json.loads(json.dumps(task.signature()))
        assert list(known) == [*task.inputs, task.target]
        for array, meaning in known.items():
            sizes = dict(zip(meaning["axes"], (1, *example[array].shape), strict=True))
            assert meaning["unit"]
            for axis in {"times", "sources", "receivers"} & set(sizes):
                assert len(meaning[axis]) == sizes[axis], (name, array, axis)
            if array in values:
                low, high = np.array(meaning["range"])
                assert (low <= values[array]).all() and (values[array] <= high).all(), (name, array)
            if "sources" in sizes:
                np.testing.assert_allclose(meaning["sources"], drawn.sources)


def test_refusals(run_of, tmp_path, monkeypatch):
    """No file is written if the run, the name or the result is wrong; the command says why in one paragraph."""
    run, out = str(run_of("source_map")), str(tmp_path / "file")
    with pytest.raises(InputError, match="is not a run"):
        export.write_export(export.ExportConfig(str(tmp_path), out))
    with pytest.raises(InputError, match="give out=FILE"):
        export.write_export(export.ExportConfig(run))
    monkeypatch.setattr(export, "differences", lambda *_: {"prediction": 0.0, "gradient": np.nan})
    with pytest.raises(NumericalError, match="something else than its model"):
        export.write_export(export.ExportConfig(run, out))
    assert not list(tmp_path.iterdir())
    with (
        exclusive(tmp_path / ".file.lock"),
        pytest.raises(InputError, match=f"is being written by process {os.getpid()}"),
    ):
        export.write_export(export.ExportConfig(run, out))
    (tmp_path / "file.json").touch()
    monkeypatch.setattr("surrogate.commands.export.use_compilation_cache", lambda: None)
    monkeypatch.setattr(sys, "argv", ["export", f"run={run}", f"out={out}"])
    with pytest.raises(SystemExit, match=r"error: .*file\.json exists already"):
        main()
