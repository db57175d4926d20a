"""Completions in a shell: what bash offers after a part of a line."""

import shutil
import subprocess

import pytest

from surrogate.commands import completion
from surrogate.commands.wave import COMMANDS

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture(scope="module")
def script() -> str:
    return completion.script()


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("wave tr", {"train", "truth"}, {"evaluate"}),
        ("wave ", {name.split()[0] for name in COMMANDS}, set()),
        ("wave train exp", {"experiment=demo", "experiment=tiny"}, {"encoding=coarse"}),
        ("wave train experiment=d", {"demo"}, {"tiny"}),
        ("wave train run=runs/a training.st", {"training.steps="}, {"training.seed="}),
        ("wave train training.precision=", {"float32", "bfloat16"}, set()),
        ("wave invert inversion.optimizer=l", {"lbfgs"}, {"adam"}),
        ("wave diagnose invert inversion.mi", {"inversion.misfit=l2"}, set()),
        ("wave evaluate real.p", {"real.path="}, set()),
        ("wave train --d", {"--dry-run"}, set()),
        ("wave evaluate --d", set(), {"--dry-run"}),
        ("wave verify ", set(), {"train", "experiment=demo"}),
    ],
)
def test_what_tab_offers(script, line, some, none):
    code = f'{script}COMP_LINE="$1" COMP_POINT=${{#1}}\n_wave\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    run = subprocess.run(["bash", "-c", code, "-", line], capture_output=True, text=True, encoding="utf-8", check=True)
    offered = set(run.stdout.split())
    assert some <= offered and not none & offered
