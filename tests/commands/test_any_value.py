"""A value of any field is taken, or answered by one clear paragraph: what was expected, what came, what it means.

Values are made from what fields state of themselves (ranges.py). So a new field is tested as soon as it has a range.
"""

import shlex
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from data_gen.common.config_docs import keys_of
from data_gen.common.errors import InputError
from data_gen.common.hydra_app import configs_folder
from data_gen.common.hydra_help import Command
from data_gen.common.ranges import check_fields
from surrogate.commands import wave
from tests.commands.configs import CONFIGS, is_config, outside, ranged_fields, wrong

# Fields with a range, at least: so that no config is left out in silence.
FIELDS = 240
EVERY = 36  # of the wrong command lines, one in so many is tried by `make test`, and all by `make slow`


def check(config: Any) -> None:
    """Check a config as its command does, without what is made of it."""
    own = getattr(config, "_check", None) or getattr(config, "check", None)
    if callable(own):
        own()
    else:  # its command checks it, or what it is made into
        check_fields(config, "config")


def changed(schema: type, name: str, value: Any) -> Any:
    """A config with a value that is set later: the test run itself looks at the types of those given at first."""
    config = schema()
    setattr(config, name, value)
    return config


def paragraph(error: Exception) -> str:
    """The text of an error, which is one paragraph that ends as a sentence."""
    text = str(error)
    assert "\n" not in text and text[-1] in ".?)]", text
    return text


def test_all_fields_are_tried():
    assert sum(1 for schema in CONFIGS for _ in ranged_fields(schema)) >= FIELDS


@pytest.mark.parametrize("schema", CONFIGS, ids=lambda schema: schema.__name__)
def test_defaults(schema):
    """No default is outside its range."""
    check_fields(schema(), "config")


@pytest.mark.parametrize("schema", CONFIGS, ids=lambda schema: schema.__name__)
def test_wrong_calls(schema):
    """In Python, where nothing else looks at types: a value beside the range, or of another type, names its field."""
    for name, kind, allowed in ranged_fields(schema):
        for value in wrong(kind, allowed):
            with pytest.raises(InputError, match=name) as told:
                check(changed(schema, name, value))
            paragraph(told.value)


PLAIN = some.one_of(some.none(), some.booleans(), some.integers(-(2**70), 2**70), some.floats(), some.text())


def values(kind: Any) -> some.SearchStrategy[Any]:
    """Any value of a type that an annotation has."""
    known = {bool: some.booleans(), int: some.integers(-(2**70), 2**70), float: some.floats(), str: some.text()}
    if kind in known:
        return known[kind]
    if isinstance(kind, type) and is_dataclass(kind):
        return some.builds(kind)
    parts: tuple[Any, ...] = getattr(kind, "__args__", ())
    origin = getattr(kind, "__origin__", None)
    if origin is list:
        return some.lists(values(parts[0]), max_size=3)
    if origin is dict:
        return some.dictionaries(some.text(), values(parts[1]), max_size=3)
    return some.one_of(*(values(part) for part in parts)) if parts else PLAIN if kind is Any else some.none()


@pytest.mark.parametrize("schema", CONFIGS, ids=lambda schema: schema.__name__)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=some.data())
def test_any_value_of_the_right_type(schema, data):
    """It is taken, or refused in one paragraph."""
    names = [item.name for item in fields(schema) if not is_config(getattr(schema(), item.name, None))]
    name = data.draw(some.sampled_from(names))
    value = data.draw(values(get_type_hints(schema)[name]))
    try:
        check(changed(schema, name, value))
    except InputError as error:
        paragraph(error)


BASES = {
    "generate data=tiny data.path=out": "generate",
    "generate data=tiny data.path=out executor=slurm executor.cluster=debug": "generate",
    "train data=tiny run=out": "train",
    "train data=tiny run=out task=propagator": "train",
    "train data=tiny run=out encoding=source_map": "train",
    "train data=tiny run=out encoding=background": "train",
    **{f"train data=tiny run=out model={name}": "train" for name in ("tfno", "ufno", "uno", "unet", "deeponet")},
    "evaluate run=nope": "evaluate",
    "invert data=tiny out=out": "invert",
    "invert data=tiny out=out forward=corrected": "invert",
}


def text_of(value: Any) -> str:
    """A value as a command line has it."""
    return f"[{','.join(map(text_of, value))}]" if isinstance(value, list) else str(value)


def lines() -> list[tuple[str, str]]:
    """Wrong command lines with the key that is wrong; a key that several bases have is tried with the first one."""
    found, known = [], set()
    for base, name in BASES.items():
        import_module(f"{'data_gen' if name == 'generate' else 'surrogate'}.commands.{name}")  # registers its schema
        for key in keys_of(Command(configs_folder(), name).compose(shlex.split(base)[1:])):
            if key.allowed is None or (name, key.name) in known:
                continue
            known.add((name, key.name))
            if key.kind.startswith("list"):
                beside = [[value] * max(key.allowed.lengths, default=1) for value in outside(float, key.allowed)]
            else:
                beside = outside({"int": int, "str": str}.get(key.kind.split(" |")[0], float), key.allowed)
            found += [(f"{base} {key.name}={text_of(value)}", key.name) for value in beside]
    return found


def refused(line: str, key: str, capsys) -> None:
    """A command line is answered by one paragraph that names the key, and nothing is written."""
    with pytest.raises(SystemExit) as ended:
        wave.main(shlex.split(line))
    printed = capsys.readouterr()
    assert isinstance(ended.value.code, str), (line, printed.err[-300:])
    message = ended.value.code
    assert message.startswith("error: ") and "\n" not in message and "Traceback" not in printed.err, (line, message)
    assert key.rpartition(".")[2] in message, (line, message)
    assert list(Path().iterdir()) == [], line


def try_all(some_lines: list[tuple[str, str]], folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["wave"])
    for line, key in some_lines:
        refused(line, key, capsys)


def test_wrong_command_lines(tmp_path, capsys, monkeypatch):
    try_all(lines()[::EVERY], tmp_path, capsys, monkeypatch)


@pytest.mark.slow
def test_all_wrong_command_lines(tmp_path, capsys, monkeypatch):
    wrong_lines = lines()
    assert len(wrong_lines) >= 400
    try_all(wrong_lines, tmp_path, capsys, monkeypatch)
