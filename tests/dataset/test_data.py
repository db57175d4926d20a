"""Data sets: invariances of the samples, and shards that survive anything."""

import contextlib
import json
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

import data_gen.dataset.records
from data_gen.common.errors import DatasetError, InputError
from data_gen.common.files import exclusive, read_json, write_json
from data_gen.dataset import generation as dataset
from data_gen.dataset.manifest import claim, new_manifest
from data_gen.dataset.records import depends_on_batch, made_with, sample_records
from data_gen.dataset.sample import SPLITS, Sample
from data_gen.dataset.size import batch_bytes, expected_size, record_bytes
from data_gen.solver.memory_plan import peak_bytes
from tests.helpers import ROOT, tiny_config
from tests.theory import BARE


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


def test_records_equal_direct_simulations(generated):
    """Sample i of a split, made alone from the manifest, is record i; the gather agrees with the snapshots.

    Within 7 cells of the source gathers have waves that the grid of snapshots cannot hold.
    """
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
        (source,) = record["sources"]
        far = np.linalg.norm(record["receivers"] - source, axis=1) >= 7 * config.spacing
        assert far.any()
        np.testing.assert_allclose(
            record["gathers"][:, [20, 25, 30]][..., far], at_receivers[..., far], atol=1e-5 * scale
        )


def test_splits_are_disjoint(generated):
    """No velocity model and no (source, field) occurs twice, in one split or across."""
    found = records(generated.path)
    everything = [record["velocity"].tobytes() for split in SPLITS for record in found[split]]
    assert len(set(everything)) == len(everything) == 26
    assert len({record["sources"].tobytes() for record in found["train"]}) > 1


def test_growing_a_split_keeps_the_samples(generated, tmp_path):
    """With more training samples and other shards, the same seed gives the old samples bit for bit."""
    bigger = replace(generated, path=str(tmp_path / "bigger"), train=20, shard_size=6)
    counts = []
    dataset.generate(bigger, on_samples=lambda samples, made: counts.append((samples, made)))
    assert counts == [(1, True)] * 30  # made in this process: one by one
    assert_same_records(
        records(generated.path),
        {split: rows[: 16 if split == "train" else None] for split, rows in records(bigger.path).items()},
    )
    counts.clear()
    dataset.generate(bigger, on_samples=lambda samples, made: counts.append((samples, made)))
    assert counts == [(6, False), (6, False), (6, False), (2, False), (4, False), (6, False)]
    dataset.verify(bigger.path, on_shard=lambda *shards: counts.append(shards))
    assert counts[6:] == [(i, 6) for i in range(6)]


def test_the_size_of_a_data_set_is_predicted(generated):
    """The size of a record is that of its arrays, and the memory of a batch that of all its shots."""
    fields, spec = dataset.read_manifest(generated.path)["fields"], generated.create()
    size = sum(np.asarray(value).nbytes for value in records(generated.path)["test"][0].values())
    assert record_bytes(fields) == size
    assert f": 26 samples of {size / 1e3:.3g} kB, about {26 * size / 1e3:.3g} kB on disk" in expected_size(generated)
    assert batch_bytes(spec, 6) == peak_bytes(spec.simulation, 6 * spec.shots.count, len(spec.receivers))


def generation(path, *overrides) -> subprocess.Popen:
    """Start a separate process that makes the tiny data set."""
    command = [sys.executable, "-m", "data_gen", "data=tiny", f"data.path={path}", *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def finished(path) -> int:
    """List the shards that have a receipt."""
    return len(list(Path(path).glob("receipts/*.json")))


def writers(path) -> set[int]:
    """List the processes that hold a shard's lock, or were killed while they held it."""
    found = set()
    for lock in Path(path).glob("receipts/*.lock"):
        with contextlib.suppress(FileNotFoundError):  # given back since it was listed
            found.add(int((lock.read_text().split() or ["0"])[0]))
    return found


def assert_same_data_set(ours, theirs):
    """Check that two data sets have the same records and checksums, and no files of killed processes."""
    assert_same_records(records(ours), records(theirs))
    assert dataset.read_manifest(ours)["shards"] == dataset.read_manifest(theirs)["shards"]
    names = [{str(file.relative_to(path)) for file in Path(path).rglob("*")} for path in (ours, theirs)]
    assert names[0] == names[1]


def test_killed_generation_resumes(generated, tmp_path):
    """SIGKILL in the middle of a shard, and after more of them; then run again, in this process."""
    path = tmp_path / "killed"
    moments = (lambda made, making: making, lambda made, making: made >= 2)
    for moment in moments:
        process = generation(path)
        wait_for(lambda process=process, moment=moment: moment(finished(path), process.pid in writers(path)))
        process.kill()
        process.wait()
        assert not json.loads((path / dataset.MANIFEST).read_text())["complete"]
    dataset.generate(replace(generated, path=str(path)))
    assert_same_data_set(generated.path, path)


@pytest.mark.slow
def test_twenty_kills(generated, tmp_path):
    """SIGKILL at twenty random times of one generation, some of them before anything is written."""
    config, random = replace(generated, path=str(tmp_path / "whole"), train=4000), np.random.default_rng(0)
    dataset.generate(config)
    path, reached = tmp_path / "killed", 0
    for kill in range(20):
        process = generation(path, "data.train=4000")
        # Every fourth one dies as it starts, every fourth one within its first shard, the others after some.
        if kill % 4 == 1:
            wait_for(lambda process=process: process.pid in writers(path))
        elif kill % 4:
            wait_for(lambda before=reached: finished(path) > before)
        time.sleep(random.uniform(0, 0.5))
        assert process.poll() is None
        process.kill()
        process.wait()
        reached = finished(path)
    assert 10 <= reached < len(dataset.read_manifest(config.path)["shards"])
    assert generation(path, "data.train=4000").wait() == 0
    assert_same_data_set(config.path, path)


def test_two_processes_share_one_folder(generated, tmp_path):
    """Two processes started together on one folder never both write one shard, and the data set is the same."""
    processes = [generation(tmp_path / "both") for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert_same_data_set(generated.path, tmp_path / "both")


def test_lock_is_exclusive(tmp_path):
    """Eight threads use one lock, whose file is removed and made again each time: two never hold it together."""
    inside, most = [], []

    def enter(_) -> None:
        for _ in range(5):
            with exclusive(tmp_path / "x.lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(8)))
    assert len(most) == 40 and max(most) == 1
    assert not list(tmp_path.iterdir())


class Backwards:
    """An executor that makes the last shard first."""

    def run(self, work, shards):
        yield from map(work, reversed(shards))


def test_records_do_not_depend_on_batch_shards_or_order(generated, tmp_path):
    """Batches of 1, 3 and 16, other shards, reverse order, and a restart with other settings give the same bits."""
    small = replace(generated, train=7, validation=2, test=2)
    configs = [
        replace(small, path=str(tmp_path / f"{batch}-{shard}"), batch_size=batch, shard_size=shard)
        for batch, shard in ((1, 4), (3, 4), (16, 5), (16, 3))
    ]
    for config in configs:
        dataset.generate(config, Backwards() if config.shard_size == 3 else None)
    # Interrupted (a shard is gone) and continued with other settings: the folder keeps the layout it was begun with.
    Path(configs[0].path, "wave_data-train.array_record-00001-of-00002").unlink()
    dataset.generate(replace(configs[0], batch_size=3, shard_size=3))
    reference = records(configs[0].path)
    assert_same_records(
        reference, {split: rows[: len(reference[split])] for split, rows in records(generated.path).items()}
    )
    for config in configs[1:]:
        assert_same_records(reference, records(config.path))
    assert len({dataset.fingerprint(config) for config in configs}) == 1


def test_xla_has_one_batch_shape(generated, monkeypatch):
    """Where XLA runs the time loop, sample i is row i mod batch of batch i div batch, for any shard."""
    spec = generated.create()
    assert not depends_on_batch(spec)  # native: see test_batch_size_changes_no_bit
    assert depends_on_batch(replace(spec, simulation=replace(spec.simulation, backend="xla")))
    starts = []
    shapes = jax.eval_shape(spec.make, spec.key(0, 0))
    rows: Sample = jax.tree.map(lambda leaf: jnp.zeros((4, *leaf.shape), leaf.dtype), shapes)

    def fake(spec, split, indices):
        starts.append(int(indices[0]))
        assert len(indices) == 4
        return rows._replace(velocity=jnp.asarray(indices, float))

    monkeypatch.setattr(data_gen.dataset.records, "depends_on_batch", lambda spec: True)
    monkeypatch.setattr(data_gen.dataset.records, "_make_batch", fake)
    made = list(sample_records(spec, "train", range(6, 13), 4))
    assert starts == [4, 8, 12]
    assert [record["index"] for record in made] == [record["velocity"] for record in made] == list(range(6, 13))


class FullDisk:
    """An executor whose disk takes no file larger than 50 kB after the first shard."""

    def run(self, work, shards):
        yield work(shards[0])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            yield work(shards[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk(generated, tmp_path):
    """A full disk is reported in one paragraph; finished shards stay; with space, a rerun resumes."""
    config = replace(generated, path=str(tmp_path / "full"))
    with pytest.raises(DatasetError, match=r"takes no more data.*File too large.*Free some space"):
        dataset.generate(config, FullDisk())
    assert finished(config.path) == 1 and not list(Path(config.path).rglob("*.tmp"))
    dataset.generate(config)
    assert_same_data_set(generated.path, config.path)


def test_versions_are_not_mixed(generated, tmp_path):
    """A data set started by other software is not resumed; one that it finished is not replaced by other records."""
    config = replace(generated, path=str(tmp_path / "mixed"), train=5, validation=1, test=1)
    dataset.generate(config)
    shard = "wave_data-train.array_record-00001-of-00002"
    Path(config.path, shard).unlink()
    receipts, manifest = sorted(Path(config.path, "receipts").iterdir()), Path(config.path, "manifest.json")
    finished = read_json(manifest)
    write_json(manifest, finished | {"complete": False})
    for file in receipts:
        write_json(file, read_json(file) | {"versions": read_json(file)["versions"] | {"jax": "0.1"}})
    with pytest.raises(DatasetError, match=r"started with other software.*jax: 0\.1 -> "):
        dataset.generate(config)
    assert finished["versions"] == made_with(config.create(), 2)
    shards = {name: entry | {"sha256": "0"} for name, entry in finished["shards"].items()}
    write_json(manifest, finished | {"shards": shards})
    with pytest.raises(DatasetError, match=f"{shard} was made again, but its records differ"):
        dataset.generate(config)
    assert not Path(config.path, shard).exists()


def test_a_complete_manifest_decides_over_receipts(generated, tmp_path):
    """One flipped digit in a receipt spoiled a sound data set for good: the same command wrote it into the manifest."""
    config = replace(generated, path=str(tmp_path / "receipts"), train=5, validation=1, test=1)
    manifest = dataset.generate(config)
    receipt = next(Path(config.path, "receipts").glob("*train*00001*.json"))
    sound = read_json(receipt)
    write_json(receipt, sound | {"sha256": "0" + sound["sha256"][1:]})
    assert dataset.generate(config) == manifest
    assert read_json(receipt) == sound
    dataset.verify(config.path)


def to_elsewhere(info: dict, train: dict) -> None:
    train["filepathTemplate"] = "../other/" + train["filepathTemplate"]


def to_fewer_records(info: dict, train: dict) -> None:
    train["shardLengths"] = ["1", "1"]


def to_another_split(info: dict, train: dict) -> None:
    train |= {"filepathTemplate": train["filepathTemplate"].replace("{SPLIT}", "test"), "shardLengths": ["1"]}


def to_unknown_keys(info: dict, train: dict) -> None:
    info["zzz"] = 1


@pytest.mark.parametrize("change", [to_elsewhere, to_fewer_records, to_another_split, to_unknown_keys, None])
def test_metadata_of_tfds_that_are_not_those_of_the_manifest_are_refused(generated, tmp_path, change):
    """By readers and by `verify`; the command that made the data set writes them anew."""
    config = replace(generated, path=str(tmp_path / "info"), train=5, validation=1, test=1)
    dataset.generate(config)
    file = Path(config.path, "dataset_info.json")
    info = read_json(file)
    if change is None:
        file.unlink()
    else:
        change(info, next(split for split in info["splits"] if split["name"] == "train"))
        write_json(file, info)
    for read in (
        lambda: dataset.verify(config.path, checksums=False),
        lambda: dataset.data_source(config.path, "train"),
    ):
        with pytest.raises(DatasetError, match=r"dataset_info\.json (is missing or damaged|names other files)"):
            read()
    dataset.generate(config)
    assert len(dataset.data_source(config.path, "train")) == 5
    dataset.verify(config.path)


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


def test_families_of_weight_zero_do_not_count(tmp_path):
    """Nothing is drawn from them: a data set whose manifest names one is that of the config without it."""
    config = tiny_config(tmp_path, families={"inclusions": {"min_velocity": 2000}})
    older = replace(config, families=config.families | {"salt": {"weight": 0}})
    assert older.identity() == config.identity()
    old = new_manifest("generated", config.identity() | {"families": older.families}, {}, {}, {})
    claim(tmp_path, old)
    assert claim(tmp_path, new_manifest("generated", config.identity(), {}, {}, {})) == old


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
        (
            {"dt": 0.01, **BARE},
            r"CFL limit: dt = 0.01 s with a spacing of 10 m and a largest velocity of 4500 m/s.*dt = 0.00",
        ),
        ({"source_depths": [20.0, 900.0]}, "source lies outside the grid"),
        ({"receiver_depth": 900.0}, "receiver lies outside the grid"),
        ({"snapshot_times": [0.0805]}, "multiples of dt"),
        ({"snapshot_times": [0.5]}, "Snapshot steps must ascend within"),
        ({"validation": 0}, "data.validation must be at least 1"),
        ({"peak_frequency": 0.0}, "data.peak_frequency must be above 0"),
        ({"families": {"inclusions": {"min_velocity": 1.5, "max_velocity": 4.5}}}, "looks like km/s"),
        ({"families": {"inclusions": {"max_velocity": "fast"}}}, "must be numbers"),
        ({"nt": 1}, "data.nt must be from 2 to"),
        ({"seed": -(2**32)}, "data.seed must be from 0 to 4294967295"),
        ({"snapshot_times": [float("nan")]}, "data.snapshot_times must be finite"),
        ({"snapshot_times": [float("inf")]}, "data.snapshot_times must be finite"),
        ({"families": {"inclusions": 5}}, "needs its parameters, such as"),
        ({"families": {"inclusions": {"weight": float("inf")}}}, "must be 0 or more and finite"),
        ({"seed": 2**32}, "data.seed must be from 0 to 4294967295"),
        ({"order": 3}, "data.order must be one of"),
    ],
)
def test_bad_configs(tmp_path, changes, message):
    """Bad configs are refused before anything is written."""
    config = tiny_config(tmp_path / "none", **changes)
    with pytest.raises(InputError, match=message):
        dataset.generate(config)
    assert not (tmp_path / "none").exists()
