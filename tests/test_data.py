"""Data sets: invariances of the samples, and shards that survive anything."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_gen import dataset
from data_gen.dataset import DatasetError
from data_gen.errors import InputError
from data_gen.sample import SPLITS
from tests.conftest import tiny_config

ROOT = Path(__file__).parents[1]


def records(path):
    return {split: [dict(record) for record in dataset.data_source(path, split)] for split in SPLITS}


def assert_same_records(ours, theirs):
    for split in SPLITS:
        for a, b in zip(ours[split], theirs[split], strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("data") / "set")
    dataset.generate(config)
    return config


def test_read_back_by_tfds_alone(generated):
    """`builder_from_directory` needs none of our code: shapes, counts and the fingerprint are there."""
    builder = tfds.builder_from_directory(generated.path)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 16,
        "validation": 4,
        "test": 6,
    }
    record = dict(builder.as_data_source(split="train")[7])  # pyright: ignore[reportCallIssue]
    assert record["velocity"].shape == (24, 20) and record["snapshots"].shape == (1, 3, 24, 20)
    assert record["gathers"].shape == (1, 31, 10) and record["velocity"].dtype == np.float32
    assert dict(builder.info.metadata or {})["fingerprint"] == dataset.fingerprint(generated)


def test_records_are_what_the_solver_says(generated):
    """Sample i of a split, made alone from the manifest, is record i; the gather agrees with the snapshots."""
    config = dataset.config_of(dataset.read_manifest(generated.path), generated.path)
    spec = config.create()
    for split, index in (("train", 13), ("test", 5)):
        record = dataset.data_source(config.path, split)[index]
        sample = jax.jit(spec.make)(spec.key(SPLITS.index(split), index))
        assert record["index"] == index and record["family"] == sample.family
        np.testing.assert_allclose(record["velocity"], sample.velocity, rtol=1e-6)
        scale = np.abs(sample.snapshots).max()
        np.testing.assert_allclose(record["snapshots"], sample.snapshots, atol=1e-5 * scale)
        rows, columns = spec.receiver_cells
        at_receivers = record["snapshots"][:, :, rows, columns]
        np.testing.assert_allclose(record["gathers"][:, [20, 25, 30]], at_receivers, atol=1e-5 * scale)


def test_splits_are_disjoint(generated):
    """No velocity model and no (source, field) occurs twice, in one split or across."""
    found = records(generated.path)
    everything = [record["velocity"].tobytes() for split in SPLITS for record in found[split]]
    assert len(set(everything)) == len(everything) == 26
    assert len({record["sources"].tobytes() for record in found["train"]}) > 1


def test_growing_a_split_keeps_the_samples(generated, tmp_path):
    """The same seed with more training samples and other shards: the old samples are bitwise still there."""
    bigger = replace(generated, path=str(tmp_path / "bigger"), train=20, shard_size=6)
    dataset.generate(bigger)
    assert_same_records(
        records(generated.path),
        {split: rows[: 16 if split == "train" else None] for split, rows in records(bigger.path).items()},
    )


def test_killed_generation_continues(generated, tmp_path):
    """SIGKILL twice in mid-generation, then run again: bitwise the records of an undisturbed run."""
    config = replace(generated, path=str(tmp_path / "killed"))
    command = [sys.executable, "-m", "data_gen", "data=tiny", f"data.path={config.path}"]
    for shards in (1, 3):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if len(list(Path(config.path).glob("*.array_record-*-of-?????"))) >= shards:
                break
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        manifest = json.loads((Path(config.path) / dataset.MANIFEST).read_text())
        assert not manifest["complete"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert_same_records(records(generated.path), records(config.path))
    checksums = [dataset.read_manifest(c.path)["shards"] for c in (generated, config)]
    assert checksums[0] == checksums[1]


@pytest.mark.parametrize("damage", ["truncate", "edit", "delete"])
def test_damaged_shards_are_named(generated, tmp_path, damage):
    config = replace(generated, path=str(tmp_path / damage), train=5, validation=1, test=1)
    dataset.generate(config)
    dataset.verify(config.path)
    shard = Path(config.path) / "wave_data-train.array_record-00001-of-00002"
    content = bytearray(shard.read_bytes())
    if damage == "truncate":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "edit":
        content[200] ^= 1  # within the first record: the file's end is padding
        shard.write_bytes(content)
    else:
        shard.unlink()
    with pytest.raises(DatasetError, match=shard.name):
        dataset.verify(config.path)
    shard.unlink(missing_ok=True)
    dataset.generate(config)
    dataset.verify(config.path)


def test_folders_are_not_overwritten(generated, tmp_path):
    with pytest.raises(DatasetError, match=r"another config \(seed: 0 -> 1\)"):
        dataset.generate(replace(generated, seed=1))
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match="is not a data set"):
        dataset.generate(replace(generated, path=str(tmp_path)))
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dt": 0.01}, r"CFL limit: dt = 0.01 s with a spacing of 10 m and a largest velocity of 4500 m/s.*dt = 0.00"),
        ({"source_depths": [20.0, 900.0]}, "source lies outside the grid"),
        ({"receiver_depth": 900.0}, "receiver lies outside the grid"),
        ({"snapshot_times": [0.0805]}, "multiples of dt"),
        ({"snapshot_times": [0.5]}, "Snapshot steps must ascend within"),
        ({"validation": 0}, "data.validation must be at least 1"),
        ({"peak_frequency": 0.0}, "peak frequency"),
        ({"families": {"inclusions": {"min_velocity": 1.5, "max_velocity": 4.5}}}, "looks like km/s"),
        ({"families": {"inclusions": {"max_velocity": "fast"}}}, "must be numbers"),
        ({"nt": 1}, "at least two|nt >= 2"),
        ({"order": 3}, "order in space must be one of"),
    ],
)
def test_bad_configs(tmp_path, changes, message):
    """Refused before anything is written."""
    config = tiny_config(tmp_path / "none", **changes)
    with pytest.raises(InputError, match=message):
        dataset.generate(config)
    assert not (tmp_path / "none").exists()
