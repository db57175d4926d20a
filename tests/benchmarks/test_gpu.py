"""`make gpu`: parts that are done are not done again, one that fails says so, and what disagrees is not to be used."""

import json
import sys

import pytest

from benchmarks import gpu


def test_parts_are_kept_and_failures_are_named(tmp_path, monkeypatch, capsys):
    calls = []

    def good(scale: float) -> list[dict]:
        calls.append(scale)
        return [{"agrees": True}]

    def bad(scale: float) -> list[dict]:
        raise ValueError("no such kernel")

    monkeypatch.setattr(gpu, "PARTS", {"good": good, "bad": bad})
    monkeypatch.setattr(sys, "argv", ["gpu", "--folder", str(tmp_path), "--scale", "0.5", "--parts", "good", "bad"])
    for _ in range(2):
        with pytest.raises(SystemExit, match="0 rows disagree, and what failed"):
            gpu.main()
    assert calls == [0.5] and "bad: failed, ValueError: no such kernel" in capsys.readouterr().out
    card = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert [part["part"] for part in card["rows"]] == ["good", "bad"]
    assert card["rows"][0]["rows"] == [{"agrees": True}] and "failed" in card["rows"][1]


def test_rows_that_disagree_end_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PARTS", {"solver": lambda scale: [{"agrees": False}, {"agrees": True}]})
    monkeypatch.setattr(sys, "argv", ["gpu", "--folder", str(tmp_path), "--parts", "solver"])
    with pytest.raises(SystemExit, match="1 rows disagree"):
        gpu.main()


def test_no_part_is_begun_when_the_time_is_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "PARTS", {"solver": lambda scale: []})
    monkeypatch.setattr(sys, "argv", ["gpu", "--folder", str(tmp_path), "--parts", "solver", "--minutes", "-1"])
    gpu.main()
    assert "not begun" in capsys.readouterr().out and not list(tmp_path.glob("solver-*"))
