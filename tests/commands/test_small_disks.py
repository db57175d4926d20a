"""A disk that is full, at any size from a few kilobytes on: one paragraph, and with more room the same command goes on.

The disks are file systems in memory, which root alone may mount: others skip these tests.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate.commands import wave
from tests.runs.test_random_damage import samples
from tests.runs.tiny_run import train, weights

KILOBYTES = (4, 40, 120, 400)
ENOUGH = "100m"
SMALLEST = "model.width=4 model.depth=1 model.modes=[2,2] model.mlp_ratio=2 encoding=source_map training.steps=4 "
SMALLEST += "training.warmup_steps=1 training.batch_size=4 training.checkpoint_every=2 training.validate_every=2 "
SMALLEST += "tracking.mode=disabled"


def mounted(options: str, folder: Path) -> bool:
    """Mount a file system in memory, or mount it again with other options."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return shutil.which("mount") is not None and not subprocess.run(command, capture_output=True).returncode


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted("size=1m", folder):
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a data set and a run."""
    folder = tmp_path_factory.mktemp("made")
    train(folder)
    return folder


def velocity(folder: Path) -> bytes:
    with np.load(folder / "out" / "result.npz") as result:
        return result["velocity"].tobytes()


def errors(folder: Path) -> dict[str, Any]:
    """What an evaluation measured, but for times."""
    found = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    return {name: value for name, value in found.items() if "seconds" not in name}


# The command, what of `made` it finds on the disk, and the result that counts.
COMMANDS: dict[str, tuple[str, tuple[str, ...], Callable[[Path], Any]]] = {
    "generate": ("generate data=tiny data.truth_samples=0 data.path={disk}/data", (), lambda at: samples(at / "data")),
    "train": (
        f"train data=tiny data.path={{made}}/data run={{disk}}/run {SMALLEST}",
        (),
        lambda at: weights(at / "run"),
    ),
    "evaluate": (
        "evaluate run={disk}/run batch_size=4 repeats=1 speedup_samples=0 gradient_samples=0 inversion_samples=0",
        ("run",),
        errors,
    ),
    "invert": ("invert data=tiny inversion.iterations=2 inversion.shots=2 out={disk}/out", (), velocity),
    "export-model": (
        "export-model run={made}/run out={disk}/m.stablehlo",
        (),
        lambda at: (at / "m.stablehlo").exists(),
    ),
    "report": ("report {disk}/run", ("run",), lambda at: (at / "run" / "report.html").exists()),
}


def ends(line: str) -> str | None:
    """Run a command: None, or the paragraph that it ends with."""
    try:
        wave.main(shlex.split(line))
    except SystemExit as ended:
        if ended.code in (0, None):
            return None
        assert isinstance(ended.code, str)
        return ended.code
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_small_disk(name, disk, made, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["wave"])
    line, needed, result = COMMANDS[name]
    command, right, told = line.format(disk=disk, made=made), None, []
    for kilobytes in (None, *KILOBYTES):
        assert mounted(f"remount,size={ENOUGH}", disk)
        for path in disk.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for part in needed:
            shutil.copytree(made / part, disk / part)
        if kilobytes is None:
            assert ends(command) is None
            right = result(disk)
            continue
        used = shutil.disk_usage(disk).used // 1024
        assert mounted(f"remount,size={used + kilobytes}k", disk)
        paragraph = ends(command)
        if paragraph is not None:
            assert paragraph.startswith("error: ") and "\n" not in paragraph and "takes no more data" in paragraph
            told.append(kilobytes)
            assert mounted(f"remount,size={ENOUGH}", disk)
            assert ends(command) is None
        assert result(disk) == right
    assert KILOBYTES[0] in told
