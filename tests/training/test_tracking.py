"""Curves and W&B: what cannot be recorded costs rows, never the run."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

from surrogate.training.tracking import Curves, Tracker, TrackingConfig, TrackingWarning, offline_record
from tests.helpers import ROOT


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


def records(run: Path) -> list[Any]:
    """Read the only offline record of a run. W&B's process writes the end of it shortly after the run is closed."""
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    patience = time.monotonic() + 20
    while not (found := parse(file)) or found[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < patience
        time.sleep(0.05)
    return found


def parse(file: Path) -> list[Any]:
    """Parse W&B's log of protocol buffers, in LevelDB's format of 32 KiB blocks."""
    data, at, part, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        part, at = part + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(part))
            part = b""
    return found


def curve(run: Path, name: str) -> dict[int, str]:
    """Values of a metric, as JSON, by step."""
    rows = [record.history for record in records(run) if record.WhichOneof("record_type") == "history"]
    values = [(row.step.num, item) for row in rows for item in row.item]
    return {step: item.value_json for step, item in values if name in (item.key, *item.nested_key)}


def drawn() -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_a_resumed_or_rolled_back_run_has_one_whole_record(tmp_path, capfd):
    """`wandb sync` of a second record of an id replaces the first, so there is one, with all steps."""
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    for first, end in ((0, 4), (3, 5)):  # killed after step 4, and resumed from a checkpoint at step 3
        tracker = Tracker(tmp_path, TrackingConfig(), {}, first)
        tracker.dataset({"digest": "abcd"}, manifest)
        for step in range(first + 1, end + 1):
            tracker.log(step, {"loss": step + first / 10})
        tracker.figure(end - 2, "fields", drawn)
        if end == 4:
            tracker.close()
    tracker.rewind(2)  # of which nothing after step 2 remains
    tracker.log(3, {"loss": 0.25})
    tracker.model([tmp_path / "tracking.json"], {})
    tracker.close()
    assert curve(tmp_path, "loss") == {1: "1", 2: "2", 3: "0.25"}
    assert curve(tmp_path, "fields").keys() == {2}
    identity = json.loads((tmp_path / "tracking.json").read_text())["id"]
    kept = offline_record(tmp_path)
    assert kept is not None and kept.name.endswith(identity)
    names = [r.artifact.name for r in records(tmp_path) if r.WhichOneof("record_type") == "artifact"]
    assert names == ["dataset-abcd", f"model-{identity}"]
    assert capfd.readouterr() == ("", "")  # a line of W&B would tear the progress bar


OFFLINE = """
import sys
from pathlib import Path
from surrogate.training.tracking import Tracker, TrackingConfig
run = Path(sys.argv[1])
tracker = Tracker(run, TrackingConfig("offline"), {}, 0)
tracker.log(1, {"loss": 1.0})
tracker.model([run / "tracking.json"], {})
tracker.close()
"""


def test_offline_sends_nothing_and_leaves_nothing_at_home(tmp_path):
    """A listener in the place of W&B's server, and of every other as their proxy, is asked for nothing.

    The home folder stays empty, but for caches of other libraries.
    """
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        here = f"http://127.0.0.1:{server.getsockname()[1]}"
        outside = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), here)
        home, run = tmp_path / "home", tmp_path / "run"
        home.mkdir()
        run.mkdir()
        environment = outside | proxies | {"WANDB_BASE_URL": here, "HOME": str(home), "NO_PROXY": "127.0.0.1"}
        subprocess.run([sys.executable, "-c", OFFLINE, str(run)], cwd=ROOT, env=environment, check=True)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert offline_record(run) is not None
    assert not [file for file in home.rglob("*") if "wandb" in str(file.relative_to(home))]


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
