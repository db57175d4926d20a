"""Read the batches of training: examples of a task, from disk or directly from the solver.

With n examples per record (for wavefields one for each shot), example i is the `i % n`-th of record `i // n`. In
addition to the arrays of the task, a batch holds the indices of its examples: `index` `(b,)`.

Both sources are endless and deterministic, and resume from `get_state()` with the very next batch. From disk, Grain
shuffles all examples again each epoch, threads or processes read ahead, and each of n training processes takes every
n-th example of the shuffled epoch, so that together they see each example once. Online, item k of the stream is a new
model drawn from (data.seed, k), in a random stream of its own, and example `k % n` of it: no model ever comes twice,
and none is in the data set.
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
from data_gen.dataset.sample import ONLINE, SPLITS
from surrogate.protocols import Batch, Task

# Batches read ahead, and the threads that read them, in each reading process.
READ_AHEAD = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
STATISTICS_ITEMS = 512  # from which the normalization of online training is computed
LAST_ITEM = 2**32  # a random key folds in 32 bits


@runtime_checkable
class Batches(Protocol):
    """Iterate over batches without end, from any state that was read before."""

    def __next__(self) -> Batch: ...

    def get_state(self) -> dict[str, Any]:
        """Return the position in the data, as JSON values."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Resume from a position.

        Args:
            state: Position that `get_state` returned.

        Raises:
            InputError: The data were read in another way then.
        """
        ...

    def close(self) -> None:
        """Stop reading ahead."""
        ...


def this_process() -> tuple[int, int]:
    """Return the index of this process and the number of training processes."""
    return jax.process_index(), jax.process_count()


def check_dataset(config: DataConfig, *, verify: bool = True, training: bool = True) -> None:
    """Check that the data set on disk is the one that a config describes.

    For online training only its validation and test splits are compared: its training split may have any size, or be
    missing. To evaluate, all splits of a generated set may have any size: its samples are the same whatever the size.

    Args:
        config: Config of the data set.
        verify: Whether to check the checksum of every shard as well.
        training: Whether a run is to be trained with it, not evaluated.

    Raises:
        DatasetError: Keys of the config differ, a split is missing, or a shard is damaged; the message names them.
    """
    online = config.source == "online"
    where = " (online training takes its validation and test splits from there)" if online else ""
    found = dataset.config_of(dataset.read_manifest(config.path), config.path).identity()
    free = ("train",) * online if training or config.recorded is not None else SPLITS
    expected = config.identity() | {split: found[split] for split in free}
    # Compared as values, where 1 equals 1.0.
    if difference := dataset.differences(expected, found):
        raise dataset.DatasetError(
            f"The data set at {config.path}{where} does not match the run's config ({difference}). "
            "Point data.path elsewhere, generate it again, or set the same values."
        )
    if training and not online and not config.train:
        raise dataset.DatasetError(
            f"The data set at {config.path} has no training split (data.train is 0). Train with data.source=online, or "
            "generate one."
        )
    if training and not config.validation:
        raise dataset.DatasetError(
            f"The data set at {config.path} has no validation split, which decides the best weights. Import the files "
            "again, to another folder, with --validation N."
        )
    dataset.verify(config.path, checksums=verify)


def check_enough_examples(config: DataConfig, task: Task, processes: int) -> None:
    """Check that there are enough training examples on disk for all processes.

    Args:
        config: Config of the data set.
        task: Task of the run.
        processes: Number of training processes.

    Raises:
        InputError: There are fewer examples than processes.
    """
    examples = config.train * task.examples
    if config.source == "disk" and examples < processes:
        raise InputError(f"{processes} processes cannot share {examples} training examples. Generate more of them.")


def name_example(config: DataConfig, task: Task, index: int) -> str:
    """Name a training example.

    Args:
        config: Config of the data set.
        task: Task of the run.
        index: Index of the example, as in `index` of a batch.

    Returns:
        The record and the example within it, or, online, the model.
    """
    if config.source == "online":
        return f"model {index}, example {index % task.examples} of the online stream"
    record, example = divmod(index, task.examples)
    return f"record {record}, example {example} of the training split"


class Examples:
    """Read the examples of one split in any order.

    Args:
        path: Folder of the data set.
        split: Name of the split.
        task: Task that cuts the examples from records.
    """

    def __init__(self, path: str | Path, split: str, task: Task):
        self.records = dataset.data_source(path, split)
        self.task = task

    def __len__(self) -> int:
        return len(self.records) * self.task.examples

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        example = self.task.read(self.records[index // self.task.examples], index % self.task.examples)
        return {"index": np.asarray(index, np.uint32), **example}


class DiskBatches:
    """Read shuffled batches of the training split.

    Args:
        path: Folder of the data set.
        batch_size: Number of examples of a batch that this process reads.
        seed: Seed of the shuffling.
        task: Task of the run.
        workers: Number of reading processes; 0 reads in threads of this process.
        process: Index of this process, and number of the training processes.
    """

    def __init__(
        self, path: str | Path, batch_size: int, seed: int, task: Task, *, workers: int, process: tuple[int, int]
    ):
        index, count = process
        examples = grain.MapDataset.source(Examples(path, "train", task)).seed(seed).shuffle()
        endless = examples[index::count].repeat().batch(batch_size, drop_remainder=True)
        batches = endless.to_iter_dataset(READ_AHEAD)
        if workers:
            # Grain's processes parse absl's flags, and would take Hydra's command line for them.
            flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
        self._batches = iter(batches)
        # Grain's state counts the examples that each worker has read for this process: no other division can use it.
        self._division = {"source": "disk", "workers": workers, "process": [index, count], "batch_size": batch_size}

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        """See `Batches.get_state`."""
        return self._division | {"grain": self._batches.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See `Batches.set_state`."""
        _check_division(self._division, state)
        self._batches.set_state(state["grain"])

    def close(self) -> None:
        """See `Batches.close`."""
        self._batches.close()


@partial(jax.jit, static_argnames="task")
def _make_examples(task: Task, items: jax.Array) -> Batch:
    indices = (items % task.examples).astype(jnp.int32)
    examples = jax.vmap(lambda item, index: task.make(task.spec.key(ONLINE, item), index))(items, indices)
    return {"index": items, **examples}


class OnlineBatches:
    """Make batches with the solver on the device; batch n of process p of q holds b items from `(n q + p) b` on.

    Args:
        batch_size: Number b of examples of a batch that this process makes.
        task: Task of the run.
        process: Index p of this process, and number q of the training processes.
    """

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
        """See `Batches.get_state`."""
        return self._division | {"step": self._step}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See `Batches.set_state`."""
        _check_division(self._division, state)
        self._step = int(state["step"])

    def close(self) -> None:
        """See `Batches.close`; there is nothing to stop."""


def _check_division(ours: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    theirs = {name: value for name, value in state.items() if name not in ("grain", "step")}
    if difference := dataset.differences(ours, theirs):
        raise InputError(
            f"The data were read in another way when this state was saved ({difference}), so training cannot resume "
            "from this checkpoint. Set the same values (training.workers, training.batch_size, data.source), or start "
            "another run."
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
    """Open the endless batches of the source that a config names.

    Args:
        config: Config of the data set; `source` is disk or online.
        batch_size: Number of examples of a batch that this process reads.
        seed: Seed of the shuffling on disk; online the seed of the data decides.
        task: Task of the run.
        workers: Number of reading processes; 0 reads in threads of this process.
        process: Index of this process, and number of the training processes; None: those of jax.

    Returns:
        The batches.
    """
    process = process or this_process()
    if config.source == "online":
        return OnlineBatches(batch_size, task, process=process)
    return DiskBatches(config.path, batch_size, seed, task, workers=workers, process=process)


def statistics_batches(config: DataConfig, batch_size: int, task: Task) -> Iterator[Batch]:
    """Read the examples from which the normalization is computed.

    Args:
        config: Config of the data set.
        batch_size: Number of examples of a batch.
        task: Task of the run.

    Returns:
        One pass over the training split; online over the first items of the stream.
    """
    if config.source == "online":
        return islice(OnlineBatches(batch_size, task, process=(0, 1)), -(-STATISTICS_ITEMS // batch_size))
    return ordered_batches(config.path, "train", batch_size, task)


def ordered_batches(path: str | Path, split: str, batch_size: int, task: Task) -> Iterator[dict[str, np.ndarray]]:
    """Read the examples of a split once, in order; the last batch may be smaller.

    Args:
        path: Folder of the data set.
        split: Name of the split; other splits than `train` give the examples for evaluation.
        batch_size: Number of examples of a batch.
        task: Task of the run.

    Returns:
        An iterator over the batches.
    """
    examples = grain.MapDataset.source(Examples(path, split, task if split == "train" else task.for_evaluation()))
    return iter(examples.batch(batch_size, drop_remainder=False).to_iter_dataset(READ_AHEAD))
