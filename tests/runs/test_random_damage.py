"""Random damage to any file of a data set or a run: it is named, or the result is the same. None is silent.

Curves and pictures are left out: nothing is computed from them.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_gen import data_source
from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.verification import verify
from surrogate.runs.fit import fit
from surrogate.runs.load import best_validation
from tests.helpers import tiny_config
from tests.runs.tiny_run import config_of, train, weights

DATA_SET, LOADED, RESUMED = 150, 90, 60  # damages of each kind: 300 in all
NOT_READ = ("metrics.jsonl", ".png", ".html", ".lock")


def flip(content: bytes, random: np.random.Generator) -> bytes:
    place = int(random.integers(len(content)))
    return content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]


def cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: int(random.integers(len(content)))]


def read_of(folder: Path) -> list[Path]:
    """The files below a folder that are read back."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(NOT_READ))


def read_of_run(run: Path, series: str) -> list[Path]:
    """The files of a run that are read back: those beside its checkpoints, and of the newest one of a series."""
    newest = max((run / "checkpoints" / series).iterdir(), key=lambda path: int(path.name))
    return [path for path in read_of(run) if path.parent == run or newest in path.parents]


def damage(files: list[Path], folder: Path, random: np.random.Generator) -> tuple[str, Callable[[], None]]:
    """Damage a random one of some files: what was done, and how it is undone."""
    file = files[int(random.integers(len(files)))]
    content, kind = file.read_bytes(), ("flip", "cut", "delete")[int(random.integers(3))]
    if kind == "delete" or not content:
        file.unlink()
    else:
        file.write_bytes((flip if kind == "flip" else cut)(content, random))

    def undo() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    return f"{kind} {file.relative_to(folder)}", undo


def is_named(read: Callable[[], Any], right: Any, what: str) -> bool:
    """Whether an error names the damage; if none does, the result is the right one."""
    try:
        found = read()
    except InputError as error:
        assert "\n" not in str(error), (what, error)
        return True
    assert found == right, what
    return False


def samples(folder: Path) -> list[bytes]:
    """Every array of every sample, after the check that a training makes."""
    verify(folder)
    found = []
    for split in SPLITS:
        source = data_source(folder, split)
        found += [np.asarray(value).tobytes() for n in range(len(source)) for _, value in sorted(source[n].items())]
    return found


@pytest.mark.slow
def test_a_data_set(tmp_path):
    dataset.generate(tiny_config(tmp_path / "data"))
    right, random, named = samples(tmp_path / "data"), np.random.default_rng(0), 0
    for _ in range(DATA_SET):
        what, undo = damage(read_of(tmp_path / "data"), tmp_path, random)
        named += is_named(lambda: samples(tmp_path / "data"), right, what)
        undo()
    assert named > DATA_SET / 3  # receipts of shards are not read once the manifest is complete
    assert samples(tmp_path / "data") == right


@pytest.mark.slow
def test_a_run_that_is_loaded(tmp_path):
    train(tmp_path)
    run = tmp_path / "run"

    def read():
        return [*weights(run), str(best_validation(run)).encode()]

    right, random, named = read(), np.random.default_rng(1), 0
    for _ in range(LOADED):
        what, undo = damage(read_of_run(run, "best"), tmp_path, random)
        named += is_named(read, right, what)
        undo()
    assert named > LOADED / 5  # Orbax reads a part of the files of a checkpoint


class Stop(Exception):
    """Ends a training between its checkpoints."""


@pytest.mark.slow
def test_a_run_that_goes_on(tmp_path):
    """A training that ended after its first checkpoint goes on to the same weights, or names what is damaged."""
    dataset.generate(tiny_config(tmp_path / "data"))

    def stop(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        fit(config_of(tmp_path), stop)
    shutil.copytree(tmp_path / "run", tmp_path / "kept")

    def go_on():
        fit(config_of(tmp_path))
        return weights(tmp_path / "run")

    right, random, named = go_on(), np.random.default_rng(2), 0
    for _ in range(RESUMED):
        shutil.rmtree(tmp_path / "run")
        shutil.copytree(tmp_path / "kept", tmp_path / "run")
        what, _ = damage(read_of_run(tmp_path / "run", "last"), tmp_path, random)
        named += is_named(go_on, right, what)
    assert named > RESUMED / 10
