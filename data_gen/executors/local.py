"""Shards made by this process, one after the other; each is computed on all its cores, or on its GPU."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class LocalConfig:
    """Nothing to choose."""

    def create(self) -> "Local":
        """The executor."""
        return Local()


@dataclass(frozen=True)
class Local:
    """See `data_gen.executors`."""

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call `work` for every shard, in order."""
        yield from map(work, shards)
