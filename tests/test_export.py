"""Exports: one file that predicts and differentiates as the model does, without any of our code."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data_gen.errors import InputError, NumericalError
from surrogate import export
from surrogate.checkpoint import Checkpoints
from surrogate.config import TrainConfig, TrainingConfig, claim_folder
from surrogate.deeponet import DeepONetConfig
from surrogate.encoding import EncodingConfig
from surrogate.fno import FNOConfig
from surrogate.trainer import load_surrogate
from surrogate.unet import UNetConfig
from tests.conftest import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore::surrogate.modes_check.ModesWarning")

# Evenly spaced snapshots: one loop to compile in the coarse solver.
TIMES = [0.04, 0.08, 0.12]
SPECTRAL = {"width": 8, "depth": 1, "modes": [4, 4]}
MODELS = {
    "coarse": FNOConfig(**SPECTRAL),
    "background": UNetConfig(width=4, levels=2, depth=1),
    "source_map": DeepONetConfig(**SPECTRAL),
}

# What somebody has who was given the files: JAX, numpy and nothing of ours.
USER = """
import sys, json
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("surrogate", "data_gen", "flax"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
import jax, numpy as np

for name in sys.argv[1:]:
    function = jax.export.deserialize(bytearray(Path(name).read_bytes()))
    results = {}
    for batch, values in np.load(name + ".npz", allow_pickle=False).items():
        n = int(batch)
        velocity, source, cotangent = values[: n * 480], values[n * 480 : n * 482], values[n * 482 :]
        inputs = velocity.reshape(n, 24, 20), source.reshape(n, 2)
        prediction, pull = jax.vjp(function.call, *inputs)
        gradients = pull(cotangent.reshape(prediction.shape))
        results |= {f"{n}_{k}": np.asarray(x) for k, x in enumerate((prediction, *gradients))}
    np.savez(name + ".out.npz", **results)
print(json.dumps([m for m in sys.modules if m.split(".")[0] in ("surrogate", "data_gen", "flax")]))
"""


def config_of(encoding: str, run: Path) -> TrainConfig:
    return TrainConfig(
        run=str(run),
        data=tiny_config("unused", snapshot_times=TIMES),
        model=MODELS[encoding],
        encoding=EncodingConfig(encoding),
        training=TrainingConfig(steps=1, warmup_steps=0),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run of each model, untrained but for a projection and a normalisation that let its whole body be seen."""
    folder = tmp_path_factory.mktemp("runs")
    for encoding in MODELS:
        config = config_of(encoding, folder / encoding)
        model = config.create()
        for name, variable in (("mean", model.velocity_mean), ("std", model.velocity_std)):
            variable[...] = jnp.float32({"mean": 2500.0, "std": 500.0}[name])
        model.residual_rms[...] = jnp.array([1e-4, 2e-4, 3e-4])
        model.feature_rms[...] = jnp.full_like(model.feature_rms[...], 1e-3)
        kernel = model.operator.project.kernel
        kernel[...] = jax.random.normal(jax.random.key(1), kernel[...].shape)
        claim_folder(Path(config.run), config)
        checkpoints = Checkpoints(config.run)
        checkpoints.save_best(1, nnx.state(model), {})
        checkpoints.close()
    return {encoding: folder / encoding for encoding in MODELS}


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    for encoding, run in runs.items():
        # The command's own comparison, once.
        export.write_export(export.ExportConfig(str(run), str(folder / encoding), check=encoding == "coarse"))
    return {encoding: folder / encoding for encoding in runs}


def inputs_of(batch: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(batch), 3)
    velocity = jax.random.uniform(keys[0], (batch, 24, 20), minval=2000.0, maxval=4000.0)
    source = 10.0 * jax.random.randint(keys[1], (batch, 2), 2, 18).astype(jnp.float32)
    return velocity, source, jax.random.normal(keys[2], (batch, 3, 24, 20))


def relative(found, expected) -> float:
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / (norm or 1.0))


def test_the_file_is_the_model(runs, exported):
    """Run where nothing of ours can be imported, at two batch sizes: the prediction is the model's to float32 rounding,
    although the model's coarse field comes from the native loop, and so is the vjp, whose sums are longer."""
    for file in exported.values():
        packed = {str(n): np.concatenate([np.ravel(x) for x in inputs_of(n)]) for n in (1, 3)}
        np.savez(f"{file}.npz", **packed)
    command = [sys.executable, "-c", USER, *map(str, exported.values())]
    result = subprocess.run(command, cwd=exported["coarse"].parent, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout) == []
    for encoding, file in exported.items():
        model, found = load_surrogate(runs[encoding]), np.load(f"{file}.out.npz")

        @nnx.jit
        def expected(model, velocity, source, cotangent):
            prediction, pull = jax.vjp(model, velocity, source)
            return prediction, *pull(cotangent)

        for n in (1, 3):
            for k, array in enumerate(expected(model, *inputs_of(n))):
                assert relative(found[f"{n}_{k}"], np.asarray(array)) < 1e-5, (encoding, n, k)


def test_the_file_is_portable(exported):
    """One file for both platforms, no code of ours or of a vendor behind a custom call, no check disabled: only JAX's
    own assertion about shapes, which is gone once the batch size is known."""
    for file in exported.values():
        function = jax.export.deserialize(bytearray(file.read_bytes()))
        assert function.platforms == ("cpu", "cuda") and not function.disabled_safety_checks
        assert str(function.in_avals[0].shape[0]) == "batch" and function.has_vjp()
        for part in (function, function.vjp()):
            assert set(re.findall(r"custom_call @(\w+)", part.mlir_module())) <= {"shape_assertion"}


def test_the_description(runs, exported):
    """Checksum, shapes as the file's own, ranges, and a config that makes the run's model again."""
    file = exported["coarse"]
    content = json.loads(Path(f"{file}.json").read_text())
    function = jax.export.deserialize(bytearray(file.read_bytes()))
    assert content["artifact"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    for entry, aval in zip(content["inputs"] + content["outputs"], function.in_avals + function.out_avals, strict=True):
        assert [str(n) for n in entry["shape"]] == [str(n) for n in aval.shape] and entry["dtype"] == str(aval.dtype)
    velocity, source = content["inputs"]
    assert (velocity["unit"], velocity["least"]) == ("m/s", 2000)
    assert (source["least"], source["largest"]) == ([20.0, 0.0], [200.0, 190.0])
    np.testing.assert_allclose(content["outputs"][0]["times"], TIMES)
    assert content["config"] == json.loads((runs["coarse"] / "config.json").read_text())
    assert max(content["difference"].values()) < 1e-5


def test_refusals(runs, tmp_path, monkeypatch):
    """Nothing is written where the run, the name or the result is no good."""
    run, out = str(runs["source_map"]), tmp_path / "file"
    with pytest.raises(InputError, match="is not a run"):
        export.write_export(export.ExportConfig(str(tmp_path), str(out)))
    with pytest.raises(InputError, match="give out=FILE"):
        export.write_export(export.ExportConfig(run))
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", 0.0)
    with pytest.raises(NumericalError, match="something else than the model"):
        export.write_export(export.ExportConfig(run, str(out)))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file.json").touch()
    with pytest.raises(InputError, match="exists already"):
        export.write_export(export.ExportConfig(run, str(out)))
    command = [sys.executable, "-m", "surrogate.export", f"run={tmp_path}", f"out={tmp_path / 'other'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "Traceback" not in result.stderr
