"""Make shards in this process, on all its cores or its GPU; one shard is computed while another is written."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from data_gen.common.ranges import check_fields, ranged


@dataclass
class LocalConfig:
    """Configure the making of shards in this process.

    Attributes:
        at_once: Number of shards made concurrently; each needs the memory of its batch.
    """

    at_once: int = ranged(2, "[1, 65536]")

    def create(self) -> "Local":
        """Make the executor; raise `InputError` if `at_once` is less than 1."""
        check_fields(self, "executor")
        return Local(self.at_once)


@dataclass(frozen=True)
class Local:
    """Make shards in this process.

    Attributes:
        at_once: Number of shards made concurrently.
    """

    at_once: int = 2

    def run(self, work: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """Call `work` for every shard. See `Executor.run`.

        After an exception the shards in progress are finished, and no others are started.
        """
        if not shards:
            return
        # The first shard runs alone: it compiles the program that the others use.
        yield work(shards[0])
        with ThreadPoolExecutor(self.at_once) as pool:
            results = [pool.submit(work, shard) for shard in shards[1:]]
            try:
                for result in as_completed(results):
                    yield result.result()
            finally:
                for result in results:
                    result.cancel()
