"""Execute the making of shards: in this process, by Ray, or by Slurm.

An executor takes a function and the shards to call it with, and yields the results in any order. It does not depend on
what a shard is: the function takes care of locks, receipts and checksums (`data_gen.dataset.shards`). A lost worker
therefore costs only the shard that it was making. Ray and Slurm do the scheduling.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from data_gen.dataset.executors.local import Local, LocalConfig
from data_gen.dataset.executors.ray import RayConfig
from data_gen.dataset.executors.slurm import SlurmConfig

__all__ = ["Executor", "Local", "LocalConfig", "RayConfig", "SlurmConfig"]


@runtime_checkable
class Executor(Protocol):
    """Call a function for every shard."""

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call a function for every shard and yield the results as they arrive.

        Args:
            work: Function of one shard.
            shards: The shards.

        Yields:
            Result of each call, in any order.
        """
        ...
