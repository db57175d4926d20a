"""What cheap models of any quality cost: counted until the misfit of L-BFGS, and compared model by model."""

import json
from typing import Any, cast

import numpy as np
import pytest
from flax import nnx

from benchmarks.fidelities import shuffled
from benchmarks.fidelities_page import cost, fall, interval, write_page


def ended(misfits: list[float], error: float) -> dict:
    """An inversion of 10 simulations an iteration."""
    used = [10.0 * n for n in range(len(misfits))]
    history = {"true_misfit": misfits, "model_error": [0.2, error], "used": used, "low_used": used}
    return {"misfit": misfits[-1], "error": error, "seconds": 1.0, "history": history}


def row(index: int, coarse: list[float]) -> dict:
    ways = {"coarse": ended(coarse, 0.1), "trained": ended([4.0, 1.0], 0.05)}
    off = {"coarse": {"field_error": 0.2, "cosine": 0.5}, "trained": {"field_error": 0.1, "cosine": 0.9}}
    plain = ended([4.0, 3.0, 2.0, 1.0], 0.1)
    return {"index": index, "start": 0.2, "plain": plain, "corrected": ways, "alone": ways, "off": off}


def test_costs_are_counted_until_the_misfit_of_the_plain_optimizer():
    one = row(0, [4.0, 2.0, 1.009])
    assert cost(one, "trained", 1.01) == pytest.approx(1 / 3)
    assert cost(one, "coarse", 1.01) == pytest.approx(2 / 3)
    assert cost(one, "coarse", 1.0) is None
    assert fall(one, one["corrected"]["trained"]) == pytest.approx(1.5)


def test_the_page_has_medians_and_the_worst_of_the_models(tmp_path):
    card = {
        "rows": [row(0, [4.0, 2.0, 1.0]), row(1, [4.0, 1.0]), row(2, [4.0, 3.0])],
        "grid": {"shape": [8, 8], "spacing": 10.0},
        "machine": {"cores_used": 2, "processor": "P"},
        "inversion": {"iterations": 3},
        "training": {"trained": {"steps": 9, "batch": 8, "samples": 7, "jacobian": 0.5, "validation": 0.1}},
        **{"shots": 4, "smoothing": 8.0, "decibels": 20.0, "extra": 1.3, "reached": 1.01},
    }
    (tmp_path / "fidelities-cpu.json").write_text(json.dumps(card), encoding="utf-8")
    text = write_page(tmp_path, tmp_path).read_text(encoding="utf-8")
    assert "| coarse | 0.2 | 0.5 | 0.67 | - | 1 | 1.00 | 1 | 1.00 |" in text  # one of three never gets there
    assert "| trained | 0.1 | 0.1 | 0.33 | 0.33 | 1 | 1.50 | 1 | 1.50 |" in text
    spared = np.array([2 / 3, 1 / 3, 1.3]) - 1 / 3
    assert f"in those of L-BFGS: {interval(spared.tolist())}." in text


def test_shuffled_weights_are_the_same_ones_elsewhere():
    model = nnx.Linear(6, 5, rngs=nnx.Rngs(0))
    other = cast(Any, shuffled)(model)
    before, after = (np.asarray(each.kernel[...]) for each in (model, other))
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
