"""The command line explains itself: every key from its dataclass, and the nearest names for a misspelled one."""

import sys
from dataclasses import dataclass, field
from math import inf

import pytest
from omegaconf import OmegaConf

from data_gen.commands import diagnose, generate
from data_gen.common.config_docs import keys_of
from data_gen.common.docstrings import attribute_texts
from data_gen.common.hydra_app import configs_folder
from data_gen.common.hydra_help import Command
from data_gen.common.ranges import Interval, Range, ranged
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

    length: float = ranged(1.0, "(0, inf)")
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
        ("inner.length", "float", 1.0, "Length of the part [m].", Range(Interval(0.0, inf, False, False))),
        ("inner.names", "list[str]", [], "Names: as many as there are parts.", None),
        ("entries", "dict[str, int]", {}, "Any entries.", None),
    ]


@pytest.mark.parametrize("command", [generate, diagnose, train, evaluate, invert, export])
def test_help_lists_presets_and_keys(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    run(monkeypatch, command.main, "--help")
    shown = capsys.readouterr().out
    assert "usage: wave command" in shown and "--cfg job" in shown and max(map(len, shown.splitlines())) <= 100
    if command is train:
        assert (
            "training.steps=1000  (int, at least 1) " in shown and "encoding=coarse  one of background, coarse" in shown
        )


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
        (["training.steps=abc"], "expected a whole number"),
        (["data.families.salt.weight=1"], r"Add it with \+data.families.salt.weight=1"),
        (["training.steps"], "'training.steps' needs a value: training.steps=VALUE"),
        (["runs/mine"], "Cannot read 'runs/mine': .* Did you mean run=runs/mine or data.path=runs/mine?"),
        (["gather_small"], "Did you mean data=gather_small or experiment=gather_small?"),
        (["training={stesp:3}"], "Unknown key 'training.stesp'. Did you mean training.steps?"),
        (["modle={width:3}"], "Unknown key 'modle.width'. Did you mean model.width?"),
        (["experimnt=demo"], "Use experiment=demo"),
        (["encodng=coarse"], "Use encoding=coarse"),
        (["encoding=corse"], "Did you mean coarse?"),
        (["model=fmo"], "Did you mean fno?"),
        (["task=propagator", "task.unrol=3"], "Did you mean task.unroll?"),
        (["task.unroll=3"], "only propagator of task have it. Add task=propagator"),
        (["encoding=source_map", "encoding.radios=3"], "Did you mean encoding.radius?"),
        (["data.pth=x"], "Did you mean data.path?"),
        (["model=multiscale", "model.first.widht=3"], "Did you mean model.first.width?"),
        (["data.families.inclusion.weight=2"], "Did you mean data.families.inclusions?"),
        (["hydra.sweep.dirr=x"], "Did you mean hydra.sweep.dir?"),
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


@pytest.mark.parametrize(
    ("arguments", "families"),
    [
        (["data.families={salt:{}}"], {"salt": {}}),
        (["+data.families={salt:{}}"], {"salt": {}}),
        (["data.families={salt:{weight:2,top:1}}", "data.families.salt={weight:3}"], {"salt": {"weight": 3}}),
        (
            ["data=openfwi", "data.families={salt:{}}", "+data.families.lens={family:gaussian_lens}"],
            {"salt": {}, "lens": {"family": "gaussian_lens"}},
        ),
        (["data=gather_small"], {"flat_vel_a": {}, "curve_vel_a": {}, "flat_fault_a": {}}),
        (["data=inverse_small", "data.families.flat_vel_a={weight:2}"], {"flat_vel_a": {"weight": 2}}),
        (["data=inverse_small", "+data.families.salt.weight=1"], {"flat_vel_a": {}, "salt": {"weight": 1}}),
    ],
)
def test_a_dictionary_that_is_set_replaces_the_one_before(arguments, families):
    """In a preset that extends another as on the command line; a dotted key changes or adds one entry."""
    composed = Command(configs_folder(), "generate").compose(arguments)
    assert composed.data.families == families


def test_a_users_preset_replaces_families(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [tiny]\nfamilies: {salt: {}}\n")
    assert Command(configs_folder(), "generate", str(tmp_path)).compose(["data=mine"]).data.families == {"salt": {}}


def test_every_dictionary_of_a_command_is_replaced():
    """Weights of bands are given all or none: what is left out has no weight from before."""
    composed = Command(configs_folder(), "train").compose(["training.loss.band_weights={high:3}"])
    assert composed.training.loss.band_weights == {"high": 3}
    composed = Command(configs_folder(), "generate").compose(["executor=slurm", "executor.extra={a:1}"])
    assert composed.executor.extra == {"a": 1}


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
