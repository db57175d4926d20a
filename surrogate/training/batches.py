"""What training reads: batches of a task's examples, from disk or straight from the solver.

With n examples a record (for wavefields one for each shot), example i is the `i % n`-th of record `i // n`. A batch
says which examples it holds: `index` `(b,)`, beside the arrays of the task.

Both sources are endless, deterministic, and resume from `get_state()` with the very next batch. From disk Grain
shuffles all examples anew each epoch, threads or processes read ahead, and each of several training processes takes
every n-th one of the shuffled epoch, so that together they see each once. Online, item k of the stream is a new model
drawn from (data.seed, k), in a random stream of its own, and example `k % n` of it: no model ever comes twice, and none
is one of the data set's.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import grain
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from data_gen.common.errors import InputError
from data_gen.dataset import generation as dataset
from data_gen.dataset.config import DataConfig
from data_gen.dataset.sample import ONLINE
from surrogate.protocols import Batch, Task

# Batches read ahead, and the threads that read them, in each reading process.
READ_AHEAD = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
STATISTICS_ITEMS = 512  # that the normalisation of online training is taken from
LAST_ITEM = 2**32  # a random key folds in 32 bits


@runtime_checkable
class Batches(Protocol):
    """An endless iterator that can go on from a state, which is plain JSON values."""

    def __next__(self) -> Batch: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def this_process() -> tuple[int, int]:
    """Index and number of the training processes."""
    return jax.process_index(), jax.process_count()


def check_dataset(config: DataConfig, *, verify: bool = True) -> None:
    """Check that the data set on disk is the one that `config` describes and, if `verify`, undamaged.

    For online training its validation and test splits are; the training split may be of any size, or none. Raises
    `DatasetError`, naming the differing keys or the damaged shard.
    """
    online = config.source == "online"
    where = " (online training takes its validation and test splits from there)" if online else ""
    found = dataset.config_of(dataset.read_manifest(config.path), config.path).identity()
    expected = config.identity() | ({"train": found["train"]} if online else {})
    # Compared as values, where 1 equals 1.0.
    if difference := dataset.differences(expected, found):
        raise dataset.DatasetError(
            f"The data set at {config.path}{where} does not match the run's config ({difference}). "
            "Point data.path elsewhere, generate it again, or set the same values."
        )
    if not online and not config.train:
        raise dataset.DatasetError(
            f"The data set at {config.path} has no training split (data.train is 0). Train with data.source=online, or "
            "generate one."
        )
    dataset.verify(config.path, checksums=verify)


def check_enough_examples(config: DataConfig, task: Task, processes: int) -> None:
    """Raise `InputError` if there are fewer training examples on disk than `processes` that share them."""
    examples = config.train * task.examples
    if config.source == "disk" and examples < processes:
        raise InputError(f"{processes} processes cannot share {examples} training examples. Generate more of them.")


def name_example(config: DataConfig, task: Task, index: int) -> str:
    """What to call the training example of an index."""
    if config.source == "online":
        return f"model {index}, example {index % task.examples} of the online stream"
    record, example = divmod(index, task.examples)
    return f"record {record}, example {example} of the training split"


class Examples:
    """Random access to a task's examples of one split."""

    def __init__(self, path: str | Path, split: str, task: Task):
        self.records = dataset.data_source(path, split)
        self.task = task

    def __len__(self) -> int:
        return len(self.records) * self.task.examples

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        example = self.task.read(self.records[index // self.task.examples], index % self.task.examples)
        return {"index": np.asarray(index, np.uint32), **example}


class DiskBatches:
    """Shuffled batches of the training split; `batch_size` is this process's share of a batch.

    workers: reading processes, 0 for threads of this one. process: index and number of the training processes.
    """

    def __init__(
        self, path: str | Path, batch_size: int, seed: int, task: Task, *, workers: int, process: tuple[int, int]
    ):
        index, count = process
        examples = grain.MapDataset.source(Examples(path, "train", task)).seed(seed).shuffle()
        endless = examples[index::count].repeat().batch(batch_size, drop_remainder=True)
        batches = endless.to_iter_dataset(READ_AHEAD)
        if workers:
            # Grain's processes parse absl's flags, which Hydra's command line is none of.
            flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
        self._batches = iter(batches)
        # Grain's state counts what each worker has read of this process's share: it is of use to no other division.
        self._division = {"source": "disk", "workers": workers, "process": [index, count], "batch_size": batch_size}

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        return self._division | {"grain": self._batches.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        _check_division(self._division, state)
        self._batches.set_state(state["grain"])

    def close(self) -> None:
        """Stop what reads ahead."""
        self._batches.close()


@partial(jax.jit, static_argnames="task")
def _make_examples(task: Task, items: jax.Array) -> Batch:
    indices = (items % task.examples).astype(jnp.int32)
    examples = jax.vmap(lambda item, index: task.make(task.spec.key(ONLINE, item), index))(items, indices)
    return {"index": items, **examples}


class OnlineBatches:
    """Batches that the solver makes on the device; batch n of process p of q holds b items from `(n q + p) b` on."""

    def __init__(self, batch_size: int, task: Task, *, process: tuple[int, int]):
        self._task, self._batch_size, self._step = task, batch_size, 0
        self._index, self._count = process
        self._division = {
            "source": "online",
            "seed": task.spec.seed,
            "process": [self._index, self._count],
            "batch_size": batch_size,
        }

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        first = (self._step * self._count + self._index) * self._batch_size
        if first + self._batch_size > LAST_ITEM:
            raise InputError(
                f"The stream of seed {self._task.spec.seed} ends after {LAST_ITEM} items. Set another data.seed."
            )
        self._step += 1
        return _make_examples(self._task, np.arange(first, first + self._batch_size, dtype=np.uint32))

    def get_state(self) -> dict[str, Any]:
        return self._division | {"step": self._step}

    def set_state(self, state: Mapping[str, Any]) -> None:
        _check_division(self._division, state)
        self._step = int(state["step"])

    def close(self) -> None:
        """Nothing is held."""


def _check_division(ours: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    theirs = {name: value for name, value in state.items() if name not in ("grain", "step")}
    if difference := dataset.differences(ours, theirs):
        raise InputError(
            f"The data were read in another way when this state was saved ({difference}), so it does not say where to "
            "go on. Set the same values (training.workers, training.batch_size, data.source), or start another run."
        )


def training_batches(
    config: DataConfig,
    batch_size: int,
    seed: int,
    task: Task,
    *,
    workers: int = 0,
    process: tuple[int, int] | None = None,
) -> Batches:
    """Endless batches from `config.source`. seed: of the shuffling on disk; online the data's own seed decides.

    batch_size, process: the share of this process, by default of `this_process()`.
    """
    process = process or this_process()
    if config.source == "online":
        return OnlineBatches(batch_size, task, process=process)
    return DiskBatches(config.path, batch_size, seed, task, workers=workers, process=process)


def statistics_batches(config: DataConfig, batch_size: int, task: Task) -> Iterator[Batch]:
    """What the normalisation is taken from: the training split once; online the first items of the stream."""
    if config.source == "online":
        return islice(OnlineBatches(batch_size, task, process=(0, 1)), -(-STATISTICS_ITEMS // batch_size))
    return ordered_batches(config.path, "train", batch_size, task)


def ordered_batches(path: str | Path, split: str, batch_size: int, task: Task) -> Iterator[dict[str, np.ndarray]]:
    """One pass over the examples of a split in order, outside training whole ones; the last batch may be smaller."""
    examples = grain.MapDataset.source(Examples(path, split, task if split == "train" else task.for_evaluation()))
    return iter(examples.batch(batch_size, drop_remainder=False).to_iter_dataset(READ_AHEAD))
