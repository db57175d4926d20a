"""The rows that benchmarks/operators.py goes on from, and the table it prints."""

import json

import pytest

from benchmarks.operators import COARSE, kept_rows, table


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


def test_rows_at_another_budget_are_neither_mixed_nor_lost(tmp_path):
    file, settings = tmp_path / "operators-cpu.json", {"budget": {"core_s": 90}, "train": 4000}
    assert kept_rows(file, settings) == []
    file.write_text(json.dumps(settings | {"machine": "any", "rows": [1]}))
    assert kept_rows(file, settings) == [1]
    with pytest.raises(SystemExit, match=r"taken with {'budget': {'core_s': 90}}"):
        kept_rows(file, settings | {"budget": {"core_s": 40}})
