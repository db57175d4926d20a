"""The profile of a prediction: every part has the shapes that it has within the whole."""

import jax
import pytest
from flax import nnx

from benchmarks.profile_operator import parts_of, table_of
from surrogate.config import TrainConfig
from surrogate.operators.fno import FNOConfig
from tests.helpers import encoding_config, tiny_config


@pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")
@pytest.mark.parametrize("padding", [0.0, 0.25])
def test_parts_fit_together(padding):
    """Lift, body and projection map shapes to one another as the operator does, with blocks, padding and products."""
    model = FNOConfig(width=4, depth=2, modes=[2, 2], mlp_ratio=1, patch=4, products=3, padding=padding)
    config = TrainConfig(data=tiny_config("unused"), model=model, encoding=encoding_config("source_map"))
    surrogate = config.create()
    parts = parts_of(surrogate, 2)
    shapes = {name: jax.eval_shape(part, *inputs) for name, (part, inputs) in parts.items()}
    (h,), (inner, x) = parts["body"][1], parts["projection"][1]
    assert shapes["body"].shape == h.shape and shapes["lift"].shape == inner.shape
    assert shapes["projection"].shape == shapes["operator"].shape == (*x.shape[:3], surrogate.task.outputs)
    assert shapes["gradient of the operator"].shape == x.shape
    assert shapes["prediction"].shape == (2, surrogate.task.outputs, *surrogate.task.shape)
    assert {"one of 2 blocks", "  norm", "  spectral layer", "  3x3 convolution", "  MLP"} <= set(shapes)
    if not padding:
        table = table_of(nnx.clone(surrogate), 2, repeats=1)
        assert table.row_count == len(parts)
