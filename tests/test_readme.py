"""The code in the documents is the code of the examples, and short."""

import re
import shlex

import pytest

from surrogate.commands import wave
from tests.helpers import ROOT

PAGES = {
    "simulate": "README.md",
    "two_layers": "docs/quickstart.md",
    "predict": "docs/guides/training.md",
    "invert": "docs/guides/inversion.md",
    "several_starts": "docs/guides/inversion.md",
}


@pytest.mark.parametrize("name", PAGES)
def test_snippets_are_the_examples(name):
    block = re.search(rf"examples/{name}\.py.*?```python\n(.*?)```", (ROOT / PAGES[name]).read_text(), re.DOTALL)
    assert block is not None
    lines = [line for line in block[1].split("\n") if line]
    example = (ROOT / "examples" / f"{name}.py").read_text().replace("  # noqa: E731", "")
    assert len(lines) <= 15 and all(line in example for line in lines)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links and not missing


def test_the_command_of_the_thrust_belt_composes(capsys):
    """Its inversion is one of gathers in three stages, from a model of one family."""
    (command,) = re.findall(r"```\n(wave invert .*?)```", (ROOT / "docs/guides/thrust_belt.md").read_text(), re.DOTALL)
    wave.main([*shlex.split(command.replace("\\\n", ""))[1:], "--cfg", "job"])
    shown = capsys.readouterr().out
    assert shown.count("- highest_frequency") == 3 and "curve_fault_a" in shown and "gaussian_random_field" not in shown


COMMANDS = re.findall(
    r"^wave ((?:generate|evaluate|invert) .*?)(?:  +#.*)?$", (ROOT / "docs/quickstart.md").read_text(), re.M
)


assert len(COMMANDS) > 5


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_quickstart_compose(command, capsys):
    """Those of one line: their presets and keys exist."""
    wave.main([*shlex.split(command), "--cfg", "job"])
    assert capsys.readouterr().out
