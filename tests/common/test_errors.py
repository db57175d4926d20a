"""Check how commands report warnings and misplaced options."""

import sys
import warnings

import pytest

from data_gen.common.errors import one_paragraph
from data_gen.common.hydra_app import command


def test_a_warning_of_a_command_is_one_line_without_code():
    """Python's own format is back once the command has ended."""

    def main() -> str:
        return warnings.formatwarning("Keep more modes.", UserWarning, __file__, 1)

    before = warnings.formatwarning
    assert one_paragraph(main)() == "warning: Keep more modes.\n"
    assert warnings.formatwarning is before


def test_an_option_between_overrides_is_refused_with_its_place(monkeypatch):
    """Hydra's parser takes all KEY=VALUE in one piece; what stands after a late option would be unknown to it."""

    @command("generate")
    def main(composed):
        raise AssertionError("must not run")

    monkeypatch.setattr(sys, "argv", ["wave generate", "data=tiny", "-m", "data.seed=1,2"])
    with pytest.raises(SystemExit, match=r"'data.seed=1,2' stands after an option .* Put options, such as -m, before"):
        main()
