"""Check how commands report warnings and misplaced options."""

import os
import signal
import subprocess
import sys
import warnings

import pytest

from data_gen.common.errors import DEBUG, InputError, one_paragraph
from data_gen.common.hydra_app import command
from tests.helpers import ROOT


def test_a_warning_of_a_command_is_one_line_without_code():
    """Python's own format is back once the command has ended."""

    def main() -> str:
        return warnings.formatwarning("Keep more modes.", UserWarning, __file__, 1)

    before = warnings.formatwarning
    assert one_paragraph(main)() == "warning: Keep more modes.\n"
    assert warnings.formatwarning is before


def run_into(stdout, body: str, unbuffered: str = "") -> tuple[int, str]:
    """Run a command of one line; its exit status and what it says on its standard error."""
    code = f"from data_gen.common.errors import InputError, one_paragraph\nimport sys\ndef main(): {body}\n"
    run = [sys.executable, "-c", code + "one_paragraph(main)()"]
    buffered = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(run, stdout=stdout, stderr=subprocess.PIPE, check=False, cwd=ROOT, text=True, env=buffered)
    return ended.returncode, ended.stderr


def test_output_that_nobody_reads_ends_a_command_without_a_traceback():
    """As of `wave --help | head -1`: the status is that of a broken pipe. A mistake is said, and another pipe's end."""
    read, write = os.pipe()
    os.close(read)
    for body in ("print('text')", "print('text'); sys.exit(0)"):
        assert run_into(write, body) == run_into(write, body, "1") == (128 + signal.SIGPIPE, "")
    status, said = run_into(write, "print('text'); raise InputError('Give less.')")
    assert status != 128 + signal.SIGPIPE and said.startswith("error: Give less.")
    os.close(write)
    status, said = run_into(subprocess.DEVNULL, "raise BrokenPipeError('of a worker')")
    assert status == 1 and "of a worker" in said
    status, said = run_into(subprocess.DEVNULL, "setattr(sys, 'stdout', None)")
    assert (status, said) == (0, "")


@pytest.mark.parametrize("debug", ["", "0", "1"])
def test_the_traceback_of_a_mistake_is_for_who_asks_for_it(debug, monkeypatch, capsys):
    """The paragraph is the same either way."""
    monkeypatch.setenv(DEBUG, debug)

    def main() -> None:
        raise InputError("Give less.")

    with pytest.raises(SystemExit, match=r"^error: Give less\.$"):
        one_paragraph(main)()
    assert ("Traceback" in capsys.readouterr().err) == (debug == "1")


def test_an_option_between_overrides_is_refused_with_its_place(monkeypatch):
    """Hydra's parser takes all KEY=VALUE in one piece; what stands after a late option would be unknown to it."""

    @command("generate")
    def main(composed):
        raise AssertionError("must not run")

    monkeypatch.setattr(sys, "argv", ["wave generate", "data=tiny", "-m", "data.seed=1,2"])
    with pytest.raises(SystemExit, match=r"'data.seed=1,2' stands after an option .* Put options, such as -m, before"):
        main()
