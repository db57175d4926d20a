"""`make demo model=PATH` hands any file name to the commands."""

import os
import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.helpers import ROOT


@pytest.mark.parametrize(
    "model", ["my models/a b.npy", "it's.npy", 'a "b".npy', "vp=1500,v2(1).npy", "a/marmousi.segy"]
)
def test_a_model_of_any_name(model):
    """The shell splits what make prints into words, in which Hydra reads the name as it was given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "-o", ".venv/installed", "demo", f"model={model}", "spacing=25"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line) for line in shown.splitlines() if "real.path" in line]
    assert [line[1] for line in lines] == ["evaluate.py", "invert.py"]
    parsed = [OverridesParser.create().parse_overrides(line[2:]) for line in lines]
    read = [{one.key_or_group: one.value() for one in overrides} for overrides in parsed]
    assert all(values["real.path"] == model and values["real.spacing"] == 25 for values in read)
    out = str(read[-1]["out"])
    assert out.startswith("runs/demo/file_") and " " not in out
