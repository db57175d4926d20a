"""The built wheel: what lands in an environment, and that every command runs from any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.helpers import ROOT

# Runs in one process every command that Hydra configures, as the console script does: an import is most of the time.
COMPOSE = """\
import contextlib, io, sys
from pathlib import Path
import data_gen, surrogate
from surrogate.commands import wave
assert Path(data_gen.__file__).is_relative_to(sys.prefix) and Path(surrogate.__file__).is_relative_to(sys.prefix)
for name, key in (("generate", "families:"), ("diagnose", "families:"), ("train", "training:"),
                  ("evaluate", "batch_size:"), ("invert", "inversion:"), ("export-model", "out:")):
    for arguments in (["--cfg", "job"], ["--help"]):
        sys.argv = ["wave", name, *arguments]
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            wave.main()
        assert key.rstrip(":") in shown.getvalue(), (name, arguments)
for name in ("verify", "describe", "rebuild", "import", "export", "report"):
    sys.argv = ["wave", name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        wave.main()
    assert f"usage: wave {name}" in shown.getvalue(), name
from data_gen.solver.engines.native import library
assert list(Path(library.__file__).parent.glob("*.cc")) and list(Path(library.__file__).parent.glob("*.h"))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command with none of this process's paths, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XLA_"))}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built from a copy without leftovers of other builds."""
    source, out = tmp_path_factory.mktemp("source") / "checkout", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in (
        "pyproject.toml",
        "setup.py",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "train.py",
        "evaluate.py",
        "invert.py",
    ):
        shutil.copy(ROOT / name, source)
    for name in ("configs", "data_gen", "surrogate", "tests", "benchmarks"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "checkpoints", "results")
        )
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", out, source, cwd=out)
    return next(out.glob("*.whl"))


def test_contents(wheel):
    """Two packages at the top, with the configs, the native sources, the type markers and the license."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"data_gen", "surrogate"}
    configs = {str(file.relative_to(ROOT)) for file in (ROOT / "configs").rglob("*.yaml")}
    assert configs == {name.removeprefix("data_gen/") for name in names if name.endswith(".yaml")}
    native = {file.name for file in (ROOT / "data_gen/solver/engines/native").iterdir() if file.suffix in (".cc", ".h")}
    assert native and native <= {Path(name).name for name in names}
    assert {"data_gen/py.typed", "surrogate/py.typed"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_commands_run_from_any_folder(wheel, tmp_path):
    """In a new environment that has the wheel, and sees the libraries installed here."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    paths = {"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=tmp_path)
    # Behind the wheel's own packages; a .pth file here is not read a second time, so the checkout stays unseen.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    folder = tmp_path / "folder"
    (folder / "configs").mkdir(parents=True)  # another project's
    run(python, "-c", COMPOSE, cwd=folder)
    assert "commands:" in run(python.parent / "wave", "--help", cwd=folder)
    assert [file.name for file in folder.iterdir()] == ["configs"]


@pytest.mark.slow
def test_a_full_installation(wheel, tmp_path):
    """With every dependency from the index: a tiny data set, a training of two steps, and a page of results."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    programs = tmp_path / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    run(programs / "python", "-c", COMPOSE, cwd=tmp_path)
    run(programs / "wave", "generate", "data=tiny", "data.path=set", cwd=tmp_path)
    small = ("encoding=source_map", "model.width=4", "model.depth=1", "model.modes=[2,2]", "tracking.mode=disabled")
    steps = ("training.steps=2", "training.warmup_steps=1", "training.batch_size=4", "training.validate_every=2")
    run(programs / "wave", "train", "data=tiny", "data.path=set", "run=run", *small, *steps, cwd=tmp_path)
    run(programs / "wave", "evaluate", "run=run", cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").exists()
