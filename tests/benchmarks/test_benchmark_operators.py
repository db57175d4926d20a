"""Check the rows from which benchmarks/operators.py resumes, and the table that it prints."""

import json

import pytest
from flax import nnx
from hydra import initialize_config_dir

from benchmarks.operators import COARSE, OPERATORS, Data, configured, kept_rows, table
from surrogate.config import register
from tests.helpers import ROOT


def row(operator: str, encoding: str, seed: int, error: float) -> dict:
    return {"operator": operator, "encoding": encoding, "seed": seed, "relative_l2": error} | (
        {"parameters": 4_670_000, "steps": 90} if encoding else {}
    )


def test_seeds_are_a_mean_with_half_their_range_and_what_was_not_measured_is_empty():
    rows = [row(COARSE, "", 0, 0.03), row("fno", "coarse", 0, 0.02), row("fno", "coarse", 1, 0.024)]
    rows.append(row("unet", "background", 0, 0.5))
    assert table(rows).splitlines()[2:] == [
        "| fno | 4.67 M |  |  | 0.0220 ± 0.0020 (90) |",
        "| unet | 4.67 M |  | 0.5000 (90) |  |",
        f"| {COARSE} |  |  |  | 0.0300 |",
    ]


def test_what_diverged_is_told():
    rows = [
        row(COARSE, "", 0, 0.03),
        row("fno", "coarse", 0, 0.02),
        row("fno", "coarse", 1, 0.0) | {"relative_l2": None},
    ]
    assert "1 of 2 diverged" in table(rows)


@pytest.mark.filterwarnings("error::surrogate.models.modes_check.ModesWarning")
@pytest.mark.parametrize("operator", OPERATORS)
def test_small_operators_build_and_reach_the_waves_of_the_small_set(operator, tmp_path):
    register()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = configured(Data(tmp_path, "reference_small", 8, 8), operator, "source_map", 0, 10)
    assert nnx.eval_shape(config.create).task.outputs == 8


def test_rows_at_another_budget_are_neither_mixed_nor_lost(tmp_path):
    file, settings = tmp_path / "operators-cpu.json", {"budget": {"core_s": 90}, "train": 4000}
    assert kept_rows(file, settings) == []
    file.write_text(json.dumps(settings | {"machine": "any", "rows": [1]}))
    assert kept_rows(file, settings) == [1]
    with pytest.raises(SystemExit, match=r"taken with {'budget': {'core_s': 90}}"):
        kept_rows(file, settings | {"budget": {"core_s": 40}})
