"""Curves and W&B: what cannot be recorded costs rows, never the run."""

import json
import sys
from pathlib import Path

import pytest
import wandb

from surrogate.training.tracking import Curves, Tracker, TrackingConfig, TrackingWarning


def test_a_run_needs_no_wandb(tmp_path, monkeypatch):
    """Neither the package nor its services: one warning, and the curves are written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.warns(TrackingWarning, match="W&B has failed") as told:
        tracker = Tracker(tmp_path, TrackingConfig(), {}, 0)
        tracker.log(1, {"loss": 0.5})
        tracker.figure(1, "fields", lambda: pytest.fail("drawn for nobody"))
        tracker.close()
    assert len(told.list) == 1
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 0.5}


def test_a_resumed_run_goes_on_under_its_id(tmp_path):
    """Offline too, where W&B knows of no other part of the run: both are one, once they are synchronized."""
    ids = []
    for step in (0, 4):
        tracker = Tracker(tmp_path, TrackingConfig(), {}, step)
        tracker.log(step + 1, {"loss": 0.5})
        ids.append(wandb.run and wandb.run.id)
        tracker.close()
    assert ids == [json.loads((tmp_path / "tracking.json").read_text())["id"]] * 2


def test_a_full_disk_costs_rows_not_the_run(tmp_path, monkeypatch):
    """A row that a full disk leaves half written is cut off before the next one."""
    curves = Curves(tmp_path / "metrics.jsonl")
    curves.append({"step": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"st')
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.warns(TrackingWarning, match="No space left") as told:
        curves.append({"step": 2})
        curves.append({"step": 3})
    assert len(told.list) == 1
    monkeypatch.setattr(Path, "open", opened)
    curves.append({"step": 4})
    assert [json.loads(row)["step"] for row in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 4]
    curves.append({"step": 1, "rollback": 1})
    curves.rewind(1, resumed=False)
    assert (tmp_path / "metrics.jsonl").read_text().endswith('"rollback": 1}\n')
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('\0\0{"step": 0}\n')  # as a power cut may leave it
    curves.rewind(1, resumed=True)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'
