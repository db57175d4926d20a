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


@pytest.mark.parametrize("ending", ["", "; sys.exit(0)"])
def test_output_that_nobody_reads_ends_a_command_without_a_traceback(ending):
    """As of `wave --help | head -1`: the reader has closed the pipe, and the status is that of a broken pipe."""
    code = f"from data_gen.common.errors import one_paragraph\nimport sys\ndef main(): print('text'){ending}\n"
    read, write = os.pipe()
    os.close(read)
    run = [sys.executable, "-c", code + "one_paragraph(main)()"]
    ended = subprocess.run(run, stdout=write, stderr=subprocess.PIPE, check=False, cwd=ROOT, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("debug", ["", "1"])
def test_the_traceback_of_a_mistake_is_for_who_asks_for_it(debug, monkeypatch, capsys):
    """The paragraph is the same either way."""
    monkeypatch.setenv(DEBUG, debug)

    def main() -> None:
        raise InputError("Give less.")

    with pytest.raises(SystemExit, match=r"^error: Give less\.$"):
        one_paragraph(main)()
    assert ("Traceback" in capsys.readouterr().err) == bool(debug)


def test_an_option_between_overrides_is_refused_with_its_place(monkeypatch):
    """Hydra's parser takes all KEY=VALUE in one piece; what stands after a late option would be unknown to it."""

    @command("generate")
    def main(composed):
        raise AssertionError("must not run")

    monkeypatch.setattr(sys, "argv", ["wave generate", "data=tiny", "-m", "data.seed=1,2"])
    with pytest.raises(SystemExit, match=r"'data.seed=1,2' stands after an option .* Put options, such as -m, before"):
        main()
