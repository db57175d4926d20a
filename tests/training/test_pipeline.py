"""Feeding training: (model, shot) pairs from disk and from the solver, disjoint, in full, and resumed exactly."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from data_gen.common.errors import DatasetError, InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.dataset.sample import ONLINE
from surrogate.config import TrainConfig
from surrogate.encodings.schemas import SourceMapConfig
from surrogate.operators.fno import FNOConfig
from surrogate.protocols import Task
from surrogate.runs.fit import fit
from surrogate.runs.load import load_surrogate
from surrogate.tasks.wavefield import WavefieldConfig
from surrogate.training import batches as pipeline
from surrogate.training.batches import Batches, check_dataset, check_enough_examples, ordered_batches, training_batches
from tests.helpers import tiny_config

# Operators too small for their waves: quick is what counts here.
pytestmark = pytest.mark.filterwarnings("ignore::surrogate.models.modes_check.ModesWarning")

ONE_FAMILY = {"families": {"inclusions": {"min_velocity": 2000}}}
SHOTS = {"sources": 3, "records": ["snapshots"], "precision": "float16", "train": 5, "validation": 2, "test": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    """Five training records of three shots, in float16."""
    config = tiny_config(tmp_path_factory.mktemp("data") / "set", **ONE_FAMILY, **SHOTS)
    dataset.generate(config)
    return config


def task_of(config: DataConfig) -> Task:
    return WavefieldConfig().create(config.create())


def key(batch, row: int) -> bytes:
    """Return what distinguishes one pair from another: its field."""
    return np.asarray(batch["snapshots"][row]).tobytes()


def read(batches: Batches, count: int) -> list[bytes]:
    """The pairs of the next `count` batches."""
    read = [next(batches) for _ in range(count)]
    return [key(batch, row) for batch in read for row in range(len(batch["velocity"]))]


def pairs_of(config: DataConfig) -> list[bytes]:
    """All training pairs, record by record and shot by shot, as TFDS reads them."""
    pairs = []
    for record in dataset.data_source(config.path, "train"):
        fields = record["snapshots"].astype(np.float32) * record["snapshots_scale"]
        pairs += [field.tobytes() for field in fields]
    return pairs


def test_pairs_in_order(data):
    """Pair i is shot i % n of record i // n, with its own source, whatever the batch; the operators' axes stay."""
    batches = list(ordered_batches(data.path, "train", 4, task_of(data)))
    assert [len(batch["velocity"]) for batch in batches] == [4, 4, 4, 3]
    assert batches[0]["velocity"].shape == (4, 24, 20) and batches[0]["source"].shape == (4, 2)
    assert batches[0]["snapshots"].shape == (4, 3, 24, 20) and batches[0]["snapshots"].dtype == np.float32
    assert [key(batch, row) for batch in batches for row in range(len(batch["velocity"]))] == pairs_of(data)
    sources = np.concatenate([batch["source"] for batch in batches])
    stored = [record["sources"] for record in dataset.data_source(data.path, "train")]
    np.testing.assert_array_equal(sources, np.concatenate(stored))


def test_an_epoch_holds_every_pair_once(data):
    batches = training_batches(data, 5, 1, task_of(data))
    first, second = read(batches, 3), read(batches, 3)
    assert sorted(first) == sorted(second) == sorted(pairs_of(data)) and first != second


@pytest.mark.parametrize("epoch", [0, 1])
def test_processes_share_an_epoch(data, epoch):
    """Two processes: 8 and 7 of 15 pairs, no pair twice, none left out."""
    shares = []
    for index, share in enumerate((8, 7)):
        batches = training_batches(data, 1, 1, task_of(data), process=(index, 2))
        shares.append(read(batches, share * (epoch + 1))[-share:])
    assert sorted(shares[0] + shares[1]) == sorted(pairs_of(data))
    assert len(set(shares[0] + shares[1])) == 15
    with pytest.raises(InputError, match="16 processes cannot share 15 training examples"):
        check_enough_examples(data, task_of(data), 16)


@pytest.mark.parametrize("source", ["disk", "online"])
def test_resumed_in_mid_epoch(data, source):
    """A state that went through JSON continues with the very next batch, bit for bit; so does a fresh process's."""
    config = replace(data, source=source)
    first, second = (training_batches(config, 4, 1, task_of(config)) for _ in range(2))
    assert read(first, 2) == read(second, 2)
    state = json.loads(json.dumps(first.get_state()))
    ahead = read(first, 4)
    third = training_batches(config, 4, 1, task_of(config))
    third.set_state(state)
    assert read(third, 4) == ahead
    with pytest.raises(InputError, match=r"read in another way .*batch_size: 4 -> 2.* start another run"):
        training_batches(config, 2, 1, task_of(config)).set_state(state)
    other = replace(data, source="online" if source == "disk" else "disk")
    with pytest.raises(InputError, match="source"):
        training_batches(other, 4, 1, task_of(other)).set_state(state)


def test_reading_processes(data):
    """Two workers read what one process's threads would, and resume in mid-epoch; their number is in the state."""
    alone, batches = training_batches(data, 3, 1, task_of(data)), training_batches(data, 3, 1, task_of(data), workers=2)
    assert read(batches, 3) == read(alone, 3)
    state = json.loads(json.dumps(batches.get_state()))
    with pytest.raises(InputError, match="workers: 2 -> 0"):
        alone.set_state(state)
    batches.set_state(state)
    assert read(batches, 4) == read(alone, 4)
    batches.close()


def test_online_items_are_a_function_of_seed_and_index(data):
    """Item k is the solver's answer for model k of the endless stream, shot k % n, whoever makes it in which batch."""
    config = replace(data, source="online")
    batches = training_batches(config, 4, 1, task_of(config))
    items = [next(batches) for _ in range(2)]
    spec = config.create()
    drawn = jax.jit(spec.draw)(spec.key(ONLINE, 6))
    np.testing.assert_allclose(items[1]["velocity"][2], drawn.velocity, rtol=1e-6)
    np.testing.assert_array_equal(items[1]["source"][2], drawn.sources[6 % 3])
    fields = spec.fields(drawn.velocity, drawn.sources)[6 % 3]
    # Compiled one by one and in a batch: 1e-6 of the largest.
    np.testing.assert_allclose(items[1]["snapshots"][2], fields, atol=1e-6 * float(np.abs(fields).max()))
    # The seed of the shuffling is no part of it; the data's is.
    np.testing.assert_array_equal(
        next(training_batches(config, 4, 2, task_of(config)))["velocity"], items[0]["velocity"]
    )
    other = next(training_batches(replace(config, seed=7), 4, 1, task_of(replace(config, seed=7))))
    assert not np.array_equal(other["velocity"], items[0]["velocity"])


def test_the_online_stream_is_new(data):
    """No model twice, none of the training split, and none in two processes' shares."""
    config = replace(data, source="online")
    shares = [training_batches(config, 4, 1, task_of(config), process=(i, 2)) for i in range(2)]
    online = [np.asarray(v).tobytes() for _ in range(5) for share in shares for v in next(share)["velocity"]]
    stored = [record["velocity"].tobytes() for record in dataset.data_source(data.path, "train")]
    assert len(set(online)) == 40 and not set(online) & set(stored)


def train_config(data: DataConfig, run: Path) -> TrainConfig:
    config = TrainConfig(run=str(run), data=data, model=FNOConfig(width=4, depth=1, modes=[4, 4]))
    config.encoding = SourceMapConfig()
    config.tracking.mode = "disabled"
    training = replace(config.training, steps=3, batch_size=4, warmup_steps=1, validate_every=3, checkpoint_every=1)
    config.training = replace(training, log_every=1)
    return config


def weights(config: TrainConfig) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_surrogate(config.run)))]


def test_online_training_resumes_bitwise(tmp_path, monkeypatch):
    """Without a training split: stopped in its second step, after one checkpoint, and run again, a run ends with the
    weights of one that was not (tests/runs/test_training.py kills a run through the same checkpoints)."""
    monkeypatch.setattr(pipeline, "STATISTICS_ITEMS", 8)
    sizes = {"train": 0, "validation": 2, "test": 1, "sources": 2, "source": "online"}
    data = tiny_config(tmp_path / "set", **ONE_FAMILY, **sizes)
    dataset.generate(data)
    whole, stopped = (train_config(data, tmp_path / name) for name in ("whole", "stopped"))
    fit(whole)

    def stop(step: int, values: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, stop)
    assert [file.name for file in (tmp_path / "stopped" / "checkpoints" / "last").iterdir()] == ["1"]
    fit(stopped)
    for ours, theirs in zip(weights(stopped), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(DatasetError, match=r"no training split .*data.source=online"):
        fit(train_config(replace(data, source="disk"), tmp_path / "disk"))
    assert not (tmp_path / "disk").exists()


def test_online_needs_validation_on_disk(data, tmp_path):
    """Another number of training samples is no matter; another model, or nothing on disk, is."""
    check_dataset(replace(data, source="online", train=99))
    with pytest.raises(DatasetError, match=r"takes its validation and test splits from there.*nx: 20 -> 24"):
        check_dataset(replace(data, source="online", nx=24))
    with pytest.raises(DatasetError, match="no data set"):
        check_dataset(replace(data, source="online", path=str(tmp_path / "absent")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"records": ["gathers"]}, "has none: its data.records must hold snapshots"),
        ({"peak_frequency_spread": 2.0, "order": 8}, "set data.peak_frequency_spread=0"),
    ],
)
def test_data_that_no_surrogate_can_learn(tmp_path, changes, message):
    config = train_config(tiny_config(tmp_path / "none", **changes), tmp_path / "run")
    with pytest.raises(InputError, match=message):
        fit(config)
    assert not (tmp_path / "run").exists()
