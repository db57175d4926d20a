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
        with pytest.raises(SystemExit, match=r"^bad failed or disagrees"):
            gpu.main()
    assert calls == [0.5] and "bad: ValueError: no such kernel" in capsys.readouterr().out
    card = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert [(part["part"], part["rows"]) for part in card["rows"]] == [("good", [{"agrees": True}])]


def test_rows_that_disagree_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PARTS", {"solver": lambda scale: [{"agrees": False}, {"agrees": True}]})
    monkeypatch.setattr(sys, "argv", ["gpu", "--folder", str(tmp_path), "--parts", "solver"])
    with pytest.raises(SystemExit, match=r"^solver failed or disagrees"):
        gpu.main()
    assert not list(tmp_path.glob("solver-*")) and (tmp_path / "wrong-solver.json").exists()


def test_no_part_is_begun_when_the_time_is_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "PARTS", {"solver": lambda scale: []})
    monkeypatch.setattr(sys, "argv", ["gpu", "--folder", str(tmp_path), "--parts", "solver", "--minutes", "-1"])
    gpu.main()
    assert "not begun" in capsys.readouterr().out and not list(tmp_path.glob("solver-*"))
