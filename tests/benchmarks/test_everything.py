"""All benchmarks in one command: what is done is left out, what fails is said and tried again."""

import importlib
import json
import sys

import pytest

from benchmarks import everything


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run the command on three quick parts, the second of which fails unless its folder exists."""
    monkeypatch.setattr(everything, "revision", lambda: "abc")
    needs = "tests.benchmarks.exits"
    monkeypatch.setattr(everything, "PARTS", {"a": ("this",), "b": (needs, "{folder}"), "c": ("this",)})

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["everything", "--folder", str(tmp_path), *arguments])
        everything.main()

    return run


def test_what_is_done_is_left_out(command, tmp_path, capsys):
    with pytest.raises(SystemExit, match="Failed: b"):
        command()
    done = json.loads((tmp_path / "done.json").read_text())
    assert set(done) == {"a", "c"} and done["a"]["revision"] == "abc" and done["a"]["seconds"] > 0
    assert "Zen of Python" in (tmp_path / "a.log").read_text()
    (tmp_path / "b").mkdir()
    capsys.readouterr()
    command()
    said = capsys.readouterr().out
    assert "a: done at this revision" in said and "c: done at this revision" in said and "b: begins" in said
    command("--list")
    assert "0 min last time" in capsys.readouterr().out


def test_every_part_is_a_command():
    """Each names a module with a `main` and takes the options that it is given."""
    for name, (module, *arguments) in everything.PARTS.items():
        found = importlib.import_module(module)
        text = (everything.ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert callable(found.main), name
        assert all(f'"{option}"' in text for option in arguments if option.startswith("--")), name
