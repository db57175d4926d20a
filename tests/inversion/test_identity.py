"""Contents decide whether a finished inversion is the same, not paths."""

from dataclasses import replace

import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import InputError
from surrogate.config import InvertConfig, RealModelConfig
from surrogate.inversion.config import InversionConfig
from surrogate.runs.invert import run_inversion
from surrogate.runs.provenance import weights_digest
from tests.helpers import tiny_config


def test_a_moved_model_is_the_same_and_a_changed_one_is_not(tmp_path, monkeypatch):
    """A moved file, data set or folder and a relative path change nothing; other velocities in the file are refused."""
    monkeypatch.chdir(tmp_path)
    model = 2500.0 + np.linspace(0, 500, 24)[:, None] + np.zeros(20)
    np.save("model.npy", model)
    config = InvertConfig(
        out=str(tmp_path / "out"),
        data=tiny_config("unused"),
        inversion=InversionConfig(shots=1, iterations=1),
        real=RealModelConfig(str(tmp_path / "model.npy"), spacing=10.0),
    )
    run_inversion(config)
    stamp = (tmp_path / "out/inversion.json").stat().st_mtime_ns
    (tmp_path / "model.npy").rename(tmp_path / "moved.npy")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    moved = replace(
        config, out="elsewhere/", data=tiny_config("moved/"), real=RealModelConfig("moved.npy", spacing=10.0)
    )
    run_inversion(moved)
    assert (tmp_path / "elsewhere/inversion.json").stat().st_mtime_ns == stamp
    np.save("moved.npy", model + 100.0)
    with pytest.raises(InputError, match=r"another true model \(2500 to 3000 .* there, 2600 to 3100"):
        run_inversion(moved)
    assert (tmp_path / "elsewhere/inversion.json").stat().st_mtime_ns == stamp


def test_weights_have_a_digest():
    """Equal weights have one digest, wherever they are; a weight that differs has another."""
    model, same = (nnx.Linear(2, 3, rngs=nnx.Rngs(0)) for _ in range(2))
    assert weights_digest(model) == weights_digest(same)
    same.kernel[...] = same.kernel[...].at[1].set(1e-3)
    assert weights_digest(model) != weights_digest(same)
