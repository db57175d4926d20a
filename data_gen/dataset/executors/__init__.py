"""Who makes the shards: this process, Ray, or Slurm.

An executor is given a function and the shards it is to be called with, and yields what the calls return, in any order.
It neither knows nor cares what a shard is: locks, receipts and checksums are the function's business (shards.py), so a
worker that is lost costs the shard it was making, wherever it ran. Scheduling is left to Ray and Slurm.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from data_gen.dataset.executors.local import Local, LocalConfig
from data_gen.dataset.executors.ray import RayConfig
from data_gen.dataset.executors.slurm import SlurmConfig

__all__ = ["Executor", "Local", "LocalConfig", "RayConfig", "SlurmConfig"]


@runtime_checkable
class Executor(Protocol):
    """`run` calls `work` for every shard and yields its results as they come."""

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]: ...
