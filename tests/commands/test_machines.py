"""The presets of machines for inversions compose, and so do the commands and the Slurm job that the guide shows."""

import re
import shlex
import sys

import pytest

from data_gen.common.hydra_app import configs_folder, typed
from data_gen.common.hydra_help import Command
from surrogate.commands import invert
from surrogate.config import InvertConfig, register
from tests.helpers import ROOT

register()
GUIDE = (ROOT / "docs/guides/parallel.md").read_text()


def composed(*overrides: str) -> InvertConfig:
    return typed(Command(configs_folder(), "invert").compose(overrides), InvertConfig)


def test_each_machine_has_its_devices():
    """One memory budget serves all, so that a folder is resumed on any of them."""
    machines = {name: composed(f"machine={name}") for name in ("one_gpu", "eight_gpus", "slurm")}
    assert sorted(machines) == sorted(file.stem for file in (ROOT / "configs/machine").glob("*.yaml"))
    assert [config.parallel.devices for config in machines.values()] == [1, 8, None]
    assert [config.parallel.distributed for config in machines.values()] == ["auto", "auto", "on"]
    assert {config.memory_budget for config in machines.values()} == {16e9}
    for config in machines.values():
        config.parallel.check()
    assert composed("inversion=observed", "machine=eight_gpus", "parallel.devices=4").parallel.devices == 4


@pytest.mark.parametrize("line", re.findall(r"^.*(?:wave invert|invert\.py) (.*machine=.*)$", GUIDE, re.MULTILINE))
def test_commands_of_the_guide(line, monkeypatch, capsys):
    """A dry run: Hydra composes and shows the config, and nothing is computed."""
    monkeypatch.setattr(sys, "argv", ["wave invert", "--cfg", "job", *shlex.split(line)])
    invert.main()
    shown = capsys.readouterr().out
    assert "memory_budget: 16000000000.0" in shown and "observed: " in shown
    assert ("distributed: 'on'" in shown) == ("machine=slurm" in line)


def test_the_job_of_the_guide_starts_a_process_for_each_gpu():
    (job,) = (text for text in re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL) if "machine=slurm" in text)
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", job, re.MULTILINE))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert "srun --kill-on-bad-exit=1" in job
