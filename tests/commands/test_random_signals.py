"""Signals at random moments of four commands: one line and the status that tells of them, and then the same results."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.commands.test_small_disks import SMALLEST, errors, velocity
from tests.helpers import ROOT
from tests.runs.test_random_damage import samples
from tests.runs.tiny_run import train, weights

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
EACH = 15  # signals for each of the four commands
COMMANDS = {
    "generate": ("-m data_gen data=tiny data.truth_samples=0 data.path={at}/new", lambda at: samples(at / "new")),
    "train": (f"train.py data=tiny data.path={{at}}/data run={{at}}/new {SMALLEST}", lambda at: weights(at / "new")),
    "evaluate": (
        "evaluate.py run={at}/run batch_size=4 repeats=1 speedup_samples=0 gradient_samples=0 inversion_samples=0",
        errors,
    ),
    "invert": (
        "invert.py data=tiny inversion.iterations=4 inversion.shots=2 out={at}/out",
        velocity,
    ),
}
WRITTEN = ("new", "out", "run/metrics.json", "run/evaluation.lock")  # removed before each trial
START = 1.0  # [s] by then Python handles signals in the way of the project, also on a machine that is busy


def begin(line: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return subprocess.Popen(
        [sys.executable, *shlex.split(line)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def clean(folder: Path) -> None:
    for name in WRITTEN:
        subprocess.run(["rm", "-rf", str(folder / name)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_ended_goes_on_to_the_same_result(name, tmp_path):
    train(tmp_path)
    line, result = COMMANDS[name]
    command, random = line.format(at=tmp_path), np.random.default_rng(len(name))
    began = time.monotonic()
    process = begin(command)
    assert process.communicate()[1].count("Traceback") == 0 and process.returncode == 0
    seconds, right, caught = time.monotonic() - began, result(tmp_path), 0
    for number in random.choice(SIGNALS, EACH):
        clean(tmp_path)
        process = begin(command)
        time.sleep(random.uniform(START, seconds))
        process.send_signal(int(number))
        told = process.communicate()[1]
        if number == signal.SIGKILL:
            assert process.returncode in (-signal.SIGKILL, 0)
        elif process.returncode == -number:
            assert result(tmp_path) == right  # all was done, and Python itself was ending
        else:
            assert process.returncode in (128 + number, 0) and "Traceback" not in told, told
            assert process.returncode == 0 or f"Ended by {signal.Signals(number).name}." in told
        caught += process.returncode != 0
        process = begin(command)
        told = process.communicate()[1]
        assert process.returncode == 0, told
        assert result(tmp_path) == right
    assert caught > EACH / 2
