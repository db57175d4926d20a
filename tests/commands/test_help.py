"""The command line explains itself: every key from its dataclass, and the nearest names for a misspelled one."""

import sys
from dataclasses import dataclass, field

import pytest
from omegaconf import OmegaConf

from data_gen.commands import diagnose, generate
from data_gen.common.config_docs import attribute_texts, keys_of
from surrogate.commands import evaluate, export, invert, train, wave


@dataclass
class Inner:
    """Describe a part.

    Attributes:
        length: Length of the part [m]. The default is one.
        names: Names: as many as there
            are parts.

    Not an entry: this line.
    """

    length: float = 1.0
    names: list[str] = field(default_factory=list)


@dataclass
class Outer:
    """Describe a whole.

    Attributes:
        inner: The part.
        entries: Any entries.
    """

    inner: Inner = field(default_factory=Inner)
    entries: dict[str, int] = field(default_factory=dict)


def run(monkeypatch, main, *arguments: str) -> None:
    """Run a command as the command line does."""
    monkeypatch.setattr(sys, "argv", ["wave command", *arguments])
    main()


def test_entries_of_a_docstring():
    assert attribute_texts(Inner) == {
        "length": "Length of the part [m]. The default is one.",
        "names": "Names: as many as there are parts.",
    }
    keys = list(keys_of(OmegaConf.structured(Outer)))
    assert [tuple(key) for key in keys] == [
        ("inner.length", "float", 1.0, "Length of the part [m]."),
        ("inner.names", "list[str]", [], "Names: as many as there are parts."),
        ("entries", "dict[str, int]", {}, "Any entries."),
    ]


@pytest.mark.parametrize("command", [generate, diagnose, train, evaluate, invert, export])
def test_help_lists_presets_and_keys(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    run(monkeypatch, command.main, "--help")
    shown = capsys.readouterr().out
    assert "usage: wave command" in shown and "--cfg job" in shown and max(map(len, shown.splitlines())) <= 100
    if command is train:
        assert "training.steps=1000  (int)" in shown and "encoding=coarse  one of background, coarse" in shown


def test_help_shows_what_the_overrides_make_of_the_keys(monkeypatch, capsys):
    run(monkeypatch, train.main, "model=unet", "training.steps=7", "--help")
    shown = capsys.readouterr().out
    assert "training.steps=7 " in shown and "model.levels=" in shown and "model.modes" not in shown


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["training.stesp=3"], "Unknown key 'training.stesp'. Did you mean training.steps?"),
        (["trainning.steps=3"], "Did you mean training.steps?"),
        (["warmup_steps=3"], "Did you mean training.warmup_steps?"),
        (["model=unet", "model.levles=3"], "Did you mean model.levels?"),
        (["+training.stesp=3"], "Unknown key 'training.stesp'. Did you mean training.steps?"),
        (["data=demoo"], "data=demoo: there is no such preset. Did you mean demo?"),
        (["hydra/launcher=slum"], "Did you mean slurm?"),
        (["training.steps=abc"], "could not be converted to Integer"),
        (["data.families.salt.weight=1"], r"add it with \+data.families.salt.weight=1"),
        (["steps"], "Cannot read 'steps': an override is KEY=VALUE"),
        (["-m", "training.stesp=3,4"], "Did you mean training.steps?"),
    ],
)
def test_misspelt_overrides_are_answered(arguments, answer, monkeypatch, capsys):
    """In one paragraph, without a traceback."""
    with pytest.raises(SystemExit, match=f"^error: .*{answer}") as ending:
        run(monkeypatch, train.main, *arguments)
    assert "\n" not in str(ending.value)


def test_a_preset_of_another_group_is_named(monkeypatch):
    with pytest.raises(SystemExit, match="Use inversion=gathers"):
        run(monkeypatch, invert.main, "experiment=gathers")


def test_dictionaries_take_new_keys(monkeypatch, capsys):
    run(monkeypatch, generate.main, "+data.families.salt.weight=1", "--cfg", "job")
    assert "salt:\n      weight: 1" in capsys.readouterr().out


def test_presets_of_the_user(monkeypatch, capsys, tmp_path):
    """A folder given by `--config-dir` counts for the answer to a misspelled key, too."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [tiny]\ntrain: 5\n")
    run(monkeypatch, generate.main, "--config-dir", str(tmp_path), "data=mine", "--cfg", "job")
    assert "train: 5" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"Did you mean data\.train\?"):
        run(monkeypatch, generate.main, "--config-dir", str(tmp_path), "data=mine", "data.trian=5")


def test_the_console_script(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["wave", "train", "training.steps=7", "--cfg", "job"])
    wave.main()
    assert "steps: 7" in capsys.readouterr().out
    wave.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in wave.COMMANDS)
    with pytest.raises(SystemExit, match="2"):
        wave.main(["trian"])
    assert "Did you mean train?" in capsys.readouterr().err
