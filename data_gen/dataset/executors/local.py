"""Shards made by this process, on all its cores or its GPU; while one is written, another is computed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from data_gen.common.errors import InputError


@dataclass
class LocalConfig:
    """at_once: shards under way together, each with the memory of its batch."""

    at_once: int = 2

    def create(self) -> "Local":
        """The executor. Raises `InputError` for less than one shard at once."""
        if self.at_once < 1:
            raise InputError(f"executor.at_once must be at least 1, but is {self.at_once}.")
        return Local(self.at_once)


@dataclass(frozen=True)
class Local:
    """See `data_gen.dataset.executors`."""

    at_once: int = 2

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call `work` for every shard. After an exception the shards under way are finished, and no others begun."""
        if not shards:
            return
        # The first alone: it compiles what the others use.
        yield work(shards[0])
        with ThreadPoolExecutor(self.at_once) as pool:
            results = [pool.submit(work, shard) for shard in shards[1:]]
            try:
                for result in as_completed(results):
                    yield result.result()
            finally:
                for result in results:
                    result.cancel()
