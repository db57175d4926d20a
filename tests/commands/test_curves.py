"""`wave curves`: lines of bars in the terminal, and a page."""

import json
import sys

import pytest

from surrogate.commands import curves
from surrogate.commands.curves import BARS, WIDTH, spark


def write_run(folder, rate: float, rows: list[dict]) -> None:
    """As much of a run as its curves need."""
    folder.mkdir(parents=True)
    config = {"task": {"name": "wavefield"}, "training": {"steps": 100, "learning_rate": rate}, "model": {}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_heights_are_logarithms():
    """An exponential decay falls by the same height everywhere, from the highest bar to the lowest."""
    values = [(step, 0.5 ** (step / 10)) for step in range(0, 101)]
    line = spark(values, 100, values[-1][1], values[0][1])
    heights = [BARS.index(bar) for bar in line]
    assert len(line) == WIDTH and heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (len(BARS) - 1, 0)
    assert all(line.count(bar) == WIDTH // len(BARS) for bar in BARS)
    assert spark([(0, 1.0), (100, 1.0)], 100, 1.0, 1.0) == BARS[0] + " " * (WIDTH - 2) + BARS[0]


def test_runs_are_compared(tmp_path, monkeypatch, capsys):
    """Runs below a folder, with the settings in which they differ; one that has no values yet is listed, too."""
    write_run(tmp_path / "runs/a", 0.1, [{"step": 50, "loss": 0.5}, {"step": 50, "validation": 0.25}])
    write_run(tmp_path / "runs/b", 0.2, [{"step": 10, "loss": float("nan")}])
    page = tmp_path / "page.html"
    monkeypatch.setattr(sys, "argv", ["wave curves", str(tmp_path / "runs"), "--page", str(page)])
    curves.main()
    shown = " ".join(capsys.readouterr().out.split())
    assert "training.learning_rate=0.1" in shown and "0.2500" in shown and "50/100" in shown and "10/100" in shown
    text = page.read_text()
    assert text.count("data:image/png;base64") == 4 and "Not evaluated yet" not in text
    monkeypatch.setattr(sys, "argv", ["wave curves", str(tmp_path / "other")])
    with pytest.raises(SystemExit, match="There is no run at"):
        curves.main()
